//! `/api/models`: which model runs where, and whether it still fits what comes.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Problem, stored_json, time};
use crate::serve::App;
use crate::store::Node;

/// Nodes that are looked at, and node names that each model lists.
const NODES_MAX: usize = 20_000;
const NAMES_MAX: usize = 50;

/// One model, over its nodes.
#[derive(Default)]
struct Model {
    nodes: usize,
    names: Vec<String>,
    last_seen_ms: i64,
    sessions_scored: i64,
    sessions_flagged: i64,
    unknown_share: Spread,
    score_shift: Spread,
}

/// Smallest, largest and mean of what nodes say.
#[derive(Default)]
struct Spread {
    count: u32,
    sum: f64,
    max: Option<(f64, String)>,
}

impl Spread {
    fn add(&mut self, value: Option<f64>, node: &str) {
        let Some(value) = value else { return };
        self.count += 1;
        self.sum += value;
        if self.max.as_ref().is_none_or(|(max, _)| value > *max) {
            self.max = Some((value, node.to_owned()));
        }
    }

    fn json(&self) -> Value {
        match &self.max {
            Some((max, node)) => {
                json!({ "mean": self.sum / f64::from(self.count), "max": max, "max_node": node })
            }
            None => Value::Null,
        }
    }
}

/// `GET /api/models`: those that most nodes run first.
pub(crate) async fn models(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let nodes = app.store.read(|connection| Node::page(connection, "", NODES_MAX)).await?;
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for node in nodes {
        let metrics = stored_json(&node.metrics);
        let number = |name: &str| metrics.get(name).and_then(Value::as_f64);
        let count = |name: &str| metrics.get(name).and_then(Value::as_i64).unwrap_or(0);
        let model = models.entry(node.model).or_default();
        model.nodes += 1;
        model.last_seen_ms = model.last_seen_ms.max(node.last_seen_ms);
        model.sessions_scored += count("sessions_scored");
        model.sessions_flagged += node.sessions_flagged;
        model.unknown_share.add(number("events_unknown_share"), &node.node);
        model.score_shift.add(number("score_shift"), &node.node);
        if model.names.len() < NAMES_MAX {
            model.names.push(node.node);
        }
    }
    let mut models: Vec<(String, Model)> = models.into_iter().collect();
    models.sort_by_key(|(_, model)| std::cmp::Reverse(model.nodes));
    let models = models.iter().map(|(name, model)| {
        json!({
            "model": name,
            "nodes": model.nodes,
            "node_names": model.names,
            "last_seen": time(model.last_seen_ms),
            "sessions_scored": model.sessions_scored,
            "sessions_flagged": model.sessions_flagged,
            "events_unknown_share": model.unknown_share.json(),
            "score_shift": model.score_shift.json(),
        })
    });
    Ok(Json(json!({ "models": models.collect::<Vec<_>>() })))
}
