//! Which incidents are told to people, decided in the transaction that makes them: each once when it is found and once
//! when it is taken back, within a budget of its node, the others in a group from time to time.

use super::incidents::Turn;
use super::rollup::DAY_MS;
use super::sql::{Connection, Result, Transaction, params};
use super::{ReadError, Store, WriteError};
use crate::notify::{self, GROUP_NAMED_MAX, Group, Notice, Policy, Subject};

/// Notifications that wait for one receiver; further ones are dropped and counted.
const OUTBOX_MAX: i64 = 10_000;
/// Days that budgets and told incidents are remembered.
const KEPT_DAYS: i64 = 90;

/// States of a row of `notices`.
const WAITS: i64 = 0;
const TOLD: i64 = 1;
const TOLD_IN_GROUP: i64 = 2;

/// Puts what has turned into the outbox.
pub(super) fn tell(
    transaction: &Transaction<'_>,
    turns: &[Turn],
    policy: &Policy,
    now_ms: i64,
) -> Result<()> {
    for turn in turns {
        match turn {
            Turn::Flagged(subject) => found(transaction, subject, policy, now_ms)?,
            Turn::TakenBack { block, pool } => taken_back(transaction, *block, pool, policy, now_ms)?,
            Turn::Renamed { block, pool } => {
                let sql = "UPDATE notices SET pool = ?2 WHERE block = ?1 AND pool = ''";
                transaction.prepare_cached(sql)?.execute(params![block, pool])?;
            }
        }
    }
    Ok(())
}

fn found(transaction: &Transaction<'_>, subject: &Subject, policy: &Policy, now_ms: i64) -> Result<()> {
    if subject.end_ms < now_ms.saturating_sub(policy.age_max_ms) {
        return Ok(());
    }
    let subject = Subject { told_ms: now_ms, ..subject.clone() };
    let mut count = transaction.prepare_cached(
        "INSERT INTO notice_days (node, day, told) VALUES (?1, ?2, 1)
         ON CONFLICT (node, day) DO UPDATE SET told = notice_days.told + 1 WHERE notice_days.told < ?3",
    )?;
    let within = policy.budget_per_node > 0
        && count.execute(params![subject.node, now_ms.div_euclid(DAY_MS), policy.budget_per_node])? > 0;
    let mut note = transaction.prepare_cached(
        "INSERT INTO notices (block, pool, state, node, score, at_ms, subject) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (block, pool) DO NOTHING",
    )?;
    note.execute(params![
        subject.block,
        subject.pool,
        if within { TOLD } else { WAITS },
        subject.node,
        subject.score,
        now_ms,
        json(&subject),
    ])?;
    if within { post(transaction, policy, now_ms, &Notice::Incident(subject)) } else { Ok(()) }
}

fn taken_back(
    transaction: &Transaction<'_>,
    block: i64,
    pool: &str,
    policy: &Policy,
    now_ms: i64,
) -> Result<()> {
    let mut told =
        transaction.prepare_cached("SELECT state, subject FROM notices WHERE block = ?1 AND pool = ?2")?;
    let told: Option<(i64, String)> =
        told.query_optional(params![block, pool], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some((state, subject)) = told else { return Ok(()) };
    let sql = "DELETE FROM notices WHERE block = ?1 AND pool = ?2";
    transaction.prepare_cached(sql)?.execute(params![block, pool])?;
    match serde_json::from_str(&subject) {
        Ok(subject) if state == TOLD => post(transaction, policy, now_ms, &Notice::TakenBack(subject)),
        _ => Ok(()),
    }
}

/// Puts a notice into the outbox of every receiver that has room.
fn post(transaction: &Transaction<'_>, policy: &Policy, now_ms: i64, notice: &Notice) -> Result<()> {
    let text = json(notice);
    let mut post = transaction.prepare_cached(
        "INSERT INTO outbox (receiver, at_ms, notice)
         SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM outbox WHERE receiver = ?1) < ?4",
    )?;
    for receiver in &policy.receivers {
        if post.execute(params![receiver.name, now_ms, text, OUTBOX_MAX])? == 0 {
            notify::count(&receiver.dropped_total);
        }
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Puts a group of all incidents that wait into the outbox, once the oldest has waited long enough.
fn group(transaction: &Transaction<'_>, policy: &Policy, now_ms: i64) -> Result<()> {
    let due_ms = now_ms.saturating_sub(policy.group_interval_ms);
    let mut first = transaction.prepare_cached("SELECT min(at_ms) FROM notices WHERE state = ?1")?;
    let first: Option<i64> = first.query_row([WAITS], |row| row.get(0))?;
    if first.is_none_or(|first_ms| first_ms > due_ms) {
        return Ok(());
    }
    let named = i64::try_from(GROUP_NAMED_MAX).unwrap_or(i64::MAX);
    let mut worst = transaction
        .prepare_cached("SELECT subject FROM notices WHERE state = ?1 ORDER BY score DESC, block LIMIT ?2")?;
    let worst: Vec<String> = worst.query_map([WAITS, named], |row| row.get(0))?;
    let mut by_node = transaction.prepare_cached(
        "SELECT node, count(*) AS n FROM notices WHERE state = ?1 GROUP BY node ORDER BY n DESC, node",
    )?;
    let nodes: Vec<(String, i64)> = by_node.query_map([WAITS], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    let incidents = unsigned(nodes.iter().map(|(_, incidents)| incidents).sum());
    let group = Group {
        incidents,
        nodes_total: u64::try_from(nodes.len()).unwrap_or(0),
        nodes: nodes.into_iter().take(GROUP_NAMED_MAX).map(|(node, count)| (node, unsigned(count))).collect(),
        worst: worst.iter().filter_map(|text| serde_json::from_str(text).ok()).collect(),
        told_ms: now_ms,
    };
    transaction
        .prepare_cached("UPDATE notices SET state = ?2 WHERE state = ?1")?
        .execute([WAITS, TOLD_IN_GROUP])?;
    post(transaction, policy, now_ms, &Notice::Group(group))?;
    policy.grouped_total.fetch_add(incidents, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

/// Forgets budgets and incidents of long ago.
pub(super) fn forget(transaction: &Transaction<'_>, now_ms: i64) -> Result<()> {
    let oldest_ms = now_ms.saturating_sub(KEPT_DAYS * DAY_MS);
    transaction.prepare_cached("DELETE FROM notices WHERE at_ms < ?1")?.execute([oldest_ms])?;
    let sql = "DELETE FROM notice_days WHERE day < ?1";
    transaction.prepare_cached(sql)?.execute([oldest_ms.div_euclid(DAY_MS)])?;
    Ok(())
}

/// How many notifications wait for each receiver.
pub(crate) fn waiting(connection: &Connection) -> Result<Vec<(String, i64)>> {
    let mut waiting = connection.prepare_cached("SELECT receiver, count(*) FROM outbox GROUP BY receiver")?;
    waiting.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// A notification that waits: its number, when it was posted, and what it says.
pub(crate) type Posted = (i64, i64, String);

impl Store {
    /// The oldest notifications for a receiver, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) async fn outbox(&self, receiver: String, limit: i64) -> Result<Vec<Posted>, ReadError> {
        self.read(move |connection| {
            let mut oldest = connection.prepare_cached(
                "SELECT number, at_ms, notice FROM outbox WHERE receiver = ?1 ORDER BY number LIMIT ?2",
            )?;
            oldest.query_map(params![receiver, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        })
        .await
    }

    /// Takes notifications out of the outbox: they were delivered or given up.
    ///
    /// # Errors
    /// [`WriteError`]; they stay then, and are delivered again.
    pub(crate) async fn clear_outbox(&self, numbers: Vec<i64>) -> Result<(), WriteError> {
        self.change(move |transaction| {
            let mut delete = transaction.prepare_cached("DELETE FROM outbox WHERE number = ?1")?;
            numbers.iter().try_for_each(|number| delete.execute([number]).map(drop))
        })
        .await
    }

    /// Drops what waits for receivers that are configured no more.
    ///
    /// # Errors
    /// [`WriteError`].
    pub(crate) async fn keep_receivers(&self, names: Vec<String>) -> Result<(), WriteError> {
        self.change(move |transaction| {
            let known: Vec<(String, i64)> = waiting(transaction)?;
            let mut delete = transaction.prepare_cached("DELETE FROM outbox WHERE receiver = ?1")?;
            for (receiver, _) in known.into_iter().filter(|(receiver, _)| !names.contains(receiver)) {
                delete.execute([receiver])?;
            }
            Ok(())
        })
        .await
    }

    /// See [`group`].
    ///
    /// # Errors
    /// [`WriteError`]; the incidents wait on then.
    pub(crate) async fn group_notices(&self, policy: std::sync::Arc<Policy>) -> Result<(), WriteError> {
        let interval_ms = policy.group_interval_ms;
        let due = self
            .read(move |connection| {
                let mut first =
                    connection.prepare_cached("SELECT min(at_ms) FROM notices WHERE state = ?1")?;
                first.query_row([WAITS], |row| row.get::<Option<i64>>(0))
            })
            .await;
        // Asked before, so that an idle collector writes nothing.
        if !matches!(due, Ok(Some(first_ms)) if first_ms <= super::now_ms().saturating_sub(interval_ms)) {
            return Ok(());
        }
        self.change(move |transaction| group(transaction, &policy, super::now_ms())).await
    }
}
