//! Stores of the format before: rewritten when they are opened, in one transaction.
//!
//! Format 2 lacked the templates, whether a file's next lines continue a record, the anchors and sizes of files, and the
//! time of the last commit, and had each session in a row of its own. Reports look as they did.

use blocksift_detector::Ledger;
use blocksift_detector::head::Level;
use blocksift_detector::miner::Evicted;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::error::Opening;
use super::row::{FileRow, MetaRow};
use super::{FILES, META, META_KEY, SESSIONS, SPOOL, SteadyTime};
use crate::encoding::{self, EncodingError, decode_as, encode, pack};
use crate::files::{Anchor, Fingerprint, Identity};
use crate::tail::Phase;

/// The format that can be upgraded.
pub(super) const FORMAT: u8 = 2;

/// A file in format 2.
#[derive(Serialize, Deserialize)]
struct OldFile {
    path: Vec<u8>,
    identity: Identity,
    fingerprint: Fingerprint,
    checkpoint: u64,
    phase: Phase,
    ledger: Ledger,
}

/// What there is once, in format 2.
#[derive(Serialize, Deserialize)]
struct OldMeta {
    totals: String,
    ticked_ms: i64,
    since_ms: i64,
    next_file: u32,
}

/// Sessions in format 2, by their ids.
const OLD_SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");

/// A session in format 2. The encoding knows no names, so these stand for what they are written as: what a session is,
/// its statements, its events, and its counts of dropped ones.
type OldSession = (OldHead, Vec<OldStatement>, Vec<OldEvent>, Vec<(u32, u32)>);
type OldHead = (u64, i64, String, bool, i64, u64, bool, bool, bool);
type OldStatement = (String, u16, Level, String, String, String);
type OldEvent = (i64, u64, u32, u32, u32);

/// Rewrites a store of format 2; any other is left as it is.
pub(super) fn upgrade(database: &Database) -> Result<(), Opening> {
    if !is_old(database)? {
        return Ok(());
    }
    let transaction = database.begin_write().map_err(Opening::read)?;
    {
        let mut table = transaction.open_table(META).map_err(Opening::read)?;
        let meta = table.get(META_KEY).map_err(Opening::read)?.map(|row| meta(row.value())).transpose()?;
        if let Some(meta) = meta {
            table.insert(META_KEY, meta.as_slice()).map_err(Opening::read)?;
        }
    }
    rewrite(&transaction, FILES, file)?;
    regroup(&transaction)?;
    rewrite(&transaction, SPOOL, relabelled)?;
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

/// Makes each session a group.
fn regroup(transaction: &redb::WriteTransaction) -> Result<(), Opening> {
    let mut groups = Vec::new();
    {
        let table = transaction.open_table(OLD_SESSIONS).map_err(Opening::read)?;
        for entry in table.iter().map_err(Opening::read)? {
            groups.push(group(entry.map_err(Opening::read)?.1.value())?);
        }
    }
    transaction.delete_table(OLD_SESSIONS).map_err(Opening::read)?;
    let mut table = transaction.open_table(SESSIONS).map_err(Opening::read)?;
    for (number, group) in (0..).zip(groups) {
        table.insert(number, group.as_slice()).map_err(Opening::read)?;
    }
    Ok(())
}

/// A session as a group of its own.
fn group(row: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let (head, statements, events, dropped): OldSession = decode_as(FORMAT, row)?;
    let forgotten: [u64; 0] = [];
    pack(&(statements, vec![(head, events, dropped)], forgotten.as_slice()))
}

fn meta(row: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let OldMeta { totals, ticked_ms, since_ms, next_file } = decode_as(FORMAT, row)?;
    let time = SteadyTime { steady_ms: ticked_ms, date_ms: ticked_ms };
    encode(&MetaRow { totals, time, since_ms, next_file, templates_evicted: Evicted::default() })
}

fn file(row: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let OldFile { path, identity, fingerprint, checkpoint, phase, ledger } = decode_as(FORMAT, row)?;
    encode(&FileRow {
        path,
        identity,
        fingerprint,
        anchor: Anchor::default(),
        size: checkpoint,
        checkpoint,
        phase,
        ledger,
        continues: None,
    })
}

/// A row whose shape did not change.
fn relabelled(row: &[u8]) -> Result<Vec<u8>, EncodingError> {
    match row.split_first() {
        Some((&FORMAT, value)) => Ok([&[encoding::VERSION], value].concat()),
        first => Err(EncodingError::Version { found: first.map_or(0, |(first, _)| *first) }),
    }
}
