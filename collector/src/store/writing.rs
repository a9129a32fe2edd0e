//! One transaction from begin to commit: rows and sightings go in one by one; incidents and roll-ups of everything that
//! was touched are brought up to date once, at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::rollup::Rollups;
use super::sql::{self, Result, Transaction, params};
use super::wanted::Directory;
use super::{Batch, Row, Sighting, Stored, incidents, notices, templates};
use crate::notify::Policy;

/// Bytes that a session takes beside its packed report: its row, its part of an incident, indexes. Rounded up.
const SESSION_BYTES: i64 = 1_024;

/// What is being written.
pub(super) struct Writing<'a> {
    transaction: &'a Transaction<'a>,
    now_ms: i64,
    seq: i64,
    /// Blocks whose incidents are to be made anew.
    blocks: BTreeSet<i64>,
    rollups: Rollups,
    /// Whom flagged reports name, by block.
    named: BTreeMap<i64, Vec<String>>,
    /// What logs call nodes.
    addresses: Vec<(String, Vec<String>)>,
    /// What came, less what went.
    bytes: i64,
}

/// The current state of a session before a row comes.
struct Current {
    seq: i64,
    revision: i64,
    node: String,
    block: Option<i64>,
    flagged: bool,
    end_ms: i64,
}

impl<'a> Writing<'a> {
    /// Nothing written yet.
    pub(super) fn begin(transaction: &'a Transaction<'a>, now_ms: i64) -> Result<Self> {
        let mut last = transaction.prepare_cached("SELECT coalesce(max(seq), 0) FROM sessions")?;
        let seq = last.query_row((), |row| row.get(0))?;
        Ok(Self {
            transaction,
            now_ms,
            seq,
            blocks: BTreeSet::new(),
            rollups: Rollups::default(),
            named: BTreeMap::new(),
            addresses: Vec::new(),
            bytes: 0,
        })
    }

    /// Sets the time of arrival of what comes next.
    pub(super) fn at(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
    }

    /// Everything of one request.
    pub(super) fn batch(&mut self, batch: &Batch) -> Result<Stored> {
        let mut stored = Stored::default();
        // Before the sessions, whose flags are counted on their node.
        for sighting in &batch.nodes {
            self.node(sighting)?;
        }
        for row in &batch.rows {
            match self.row(row)? {
                Fate::Current => stored.current += 1,
                Fate::Older => stored.older += 1,
                Fate::Duplicate => stored.duplicates += 1,
            }
        }
        Ok(stored)
    }

    /// One report.
    pub(super) fn row(&mut self, row: &Row) -> Result<Fate> {
        // Most are new, and storing them asks for their id anyway.
        if !self.make_current(row)? {
            let current = self.current(row.id)?;
            if current.revision == row.revision {
                return Ok(Fate::Duplicate);
            }
            if current.revision > row.revision {
                return self.keep_verdict(row);
            }
            self.retire(row.id, &current)?;
            self.make_current(row)?;
        }
        if row.flagged {
            self.count_flagged(&row.node, 1)?;
            self.rollups.flagged(row.end_ms, 1);
        }
        if let Some(block) = row.block {
            self.blocks.insert(block);
            if !row.named.is_empty() {
                self.named.entry(block).or_default().extend_from_slice(&row.named);
            }
        }
        Ok(Fate::Current)
    }

    fn current(&self, id: i64) -> Result<Current> {
        let mut current = self.transaction.prepare_cached(
            "SELECT seq, revision, node, block, flagged, end_ms FROM sessions WHERE id = ?1",
        )?;
        let read = |row: &sql::Row<'_>| {
            Ok(Current {
                seq: row.get(0)?,
                revision: row.get(1)?,
                node: row.get(2)?,
                block: row.get(3)?,
                flagged: row.get(4)?,
                end_ms: row.get(5)?,
            })
        };
        current.query_row([id], read)
    }

    /// A report older than what is current: of it the verdict is kept, once.
    fn keep_verdict(&self, row: &Row) -> Result<Fate> {
        let mut keep = self.transaction.prepare_cached(
            "INSERT INTO revisions (id, revision, flagged, score, model, received_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id, revision) DO NOTHING",
        )?;
        let kept =
            keep.execute(params![row.id, row.revision, row.flagged, row.score, row.model, self.now_ms])?;
        Ok(if kept == 0 { Fate::Duplicate } else { Fate::Older })
    }

    /// Moves what was current to the verdicts of the past.
    fn retire(&mut self, id: i64, current: &Current) -> Result<()> {
        let mut keep = self.transaction.prepare_cached(
            "INSERT INTO revisions (id, revision, flagged, score, model, received_ms)
             SELECT id, revision, flagged, score, model, received_ms FROM sessions WHERE id = ?1
             ON CONFLICT (id, revision) DO NOTHING",
        )?;
        keep.execute([id])?;
        self.bytes -= delete(self.transaction, current.seq)?;
        // A sender that is not ours may name another block than before.
        self.blocks.extend(current.block);
        if current.flagged {
            self.count_flagged(&current.node, -1)?;
            self.rollups.flagged(current.end_ms, -1);
        }
        Ok(())
    }

    /// Says whether there was no other state of the session.
    fn make_current(&mut self, row: &Row) -> Result<bool> {
        let seq = self.seq + 1;
        let culprits = serde_json::to_string(&row.culprits).unwrap_or_else(|_| "[]".to_owned());
        let mut session = self.transaction.prepare_cached(
            "INSERT INTO sessions (seq, id, revision, node, block, pool, flagged, score, threshold, model, reasons,
                 start_ms, end_ms, events, received_ms, culprits)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT (id) DO NOTHING",
        )?;
        let stored = session.execute(params![
            seq,
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
            self.now_ms,
            culprits,
        ])?;
        if stored == 0 {
            return Ok(false);
        }
        let mut body = self.transaction.prepare_cached("INSERT INTO bodies (seq, body) VALUES (?1, ?2)")?;
        body.execute(params![seq, row.body])?;
        self.seq = seq;
        self.bytes += bytes(row.body.len());
        Ok(true)
    }

    /// Kept beside the node so that the list of nodes needs no scan over the sessions.
    fn count_flagged(&mut self, node: &str, change: i64) -> Result<()> {
        let known = self.rollups.node_flagged(node, change);
        if !known {
            let mut add = self.transaction.prepare_cached(
                "INSERT INTO nodes (node, agent_version, model, first_seen_ms, last_seen_ms)
                 VALUES (?1, '', '', ?2, ?2) ON CONFLICT (node) DO NOTHING",
            )?;
            add.execute(params![node, self.now_ms])?;
        }
        Ok(())
    }

    /// Somebody sent something.
    fn node(&mut self, sighting: &Sighting) -> Result<()> {
        let mut seen = self.transaction.prepare_cached(
            "INSERT INTO nodes (node, agent_version, model, first_seen_ms, last_seen_ms)
             VALUES (?1, ?2, ?3, ?4, ?4)
             ON CONFLICT (node) DO UPDATE SET
                 agent_version = CASE ?2 WHEN '' THEN nodes.agent_version ELSE ?2 END,
                 model = CASE ?3 WHEN '' THEN nodes.model ELSE ?3 END,
                 last_seen_ms = ?4",
        )?;
        seen.execute(params![sighting.node, sighting.agent_version, sighting.model, self.now_ms])?;
        if !sighting.addresses.is_empty() {
            self.addresses.push((sighting.node.clone(), sighting.addresses.clone()));
        }
        let Some(metrics) = &sighting.metrics else { return Ok(()) };
        let mut before =
            self.transaction.prepare_cached("SELECT metrics, metrics_ms FROM nodes WHERE node = ?1")?;
        let before: (String, Option<i64>) =
            before.query_row(params![sighting.node], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if before.1.is_some_and(|before_ms| before_ms >= metrics.time_ms) {
            return Ok(());
        }
        self.rollups.summary(before.1.map(|_| before.0.as_str()), metrics);
        let mut update = self
            .transaction
            .prepare_cached("UPDATE nodes SET metrics = ?2, metrics_ms = ?3 WHERE node = ?1")?;
        update.execute(params![sighting.node, metrics.values, metrics.time_ms])?;
        templates::count(self.transaction, &sighting.node, metrics, &mut self.rollups)
    }

    /// Brings incidents and roll-ups up to date, puts what is to be told into the outbox, and notes who is to be asked;
    /// `None`: nobody.
    pub(super) fn finish(mut self, policy: &Policy, directory: Option<&mut Directory>) -> Result<()> {
        if let Some(directory) = directory {
            for (node, addresses) in &self.addresses {
                directory.learn(self.transaction, node, addresses)?;
            }
            for (block, names) in &self.named {
                directory.want(self.transaction, *block, names, self.now_ms)?;
            }
        }
        for block in std::mem::take(&mut self.blocks) {
            let turns = incidents::join(self.transaction, block, &mut self.rollups)?;
            if !policy.is_silent() {
                notices::tell(self.transaction, &turns, policy, self.now_ms)?;
            }
        }
        self.rollups.store(self.transaction)?;
        self.transaction.changed(self.bytes)
    }
}

/// What a session with a packed report of this length counts as, see [`sql::Connection::used_bytes`].
fn bytes(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX).saturating_add(SESSION_BYTES)
}

/// Deletes a session with its report; returns what they were counted as.
pub(super) fn delete(transaction: &Transaction<'_>, seq: i64) -> Result<i64> {
    transaction.prepare_cached("DELETE FROM sessions WHERE seq = ?1")?.execute([seq])?;
    let mut body = transaction.prepare_cached("DELETE FROM bodies WHERE seq = ?1 RETURNING length(body)")?;
    let length: Option<i64> = body.query_optional([seq], |row| row.get(0))?;
    Ok(length.map_or(0, |length| length + SESSION_BYTES))
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Current,
    Older,
    Duplicate,
}
