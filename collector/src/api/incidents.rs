//! `/api/incidents`: blocks with a flagged session, and one block's incidents with their common timeline.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use blocksift_detector::Report;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sessions::report;
use super::{Problem, bounded, optional, parse_block, range, stored_json, time};
use crate::culprit::{Culprit, Kind};
use crate::incident::timeline;
use crate::serve::App;
use crate::store::overview::{self, Count, Cursor, IncidentFilter, IncidentHead, Range};
use crate::store::sql::{self, Connection};
use crate::store::{now_ms, wanted};

const INCIDENTS_DEFAULT: usize = 100;
const INCIDENTS_MAX: usize = 500;
/// Bytes of reports in one incident's answer; the sessions that ended first are left out.
const REPORTS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a culprit's name in a filter.
const NAME_BYTES_MAX: usize = 400;
/// How far around an incident its culprits are counted.
const AROUND_MS: i64 = 30 * 60_000;

/// Parameters of `/api/incidents`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IncidentsQuery {
    #[serde(default, deserialize_with = "optional")]
    from: Option<Timestamp>,
    #[serde(default, deserialize_with = "optional")]
    to: Option<Timestamp>,
    culprit_kind: Option<Kind>,
    culprit: Option<String>,
    #[serde(default, deserialize_with = "optional")]
    min_nodes: Option<i64>,
    before: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/incidents`: by the hour of the last event, newest first, and in it by score, worst first.
pub(crate) async fn incidents(
    State(app): State<App>,
    query: Result<Query<IncidentsQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let limit = bounded("limit", query.limit, INCIDENTS_DEFAULT, INCIDENTS_MAX)?;
    let filter = IncidentFilter {
        range: if query.from.is_some() || query.to.is_some() {
            Some(range(query.from, query.to)?)
        } else {
            None
        },
        culprit: culprit(query.culprit_kind, query.culprit.filter(|name| !name.is_empty()))?,
        nodes_min: query.min_nodes,
        before: query.before.as_deref().map(cursor).transpose()?,
        limit: i64::try_from(limit + 1).unwrap_or(i64::MAX),
    };
    let mut incidents = app.store.read(move |connection| filter.incidents(connection)).await?;
    let more = incidents.len() > limit;
    incidents.truncate(limit);
    let next = incidents
        .last()
        .filter(|_| more)
        .map(|last| format!("{}:{}:{}", last.hour, last.score, last.incident));
    let incidents: Vec<Value> = incidents.iter().map(head).collect();
    Ok(Json(json!({ "incidents": incidents, "next": next })))
}

/// A culprit as it is stored in an incident's list.
fn culprit(kind: Option<Kind>, name: Option<String>) -> Result<Option<String>, Problem> {
    match (kind, name) {
        (None, None) => Ok(None),
        (Some(kind), Some(name)) if name.len() <= NAME_BYTES_MAX => {
            Ok(serde_json::to_string(&Culprit { kind, name }).ok())
        }
        _ => {
            Err(Problem::bad_request("give both culprit_kind (node, link or volume) and culprit (its name)"))
        }
    }
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (hour, score, incident) = (part().parse(), part().parse::<f64>(), part().parse());
    match (hour, score, incident) {
        (Ok(hour), Ok(score), Ok(incident)) if score.is_finite() => Ok((hour, score, incident)),
        _ => Err(Problem::bad_request("before must be the `next` of a page")),
    }
}

/// An incident of a list.
pub(super) fn head(incident: &IncidentHead) -> Value {
    json!({
        "block": format!("blk_{}", incident.block),
        "pool": incident.pool,
        "start": time(incident.start_ms),
        "end": time(incident.end_ms),
        "score": incident.score,
        "sessions": incident.sessions,
        "sessions_flagged": incident.flagged,
        "nodes": incident.nodes,
        "node_names": stored_json(&incident.node_names),
        "culprits": stored_json(&incident.culprits),
    })
}

/// What is read of one block in one state of the database.
struct Found {
    incidents: Vec<(IncidentHead, Vec<Count>)>,
    reports: Vec<String>,
    left_out: usize,
    /// Nodes that are asked for their part.
    asked: Vec<String>,
}

impl Found {
    fn read(connection: &Connection, block: i64) -> Result<Self, sql::Error> {
        let connection = connection.snapshot()?;
        let (reports, left_out) = overview::reports(&connection, block, REPORTS_BYTES_MAX)?;
        let mut incidents = Vec::new();
        for incident in overview::of_block(&connection, block)? {
            let around =
                Range { from_ms: incident.start_ms - AROUND_MS, to_ms: incident.start_ms + AROUND_MS };
            let culprits: Vec<Culprit> = serde_json::from_str(&incident.culprits).unwrap_or_default();
            let mut counts = Vec::new();
            for Culprit { kind, name } in culprits {
                let count = overview::culprit_count(&connection, around, kind.name(), &name)?;
                counts.push((kind, name, count));
            }
            // What most incidents around point at; of equal ones the more specific.
            counts.sort_by(|one, other| {
                (other.2, other.0).cmp(&(one.2, one.0)).then_with(|| one.1.cmp(&other.1))
            });
            let counts = counts.into_iter().map(|(kind, name, count)| (kind.name().to_owned(), name, count));
            incidents.push((incident, counts.collect()));
        }
        let asked = wanted::of_block(&connection, block, now_ms())?;
        Ok(Self { incidents, reports, left_out, asked })
    }
}

/// `GET /api/incidents/{block}`: the incidents of a block, one a pool, each with its sessions and its timeline.
pub(crate) async fn incident(
    State(app): State<App>,
    Path(block): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (pool, block) = parse_block(&block)?;
    let found = app.store.read(move |connection| Found::read(connection, block)).await?;
    let reports = found.reports.iter().map(|body| report(body)).collect::<Result<Vec<_>, _>>()?;
    let known: Vec<String> = found.incidents.iter().map(|(head, _)| head.pool.clone()).collect();
    let incidents = found.incidents.into_iter().filter(|(head, _)| pool.is_empty() || head.pool == pool);
    let incidents: Vec<Value> = incidents
        .map(|(head, counts)| {
            let belongs =
                |report: &&Report| report.pool == head.pool || (report.pool.is_empty() && known.len() == 1);
            let reports: Vec<Report> = reports.iter().filter(belongs).cloned().collect();
            let mut whole = whole(&head, &counts, &reports);
            if let Some(fields) = whole.as_object_mut() {
                fields.insert("joint".to_owned(), json!(app.models.score(&reports)));
                fields.insert("nodes_asked".to_owned(), json!(found.asked));
            }
            whole
        })
        .collect();
    if incidents.is_empty() {
        return Err(Problem::not_found("no session of this block is stored"));
    }
    Ok(Json(json!({ "incidents": incidents, "sessions_left_out": found.left_out })))
}

fn whole(incident: &IncidentHead, counts: &[Count], reports: &[Report]) -> Value {
    let sessions: Vec<Value> = reports
        .iter()
        .map(|report| {
            json!({
                "id": report.id, "revision": report.revision, "node": report.node, "flagged": report.flagged,
                "score": report.score, "threshold": report.threshold, "model": report.model,
                "reasons": report.reasons, "start": report.start, "end": report.end,
                "events": report.events.len(), "events_dropped": report.events_dropped,
            })
        })
        .collect();
    let events: Vec<Value> = timeline(reports)
        .into_iter()
        .filter_map(|(number, event)| {
            let event = reports.get(number)?.events.get(event)?;
            let mut event = serde_json::to_value(event).ok()?;
            event.as_object_mut()?.insert("session".to_owned(), json!(number));
            Some(event)
        })
        .collect();
    let mut whole = head(incident);
    if let Some(fields) = whole.as_object_mut() {
        let counts = counts.iter().map(
            |(kind, name, incidents)| json!({ "kind": kind, "name": name, "incidents_around": incidents }),
        );
        fields.insert("culprits".to_owned(), counts.collect());
        fields.insert("sessions".to_owned(), sessions.into());
        fields.insert("events".to_owned(), events.into());
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back() {
        assert_eq!(cursor("5:0.75:-3").unwrap(), (5, 0.75, -3));
        for text in ["", "5", "5:NaN:1", "a:b:c", "1:0.5:2:3"] {
            assert!(cursor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_culprit_needs_its_kind() {
        assert!(culprit(Some(Kind::Node), None).is_err() && culprit(None, Some("dn1".to_owned())).is_err());
        let stored = culprit(Some(Kind::Node), Some("d\"1".to_owned())).unwrap().unwrap();
        assert_eq!(stored, r#"{"kind":"node","name":"d\"1"}"#);
    }
}
