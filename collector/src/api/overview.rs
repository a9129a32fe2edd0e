//! `/api/overview`: how it goes in a range of time, from roll-ups alone.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::templates::template;
use super::{Problem, incidents, optional, range, time};
use crate::serve::App;
use crate::store::Node;
use crate::store::overview::{self, Count, IncidentHead, Point, Range, Template};
use crate::store::sql::{self, Connection};

/// Points of the timeline, about.
const POINTS: i64 = 120;
const MINUTE_MS: i64 = 60_000;
/// Lengths of a step of the timeline, in minutes.
const STEPS_MINUTES: [i64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 10_080, 40_320];
const INCIDENTS: usize = 10;
const TEMPLATES: i64 = 8;
const CULPRITS: i64 = 10;

/// Parameters of `/api/overview`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OverviewQuery {
    #[serde(default, deserialize_with = "optional")]
    from: Option<Timestamp>,
    #[serde(default, deserialize_with = "optional")]
    to: Option<Timestamp>,
}

struct Overview {
    points: Vec<Point>,
    extent: Option<Range>,
    scores: Vec<(String, i64)>,
    threshold: Option<f64>,
    worst: Vec<IncidentHead>,
    templates: Vec<Template>,
    culprits: Vec<Count>,
    nodes: [i64; 3],
}

impl Overview {
    fn read(connection: &Connection, range: Range, step_ms: i64) -> Result<Self, sql::Error> {
        // All of it from one state.
        let connection = connection.snapshot()?;
        let now_ms = Timestamp::now().as_millisecond();
        Ok(Self {
            points: overview::points(&connection, range, step_ms)?,
            extent: overview::extent(&connection)?,
            scores: overview::scores(&connection, range)?,
            threshold: overview::threshold(&connection)?,
            worst: overview::worst(&connection, range, INCIDENTS)?,
            templates: overview::new_templates(&connection, range, TEMPLATES)?,
            culprits: overview::culprits(&connection, range, CULPRITS)?,
            nodes: Node::count_by_age(&connection, now_ms)?,
        })
    }
}

/// `GET /api/overview`
pub(crate) async fn overview(
    State(app): State<App>,
    query: Result<Query<OverviewQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let range = range(query.from, query.to)?;
    let step_ms = step_ms(range);
    let found = app.store.read(move |connection| Overview::read(connection, range, step_ms)).await?;
    let sum = |of: fn(&Point) -> i64| found.points.iter().map(of).sum::<i64>();
    let points = found.points.iter().map(
        |point| json!({ "time": time(point.time_ms), "flagged": point.flagged, "scored": point.scored }),
    );
    let culprits = found
        .culprits
        .iter()
        .map(|(kind, name, incidents)| json!({ "kind": kind, "name": name, "incidents": incidents }));
    let [fine, quiet, lost] = found.nodes;
    Ok(Json(json!({
        "from": time(range.from_ms),
        "to": time(range.to_ms),
        "step_ms": step_ms,
        "sessions_flagged": sum(|point| point.flagged),
        "sessions_scored": sum(|point| point.scored),
        "points": points.collect::<Vec<_>>(),
        "extent": found.extent.map(|extent| json!({ "from": time(extent.from_ms), "to": time(extent.to_ms) })),
        "scores": scores(found.scores),
        "threshold": found.threshold,
        "incidents": found.worst.iter().map(incidents::head).collect::<Vec<_>>(),
        "new_templates": found.templates.iter().map(template).collect::<Vec<_>>(),
        "culprits": culprits.collect::<Vec<_>>(),
        "nodes": { "reporting": fine, "quiet": quiet, "lost": lost },
    })))
}

/// The shortest step that gives about [`POINTS`] points.
fn step_ms(range: Range) -> i64 {
    let wanted = range.to_ms.saturating_sub(range.from_ms) / POINTS;
    let step = STEPS_MINUTES.into_iter().map(|minutes| minutes * MINUTE_MS).find(|step| *step >= wanted);
    step.unwrap_or(wanted / MINUTE_MS * MINUTE_MS + MINUTE_MS)
}

/// By bound, lowest first; what is above all bounds is left out, as no score is.
fn scores(mut scores: Vec<(String, i64)>) -> Vec<Value> {
    scores.retain(|(bound, _)| bound.parse::<f64>().is_ok_and(f64::is_finite));
    let bound = |(bound, _): &(String, i64)| bound.parse::<f64>().unwrap_or_default();
    scores.sort_by(|one, other| bound(one).total_cmp(&bound(other)));
    scores.iter().map(|entry| json!({ "bound": bound(entry), "sessions": entry.1 })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        let step = |hours: i64| step_ms(Range { from_ms: 0, to_ms: hours * 60 * MINUTE_MS }) / MINUTE_MS;
        assert_eq!([step(1), step(24), step(24 * 7), step(24 * 30)], [1, 15, 120, 360]);
        assert!(step(24 * 365 * 50) >= 40_320);
    }

    #[test]
    fn scores_are_sorted_by_number() {
        let given =
            vec![("1".to_owned(), 2), ("0.5".to_owned(), 3), ("inf".to_owned(), 0), ("0.001".to_owned(), 9)];
        assert_eq!(
            json!(scores(given)),
            json!([{"bound": 0.001, "sessions": 9}, {"bound": 0.5, "sessions": 3}, {"bound": 1.0, "sessions": 2}])
        );
    }
}
