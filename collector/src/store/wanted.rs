//! Which nodes are asked for their part of a flagged block: those that its reports name and that have not reported.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::sql::{Connection, Result, Transaction, params};

/// How long a node is asked.
const ASKED_MS: i64 = 60 * 60_000;
/// Blocks that are asked for at once.
const BLOCKS_MAX: i64 = 100;
/// Addresses of a node that are kept.
const ADDRESSES_MAX: usize = 16;
/// Blocks that wait for one node; further ones are not asked for.
const WAITING_MAX: i64 = 1_000;
/// How long the writer's copy of the addresses is used; another collector on the database may have learnt more.
const FRESH: Duration = Duration::from_secs(10);

/// The writer's copy of what logs call which node.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Nodes that say that an address is theirs.
    by_address: HashMap<String, Vec<String>>,
    of_node: HashMap<String, Vec<String>>,
    read: Option<Instant>,
}

impl Directory {
    fn refresh(&mut self, connection: &Connection) -> Result<()> {
        if self.read.is_some_and(|read| read.elapsed() < FRESH) {
            return Ok(());
        }
        let mut all =
            connection.prepare_cached("SELECT node, address FROM addresses ORDER BY node, address")?;
        (self.by_address, self.of_node) = (HashMap::new(), HashMap::new());
        all.query_each((), |row| {
            self.add(row.get(0)?, row.get(1)?);
            Ok(())
        })?;
        self.read = Some(Instant::now());
        Ok(())
    }

    fn add(&mut self, node: String, address: String) {
        self.by_address.entry(address.clone()).or_default().push(node.clone());
        self.of_node.entry(node).or_default().push(address);
    }

    /// Keeps what an agent says that logs call its node.
    pub(super) fn learn(
        &mut self,
        transaction: &Transaction<'_>,
        node: &str,
        addresses: &[String],
    ) -> Result<()> {
        self.refresh(transaction)?;
        let mut said: Vec<String> = addresses.iter().take(ADDRESSES_MAX).cloned().collect();
        said.sort();
        said.dedup();
        if self.of_node.get(node).is_some_and(|known| *known == said) {
            return Ok(());
        }
        transaction.prepare_cached("DELETE FROM addresses WHERE node = ?1")?.execute([node])?;
        let mut insert =
            transaction.prepare_cached("INSERT INTO addresses (node, address) VALUES (?1, ?2)")?;
        for address in &said {
            insert.execute(params![node, address])?;
        }
        for address in self.of_node.remove(node).unwrap_or_default() {
            if let Some(claims) = self.by_address.get_mut(&address) {
                claims.retain(|other| other != node);
            }
        }
        said.into_iter().for_each(|address| self.add(node.to_owned(), address));
        Ok(())
    }

    /// Notes that the nodes of these names are to be asked for `block`.
    pub(super) fn want(
        &mut self,
        transaction: &Transaction<'_>,
        block: i64,
        names: &[String],
        now_ms: i64,
    ) -> Result<()> {
        self.refresh(transaction)?;
        let mut want = transaction.prepare_cached(
            "INSERT INTO wanted (node, block, since_ms) SELECT ?1, ?2, ?3
             WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE block = ?2 AND node = ?1)
                 AND (SELECT count(*) FROM wanted WHERE node = ?1) < ?4
             ON CONFLICT (node, block) DO NOTHING",
        )?;
        for name in names {
            // What several nodes claim tells nothing.
            if let Some([node]) = self.by_address.get(name).map(Vec::as_slice) {
                want.execute(params![node, block, now_ms, WAITING_MAX])?;
            }
        }
        Ok(())
    }
}

/// Blocks that `node` is asked for, numbered above `after`, and the last number; those that it has reported are not
/// among them.
pub(crate) fn of_node(
    connection: &Connection,
    node: &str,
    after: i64,
    now_ms: i64,
) -> Result<(Vec<i64>, i64)> {
    let mut wanted = connection.prepare_cached(
        "SELECT number, block, EXISTS (SELECT 1 FROM sessions WHERE sessions.block = wanted.block AND node = ?1)
         FROM wanted WHERE node = ?1 AND number > ?2 AND since_ms > ?3 ORDER BY number LIMIT ?4",
    )?;
    let (mut blocks, mut last) = (Vec::new(), after);
    wanted.query_each(params![node, after, now_ms.saturating_sub(ASKED_MS), BLOCKS_MAX], |row| {
        last = row.get(0)?;
        if !row.get::<bool>(2)? {
            blocks.push(row.get(1)?);
        }
        Ok(())
    })?;
    Ok((blocks, last))
}

/// Blocks that some node is still asked for.
pub(crate) fn waiting(connection: &Connection, now_ms: i64) -> Result<i64> {
    let mut waiting = connection.prepare_cached("SELECT count(*) FROM wanted WHERE since_ms > ?1")?;
    waiting.query_row([now_ms.saturating_sub(ASKED_MS)], |row| row.get(0))
}

/// Nodes that are asked for `block` and have not reported on it.
pub(crate) fn of_block(connection: &Connection, block: i64, now_ms: i64) -> Result<Vec<String>> {
    let mut nodes = connection.prepare_cached(
        "SELECT node FROM wanted WHERE block = ?1 AND since_ms > ?2
             AND NOT EXISTS (SELECT 1 FROM sessions WHERE block = ?1 AND sessions.node = wanted.node) ORDER BY node",
    )?;
    nodes.query_map([block, now_ms.saturating_sub(ASKED_MS)], |row| row.get(0))
}

/// Forgets who was asked long ago.
pub(super) fn forget(transaction: &Transaction<'_>, now_ms: i64) -> Result<()> {
    let mut forget = transaction.prepare_cached("DELETE FROM wanted WHERE since_ms <= ?1")?;
    forget.execute([now_ms.saturating_sub(ASKED_MS)])?;
    Ok(())
}
