//! The JSON API that the page and scripts read. Times are RFC 3339 in UTC. Every parameter is bounded, an unknown one is
//! an error, and errors are `{"error": "..."}`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use blocksift_detector::Report;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::error;

use crate::serve::App;
use crate::store::{Filter, Node, ReadError, Session, SessionHead};

/// Sessions on one page of the list, if not said and at most.
const SESSIONS_DEFAULT: usize = 100;
const SESSIONS_MAX: usize = 500;
/// Nodes listed, if not said and at most.
const NODES_DEFAULT: usize = 2_000;
const NODES_MAX: usize = 10_000;
/// Bytes of a node's name in a filter.
const NODE_BYTES_MAX: usize = 255;

/// An answer that is not 200.
pub(crate) struct Problem(StatusCode, String);

impl Problem {
    fn bad_request(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        (status, Json(json!({ "error": message }))).into_response()
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        if !matches!(error, ReadError::Timeout) {
            error!(error = format!("{:#}", anyhow::Error::new(error)), "query failed");
            return Self(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be read now; try again".to_owned(),
            );
        }
        Self(StatusCode::SERVICE_UNAVAILABLE, format!("{error}; narrow the filter"))
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// Any path that is no route.
pub(crate) async fn not_found() -> Problem {
    Problem(
        StatusCode::NOT_FOUND,
        "no such path; the API has /api/sessions, /api/sessions/{id}, /api/nodes".to_owned(),
    )
}

/// A route, but not with this method.
pub(crate) async fn method_not_allowed() -> Problem {
    let message = "wrong method; /v1/logs and /v1/metrics take POST, everything else GET";
    Problem(StatusCode::METHOD_NOT_ALLOWED, message.to_owned())
}

/// A request under a name that is not local.
pub(crate) fn foreign_host() -> Problem {
    let message = "this collector answers to 127.0.0.1, [::1] and localhost only; use one of them in the address, or \
                   start it with --allow-remote";
    Problem(StatusCode::MISDIRECTED_REQUEST, message.to_owned())
}

/// Parameters of `/api/sessions`, as they come.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionsQuery {
    node: Option<String>,
    block: Option<String>,
    flagged: Option<String>,
    min_score: Option<f64>,
    before: Option<i64>,
    limit: Option<usize>,
}

impl TryFrom<SessionsQuery> for Filter {
    type Error = Problem;

    fn try_from(query: SessionsQuery) -> Result<Self, Problem> {
        if query.node.as_ref().is_some_and(|node| node.len() > NODE_BYTES_MAX) {
            return Err(Problem::bad_request(format!("node must be at most {NODE_BYTES_MAX} bytes")));
        }
        if query.min_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            return Err(Problem::bad_request("min_score must be in 0..=1"));
        }
        let flagged = match query.flagged.as_deref() {
            None | Some("true") => Some(true),
            Some("false") => Some(false),
            Some("any") => None,
            Some(_) => return Err(Problem::bad_request("flagged must be true, false or any")),
        };
        Ok(Self {
            node: query.node.filter(|node| !node.is_empty()),
            block: query
                .block
                .filter(|block| !block.trim().is_empty())
                .map(|block| parse_block(&block))
                .transpose()?,
            flagged,
            min_score: query.min_score,
            before: query.before,
            limit: bounded("limit", query.limit, SESSIONS_DEFAULT, SESSIONS_MAX)?,
        })
    }
}

/// Takes a block however a log or a person writes it: `blk_-1_1001`, `BP-...:blk_-1_1001`, `-1`.
fn parse_block(text: &str) -> Result<String, Problem> {
    let after_pool = text.trim().rsplit(':').next().unwrap_or_default();
    let number = after_pool.strip_prefix("blk_").unwrap_or(after_pool);
    let id = number.split('_').next().and_then(|id| id.parse::<i64>().ok());
    id.map(|id| format!("blk_{id}"))
        .ok_or_else(|| Problem::bad_request("block must be a block id, such as blk_-1608999687919862906"))
}

fn bounded(name: &str, value: Option<usize>, default: usize, max: usize) -> Result<usize, Problem> {
    match value.unwrap_or(default) {
        value if (1..=max).contains(&value) => Ok(value),
        _ => Err(Problem::bad_request(format!("{name} must be in 1..={max}"))),
    }
}

/// `GET /api/sessions`: newest arrival first; `next` is the `before` of the next page, null on the last.
pub(crate) async fn sessions(
    State(app): State<App>,
    query: Result<Query<SessionsQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let filter = Filter::try_from(query)?;
    let limit = filter.limit;
    // One more than asked for tells whether there is a next page.
    let one_more = Filter { limit: limit + 1, ..filter };
    let mut sessions = app.store.read(move |connection| one_more.sessions(connection)).await?;
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let next = if more { sessions.last().map(|session| session.seq) } else { None };
    let sessions: Vec<Value> = sessions.iter().map(head).collect();
    Ok(Json(json!({ "sessions": sessions, "next": next })))
}

fn head(session: &SessionHead) -> Value {
    json!({
        "cursor": session.seq,
        "id": session.id,
        "revision": session.revision,
        "node": session.node,
        "block": session.block,
        "pool": session.pool,
        "flagged": session.flagged,
        "score": session.score,
        "threshold": session.threshold,
        "model": session.model,
        "reasons": stored_json(&session.reasons),
        "start": time(session.start_ms),
        "end": time(session.end_ms),
        "events": session.events,
        "received": time(session.received_ms),
    })
}

/// A report and what the collector knows about it.
#[derive(Serialize)]
struct WholeSession {
    #[serde(flatten)]
    report: Report,
    received: String,
    revisions: Vec<Value>,
}

/// `GET /api/sessions/{id}`: the report of the highest revision, `received`, and all `revisions` that arrived.
pub(crate) async fn session(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Problem::bad_request("a session id is 16 hexadecimal digits"));
    }
    let id = id.to_ascii_lowercase();
    let found = app.store.read(move |connection| Session::find(connection, &id)).await?;
    let session = found.ok_or_else(|| Problem(StatusCode::NOT_FOUND, "no session has this id".to_owned()))?;
    let report = serde_json::from_str(&session.body).map_err(|error| {
        error!(%error, "a stored report cannot be read");
        Problem(StatusCode::INTERNAL_SERVER_ERROR, "the stored report cannot be read".to_owned())
    })?;
    let revisions = session.revisions.iter().map(|revision| {
        json!({
            "revision": revision.revision,
            "flagged": revision.flagged,
            "score": revision.score,
            "model": revision.model,
            "received": time(revision.received_ms),
        })
    });
    let whole = WholeSession { report, received: time(session.received_ms), revisions: revisions.collect() };
    Ok(Json(whole).into_response())
}

/// Parameters of `/api/nodes`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodesQuery {
    limit: Option<usize>,
}

/// `GET /api/nodes`: by name, each with its latest summary under `metrics`.
pub(crate) async fn nodes(
    State(app): State<App>,
    query: Result<Query<NodesQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let limit = bounded("limit", query.limit, NODES_DEFAULT, NODES_MAX)?;
    let nodes = app.store.read(move |connection| Node::all(connection, limit)).await?;
    let nodes: Vec<Value> = nodes.iter().map(node).collect();
    Ok(Json(json!({ "nodes": nodes, "now": time(Timestamp::now().as_millisecond()) })))
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

/// `GET /healthz`: 200 while the database can be read.
pub(crate) async fn health(State(app): State<App>) -> Result<Response, Problem> {
    app.store.read(|connection| connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))).await?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(json!({ "status": "ok", "version": version, "ingest": json!(app.ingest.counts()) }))
        .into_response())
}

/// JSON that the collector has written itself.
fn stored_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn time(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_however_it_is_written() {
        for text in ["blk_-7", "-7", " blk_-7_1001 ", "BP-1-10.0.0.1-2:blk_-7_1001", "blk_-7_1001.meta"] {
            assert_eq!(parse_block(text).ok().as_deref(), Some("blk_-7"), "{text}");
        }
        assert_eq!(parse_block("blk_7").ok().as_deref(), Some("blk_7"));
        for text in ["blk_", "seven", "99999999999999999999", "blk_7;drop"] {
            assert!(parse_block(text).is_err(), "{text}");
        }
    }
}
