//! `/metrics`: the collector's own counts for Prometheus. No label holds text that came from a log or a sender.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::api::Problem;
use crate::serve::App;
use crate::store::reader::totals;
use crate::store::retention::used_bytes;

/// `GET /metrics`
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let (totals, bytes) =
        app.store.read(|connection| Ok((totals(connection)?, used_bytes(connection)?))).await?;
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
    add("nodes", "gauge", "nodes that ever sent something", totals.nodes.into());
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
