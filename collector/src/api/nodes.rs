//! `/api/nodes`: every node with its latest summary.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Problem, bounded, stored_json, time};
use crate::serve::App;
use crate::store::Node;

/// Nodes listed, if not said and at most.
const NODES_DEFAULT: usize = 2_000;
const NODES_MAX: usize = 10_000;

/// Parameters of `/api/nodes`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodesQuery {
    limit: Option<usize>,
    after: Option<String>,
}

/// `GET /api/nodes`: by name, each with its latest summary under `metrics`; `next` is the `after` of the next page.
pub(crate) async fn nodes(
    State(app): State<App>,
    query: Result<Query<NodesQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let limit = bounded("limit", query.limit, NODES_DEFAULT, NODES_MAX)?;
    let after = query.after.unwrap_or_default();
    let nodes = app.store.read(move |connection| Node::page(connection, &after, limit)).await?;
    let next = nodes.last().filter(|_| nodes.len() == limit).map(|last| last.node.clone());
    let nodes: Vec<Value> = nodes.iter().map(node).collect();
    Ok(Json(json!({ "nodes": nodes, "next": next, "now": time(Timestamp::now().as_millisecond()) })))
}

fn node(node: &Node) -> Value {
    json!({
        "node": node.node,
        "agent_version": node.agent_version,
        "model": node.model,
        "first_seen": time(node.first_seen_ms),
        "last_seen": time(node.last_seen_ms),
        "sessions_flagged": node.sessions_flagged,
        "metrics": stored_json(&node.metrics),
        "metrics_time": node.metrics_ms.map(time),
    })
}
