//! The agent's memory: one redb file with the files' offsets, the sessions, the totals and the spool.
//!
//! [`Store::commit`] moves all of them in one transaction, so a crash at any instant leaves them in step: a line is
//! either in the sessions and below its file's checkpoint, or it is read again; a report is in the spool exactly if
//! its session counts as scored. [`Store::batch`] and [`Store::remove`] are for shipping: a report leaves the spool
//! only after its delivery, so delivery is at least once.
//!
//! A store that is damaged, or of another program, is set aside under a new name and a new one is begun; the logs
//! are then read from their start, and reports that were delivered before are the same ones again.

mod error;
#[cfg(test)]
mod tests;

use std::fs;
use std::ops::RangeFull;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use blocksift_detector::detector::{Change, SessionState};
use blocksift_detector::{FileId, Ledger, Report, Summary};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::encoding::{decode, encode};
use crate::files::{Fingerprint, Identity};
use crate::tail::{Phase, Saved};

pub(crate) use error::StateError;
use error::{Opening, doing};

/// Name of the store in the state directory.
const FILE_NAME: &str = "state.redb";
/// Memory for pages of the store; the sessions are in memory anyway.
const CACHE_BYTES: usize = 8 * 1_024 * 1_024;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const FILES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("files");
const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");
const SPOOL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("spool");
/// The one key of `META`.
const META_KEY: &str = "meta";

/// The open store. No other process can open it as long as it lives.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    /// Number of the next report in the spool.
    next_report: AtomicU64,
    spool_reports: AtomicU64,
    spool_bytes: AtomicU64,
}

/// What a new process goes on with.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// There was nothing: the first run.
    pub(crate) first_run: bool,
    /// There was a store, but it could not be used: the logs have to be read again.
    pub(crate) rebuilt: bool,
    /// Files, with their checkpoints as offsets.
    pub(crate) files: Vec<(Saved, Ledger)>,
    /// Sessions, in no order.
    pub(crate) sessions: Vec<SessionState>,
    /// What goes with all of them.
    pub(crate) meta: Meta,
}

/// What there is once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// What the detector did since the store was begun.
    pub(crate) totals: Summary,
    /// Time of the last tick, in the agent's clock.
    pub(crate) ticked_ms: i64,
    /// When the store was begun, in the agent's clock.
    pub(crate) since_ms: i64,
    /// Above every number of a file so far.
    pub(crate) next_file: u32,
}

/// Everything that changed since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// Changed files, with their checkpoints as offsets.
    pub(crate) files: Vec<(Saved, Ledger)>,
    /// Files to forget.
    pub(crate) files_forgotten: Vec<FileId>,
    /// Sessions changed or forgotten.
    pub(crate) sessions: Vec<Change>,
    /// Reports for the spool, their raw lines filled in.
    pub(crate) reports: Vec<Report>,
    /// The rest.
    pub(crate) meta: Meta,
}

/// Reports from the spool, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Reports to ship.
    pub(crate) reports: Vec<Report>,
    /// Their numbers, and those of entries that could not be decoded.
    numbers: Vec<u64>,
}

impl Batch {
    /// Whether the spool had nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// How much waits to be shipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spooled {
    /// Reports in the spool.
    pub(crate) reports: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Store {
    /// Opens the store in `directory`, making both where they do not exist, and reads what is in it.
    ///
    /// # Errors
    /// [`StateError::Busy`] if another process has it open; other errors if the disk does not let it be opened.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Restored), StateError> {
        fs::create_dir_all(directory)
            .map_err(|source| StateError::Directory { path: directory.to_owned(), source })?;
        let path = directory.join(FILE_NAME);
        match Self::open_file(&path) {
            Ok(opened) => Ok(opened),
            Err(Opening::Failed(error)) => Err(error),
            Err(Opening::Unusable(reason)) => {
                let aside = set_aside(&path)?;
                error!(
                    store = %path.display(), set_aside = %aside.display(), %reason,
                    "store cannot be used: set aside, beginning anew and reading the logs from their start"
                );
                let (store, restored) = Self::open_file(&path).map_err(Opening::into_error)?;
                Ok((store, Restored { first_run: false, rebuilt: true, ..restored }))
            }
        }
    }

    fn open_file(path: &Path) -> Result<(Self, Restored), Opening> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| Opening::classify(path, error.into()))?;
        make_tables(&database).map_err(|error| Opening::classify(path, error))?;
        let restored = load(&database)?;
        let (spooled, next_report) = spooled(&database).map_err(|error| Opening::classify(path, error))?;
        let store = Self {
            database,
            next_report: next_report.into(),
            spool_reports: spooled.reports.into(),
            spool_bytes: spooled.bytes.into(),
        };
        Ok((store, restored))
    }

    /// Makes everything in `commit` permanent, or nothing of it.
    ///
    /// # Errors
    /// When the disk fails or is full. The store cannot be used any more then.
    pub(crate) fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        let first = self.next_report.load(Ordering::Relaxed);
        let (next, bytes) = self.write(commit, first)?;
        self.next_report.store(next, Ordering::Relaxed);
        self.spool_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.spool_reports.fetch_add(next - first, Ordering::Relaxed);
        Ok(())
    }

    /// The oldest reports of the spool: at most `reports_max`, and at most `bytes_max` unless one alone is larger.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn batch(&self, reports_max: usize, bytes_max: u64) -> Result<Batch, StateError> {
        let read = || -> Result<Batch, redb::Error> {
            let mut batch = Batch::default();
            let mut bytes = 0;
            let table = self.database.begin_read()?.open_table(SPOOL)?;
            for entry in table.iter()? {
                let (number, value) = entry?;
                bytes += value.value().len() as u64;
                if batch.numbers.len() >= reports_max || (bytes > bytes_max && !batch.is_empty()) {
                    break;
                }
                batch.numbers.push(number.value());
                match decode(value.value()) {
                    Ok(report) => batch.reports.push(report),
                    Err(error) => error!(number = number.value(), %error, "report in the spool is lost"),
                }
            }
            Ok(batch)
        };
        read().map_err(doing("read the spool"))
    }

    /// Takes the reports of a batch out of the spool: they were delivered, or never will be.
    ///
    /// # Errors
    /// When the disk fails. The reports are then shipped again.
    pub(crate) fn remove(&self, batch: &Batch) -> Result<(), StateError> {
        let write = || -> Result<Spooled, redb::Error> {
            let mut removed = Spooled::default();
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(SPOOL)?;
                for number in &batch.numbers {
                    if let Some(value) = table.remove(number)? {
                        removed.reports += 1;
                        removed.bytes += value.value().len() as u64;
                    }
                }
            }
            transaction.commit()?;
            Ok(removed)
        };
        let removed = write().map_err(doing("take shipped reports out of the spool"))?;
        self.spool_reports.fetch_sub(removed.reports, Ordering::Relaxed);
        self.spool_bytes.fetch_sub(removed.bytes, Ordering::Relaxed);
        Ok(())
    }

    /// How much waits to be shipped.
    pub(crate) fn spooled(&self) -> Spooled {
        Spooled {
            reports: self.spool_reports.load(Ordering::Relaxed),
            bytes: self.spool_bytes.load(Ordering::Relaxed),
        }
    }

    /// The transaction of a commit; the number behind the last report, and the reports' bytes.
    fn write(&self, commit: &Commit, first: u64) -> Result<(u64, u64), StateError> {
        let files: Vec<(u32, Vec<u8>)> = encode_all(&commit.files, |(saved, ledger)| {
            Ok((saved.id.0, encode(&FileRow::new(saved, *ledger))?))
        })?;
        let sessions: Vec<(u64, Option<Vec<u8>>)> = encode_all(&commit.sessions, |change| {
            Ok((change.key, change.state.as_ref().map(encode).transpose()?))
        })?;
        let reports: Vec<Vec<u8>> = encode_all(&commit.reports, encode)?;
        let meta = encode(&MetaRow::new(&commit.meta)?)?;
        let mut next = first;
        let mut bytes = 0;
        let mut write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(FILES)?;
                for (id, row) in &files {
                    table.insert(id, row.as_slice())?;
                }
                for FileId(id) in &commit.files_forgotten {
                    table.remove(id)?;
                }
                let mut table = transaction.open_table(SESSIONS)?;
                for (key, row) in &sessions {
                    match row {
                        Some(row) => table.insert(key, row.as_slice())?,
                        None => table.remove(key)?,
                    };
                }
                let mut table = transaction.open_table(SPOOL)?;
                for report in &reports {
                    table.insert(next, report.as_slice())?;
                    next += 1;
                    bytes += report.len() as u64;
                }
                transaction.open_table(META)?.insert(META_KEY, meta.as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(doing("commit offsets, sessions and reports"))?;
        Ok((next, bytes))
    }
}

fn encode_all<T, R>(
    values: &[T],
    encode: impl Fn(&T) -> Result<R, crate::encoding::EncodingError>,
) -> Result<Vec<R>, StateError> {
    Ok(values.iter().map(encode).collect::<Result<_, _>>()?)
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?;
    transaction.open_table(FILES)?;
    transaction.open_table(SESSIONS)?;
    transaction.open_table(SPOOL)?;
    transaction.commit()?;
    Ok(())
}

fn load(database: &Database) -> Result<Restored, Opening> {
    let mut restored = Restored::default();
    let transaction = database.begin_read().map_err(Opening::read)?;
    let meta = transaction.open_table(META).map_err(Opening::read)?;
    match meta.get(META_KEY).map_err(Opening::read)? {
        Some(row) => restored.meta = decode::<MetaRow>(row.value())?.into_meta()?,
        None => restored.first_run = true,
    }
    let files = transaction.open_table(FILES).map_err(Opening::read)?;
    for entry in files.range::<u32>(RangeFull).map_err(Opening::read)? {
        let (id, row) = entry.map_err(Opening::read)?;
        restored.files.push(decode::<FileRow>(row.value())?.into_saved(id.value()));
    }
    let sessions = transaction.open_table(SESSIONS).map_err(Opening::read)?;
    for entry in sessions.iter().map_err(Opening::read)? {
        restored.sessions.push(decode(entry.map_err(Opening::read)?.1.value())?);
    }
    Ok(restored)
}

/// How much is in the spool, and the number of the next report.
fn spooled(database: &Database) -> Result<(Spooled, u64), redb::Error> {
    let table = database.begin_read()?.open_table(SPOOL)?;
    let mut spooled = Spooled { reports: table.len()?, bytes: 0 };
    let mut next = 0;
    for entry in table.iter()? {
        let (number, value) = entry?;
        spooled.bytes += value.value().len() as u64;
        next = number.value() + 1;
    }
    Ok((spooled, next))
}

/// Renames a store that cannot be used; its new path.
fn set_aside(path: &Path) -> Result<PathBuf, StateError> {
    let mut number = 1;
    loop {
        let aside = path.with_extension(format!("redb.damaged-{number}"));
        if !aside.exists() {
            fs::rename(path, &aside)
                .map_err(|source| StateError::Directory { path: aside.clone(), source })?;
            return Ok(aside);
        }
        number += 1;
    }
}

/// A file as stored.
#[derive(Serialize, Deserialize)]
struct FileRow {
    /// Any bytes: a path need not be UTF-8.
    path: Vec<u8>,
    identity: Identity,
    fingerprint: Fingerprint,
    checkpoint: u64,
    phase: Phase,
    ledger: Ledger,
}

impl FileRow {
    fn new(saved: &Saved, ledger: Ledger) -> Self {
        Self {
            path: saved.path.as_os_str().as_bytes().to_vec(),
            identity: saved.identity,
            fingerprint: saved.fingerprint,
            checkpoint: saved.offset,
            phase: saved.phase,
            ledger,
        }
    }

    fn into_saved(self, id: u32) -> (Saved, Ledger) {
        let saved = Saved {
            id: FileId(id),
            path: std::ffi::OsString::from_vec(self.path).into(),
            identity: self.identity,
            fingerprint: self.fingerprint,
            offset: self.checkpoint,
            phase: self.phase,
        };
        (saved, self.ledger)
    }
}

/// [`Meta`] as stored.
#[derive(Serialize, Deserialize)]
struct MetaRow {
    /// JSON, whose missing fields are zero: counts may be added without a new format.
    totals: String,
    ticked_ms: i64,
    since_ms: i64,
    next_file: u32,
}

impl MetaRow {
    fn new(meta: &Meta) -> Result<Self, StateError> {
        Ok(Self {
            totals: serde_json::to_string(&meta.totals)?,
            ticked_ms: meta.ticked_ms,
            since_ms: meta.since_ms,
            next_file: meta.next_file,
        })
    }

    fn into_meta(self) -> Result<Meta, serde_json::Error> {
        Ok(Meta {
            totals: serde_json::from_str(&self.totals)?,
            ticked_ms: self.ticked_ms,
            since_ms: self.since_ms,
            next_file: self.next_file,
        })
    }
}
