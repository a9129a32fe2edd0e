//! The incidents of a block, made anew from its sessions whenever one of them has changed. What an incident adds to the
//! counts of culprits lies in its row, so that exactly this is taken back.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};

use super::rollup::{HOUR_MS, Rollups, SLOT_MS};
use crate::culprit::Culprit;
use crate::incident::{self, Incident, PARTS_MAX, Part};

/// A row as it is: its number, unless it is new, and what was counted of it.
struct Known {
    incident: Option<i64>,
    slot: i64,
    culprits: String,
}

/// Makes the incidents of `block` anew.
pub(super) fn join(transaction: &Transaction<'_>, block: i64, rollups: &mut Rollups) -> rusqlite::Result<()> {
    let mut known = known(transaction, block)?;
    for found in incident::join(&parts(transaction, block)?) {
        let before = known.remove(&found.pool);
        if let Some(before) = &before {
            rollups.culprits(before.slot, &culprits(&before.culprits), -1);
        }
        let counted = Known {
            incident: before.and_then(|before| before.incident),
            slot: found.start_ms.div_euclid(SLOT_MS),
            culprits: list(&found.culprits),
        };
        rollups.culprits(counted.slot, &found.culprits, 1);
        store(transaction, block, &found, &counted)?;
    }
    // Its sessions belong to another pool now.
    for gone in known.into_values() {
        delete(transaction, &gone)?;
        rollups.culprits(gone.slot, &culprits(&gone.culprits), -1);
    }
    Ok(())
}

/// Makes the incidents of `block` anew after sessions of it were forgotten. What was counted stays counted.
pub(super) fn shrink(transaction: &Transaction<'_>, block: i64) -> rusqlite::Result<()> {
    let mut known = known(transaction, block)?;
    for found in incident::join(&parts(transaction, block)?) {
        let counted = known.remove(&found.pool).unwrap_or_else(|| Known {
            incident: None,
            slot: found.start_ms.div_euclid(SLOT_MS),
            culprits: list::<Culprit>(&[]),
        });
        store(transaction, block, &found, &counted)?;
    }
    known.values().try_for_each(|gone| delete(transaction, gone))
}

fn delete(transaction: &Transaction<'_>, gone: &Known) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM incidents WHERE incident = ?1")?;
    delete.execute([gone.incident])?;
    Ok(())
}

/// Sessions of a block, as the join needs them.
pub(super) fn parts(connection: &rusqlite::Connection, block: i64) -> rusqlite::Result<Vec<Part>> {
    let mut parts = connection.prepare_cached(
        "SELECT id, node, pool, flagged, score, start_ms, end_ms, culprits FROM sessions WHERE block = ?1
         ORDER BY end_ms DESC, id LIMIT ?2",
    )?;
    let limit = i64::try_from(PARTS_MAX).unwrap_or(i64::MAX);
    let rows = parts.query_map(params![block, limit], |row| {
        Ok(Part {
            id: row.get(0)?,
            node: row.get(1)?,
            pool: row.get(2)?,
            flagged: row.get(3)?,
            score: row.get(4)?,
            start_ms: row.get(5)?,
            end_ms: row.get(6)?,
            culprits: culprits(&row.get::<_, String>(7)?),
        })
    })?;
    rows.collect()
}

fn known(transaction: &Transaction<'_>, block: i64) -> rusqlite::Result<BTreeMap<String, Known>> {
    let mut known = transaction
        .prepare_cached("SELECT pool, incident, slot, culprits FROM incidents WHERE block = ?1")?;
    let rows = known.query_map([block], |row| {
        Ok((row.get(0)?, Known { incident: row.get(1)?, slot: row.get(2)?, culprits: row.get(3)? }))
    })?;
    rows.collect()
}

fn store(
    transaction: &Transaction<'_>,
    block: i64,
    found: &Incident,
    counted: &Known,
) -> rusqlite::Result<()> {
    let mut store = transaction.prepare_cached(
        "INSERT OR REPLACE INTO incidents (incident, block, pool, hour, start_ms, end_ms, score, sessions, flagged,
             nodes, node_names, culprits, slot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    store.execute(params![
        counted.incident,
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
