//! What the API asks the database about incidents, and the overview: from roll-ups and indexes alone, so the answer takes
//! as long whether there are a thousand sessions or ten million.

use super::reader::text;
use super::rollup::{CULPRIT_SLOTS_MS, DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS};
use super::sql::{Connection, Result, Row, ToValue, Value, params};
use crate::incident::PARTS_MAX;

/// Hours that are looked at for the worst incidents, the latest ones that have any.
const HOURS_MAX: usize = 1_000;
/// Slots that culprits of a range are read from at most, unless it is longer than as many days.
const CULPRIT_SLOTS_MAX: i64 = 48;

/// From when, inclusive, until when, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

/// An incident without its events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IncidentHead {
    pub(crate) incident: i64,
    pub(crate) block: i64,
    pub(crate) pool: String,
    pub(crate) hour: i64,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) score: f64,
    pub(crate) sessions: i64,
    pub(crate) flagged: i64,
    pub(crate) nodes: i64,
    /// JSON list.
    pub(crate) node_names: String,
    /// JSON list.
    pub(crate) culprits: String,
}

const HEAD: &str =
    "incident, block, pool, hour, start_ms, end_ms, score, sessions, flagged, nodes, node_names, culprits";

fn head(row: &Row<'_>) -> Result<IncidentHead> {
    Ok(IncidentHead {
        incident: row.get(0)?,
        block: row.get(1)?,
        pool: row.get(2)?,
        hour: row.get(3)?,
        start_ms: row.get(4)?,
        end_ms: row.get(5)?,
        score: row.get(6)?,
        sessions: row.get(7)?,
        flagged: row.get(8)?,
        nodes: row.get(9)?,
        node_names: row.get(10)?,
        culprits: row.get(11)?,
    })
}

/// Where a page of incidents begins: hour, score and number of the last one before it.
pub(crate) type Cursor = (i64, f64, i64);

/// Which incidents: by the hour of their last event, newest first, and by score in it, worst first.
#[derive(Clone, Debug, Default)]
pub(crate) struct IncidentFilter {
    pub(crate) range: Option<Range>,
    /// A culprit's JSON, as it is stored.
    pub(crate) culprit: Option<String>,
    pub(crate) nodes_min: Option<i64>,
    pub(crate) before: Option<Cursor>,
    pub(crate) limit: i64,
}

impl IncidentFilter {
    /// Incidents with a flagged session that pass, at most `limit`.
    pub(crate) fn incidents(&self, connection: &Connection) -> Result<Vec<IncidentHead>> {
        let mut sql = format!("SELECT {HEAD} FROM incidents WHERE flagged > 0");
        let mut values: Vec<Value<'_>> = Vec::new();
        let hours =
            self.range.map(|range| (range.from_ms.div_euclid(HOUR_MS), range.to_ms.div_euclid(HOUR_MS)));
        if let (Some((from, to)), Some(range)) = (&hours, &self.range) {
            sql += " AND hour >= ? AND hour <= ? AND end_ms >= ? AND end_ms < ?";
            values.extend([from.value(), to.value(), range.from_ms.value(), range.to_ms.value()]);
        }
        if let Some((hour, score, incident)) = &self.before {
            sql += " AND (hour, score, incident) < (?, ?, ?)";
            values.extend([hour.value(), score.value(), incident.value()]);
        }
        if let Some(culprit) = &self.culprit {
            sql += " AND instr(culprits, ?) > 0";
            values.push(culprit.value());
        }
        if let Some(nodes_min) = &self.nodes_min {
            sql += " AND nodes >= ?";
            values.push(nodes_min.value());
        }
        sql += " ORDER BY hour DESC, score DESC, incident DESC LIMIT ?";
        values.push(self.limit.value());
        connection.prepare_cached(&sql)?.query_map(values.as_slice(), head)
    }
}

/// The worst incidents that ended in a range, worst first.
pub(crate) fn worst(connection: &Connection, range: Range, limit: usize) -> Result<Vec<IncidentHead>> {
    let mut earlier = connection
        .prepare_cached("SELECT max(hour) FROM incidents WHERE flagged > 0 AND hour < ?1 AND hour >= ?2")?;
    let mut in_hour = connection.prepare_cached(&format!(
        "SELECT {HEAD} FROM incidents WHERE flagged > 0 AND hour = ?1 AND score > ?2 AND end_ms >= ?3 AND end_ms < ?4
         ORDER BY score DESC LIMIT ?5"
    ))?;
    let (first, mut hour) = (range.from_ms.div_euclid(HOUR_MS), range.to_ms.div_euclid(HOUR_MS) + 1);
    let mut worst: Vec<IncidentHead> = Vec::new();
    for _ in 0..HOURS_MAX {
        let Some(found) = earlier.query_row([hour, first], |row| row.get::<Option<i64>>(0))? else {
            break;
        };
        hour = found;
        let least = if worst.len() < limit { -1.0 } else { worst.last().map_or(-1.0, |last| last.score) };
        let rows = in_hour.query_map(
            params![hour, least, range.from_ms, range.to_ms, i64::try_from(limit).unwrap_or(i64::MAX)],
            head,
        )?;
        worst.extend(rows);
        worst.sort_by(|one, other| other.score.total_cmp(&one.score).then(other.end_ms.cmp(&one.end_ms)));
        worst.truncate(limit);
    }
    Ok(worst)
}

/// The incidents of a block.
pub(crate) fn of_block(connection: &Connection, block: i64) -> Result<Vec<IncidentHead>> {
    let sql = format!("SELECT {HEAD} FROM incidents WHERE block = ?1 ORDER BY pool");
    connection.prepare_cached(&sql)?.query_map([block], head)
}

/// The reports of the sessions that are joined for a block, those that ended last first, and how many have no room in
/// `bytes_max`.
pub(crate) fn reports(connection: &Connection, block: i64, bytes_max: usize) -> Result<(Vec<String>, usize)> {
    let mut reports = connection.prepare_cached(
        "SELECT body FROM sessions JOIN bodies USING (seq) WHERE block = ?1 ORDER BY end_ms DESC, id LIMIT ?2",
    )?;
    let (mut texts, mut bytes, mut left_out) = (Vec::new(), 0, 0);
    reports.query_each(params![block, i64::try_from(PARTS_MAX).unwrap_or(i64::MAX)], |row| {
        let text = text(&row.get::<Vec<u8>>(0)?)?;
        bytes += text.len();
        if bytes > bytes_max && !texts.is_empty() {
            left_out += 1;
        } else {
            texts.push(text);
        }
        Ok(())
    })?;
    Ok((texts, left_out))
}

/// What happened in a step of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) time_ms: i64,
    pub(crate) flagged: i64,
    pub(crate) scored: i64,
}

/// Points of a range where anything happened, `step_ms` apart.
pub(crate) fn points(connection: &Connection, range: Range, step_ms: i64) -> Result<Vec<Point>> {
    let step = (step_ms / MINUTE_MS).max(1);
    let mut points = connection.prepare_cached(
        "SELECT minute / ?1 AS step, CAST(sum(flagged) AS BIGINT), CAST(sum(scored) AS BIGINT) FROM minutes
         WHERE minute >= ?2 AND minute < ?3 GROUP BY step ORDER BY step",
    )?;
    let minute = |time_ms: i64| time_ms.div_euclid(MINUTE_MS);
    points.query_map([step, minute(range.from_ms), minute(range.to_ms + MINUTE_MS - 1)], |row| {
        let at: i64 = row.get(0)?;
        Ok(Point { time_ms: at * step * MINUTE_MS, flagged: row.get(1)?, scored: row.get(2)? })
    })
}

/// First and last minute with a flagged session, in ms.
pub(crate) fn extent(connection: &Connection) -> Result<Option<Range>> {
    // Each of the two ends at the first row that it finds; asked for together they look at all.
    let mut extent = connection.prepare_cached(
        "SELECT (SELECT min(minute) FROM minutes WHERE flagged > 0), (SELECT max(minute) FROM minutes WHERE flagged > 0)",
    )?;
    extent.query_row((), |row| {
        let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
        let range =
            |(first, last): (i64, i64)| Range { from_ms: first * MINUTE_MS, to_ms: (last + 1) * MINUTE_MS };
        Ok(first.zip(last).map(range))
    })
}

/// Sessions by upper bound of their score, as agents counted them.
pub(crate) fn scores(connection: &Connection, range: Range) -> Result<Vec<(String, i64)>> {
    let mut scores = connection.prepare_cached(
        "SELECT bound, CAST(sum(sessions) AS BIGINT) FROM scores WHERE slot >= ?1 AND slot <= ?2 GROUP BY bound",
    )?;
    scores.query_map(slots(range, SLOT_MS), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The threshold of the report that arrived last.
pub(crate) fn threshold(connection: &Connection) -> Result<Option<f64>> {
    let mut threshold = connection
        .prepare_cached("SELECT threshold FROM sessions WHERE seq = (SELECT max(seq) FROM sessions)")?;
    threshold.query_optional((), |row| row.get(0))
}

/// Kind, name, and how many incidents point at it.
pub(crate) type Count = (String, String, i64);

/// What the most incidents that began in a range point at.
pub(crate) fn culprits(connection: &Connection, range: Range, limit: i64) -> Result<Vec<Count>> {
    let length_ms = range.to_ms.saturating_sub(range.from_ms);
    let fits = |slot_ms: &i64| length_ms <= slot_ms * CULPRIT_SLOTS_MAX;
    let slot_ms = CULPRIT_SLOTS_MS.into_iter().find(fits).unwrap_or(DAY_MS);
    let [from, to] = slots(range, slot_ms);
    let mut culprits = connection.prepare_cached(
        "SELECT kind, name, CAST(sum(incidents) AS BIGINT) AS n FROM culprits
         WHERE slot_ms = ?1 AND slot >= ?2 AND slot <= ?3
         GROUP BY kind, name HAVING sum(incidents) > 0 ORDER BY n DESC, kind DESC, name LIMIT ?4",
    )?;
    culprits.query_map([slot_ms, from, to, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// How many incidents that began in a range point at one culprit.
pub(crate) fn culprit_count(connection: &Connection, range: Range, kind: &str, name: &str) -> Result<i64> {
    let mut count = connection.prepare_cached(
        "SELECT CAST(coalesce(sum(incidents), 0) AS BIGINT) FROM culprits
         WHERE slot_ms = ?1 AND slot >= ?2 AND slot <= ?3 AND kind = ?4 AND name = ?5",
    )?;
    let [from, to] = slots(range, SLOT_MS);
    count.query_row(params![SLOT_MS, from, to, kind, name], |row| row.get(0))
}

/// First and last slot of a range.
fn slots(range: Range, slot_ms: i64) -> [i64; 2] {
    [range.from_ms.div_euclid(slot_ms), (range.to_ms - 1).div_euclid(slot_ms)]
}

/// A template and its events in a range.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    pub(crate) template: i64,
    pub(crate) text: String,
    pub(crate) known: bool,
    pub(crate) first_seen_ms: i64,
    pub(crate) last_seen_ms: i64,
    pub(crate) first_node: String,
    /// In the range; of new ones, in all.
    pub(crate) events: i64,
}

fn template(row: &Row<'_>) -> Result<Template> {
    Ok(Template {
        template: row.get(0)?,
        text: row.get(1)?,
        known: row.get(2)?,
        first_seen_ms: row.get(3)?,
        last_seen_ms: row.get(4)?,
        first_node: row.get(5)?,
        events: row.get(6)?,
    })
}

/// Templates that were first seen in a range, those that a model does not know first, then newest first.
pub(crate) fn new_templates(connection: &Connection, range: Range, limit: i64) -> Result<Vec<Template>> {
    let mut templates = connection.prepare_cached(
        "SELECT template, text, known, first_seen_ms, last_seen_ms, first_node, events FROM templates
         WHERE first_seen_ms >= ?1 AND first_seen_ms < ?2 ORDER BY known, first_seen_ms DESC, template LIMIT ?3",
    )?;
    templates.query_map([range.from_ms, range.to_ms, limit], template)
}

/// Templates by their events in a range, most first; `known` chooses.
pub(crate) fn templates(
    connection: &Connection,
    range: Range,
    known: Option<bool>,
    limit: i64,
) -> Result<Vec<Template>> {
    let mut templates = connection.prepare_cached(
        "SELECT template, text, known, first_seen_ms, last_seen_ms, first_node, n FROM
             (SELECT template, CAST(sum(events) AS BIGINT) AS n FROM template_hours
              WHERE hour >= ?1 AND hour <= ?2 GROUP BY template) AS counted
             JOIN templates USING (template)
         WHERE ?3 IS NULL OR known = ?3 ORDER BY n DESC, template LIMIT ?4",
    )?;
    let [from, to] = slots(range, HOUR_MS);
    templates.query_map(params![from, to, known, limit], template)
}

/// Events of a template in a range, by the hour.
pub(crate) fn template_hours(
    connection: &Connection,
    range: Range,
    template: i64,
) -> Result<Vec<(i64, i64)>> {
    let mut hours = connection.prepare_cached(
        "SELECT hour, events FROM template_hours WHERE template = ?1 AND hour >= ?2 AND hour <= ?3 ORDER BY hour",
    )?;
    let [from, to] = slots(range, HOUR_MS);
    hours.query_map([template, from, to], |row| Ok((row.get(0)?, row.get(1)?)))
}
