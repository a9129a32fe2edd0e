//! Stores of the format before: rewritten when they are opened, in one transaction.
//!
//! Format 3 had each event of a session in full, and its pool by name. All else looks as it did.

use blocksift_detector::FileId;
use blocksift_detector::detector::{SessionEvent, pack_events};
use blocksift_detector::head::Level;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tracing::info;

use super::error::Opening;
use super::{FILES, META, META_KEY, SESSIONS, SPOOL, TEMPLATES, dead_letters};
use crate::encoding::{self, EncodingError, Packer, unpack_as};

/// The format that can be upgraded.
pub(super) const FORMAT: u8 = 3;

/// A group of sessions in format 3. The encoding knows no names, so these stand for what they are written as: statements,
/// sessions, and what is forgotten.
type OldGroup = (Vec<OldStatement>, Vec<OldSession>, Vec<u64>);
type OldStatement = (String, u16, Level, String, String, String);
/// Id and block, pool, what it is, its events, and its counts of dropped ones.
type OldSession = ((u64, i64), String, OldFacts, Vec<OldEvent>, Vec<(u32, u32)>);
type OldFacts = (bool, i64, u64, bool, bool, bool);
type OldEvent = (i64, u64, u32, u32, u32);

/// A session as it is written now.
type NewSession = ((u64, i64), u32, OldFacts, Packed, Vec<(u32, u32)>);

/// Events as one string of bytes.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Packed(#[serde(with = "serde_bytes")] Vec<u8>);

/// Rewrites a store of format 3; any other is left as it is.
pub(super) fn upgrade(database: &Database) -> Result<(), Opening> {
    if !is_old(database)? {
        return Ok(());
    }
    let transaction = database.begin_write().map_err(Opening::read)?;
    {
        let mut table = transaction.open_table(META).map_err(Opening::read)?;
        let meta = table.get(META_KEY).map_err(Opening::read)?.map(|row| relabelled(row.value()));
        if let Some(meta) = meta.transpose()? {
            table.insert(META_KEY, meta.as_slice()).map_err(Opening::read)?;
        }
    }
    rewrite(&transaction, FILES, relabelled)?;
    rewrite(&transaction, SESSIONS, group)?;
    rewrite(&transaction, TEMPLATES, relabelled)?;
    rewrite(&transaction, SPOOL, relabelled)?;
    rewrite(&transaction, dead_letters::DEAD_LETTERS, relabelled)?;
    transaction.commit().map_err(Opening::read)?;
    info!(from = FORMAT, to = encoding::VERSION, "store was upgraded to this version's format");
    Ok(())
}

fn is_old(database: &Database) -> Result<bool, Opening> {
    let transaction = database.begin_read().map_err(Opening::read)?;
    let table = match transaction.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(false),
        Err(error) => return Err(Opening::read(error)),
    };
    let row = table.get(META_KEY).map_err(Opening::read)?;
    Ok(row.is_some_and(|row| row.value().first() == Some(&FORMAT)))
}

fn rewrite<K>(
    transaction: &redb::WriteTransaction,
    definition: TableDefinition<'_, K, &'static [u8]>,
    new: impl Fn(&[u8]) -> Result<Vec<u8>, EncodingError>,
) -> Result<(), Opening>
where
    K: for<'a> redb::Key<SelfType<'a> = K> + Copy + 'static,
{
    let mut table = transaction.open_table(definition).map_err(Opening::read)?;
    let mut rows = Vec::new();
    for entry in table.iter().map_err(Opening::read)? {
        let (key, row) = entry.map_err(Opening::read)?;
        rows.push((key.value(), new(row.value())?));
    }
    for (key, row) in rows {
        table.insert(key, row.as_slice()).map_err(Opening::read)?;
    }
    Ok(())
}

/// A group with the events of each session packed, and the names of pools once.
fn group(row: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let (statements, sessions, forgotten): OldGroup = unpack_as(FORMAT, row)?;
    let mut pools: Vec<String> = Vec::new();
    let sessions: Vec<NewSession> = sessions
        .into_iter()
        .map(|(names, pool, facts, events, dropped)| {
            let at = pools.iter().position(|known| *known == pool).unwrap_or(pools.len());
            if at == pools.len() {
                pools.push(pool);
            }
            let event = |(time_ms, offset, file, bytes, statement)| SessionEvent {
                time_ms,
                offset,
                file: FileId(file),
                bytes,
                statement,
            };
            let events = Packed(pack_events(events.into_iter().map(event)));
            (names, u32::try_from(at).unwrap_or(u32::MAX), facts, events, dropped)
        })
        .collect();
    Packer::default().pack(&(statements, pools, sessions, forgotten))
}

/// A row whose shape did not change.
fn relabelled(row: &[u8]) -> Result<Vec<u8>, EncodingError> {
    match row.split_first() {
        Some((&FORMAT, value)) => Ok([&[encoding::VERSION], value].concat()),
        first => Err(EncodingError::Version { found: first.map_or(0, |(first, _)| *first) }),
    }
}
