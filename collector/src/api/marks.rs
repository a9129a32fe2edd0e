//! What people say of sessions: `PUT` and `DELETE /api/sessions/{id}/mark`, and `/api/marks`, which exports the marks
//! with their reports as NDJSON for `model-export --marks`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::sessions::session_id;
use super::{Problem, hex_name, time};
use crate::access::Person;
use crate::serve::App;
use crate::store::Session;
use crate::store::marks::{Mark, page};

/// Characters of a comment.
const COMMENT_CHARS_MAX: usize = 2_000;
/// Marks that are read at once for an export.
const PAGE: usize = 100;

/// A mark as it is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMark {
    mark: Verdict,
    #[serde(default)]
    comment: String,
}

#[derive(Clone, Copy, Deserialize)]
enum Verdict {
    #[serde(rename = "real")]
    Real,
    #[serde(rename = "false alarm")]
    FalseAlarm,
}

/// `PUT /api/sessions/{id}/mark`
pub(crate) async fn put(
    State(app): State<App>,
    Extension(person): Extension<Person>,
    Path(id): Path<String>,
    mark: Result<Json<NewMark>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let id = session_id(&id)?;
    let Json(NewMark { mark: verdict, comment }) = mark?;
    if comment.chars().count() > COMMENT_CHARS_MAX {
        return Err(Problem::bad_request(format!("comment must be at most {COMMENT_CHARS_MAX} characters")));
    }
    let found = app.store.read(move |connection| Session::find(connection, id)).await?;
    let session = found.ok_or_else(|| Problem::not_found("no session has this id"))?;
    let new = Mark {
        real: matches!(verdict, Verdict::Real),
        comment,
        marked_by: person.name.clone(),
        marked_ms: Timestamp::now().as_millisecond(),
        revision: session.revisions.first().map_or(0, |revision| revision.revision),
    };
    app.store.mark(id, Some(new.clone())).await?;
    info!(target: "audit", user = person.name, session = hex_name(id), real = new.real, "session marked");
    Ok(Json(mark_json(&new)))
}

/// `DELETE /api/sessions/{id}/mark`
pub(crate) async fn delete(
    State(app): State<App>,
    Extension(person): Extension<Person>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = session_id(&id)?;
    app.store.mark(id, None).await?;
    info!(target: "audit", user = person.name, session = hex_name(id), "mark taken away");
    Ok(StatusCode::NO_CONTENT)
}

/// A mark beside a session.
pub(super) fn mark(mark: &Mark) -> Value {
    mark_json(mark)
}

fn mark_json(mark: &Mark) -> Value {
    json!({
        "mark": if mark.real { "real" } else { "false alarm" },
        "comment": mark.comment,
        "marked_by": mark.marked_by,
        "marked": time(mark.marked_ms),
        "revision": mark.revision,
    })
}

/// `GET /api/marks`: one object a line, a mark's fields and `report`.
pub(crate) async fn marks(State(app): State<App>) -> Response {
    let pages = stream::unfold(Some(i64::MIN), move |after| {
        let app = app.clone();
        async move {
            let after = after?;
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let page = match app.store.read(move |connection| page(connection, after, limit)).await {
                Ok(page) => page,
                Err(error) => {
                    warn!(%error, "an export was broken off");
                    return Some((Err(std::io::Error::other(error)), None));
                }
            };
            let mut text = String::new();
            for (_, mark, body) in &page {
                let mut line = mark_json(mark);
                let report: Value = serde_json::from_str(body).unwrap_or_default();
                if let Some(fields) = line.as_object_mut() {
                    fields.insert("report".to_owned(), report);
                }
                text.push_str(&line.to_string());
                text.push('\n');
            }
            let next = page.last().filter(|_| page.len() == PAGE).map(|(id, ..)| *id);
            Some((Ok(Bytes::from(text)), next))
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, "attachment; filename=\"marks.ndjson\""),
    ];
    (headers, Body::from_stream(pages)).into_response()
}
