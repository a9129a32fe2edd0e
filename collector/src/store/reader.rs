//! What the API asks the database about sessions and nodes.

use super::sql::{Connection, Error, Result, Row, ToValue, Value, params};
use super::unpack;

/// Revisions of a session that are listed.
const REVISIONS_MAX: i64 = 100;
/// An agent sends a summary a minute: after two it is quiet, after ten it is lost.
const QUIET_AFTER_MS: i64 = 2 * 60_000;
const LOST_AFTER_MS: i64 = 10 * 60_000;

/// Which sessions, newest arrival first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    pub(crate) node: Option<String>,
    pub(crate) block: Option<i64>,
    /// `None`: flagged and taken back.
    pub(crate) flagged: Option<bool>,
    pub(crate) min_score: Option<f64>,
    /// Only what arrived before this cursor.
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// A session without its events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionHead {
    pub(crate) seq: i64,
    pub(crate) id: i64,
    pub(crate) revision: i64,
    pub(crate) node: String,
    pub(crate) block: Option<i64>,
    pub(crate) pool: String,
    pub(crate) flagged: bool,
    pub(crate) score: f64,
    pub(crate) threshold: f64,
    pub(crate) model: String,
    /// JSON list.
    pub(crate) reasons: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) events: i64,
    pub(crate) received_ms: i64,
}

/// A session with everything that is stored about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    /// The report of the current revision, as JSON.
    pub(crate) body: String,
    pub(crate) received_ms: i64,
    pub(crate) block: Option<i64>,
    /// Highest first, at most [`REVISIONS_MAX`].
    pub(crate) revisions: Vec<Revision>,
}

/// A verdict that once was, or is, the session's current one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Revision {
    pub(crate) revision: i64,
    pub(crate) flagged: bool,
    pub(crate) score: f64,
    pub(crate) model: String,
    pub(crate) received_ms: i64,
}

/// A node that has sent something.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) node: String,
    pub(crate) agent_version: String,
    pub(crate) model: String,
    pub(crate) first_seen_ms: i64,
    pub(crate) last_seen_ms: i64,
    pub(crate) sessions_flagged: i64,
    /// JSON object.
    pub(crate) metrics: String,
    pub(crate) metrics_ms: Option<i64>,
}

impl Filter {
    /// Sessions that pass, at most `limit`.
    pub(crate) fn sessions(&self, connection: &Connection) -> Result<Vec<SessionHead>> {
        let mut conditions: Vec<&str> = Vec::new();
        let mut values: Vec<Value<'_>> = Vec::new();
        if let Some(node) = &self.node {
            conditions.push("node = ?");
            values.push(node.value());
        }
        if let Some(block) = &self.block {
            // By the index of blocks, which is not in the order of arrival.
            conditions.push("block = ?");
            values.push(block.value());
        }
        match self.flagged {
            Some(true) => conditions.push("flagged = 1"),
            // In this form the partial index applies.
            Some(false) => conditions.push("flagged = 0"),
            None => {}
        }
        if let Some(min_score) = &self.min_score {
            conditions.push("score >= ?");
            values.push(min_score.value());
        }
        if let Some(before) = &self.before {
            conditions.push("seq < ?");
            values.push(before.value());
        }
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        values.push(limit.value());
        let conditions = if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") };
        let sql = format!(
            "SELECT seq, id, revision, node, block, pool, flagged, score, threshold, model, reasons, start_ms, end_ms,
                 events, received_ms
             FROM sessions WHERE {conditions} ORDER BY seq DESC LIMIT ?"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        statement.query_map(values.as_slice(), session_head)
    }
}

fn session_head(row: &Row<'_>) -> Result<SessionHead> {
    Ok(SessionHead {
        seq: row.get(0)?,
        id: row.get(1)?,
        revision: row.get(2)?,
        node: row.get(3)?,
        block: row.get(4)?,
        pool: row.get(5)?,
        flagged: row.get(6)?,
        score: row.get(7)?,
        threshold: row.get(8)?,
        model: row.get(9)?,
        reasons: row.get(10)?,
        start_ms: row.get(11)?,
        end_ms: row.get(12)?,
        events: row.get(13)?,
        received_ms: row.get(14)?,
    })
}

impl Session {
    /// The session of an id, if there is one.
    pub(crate) fn find(connection: &Connection, id: i64) -> Result<Option<Self>> {
        // All queries see one state.
        let connection = connection.snapshot()?;
        let mut current = connection.prepare_cached(
            "SELECT body, received_ms, block, revision, flagged, score, model
             FROM sessions JOIN bodies USING (seq) WHERE id = ?1",
        )?;
        let read = |row: &Row<'_>| {
            let body: Vec<u8> = row.get(0)?;
            let received_ms = row.get(1)?;
            let current = Revision {
                revision: row.get(3)?,
                flagged: row.get(4)?,
                score: row.get(5)?,
                model: row.get(6)?,
                received_ms,
            };
            Ok(Self { body: text(&body)?, received_ms, block: row.get(2)?, revisions: vec![current] })
        };
        let Some(mut session) = current.query_optional([id], read)? else { return Ok(None) };
        let mut past = connection.prepare_cached(
            "SELECT revision, flagged, score, model, received_ms FROM revisions WHERE id = ?1
             ORDER BY revision DESC LIMIT ?2",
        )?;
        let past = past.query_map([id, REVISIONS_MAX - 1], |row| {
            Ok(Revision {
                revision: row.get(0)?,
                flagged: row.get(1)?,
                score: row.get(2)?,
                model: row.get(3)?,
                received_ms: row.get(4)?,
            })
        })?;
        session.revisions.extend(past);
        Ok(Some(session))
    }
}

/// The text of a packed report.
pub(super) fn text(body: &[u8]) -> Result<String> {
    unpack(body).map_err(Error::Damaged)
}

impl Node {
    /// Nodes by name after `after`, at most `limit`.
    pub(crate) fn page(connection: &Connection, after: &str, limit: usize) -> Result<Vec<Self>> {
        let mut statement = connection.prepare_cached(
            "SELECT node, agent_version, model, first_seen_ms, last_seen_ms, sessions_flagged, metrics, metrics_ms
             FROM nodes WHERE node > ?1 ORDER BY node LIMIT ?2",
        )?;
        statement.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok(Self {
                node: row.get(0)?,
                agent_version: row.get(1)?,
                model: row.get(2)?,
                first_seen_ms: row.get(3)?,
                last_seen_ms: row.get(4)?,
                sessions_flagged: row.get(5)?,
                metrics: row.get(6)?,
                metrics_ms: row.get(7)?,
            })
        })
    }

    /// How many nodes report, are quiet and are lost.
    pub(crate) fn count_by_age(connection: &Connection, now_ms: i64) -> Result<[i64; 3]> {
        let mut count = connection.prepare_cached(
            "SELECT count(*) FILTER (WHERE last_seen_ms >= ?1),
                 count(*) FILTER (WHERE last_seen_ms >= ?2 AND last_seen_ms < ?1),
                 count(*) FILTER (WHERE last_seen_ms < ?2) FROM nodes",
        )?;
        let since = [now_ms - QUIET_AFTER_MS, now_ms - LOST_AFTER_MS];
        count.query_row(since, |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
    }
}

/// Totals that cost nothing to know.
pub(crate) struct Totals {
    /// Number of the last current state that was stored.
    pub(crate) seq: i64,
    pub(crate) nodes: i64,
}

/// Reads the totals.
pub(crate) fn totals(connection: &Connection) -> Result<Totals> {
    let mut totals = connection.prepare_cached(
        "SELECT (SELECT coalesce(max(seq), 0) FROM sessions), (SELECT count(*) FROM nodes)",
    )?;
    totals.query_row((), |row| Ok(Totals { seq: row.get(0)?, nodes: row.get(1)? }))
}
