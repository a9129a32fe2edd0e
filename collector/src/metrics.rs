//! `/metrics`: the collector's own counts for Prometheus. No label holds text that came from a log or a sender.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::api::Problem;
use crate::notify::Policy;
use crate::serve::App;
use crate::store::reader::totals;
use crate::store::{notices, now_ms, wanted};

/// `GET /metrics`
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let (totals, bytes, waiting, wanted) = app
        .store
        .read(|connection| {
            let wanted = wanted::waiting(connection, now_ms())?;
            Ok((totals(connection)?, connection.used_bytes()?, notices::waiting(connection)?, wanted))
        })
        .await?;
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: i128| {
        let name = format!("blocksift_collector_{name}");
        text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    };
    for (name, help, value) in app.ingest.counters() {
        add(name, "counter", help, value.into());
    }
    add(
        "requests_in_work",
        "gauge",
        "requests that are received, decoded or stored now",
        app.ingest.in_work().into(),
    );
    add(
        "live_listeners",
        "gauge",
        "pages that listen for changes now",
        i128::try_from(app.live.listeners()).unwrap_or(0),
    );
    add("database_bytes", "gauge", "bytes in use in the database", bytes.into());
    add(
        "database_last_seq",
        "counter",
        "reports that became a session's current state, ever",
        totals.seq.into(),
    );
    add("blocks_wanted", "gauge", "blocks that nodes are asked for, each by node", wanted.into());
    add("nodes", "gauge", "nodes that ever sent something", totals.nodes.into());
    for (name, kind, help, value) in app.kafka.iter().flat_map(|counts| counts.all()) {
        add(name, kind, help, value.into());
    }
    text += &notifications(&app.policy, &waiting);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// What became of notifications, by the configured name of their receiver.
fn notifications(policy: &Policy, waiting: &[(String, i64)]) -> String {
    let mut text = String::new();
    if policy.is_silent() {
        return text;
    }
    let value = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed).to_string();
    let mut add = |name: &str, kind: &str, help: &str, values: Vec<(&str, String)>| {
        let name = format!("blocksift_collector_{name}");
        text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            let labels = if labels.is_empty() { String::new() } else { format!("{{receiver=\"{labels}\"}}") };
            text += &format!("{name}{labels} {value}\n");
        }
    };
    let each = |of: fn(&crate::notify::Counts) -> &std::sync::atomic::AtomicU64| {
        policy.receivers.iter().map(|counts| (counts.name.as_str(), value(of(counts)))).collect::<Vec<_>>()
    };
    add(
        "notifications_sent_total",
        "counter",
        "notifications that were taken",
        each(|counts| &counts.sent_total),
    );
    add(
        "notifications_failed_total",
        "counter",
        "tries that failed and are made again",
        each(|counts| &counts.failed_total),
    );
    add(
        "notifications_dropped_total",
        "counter",
        "notifications that were refused, too old, or one too many",
        each(|counts| &counts.dropped_total),
    );
    let wait = policy.receivers.iter().map(|counts| {
        let waits = waiting.iter().find(|(name, _)| *name == counts.name).map_or(0, |(_, waits)| *waits);
        (counts.name.as_str(), waits.to_string())
    });
    add("notifications_waiting", "gauge", "notifications that were not taken yet", wait.collect());
    add(
        "incidents_grouped_total",
        "counter",
        "incidents that were told in a group, beyond the budget of their nodes",
        vec![("", value(&policy.grouped_total))],
    );
    text
}
