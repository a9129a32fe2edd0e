//! The JSON API that the page and scripts read: `/api/openapi.json` describes it. Times are RFC 3339 in UTC. Every
//! parameter is bounded, an unknown one is an error, and errors are `{"error": "..."}`.

mod export;
mod incidents;
mod live;
mod marks;
pub(crate) mod me;
mod models;
mod nodes;
mod overview;
mod sessions;
mod templates;

use axum::extract::State;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tracing::error;

pub(crate) use live::Live;

use crate::serve::App;
use crate::store::overview::Range;
use crate::store::{ReadError, WriteError};

/// What the API is, for programs.
const OPENAPI: &str = include_str!("api/openapi.json");
/// Length of a range if not said.
const RANGE_DEFAULT_MS: i64 = 24 * 3_600_000;

/// Everything under `/api`.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/openapi.json", get(openapi))
        .route("/api/me", get(me::me))
        .route("/api/login", post(me::login))
        .route("/api/logout", post(me::logout))
        .route("/api/overview", get(overview::overview))
        .route("/api/incidents", get(incidents::incidents))
        .route("/api/incidents/{block}", get(incidents::incident))
        .route("/api/sessions", get(sessions::sessions))
        .route("/api/sessions/{id}", get(sessions::session))
        .route("/api/sessions/{id}/mark", put(marks::put).delete(marks::delete))
        .route("/api/marks", get(marks::marks))
        .route("/api/nodes", get(nodes::nodes))
        .route("/api/templates", get(templates::templates))
        .route("/api/models", get(models::models))
        .route("/api/live", get(live::live))
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// An answer that is not 200.
#[derive(Debug)]
pub(crate) struct Problem(pub(crate) StatusCode, pub(crate) String);

impl Problem {
    fn bad_request(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    fn not_found(message: &str) -> Self {
        Self(StatusCode::NOT_FOUND, message.to_owned())
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

impl From<WriteError> for Problem {
    fn from(_: WriteError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, "the database cannot store this now; try again".to_owned())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

/// Any path that is no route.
pub(crate) async fn not_found() -> Problem {
    Problem::not_found("no such path; /api/openapi.json lists those of the API")
}

/// A route, but not with this method.
pub(crate) async fn method_not_allowed() -> Problem {
    let message = "wrong method; /api/openapi.json lists the methods of each path";
    Problem(StatusCode::METHOD_NOT_ALLOWED, message.to_owned())
}

/// A request under a name that is not local.
pub(crate) fn foreign_host() -> Problem {
    let message = "this collector answers to 127.0.0.1, [::1] and localhost only; use one of them in the address, or \
                   start it with --allow-remote";
    Problem(StatusCode::MISDIRECTED_REQUEST, message.to_owned())
}

/// `GET /healthz`: 200 while the database can be read.
pub(crate) async fn health(State(app): State<App>) -> Result<Response, Problem> {
    app.store
        .read(|connection| connection.prepare_cached("SELECT 1")?.query_row((), |row| row.get::<i64>(0)))
        .await?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(json!({ "status": "ok", "version": version, "ingest": json!(app.ingest.counts()) }))
        .into_response())
}

/// A range of time from parameters; without them the last 24 hours.
fn range(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Range, Problem> {
    let to_ms = to.unwrap_or_else(Timestamp::now).as_millisecond();
    let from_ms = from.map_or(to_ms - RANGE_DEFAULT_MS, Timestamp::as_millisecond);
    if from_ms >= to_ms {
        return Err(Problem::bad_request("`from` must be before `to`"));
    }
    Ok(Range { from_ms, to_ms })
}

/// A parameter that is empty counts as not given, as a form of a browser sends it.
fn optional<'de, T: std::str::FromStr<Err: std::fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

fn bounded(name: &str, value: Option<usize>, default: usize, max: usize) -> Result<usize, Problem> {
    match value.unwrap_or(default) {
        value if (1..=max).contains(&value) => Ok(value),
        _ => Err(Problem::bad_request(format!("{name} must be in 1..={max}"))),
    }
}

/// Takes a block however a log or a person writes it: `blk_-1_1001`, `BP-...:blk_-1_1001`, `-1`. Returns the pool too,
/// empty where none is named.
fn parse_block(text: &str) -> Result<(String, i64), Problem> {
    let (pool, rest) = text.trim().rsplit_once(':').unwrap_or(("", text.trim()));
    let number = rest.strip_prefix("blk_").unwrap_or(rest);
    let id = number.split('_').next().and_then(|id| id.parse::<i64>().ok());
    id.map(|id| (pool.to_owned(), id))
        .ok_or_else(|| Problem::bad_request("block must be a block id, such as blk_-1608999687919862906"))
}

fn block_name(block: Option<i64>) -> String {
    block.map(|block| format!("blk_{block}")).unwrap_or_default()
}

/// A session's or template's id as it is written.
fn hex_name(id: i64) -> String {
    format!("{:016x}", id.cast_unsigned())
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
            assert_eq!(parse_block(text).unwrap().1, -7, "{text}");
        }
        assert_eq!(parse_block("BP-1:blk_7").unwrap(), ("BP-1".to_owned(), 7));
        for text in ["blk_", "seven", "99999999999999999999", "blk_7;drop"] {
            assert!(parse_block(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_has_a_length() {
        let at = |ms| Some(Timestamp::from_millisecond(ms).unwrap());
        assert_eq!(range(at(0), at(5)).unwrap(), Range { from_ms: 0, to_ms: 5 });
        assert_eq!(range(None, at(RANGE_DEFAULT_MS)).unwrap().from_ms, 0);
        assert!(range(at(5), at(5)).is_err());
    }
}
