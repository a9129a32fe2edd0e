//! `GET /v1/wanted?node=NAME&after=N`: blocks that a node is asked for, since a flagged session of another node names it.
//! Agents ask with each summary, with the token or certificate that they send with, for their own node alone.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Problem;
use crate::listen::Peer;
use crate::otlp::report::is_name;
use crate::serve::App;
use crate::store::{now_ms, wanted};

/// Parameters, as they come.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedQuery {
    node: String,
    #[serde(default)]
    after: i64,
}

/// `blocks`, and `next`, the `after` of the next request.
pub(crate) async fn wanted(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    query: Result<Query<WantedQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(WantedQuery { node, after }) = query?;
    if !is_name(&node, 1) {
        return Err(Problem(StatusCode::BAD_REQUEST, "node is not a name of at most 255 bytes".to_owned()));
    }
    let nodes = app.access.agents.sender(&headers, peer.certificate.as_ref());
    let nodes = nodes.ok_or_else(|| {
        let message = "no token or client certificate that this collector knows";
        Problem(StatusCode::UNAUTHORIZED, message.to_owned())
    })?;
    if !nodes.allows(&node) {
        let message = "this token or certificate may not speak for the node";
        return Err(Problem(StatusCode::FORBIDDEN, message.to_owned()));
    }
    let now_ms = now_ms();
    let (blocks, next) =
        app.store.read(move |connection| wanted::of_node(connection, &node, after.max(0), now_ms)).await?;
    let blocks: Vec<String> = blocks.into_iter().map(|block| format!("blk_{block}")).collect();
    Ok(Json(json!({ "blocks": blocks, "next": next })))
}
