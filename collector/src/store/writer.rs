//! The one thread that writes. What waits in the queue goes into one transaction, and all of it is acknowledged when
//! that is committed. Where one batch may be at fault, each is tried alone, so that it cannot take the others down.

use std::sync::mpsc::Receiver;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};
use tokio::sync::oneshot;
use tracing::{debug, error, warn};

use super::{Batch, Row, Sighting, Stored, WriteError};

/// Batches in one transaction; further ones wait for the next.
const GROUP_MAX: usize = 32;

/// A batch and who waits for it.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) reply: oneshot::Sender<Result<Stored, WriteError>>,
}

/// Writes until the queue's senders are gone and it is empty.
pub(super) fn run(mut connection: Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(job) = jobs.try_recv()
        {
            group.push(job);
        }
        write_group(&mut connection, group);
    }
    // The last connection to close would do it too, but a reader may outlive the writer.
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        warn!(%error, "write-ahead log not folded into the database");
    }
}

fn write_group(connection: &mut Connection, group: Vec<Job>) {
    let batches: Vec<&Batch> = group.iter().map(|job| &job.batch).collect();
    match commit(connection, &batches) {
        Ok(stored) => {
            debug!(batches = stored.len(), "committed");
            for (job, stored) in group.into_iter().zip(stored) {
                answer(job, Ok(stored));
            }
        }
        Err(error) if group.len() > 1 && is_of_one_batch(&error) => {
            warn!(%error, "transaction failed; trying its batches one by one");
            for job in group {
                write_group(connection, vec![job]);
            }
        }
        Err(error) => {
            error!(%error, "transaction failed; the senders keep their reports and try again");
            for job in group {
                answer(job, Err(WriteError::Failed));
            }
        }
    }
}

/// Whether an error can be due to what one batch holds. A full disk or a locked file is not: trying every batch by itself
/// would only make all of them wait longer.
fn is_of_one_batch(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => {
            matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
        }
        None => true,
    }
}

/// Nobody may be waiting any more; the batch is stored or not all the same.
fn answer(job: Job, result: Result<Stored, WriteError>) {
    drop(job.reply.send(result));
}

fn commit(connection: &mut Connection, batches: &[&Batch]) -> rusqlite::Result<Vec<Stored>> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let now_ms = now_ms();
    let mut results = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut stored = Stored::default();
        // Before the sessions, whose flags are counted on their node.
        for sighting in &batch.nodes {
            see_node(&transaction, sighting, now_ms)?;
        }
        for row in &batch.rows {
            store_row(&transaction, row, now_ms, &mut stored)?;
        }
        results.push(stored);
    }
    transaction.commit()?;
    Ok(results)
}

fn store_row(
    transaction: &Transaction<'_>,
    row: &Row,
    now_ms: i64,
    stored: &mut Stored,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO revisions (id, revision, flagged, score, model, received_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    if insert.execute(params![row.id, row.revision, row.flagged, row.score, row.model, now_ms])? == 0 {
        stored.duplicates += 1;
        return Ok(());
    }
    let mut current =
        transaction.prepare_cached("SELECT revision, node, flagged FROM sessions WHERE id = ?1")?;
    let current: Option<(i64, String, bool)> =
        current.query_row([&row.id], |found| Ok((found.get(0)?, found.get(1)?, found.get(2)?))).optional()?;
    if let Some((revision, node, flagged)) = current {
        if revision > row.revision {
            stored.older += 1;
            return Ok(());
        }
        if flagged {
            count_flagged(transaction, &node, -1, now_ms)?;
        }
    }
    replace_current(transaction, row, now_ms)?;
    if row.flagged {
        count_flagged(transaction, &row.node, 1, now_ms)?;
    }
    stored.current += 1;
    Ok(())
}

fn replace_current(transaction: &Transaction<'_>, row: &Row, now_ms: i64) -> rusqlite::Result<()> {
    let mut session = transaction.prepare_cached(
        "INSERT OR REPLACE INTO sessions (seq, id, revision, node, block, pool, flagged, score, threshold, model,
             reasons, start_ms, end_ms, events, received_ms)
         VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM sessions),
             ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    session.execute(params![
        row.id,
        row.revision,
        row.node,
        row.block,
        row.pool,
        row.flagged,
        row.score,
        row.threshold,
        row.model,
        row.reasons,
        row.start_ms,
        row.end_ms,
        row.events,
        now_ms,
    ])?;
    let mut report =
        transaction.prepare_cached("INSERT OR REPLACE INTO reports (id, body) VALUES (?1, ?2)")?;
    report.execute(params![row.id, row.body])?;
    Ok(())
}

/// Kept beside the node so that the list of nodes needs no scan over the sessions.
fn count_flagged(
    transaction: &Transaction<'_>,
    node: &str,
    change: i64,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let mut count = transaction.prepare_cached(
        "INSERT INTO nodes (node, agent_version, model, first_seen_ms, last_seen_ms, sessions_flagged)
         VALUES (?1, '', '', ?3, ?3, ?2)
         ON CONFLICT (node) DO UPDATE SET sessions_flagged = sessions_flagged + ?2",
    )?;
    count.execute(params![node, change, now_ms])?;
    Ok(())
}

fn see_node(transaction: &Transaction<'_>, sighting: &Sighting, now_ms: i64) -> rusqlite::Result<()> {
    let mut seen = transaction.prepare_cached(
        "INSERT INTO nodes (node, agent_version, model, first_seen_ms, last_seen_ms)
         VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT (node) DO UPDATE SET
             agent_version = CASE ?2 WHEN '' THEN agent_version ELSE ?2 END,
             model = CASE ?3 WHEN '' THEN model ELSE ?3 END,
             last_seen_ms = ?4",
    )?;
    seen.execute(params![sighting.node, sighting.agent_version, sighting.model, now_ms])?;
    if let Some(metrics) = &sighting.metrics {
        let mut update = transaction.prepare_cached(
            "UPDATE nodes SET metrics = ?2, metrics_ms = ?3
             WHERE node = ?1 AND (metrics_ms IS NULL OR metrics_ms <= ?3)",
        )?;
        update.execute(params![sighting.node, metrics.values, metrics.time_ms])?;
    }
    Ok(())
}

/// The collector's clock; before 1970 it is 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
