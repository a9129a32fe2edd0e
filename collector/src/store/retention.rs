//! Forgetting: what is too old, and what is the oldest when the file holds too much. In small steps between the
//! transactions of arriving reports, so that nobody waits for it.

use super::rollup::{CULPRIT_SLOTS_MS, DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS};
use super::sql::{Connection, Result, Transaction};
use super::writing::delete;
use super::{incidents, notices, wanted};

/// Sessions that one step forgets at most.
const STEP_SESSIONS: i64 = 500;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Days that a session, and what was rolled up, is kept after it arrived.
    pub(crate) age_days: u32,
    /// Bytes in use in the file; the oldest sessions go when there are more. The file does not shrink, what is free in
    /// it is used again.
    pub(crate) bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age_days: 90, bytes_max: 20 * 1024 * 1024 * 1024 }
    }
}

impl Retention {
    /// Forgets a little. Returns how many sessions went, and whether there is more to forget.
    pub(super) fn step(self, connection: &Connection, now_ms: i64) -> Result<(u64, bool)> {
        let oldest_ms = now_ms.saturating_sub(i64::from(self.age_days) * DAY_MS);
        let too_large = connection.used_bytes()? > self.bytes_max;
        let transaction = connection.begin()?;
        // Size forgets whatever is oldest; age what arrived before the limit.
        let before_ms = if too_large { i64::MAX } else { oldest_ms };
        let gone = sessions(&transaction, before_ms)?;
        roll_ups(&transaction, oldest_ms)?;
        notices::forget(&transaction, now_ms)?;
        wanted::forget(&transaction, now_ms)?;
        transaction.commit()?;
        Ok((gone, gone > 0))
    }
}

/// Forgets the oldest sessions that arrived before `before_ms`, but never the newest one, whose `seq` counts on.
fn sessions(transaction: &Transaction<'_>, before_ms: i64) -> Result<u64> {
    let mut oldest = transaction.prepare_cached(
        "SELECT seq, id, block, node, flagged, received_ms FROM sessions
         WHERE seq < (SELECT max(seq) FROM sessions) ORDER BY seq LIMIT ?1",
    )?;
    type Old = (i64, i64, Option<i64>, String, bool, i64);
    let rows: Vec<Old> = oldest.query_map([STEP_SESSIONS], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    })?;
    let mut blocks = std::collections::BTreeSet::new();
    let (mut gone, mut bytes) = (0, 0);
    for (seq, id, block, node, flagged, _) in rows.into_iter().take_while(|row| row.5 < before_ms) {
        bytes += delete(transaction, seq)?;
        transaction.prepare_cached("DELETE FROM revisions WHERE id = ?1")?.execute([id])?;
        if flagged {
            let mut count = transaction.prepare_cached(
                "UPDATE nodes SET sessions_flagged = sessions_flagged - 1 WHERE node = ?1 AND sessions_flagged > 0",
            )?;
            count.execute([node])?;
        }
        blocks.extend(block);
        gone += 1;
    }
    for block in blocks {
        incidents::shrink(transaction, block)?;
    }
    transaction.changed(-bytes)?;
    Ok(gone)
}

/// What was rolled up goes when it is too old, but not while incidents of that time are there: logs may be older than
/// what is kept when they arrive.
fn roll_ups(transaction: &Transaction<'_>, oldest_ms: i64) -> Result<()> {
    let mut first = transaction.prepare_cached("SELECT min(hour) FROM incidents WHERE flagged > 0")?;
    let first_ms = first
        .query_row((), |row| row.get::<Option<i64>>(0))?
        .map_or(i64::MAX, |hour| hour.saturating_mul(HOUR_MS));
    let oldest_ms = oldest_ms.min(first_ms - DAY_MS);
    for (sql, length_ms) in [
        ("DELETE FROM minutes WHERE minute < ?1", MINUTE_MS),
        ("DELETE FROM scores WHERE slot < ?1", SLOT_MS),
    ] {
        transaction.prepare_cached(sql)?.execute([oldest_ms.div_euclid(length_ms)])?;
    }
    let mut culprits = transaction.prepare_cached("DELETE FROM culprits WHERE slot_ms = ?1 AND slot < ?2")?;
    for slot_ms in CULPRIT_SLOTS_MS {
        culprits.execute([slot_ms, oldest_ms.div_euclid(slot_ms)])?;
    }
    // A template is forgotten with its counts when nobody has counted it for as long.
    for sql in [
        "DELETE FROM template_hours WHERE template IN (SELECT template FROM templates WHERE last_seen_ms < ?1)",
        "DELETE FROM template_counts WHERE template IN (SELECT template FROM templates WHERE last_seen_ms < ?1)",
        "DELETE FROM templates WHERE last_seen_ms < ?1",
    ] {
        transaction.prepare_cached(sql)?.execute([oldest_ms])?;
    }
    Ok(())
}
