//! `/api/templates`: which statements occur, how often over time, since when, and which no model knows.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Problem, bounded, hex_name, optional, range, time};
use crate::serve::App;
use crate::store::overview::{self, Template};
use crate::store::rollup::HOUR_MS;
use crate::store::sql::Connection;

const TEMPLATES_DEFAULT: usize = 100;
const TEMPLATES_MAX: usize = 500;

/// Parameters of `/api/templates`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplatesQuery {
    #[serde(default, deserialize_with = "optional")]
    from: Option<Timestamp>,
    #[serde(default, deserialize_with = "optional")]
    to: Option<Timestamp>,
    #[serde(default, deserialize_with = "optional")]
    known: Option<bool>,
    limit: Option<usize>,
}

/// `GET /api/templates`: by events in the range, most first, each with its events by the hour.
pub(crate) async fn templates(
    State(app): State<App>,
    query: Result<Query<TemplatesQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let range = range(query.from, query.to)?;
    let limit = bounded("limit", query.limit, TEMPLATES_DEFAULT, TEMPLATES_MAX)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = move |connection: &Connection| {
        let connection = connection.snapshot()?;
        let mut found = Vec::new();
        for template in overview::templates(&connection, range, query.known, limit)? {
            let hours = overview::template_hours(&connection, range, template.template)?;
            found.push((template, hours));
        }
        Ok(found)
    };
    let templates = app.store.read(read).await?.into_iter().map(|(found, hours)| {
        let mut whole = template(&found);
        let hours =
            hours.into_iter().map(|(hour, events)| json!({ "time": time(hour * HOUR_MS), "events": events }));
        if let Some(fields) = whole.as_object_mut() {
            fields.insert("hours".to_owned(), hours.collect());
        }
        whole
    });
    let templates: Vec<Value> = templates.collect();
    Ok(Json(json!({ "from": time(range.from_ms), "to": time(range.to_ms), "templates": templates })))
}

/// A template of a list.
pub(super) fn template(template: &Template) -> Value {
    json!({
        "template": hex_name(template.template),
        "text": template.text,
        "known": template.known,
        "first_seen": time(template.first_seen_ms),
        "last_seen": time(template.last_seen_ms),
        "first_node": template.first_node,
        "events": template.events,
    })
}
