//! The incidents of a block, made anew from its sessions whenever one of them has changed. What an incident adds to the
//! counts of culprits lies in its row, so that exactly this is taken back.

use std::collections::BTreeMap;

use super::rollup::{HOUR_MS, Rollups, SLOT_MS};
use super::sql::{Connection, Result, Transaction, params};
use crate::culprit::Culprit;
use crate::incident::{self, Incident, PARTS_MAX, Part};
use crate::notify::Subject;

/// An incident that began or ended to be one with a flagged session.
pub(super) enum Turn {
    Flagged(Subject),
    TakenBack {
        block: i64,
        pool: String,
    },
    /// What had no pool has one now; nothing else has changed.
    Renamed {
        block: i64,
        pool: String,
    },
}

/// A row as it is: its number, unless it is new, and what was counted of it.
struct Known {
    incident: Option<i64>,
    slot: i64,
    culprits: String,
    flagged: bool,
}

/// Makes the incidents of `block` anew; returns which of them have turned.
pub(super) fn join(transaction: &Transaction<'_>, block: i64, rollups: &mut Rollups) -> Result<Vec<Turn>> {
    let mut known = known(transaction, block)?;
    let mut turns = Vec::new();
    for found in incident::join(&parts(transaction, block)?) {
        let before = known.remove(&found.pool);
        if let Some(before) = &before {
            rollups.culprits(before.slot, &culprits(&before.culprits), -1);
        }
        let counted = Known {
            incident: before.as_ref().and_then(|before| before.incident),
            slot: found.start_ms.div_euclid(SLOT_MS),
            culprits: list(&found.culprits),
            flagged: found.flagged > 0,
        };
        rollups.culprits(counted.slot, &found.culprits, 1);
        store(transaction, block, &found, &counted)?;
        if counted.flagged != before.is_some_and(|before| before.flagged) {
            turns.push(if counted.flagged {
                Turn::Flagged(subject(block, found))
            } else {
                Turn::TakenBack { block, pool: found.pool }
            });
        }
    }
    // Its sessions belong to another pool now.
    for (pool, gone) in known {
        delete(transaction, &gone)?;
        rollups.culprits(gone.slot, &culprits(&gone.culprits), -1);
        if gone.flagged {
            turn_away(block, pool, &mut turns);
        }
    }
    Ok(turns)
}

/// An incident of this pool is no more: another one of the block has taken its place, or none.
fn turn_away(block: i64, pool: String, turns: &mut Vec<Turn>) {
    let heir = turns.iter().position(|turn| matches!(turn, Turn::Flagged(_)) && pool.is_empty());
    match heir.map(|heir| turns.swap_remove(heir)) {
        Some(Turn::Flagged(subject)) => turns.push(Turn::Renamed { block, pool: subject.pool }),
        _ => turns.push(Turn::TakenBack { block, pool }),
    }
}

fn subject(block: i64, found: Incident) -> Subject {
    Subject {
        block,
        pool: found.pool,
        node: found.worst_node,
        start_ms: found.start_ms,
        end_ms: found.end_ms,
        score: found.score,
        sessions: found.sessions,
        sessions_flagged: found.flagged,
        nodes: found.nodes,
        node_names: found.node_names,
        culprits: found.culprits,
        told_ms: 0,
    }
}

/// Makes the incidents of `block` anew after sessions of it were forgotten. What was counted stays counted.
pub(super) fn shrink(transaction: &Transaction<'_>, block: i64) -> Result<()> {
    let mut known = known(transaction, block)?;
    for found in incident::join(&parts(transaction, block)?) {
        let counted = known.remove(&found.pool).unwrap_or_else(|| Known {
            incident: None,
            slot: found.start_ms.div_euclid(SLOT_MS),
            culprits: list::<Culprit>(&[]),
            flagged: false,
        });
        store(transaction, block, &found, &counted)?;
    }
    known.values().try_for_each(|gone| delete(transaction, gone))
}

fn delete(transaction: &Transaction<'_>, gone: &Known) -> Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM incidents WHERE incident = ?1")?;
    delete.execute([gone.incident])?;
    Ok(())
}

/// Sessions of a block, as the join needs them.
pub(super) fn parts(connection: &Connection, block: i64) -> Result<Vec<Part>> {
    let mut parts = connection.prepare_cached(
        "SELECT id, node, pool, flagged, score, start_ms, end_ms, culprits FROM sessions WHERE block = ?1
         ORDER BY end_ms DESC, id LIMIT ?2",
    )?;
    let limit = i64::try_from(PARTS_MAX).unwrap_or(i64::MAX);
    parts.query_map(params![block, limit], |row| {
        Ok(Part {
            id: row.get(0)?,
            node: row.get(1)?,
            pool: row.get(2)?,
            flagged: row.get(3)?,
            score: row.get(4)?,
            start_ms: row.get(5)?,
            end_ms: row.get(6)?,
            culprits: culprits(&row.get::<String>(7)?),
        })
    })
}

fn known(transaction: &Transaction<'_>, block: i64) -> Result<BTreeMap<String, Known>> {
    let mut known = transaction.prepare_cached(
        "SELECT pool, incident, slot, culprits, flagged > 0 FROM incidents WHERE block = ?1",
    )?;
    let rows = known.query_map([block], |row| {
        let (incident, slot, culprits, flagged) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok((row.get(0)?, Known { incident, slot, culprits, flagged }))
    })?;
    Ok(rows.into_iter().collect())
}

fn store(transaction: &Transaction<'_>, block: i64, found: &Incident, counted: &Known) -> Result<()> {
    let mut store = transaction.prepare_cached(
        "INSERT INTO incidents (block, pool, hour, start_ms, end_ms, score, sessions, flagged, nodes, node_names, culprits,
             slot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (block, pool) DO UPDATE SET hour = excluded.hour, start_ms = excluded.start_ms,
             end_ms = excluded.end_ms, score = excluded.score, sessions = excluded.sessions, flagged = excluded.flagged,
             nodes = excluded.nodes, node_names = excluded.node_names, culprits = excluded.culprits,
             slot = excluded.slot",
    )?;
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    store.execute(params![
        block,
        found.pool,
        found.end_ms.div_euclid(HOUR_MS),
        found.start_ms,
        found.end_ms,
        found.score,
        count(found.sessions),
        count(found.flagged),
        count(found.nodes),
        list(&found.node_names),
        counted.culprits,
        counted.slot,
    ])?;
    Ok(())
}

fn list<T: serde::Serialize>(items: &[T]) -> String {
    serde_json::to_string(items).unwrap_or_else(|_| "[]".to_owned())
}

/// JSON that the collector has written itself.
fn culprits(text: &str) -> Vec<Culprit> {
    serde_json::from_str(text).unwrap_or_default()
}
