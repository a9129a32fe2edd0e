//! From version 1 to 2: every session is stored anew, in the order in which they arrived, by the code that stores an
//! arriving one, so that roll-ups and incidents come out as if they had been there from the start.

use super::sql::{Result, Transaction, params};
use super::writing::Writing;
use super::{Row, body, schema};
use crate::culprit;
use crate::notify::Policy;
use blocksift_detector::Report;

/// A step of [`schema`].
pub(super) fn to_v2(transaction: &Transaction<'_>) -> Result<()> {
    for table in ["sessions", "reports", "revisions", "nodes"] {
        transaction.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}_v1"))?;
    }
    transaction.execute_batch(
        "DROP INDEX sessions_node; DROP INDEX sessions_block; DROP INDEX sessions_taken_back;",
    )?;
    transaction.execute_batch(schema::V2)?;
    // Without the flagged sessions, which storing counts.
    transaction.execute_batch(
        "INSERT INTO nodes (node, agent_version, model, first_seen_ms, last_seen_ms, metrics, metrics_ms)
         SELECT node, agent_version, model, first_seen_ms, last_seen_ms, metrics, metrics_ms FROM nodes_v1",
    )?;
    sessions(transaction)?;
    revisions(transaction)?;
    transaction.execute_batch(
        "DROP TABLE sessions_v1; DROP TABLE reports_v1; DROP TABLE revisions_v1; DROP TABLE nodes_v1;",
    )
}

fn sessions(transaction: &Transaction<'_>) -> Result<()> {
    let mut old = transaction.prepare_cached(
        "SELECT seq, id, revision, node, block, pool, flagged, score, threshold, model, reasons, start_ms, end_ms,
             events, received_ms, body
         FROM sessions_v1 JOIN reports_v1 USING (id) ORDER BY seq",
    )?;
    let mut writing = Writing::begin(transaction, 0)?;
    old.query_each((), |old| {
        let block: String = old.get(4)?;
        let text: String = old.get(15)?;
        let report: Option<Report> = serde_json::from_str(&text).ok();
        let row = Row {
            id: number(&old.get::<String>(1)?),
            revision: old.get(2)?,
            node: old.get(3)?,
            block: block.strip_prefix("blk_").and_then(|id| id.parse().ok()),
            pool: old.get(5)?,
            flagged: old.get(6)?,
            score: old.get(7)?,
            threshold: old.get(8)?,
            model: old.get(9)?,
            reasons: old.get(10)?,
            start_ms: old.get(11)?,
            end_ms: old.get(12)?,
            events: old.get(13)?,
            culprits: report.as_ref().map(|report| culprit::of(&report.into())).unwrap_or_default(),
            named: Vec::new(),
            body: body::pack(text.as_bytes()),
        };
        writing.at(old.get(14)?);
        writing.row(&row).map(drop)
    })?;
    // What was there before is no news.
    writing.finish(&Policy::default(), None)
}

fn revisions(transaction: &Transaction<'_>) -> Result<()> {
    let mut old = transaction.prepare_cached(
        "SELECT old.id, old.revision, old.flagged, old.score, old.model, old.received_ms
         FROM revisions_v1 AS old JOIN sessions_v1 AS current ON current.id = old.id
         WHERE old.revision != current.revision",
    )?;
    let mut insert = transaction.prepare_cached("INSERT INTO revisions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    old.query_each((), |row| {
        let (revision, flagged): (i64, bool) = (row.get(1)?, row.get(2)?);
        let (score, model, received_ms): (f64, String, i64) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let id = number(&row.get::<String>(0)?);
        insert.execute(params![id, revision, flagged, score, model, received_ms]).map(drop)
    })
}

/// An id as it is stored now. Ids were checked to be 16 hexadecimal digits.
fn number(id: &str) -> i64 {
    u64::from_str_radix(id, 16).unwrap_or_default().cast_signed()
}
