//! `/api/sessions`: the list with its filters, also as CSV and NDJSON, and one session.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use blocksift_detector::Report;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::error;

use super::export::{self, Format};
use super::{Problem, block_name, bounded, hex_name, optional, parse_block, stored_json, time};
use crate::otlp::report::hex;
use crate::serve::App;
use crate::store::marks::Mark;
use crate::store::{Filter, Session, SessionHead};

/// Sessions on one page of the list, if not said and at most.
const SESSIONS_DEFAULT: usize = 100;
pub(super) const SESSIONS_MAX: usize = 500;
/// Bytes of a node's name in a filter.
const NODE_BYTES_MAX: usize = 255;

/// Parameters of `/api/sessions`, as they come.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionsQuery {
    node: Option<String>,
    block: Option<String>,
    flagged: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    min_score: Option<f64>,
    before: Option<i64>,
    limit: Option<usize>,
    #[serde(default)]
    format: Format,
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
                .map(|block| parse_block(&block).map(|(_, id)| id))
                .transpose()?,
            flagged,
            min_score: query.min_score,
            before: query.before,
            limit: bounded("limit", query.limit, SESSIONS_DEFAULT, SESSIONS_MAX)?,
        })
    }
}

/// `GET /api/sessions`: newest arrival first; `next` is the `before` of the next page, null on the last.
pub(crate) async fn sessions(
    State(app): State<App>,
    query: Result<Query<SessionsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query?;
    let format = query.format;
    let filter = Filter::try_from(query)?;
    if format != Format::Json {
        return Ok(export::sessions(app, filter, format));
    }
    let limit = filter.limit;
    // One more than asked for tells whether there is a next page.
    let one_more = Filter { limit: limit + 1, ..filter };
    let mut sessions = app.store.read(move |connection| one_more.sessions(connection)).await?;
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let next = if more { sessions.last().map(|session| session.seq) } else { None };
    let sessions: Vec<Value> = sessions.iter().map(head).collect();
    Ok(Json(json!({ "sessions": sessions, "next": next })).into_response())
}

/// A session of a list.
pub(super) fn head(session: &SessionHead) -> Value {
    json!({
        "cursor": session.seq,
        "id": hex_name(session.id),
        "revision": session.revision,
        "node": session.node,
        "block": block_name(session.block),
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
    mark: Option<Value>,
}

/// `GET /api/sessions/{id}`: the report of the highest revision, `received`, all `revisions` that arrived, `mark`.
pub(crate) async fn session(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    let found = app
        .store
        .read(move |connection| Ok((Session::find(connection, id)?, Mark::find(connection, id)?)))
        .await?;
    let (Some(session), mark) = found else { return Err(Problem::not_found("no session has this id")) };
    let revisions = session.revisions.iter().map(|revision| {
        json!({
            "revision": revision.revision,
            "flagged": revision.flagged,
            "score": revision.score,
            "model": revision.model,
            "received": time(revision.received_ms),
        })
    });
    let whole = WholeSession {
        report: report(&session.body)?,
        received: time(session.received_ms),
        revisions: revisions.collect(),
        mark: mark.as_ref().map(super::marks::mark),
    };
    Ok(Json(whole).into_response())
}

/// A report as it is stored.
pub(super) fn report(body: &str) -> Result<Report, Problem> {
    serde_json::from_str(body).map_err(|error| {
        error!(%error, "a stored report cannot be read");
        Problem(StatusCode::INTERNAL_SERVER_ERROR, "the stored report cannot be read".to_owned())
    })
}

pub(super) fn session_id(text: &str) -> Result<i64, Problem> {
    hex(text).ok_or_else(|| Problem::bad_request("a session id is 16 hexadecimal digits"))
}
