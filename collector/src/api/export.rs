//! Lists as CSV and NDJSON, of any length: page by page from the database, so that memory stays small and nobody else
//! waits long for a connection.

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use super::sessions::{SESSIONS_MAX, head};
use crate::serve::App;
use crate::store::Filter;

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// One page.
    #[default]
    Json,
    /// All, with a head line.
    Csv,
    /// All, one object a line.
    Ndjson,
}

/// Columns of the CSV; fields of a session in a list.
const COLUMNS: [&str; 14] = [
    "id",
    "revision",
    "node",
    "block",
    "pool",
    "flagged",
    "score",
    "threshold",
    "model",
    "reasons",
    "start",
    "end",
    "events",
    "received",
];

/// All sessions that pass, newest arrival first.
pub(super) fn sessions(app: App, filter: Filter, format: Format) -> Response {
    let first = if format == Format::Csv { COLUMNS.join(",") + "\n" } else { String::new() };
    let filter = Filter { limit: SESSIONS_MAX, ..filter };
    let pages = stream::unfold(Some((first, filter)), move |state| {
        let app = app.clone();
        async move {
            let (mut text, filter) = state?;
            let query = filter.clone();
            let page = match app.store.read(move |connection| query.sessions(connection)).await {
                Ok(page) => page,
                Err(error) => {
                    warn!(%error, "an export was broken off");
                    // The connection is cut, so that a part is not taken for the whole.
                    return Some((Err(std::io::Error::other(error)), None));
                }
            };
            for session in &page {
                write(&mut text, &head(session), format);
            }
            let next = page.last().filter(|_| page.len() == SESSIONS_MAX);
            let next = next.map(|last| (String::new(), Filter { before: Some(last.seq), ..filter }));
            Some((Ok(Bytes::from(text)), next))
        }
    });
    let (content_type, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"sessions.csv\""),
        Format::Json | Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"sessions.ndjson\""),
    };
    ([(CONTENT_TYPE, content_type), (CONTENT_DISPOSITION, name)], Body::from_stream(pages)).into_response()
}

fn write(text: &mut String, session: &Value, format: Format) {
    if format == Format::Csv {
        let cells: Vec<String> = COLUMNS.iter().map(|column| cell(session.get(*column))).collect();
        text.push_str(&cells.join(","));
    } else {
        text.push_str(&session.to_string());
    }
    text.push('\n');
}

/// A cell of a CSV. What a spreadsheet would take for a formula gets an apostrophe in front.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        Some(value) => return value.to_string(),
        None => String::new(),
    };
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_text_whatever_is_in_it() {
        for (value, expected) in [
            (json!("dn1"), "dn1"),
            (json!("a,\"b\""), "\"a,\"\"b\"\"\""),
            (json!("=HYPERLINK(1)"), "'=HYPERLINK(1)"),
            (json!(["score", "novel"]), "score novel"),
            (json!(0.5), "0.5"),
        ] {
            assert_eq!(cell(Some(&value)), expected);
        }
    }
}
