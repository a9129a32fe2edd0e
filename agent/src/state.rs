//! The agent's memory: one redb file with the files' offsets, the sessions, the totals and the spool.
//!
//! [`Store::commit`] moves all of them in one transaction, so a crash at any instant leaves them in step: a line is
//! either in the sessions and below its file's checkpoint, or it is read again; a report is in the spool exactly if
//! its session counts as scored. [`Store::batch`] and [`Store::remove`] are for shipping: a report leaves the spool
//! only after its delivery, so delivery is at least once.
//!
//! A store that is damaged, or of another program, is set aside under a new name and a new one is begun; the logs
//! are then read from their start, and reports that were delivered before are the same ones again.
//!
//! When the disk fails, is full or becomes read-only, redb does not use its file any more: the store closes it, and
//! whoever feeds it opens it again ([`Store::reopen`]) until that works. Meanwhile the spool gives nothing.

mod dead_letters;
mod error;
mod open;
mod row;
mod sessions;
mod spool;
#[cfg(test)]
pub(crate) mod tests;
mod upgrade;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use blocksift_detector::detector::{FileState, SessionGroup};
use blocksift_detector::miner::{Evicted, TextChange, TextState};
use blocksift_detector::{FileId, Report, Summary};
use redb::{Database, TableDefinition};
use serde::{Deserialize, Serialize};
use tracing::{error, info};

use crate::encoding::encode;
use crate::ship::chain;
use crate::tail::Saved;

use dead_letters::Counts;
pub(crate) use dead_letters::{DeadLetter, DeadLetterLimits};
pub(crate) use error::{StateError, is_of_disk};
use open::Create;
pub(crate) use open::FILE_NAME;
use row::{FileRow, MetaRow};
use sessions::Groups;
pub(crate) use sessions::{GROUP_SESSIONS, SessionRows};
pub(crate) use spool::Batch;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const FILES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("files");
/// Groups of sessions, by number: see [`sessions`].
const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("session_groups");
/// Templates that were mined, by the hash of their text.
const TEMPLATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("templates");
const SPOOL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("spool");
/// The one key of `META`.
const META_KEY: &str = "meta";

/// The store. No other process can open it as long as it is open here.
pub(crate) struct Store {
    path: PathBuf,
    create: Create,
    /// `None` from a failure until it is opened again.
    database: RwLock<Option<Database>>,
    /// From a failure until something was committed again.
    failing: AtomicBool,
    /// Number of the next report in the spool.
    next_report: AtomicU64,
    spool_reports: AtomicU64,
    spool_bytes: AtomicU64,
    groups: Groups,
    dead_letters: Counts,
}

/// What a new process goes on with.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// There was nothing: the first run.
    pub(crate) first_run: bool,
    /// There was a store, but it could not be used: the logs have to be read again.
    pub(crate) rebuilt: bool,
    /// Files, with their checkpoints as offsets.
    pub(crate) files: Vec<(Saved, FileState)>,
    /// Sessions, each once, in no order.
    pub(crate) sessions: Vec<SessionGroup>,
    /// Templates that were mined, in no order.
    pub(crate) templates: Vec<TextState>,
    /// What goes with all of them.
    pub(crate) meta: Meta,
}

/// What there is once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// What the detector did since the store was begun.
    pub(crate) totals: Summary,
    /// When the files were looked at last.
    pub(crate) time: SteadyTime,
    /// When the store was begun, by the host's clock.
    pub(crate) since_ms: i64,
    /// Above every number of a file so far.
    pub(crate) next_file: u32,
    /// Templates that made room for others.
    pub(crate) templates_evicted: Evicted,
}

/// A moment in the agent's own time, which never goes back ([`crate::feed`]), and in the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SteadyTime {
    /// The agent's time; `0` before the first.
    pub(crate) steady_ms: i64,
    /// The host's time.
    pub(crate) date_ms: i64,
}

/// Everything that changed since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// Changed files, with their checkpoints as offsets.
    pub(crate) files: Vec<(Saved, FileState)>,
    /// Files to forget.
    pub(crate) files_forgotten: Vec<FileId>,
    /// Sessions changed or forgotten, or all.
    pub(crate) sessions: SessionRows,
    /// Templates seen or evicted.
    pub(crate) templates: Vec<TextChange>,
    /// Reports for the spool, their raw lines filled in.
    pub(crate) reports: Vec<Report>,
    /// The rest; `None` leaves it as it was.
    pub(crate) meta: Option<Meta>,
}

impl Store {
    /// Makes everything in `commit` permanent, or nothing of it.
    ///
    /// # Errors
    /// When the disk fails or is full. The store is closed then; the same commit may be tried again when it is open.
    pub(crate) fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        self.write(commit)?;
        self.works();
        Ok(())
    }

    /// Writes nothing, to see whether that works.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn touch(&self) -> Result<(), StateError> {
        self.with("commit nothing", |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(META)?;
                table.insert("", &[][..])?;
                table.remove("")?;
            }
            transaction.commit()?;
            Ok(())
        })?;
        self.works();
        Ok(())
    }

    /// Whether the last that was tried of it failed. The agent is alive then but keeps nothing.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The transaction of a commit.
    fn write(&self, commit: &Commit) -> Result<(), StateError> {
        let files: Vec<(u32, Vec<u8>)> = encode_all(&commit.files, |(saved, state)| {
            Ok((saved.id.0, encode(&FileRow::new(saved, state))?))
        })?;
        let templates: Vec<(u64, Option<Vec<u8>>)> = encode_all(&commit.templates, |change| {
            Ok((change.key, change.state.as_ref().map(encode).transpose()?))
        })?;
        let reports: Vec<Vec<u8>> = encode_all(&commit.reports, encode)?;
        let meta = match &commit.meta {
            Some(meta) => Some(encode(&MetaRow::new(meta)?)?),
            None => None,
        };
        self.with("commit offsets, sessions and reports", |database| {
            let first = self.next_report.load(Ordering::Relaxed);
            let (mut next, mut bytes) = (first, 0);
            let transaction = database.begin_write()?;
            let sessions_written = self.groups.write(&transaction, &commit.sessions)?;
            {
                let mut table = transaction.open_table(FILES)?;
                for (id, row) in &files {
                    table.insert(id, row.as_slice())?;
                }
                for FileId(id) in &commit.files_forgotten {
                    table.remove(id)?;
                }
                let mut table = transaction.open_table(TEMPLATES)?;
                for (key, row) in &templates {
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
                if let Some(meta) = &meta {
                    transaction.open_table(META)?.insert(META_KEY, meta.as_slice())?;
                }
            }
            transaction.commit()?;
            // In here, as whoever opens the store again counts anew.
            sessions_written();
            self.next_report.store(next, Ordering::Relaxed);
            self.spool_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.spool_reports.fetch_add(next - first, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Uses the database; a failure closes it.
    fn with<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = guard.as_ref() else { return Err(StateError::Closed) };
        // As when it is opened: a damaged file makes redb panic.
        let failed = match catch_unwind(AssertUnwindSafe(|| work(database))) {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(source)) => StateError::Use { doing, source: Box::new(source) },
            Err(_) => {
                let reason = open::CONTRADICTION.to_owned();
                StateError::Damaged { path: self.path.clone(), reason }
            }
        };
        drop(guard);
        self.close(&failed);
        if matches!(failed, StateError::Damaged { .. }) {
            open::set_aside(&self.path)?;
        }
        Err(failed)
    }

    fn works(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            info!(store = %self.path.display(), "store can be written again; reading on");
        }
    }

    fn close(&self, reason: &StateError) {
        drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
        if !self.failing.swap(true, Ordering::Relaxed) {
            error!(
                store = %self.path.display(), error = chain(reason),
                "store cannot be written: no lines are read until it can be, which is tried again; \
                 check the free space of its disk and whether it is mounted read-only"
            );
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

fn encode_all<T, R>(
    values: &[T],
    encode: impl Fn(&T) -> Result<R, crate::encoding::EncodingError>,
) -> Result<Vec<R>, StateError> {
    Ok(values.iter().map(encode).collect::<Result<_, _>>()?)
}
