//! Follows log files through growth, renames and truncation, and hands out their bytes in order.
//!
//! [`Tail::poll`] looks at what there is; [`Tail::read`] then gives everything up to the sizes seen, oldest file
//! first, so that what is left of a rotated file comes before its successor. No line is given twice or left out:
//! a file is known by [`Identity`] and [`Fingerprint`], not by its name, and an open file is read to its end after
//! a rename or delete. The one gap is a file that is truncated or deleted before it was read; it is logged.
//!
//! Time is an argument, in milliseconds. Nothing here sleeps.

mod followed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use blocksift_detector::FileId;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::config::Logs;
use crate::files::{Fingerprint, Found, Identity, Scanned, scan};
use crate::status::{FILES_MAX, FileStatus};
use followed::{Followed, Seen};

/// Bytes given at a time.
pub(crate) const CHUNK_BYTES: usize = 256 * 1_024;

/// Looks at the files until they are taken as they are, while they are being renamed.
const SCANS_MAX: u32 = 5;

/// What a file is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Being read.
    Followed,
    /// Gone from the globs and read to its end. Kept for as long as sessions may refer to it.
    Ended {
        /// Since when.
        since_ms: i64,
    },
    /// Its contents were replaced; what sessions refer to cannot be read any more.
    Lost {
        /// Since when.
        since_ms: i64,
    },
}

/// What is kept of a file over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Number of the file, never used again.
    pub(crate) id: FileId,
    /// Path under which it was last seen.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) identity: Identity,
    /// What it begins with.
    pub(crate) fingerprint: Fingerprint,
    /// Where reading goes on.
    pub(crate) offset: u64,
    /// What it is at.
    pub(crate) phase: Phase,
}

/// What [`Tail::read`] gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    /// The next bytes of a file.
    Bytes {
        /// Which file.
        file: FileId,
        /// Position of the first byte.
        offset: u64,
        /// At least one, at most [`CHUNK_BYTES`].
        bytes: &'a [u8],
    },
    /// The file has not grown for a while, or has a successor: its last record is not waiting for more lines.
    Quiet(FileId),
    /// The file will not grow any more. If it does, by being moved back, its bytes follow after all.
    End(FileId),
}

/// Counts for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Files being followed.
    pub(crate) files: u64,
    /// Files that cannot be opened.
    pub(crate) files_unreadable: u64,
    /// Bytes that are in files but not read yet.
    pub(crate) lag_bytes: u64,
}

/// The files being followed.
#[derive(Debug)]
pub(crate) struct Tail {
    logs: Logs,
    /// In order of discovery; new ones by time of their last change.
    files: Vec<Followed>,
    /// First file that may have more to give in this round.
    cursor: usize,
    next_id: u32,
    /// Files that are found in the first poll begin at their end.
    at_end: bool,
    unreadable: BTreeSet<PathBuf>,
    left_out: usize,
    forget_after_ms: i64,
    removed: Vec<FileId>,
    buffer: Vec<u8>,
}

impl Tail {
    /// Follows the files of `logs`, going on with `saved`. `next_id` is above every number used before.
    /// `first_run`: there is no memory, so `from_start` decides where files begin.
    /// A file that is gone is forgotten after `forget_after_ms`.
    pub(crate) fn new(
        logs: Logs,
        saved: Vec<Saved>,
        next_id: u32,
        first_run: bool,
        forget_after_ms: i64,
    ) -> Self {
        Self {
            at_end: first_run && !logs.from_start,
            logs,
            files: saved.into_iter().map(Followed::restored).collect(),
            cursor: 0,
            next_id,
            unreadable: BTreeSet::new(),
            left_out: 0,
            forget_after_ms,
            removed: Vec::new(),
            buffer: vec![0; CHUNK_BYTES],
        }
    }

    /// The same files under another configuration, to be read from `checkpoint` on.
    pub(crate) fn rewound(
        self,
        logs: Logs,
        forget_after_ms: i64,
        checkpoint: impl Fn(FileId) -> u64,
    ) -> Self {
        let mut files = self.files;
        for file in files.iter_mut().filter(|file| file.phase() == Phase::Followed) {
            file.rewind(checkpoint(file.id()));
        }
        Self { logs, forget_after_ms, files, cursor: 0, ..self }
    }

    /// Files that have ended and whose end [`Self::read`] did not give yet; it will not any more.
    pub(crate) fn take_ends(&mut self) -> Vec<FileId> {
        self.files.iter_mut().filter_map(|file| file.take_end().then(|| file.id())).collect()
    }

    /// Looks at what files there are and how long they have grown.
    pub(crate) fn poll(&mut self, now_ms: i64) {
        let scanned = self.scan_settled();
        let mut unreadable = BTreeSet::new();
        for (path, error) in scanned.unreadable {
            self.warn_unreadable(&mut unreadable, &path, &error);
        }
        if scanned.left_out > 0 && self.left_out == 0 {
            warn!(
                files = scanned.left_out,
                files_max = self.logs.files_max,
                "more files than files_max; the oldest wait"
            );
        }
        self.left_out = scanned.left_out;

        let known = self.by_identity();
        let mut seen = vec![false; self.files.len()];
        let mut new = Vec::new();
        for found in scanned.files {
            let index = known.get(&found.identity).copied();
            let Some((index, file)) = index.and_then(|index| Some((index, self.files.get_mut(index)?)))
            else {
                new.push(found);
                continue;
            };
            if let Some(seen) = seen.get_mut(index) {
                *seen = true;
            }
            match file.seen(&found, now_ms) {
                Ok(Seen::Same) => {}
                Ok(Seen::Replaced) => new.push(found),
                Err(error) => self.warn_unreadable(&mut unreadable, &found.path, &error),
            }
        }
        for (file, seen) in self.files.iter_mut().zip(seen) {
            if !seen {
                file.unseen(now_ms);
            }
        }
        let mut all_followed = true;
        for found in new {
            match self.follow(&found, now_ms) {
                Ok(true) => {}
                // Renamed since: the next look has it and those after it in their order.
                Ok(false) => {
                    all_followed = false;
                    break;
                }
                Err(error) => self.warn_unreadable(&mut unreadable, &found.path, &error),
            }
        }
        self.at_end &= !all_followed;
        self.unreadable = unreadable;
        self.forget(now_ms);
        self.cursor = 0;
    }

    /// Looks at the files until two looks agree, unless all are known. A look takes a while, and a rename in the midst
    /// of it may hide a file but show its successor, which would then be read first.
    fn scan_settled(&self) -> Scanned {
        let mut scanned = scan(&self.logs);
        let known: HashSet<Identity> = self.files.iter().map(Followed::identity).collect();
        let identities = |scanned: &Scanned| -> HashSet<Identity> {
            scanned.files.iter().map(|found| found.identity).collect()
        };
        let mut seen = identities(&scanned);
        for _ in 1..SCANS_MAX {
            if seen.is_subset(&known) {
                break;
            }
            scanned = scan(&self.logs);
            let before = std::mem::replace(&mut seen, identities(&scanned));
            if seen == before {
                break;
            }
        }
        scanned
    }

    /// The next that the files seen by [`Self::poll`] have to give; `None` when all of it was given.
    pub(crate) fn read(&mut self, now_ms: i64) -> Option<Read<'_>> {
        while let Some(file) = self.files.get_mut(self.cursor) {
            let id = file.id();
            if file.begins()
                && let Some(complete) = self.complete_before(self.cursor)
            {
                return Some(Read::Quiet(complete));
            }
            let Some(file) = self.files.get_mut(self.cursor) else { break };
            match file.read(&mut self.buffer, now_ms) {
                followed::Step::Bytes { offset, length } => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    return Some(Read::Bytes { file: id, offset, bytes });
                }
                followed::Step::Quiet => return Some(Read::Quiet(id)),
                followed::Step::End => return Some(Read::End(id)),
                followed::Step::Nothing => self.cursor += 1,
            }
        }
        None
    }

    /// A file of the same log as the one at `index` whose last record may still be waited for: its successor has lines,
    /// so it gets no more.
    fn complete_before(&mut self, index: usize) -> Option<FileId> {
        let (before, rest) = self.files.split_at_mut_checked(index)?;
        let log = log_of(rest.first()?.path());
        let mut of_log = before.iter_mut().filter(|file| log_of(file.path()) == log);
        of_log.find_map(|file| file.complete().then(|| file.id()))
    }

    /// The file that a report refers to, for reading its lines back, and the path that it has now. No file if it is
    /// gone or holds other contents by now; nothing if it was forgotten.
    pub(crate) fn open(&self, id: FileId) -> Option<(String, Option<File>)> {
        let file = self.files.iter().find(|file| file.id() == id)?;
        Some((file.path().to_string_lossy().into_owned(), file.open()))
    }

    /// Files that changed since the last call, as they are now, and those forgotten since.
    pub(crate) fn take_changes(&mut self) -> (Vec<Saved>, Vec<FileId>) {
        let changed = self.files.iter_mut().filter_map(Followed::take_change).collect();
        (changed, std::mem::take(&mut self.removed))
    }

    /// Every file, changed or not.
    pub(crate) fn saved(&self) -> Vec<Saved> {
        self.files.iter().map(Followed::saved).collect()
    }

    /// Above every number used so far.
    pub(crate) fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Every file that is being read.
    pub(crate) fn followed(&self) -> impl Iterator<Item = FileId> + '_ {
        self.files.iter().filter(|file| file.phase() == Phase::Followed).map(Followed::id)
    }

    /// How it goes.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            files: self.followed().count() as u64,
            files_unreadable: self.unreadable.len() as u64,
            lag_bytes: self.files.iter().map(Followed::lag_bytes).sum(),
        }
    }

    /// The files being read, those with the most bytes to read first, at most [`FILES_MAX`].
    pub(crate) fn list(&self) -> Vec<FileStatus> {
        let followed = self.files.iter().filter(|file| file.phase() == Phase::Followed);
        let mut list: Vec<FileStatus> = followed.map(Followed::status).collect();
        list.sort_by(|one, other| (other.lag_bytes, &one.path).cmp(&(one.lag_bytes, &other.path)));
        list.truncate(FILES_MAX);
        list
    }

    /// Latest file of each identity whose contents are still its own.
    fn by_identity(&self) -> HashMap<Identity, usize> {
        let own =
            self.files.iter().enumerate().filter(|(_, file)| !matches!(file.phase(), Phase::Lost { .. }));
        own.map(|(index, file)| (file.identity(), index)).collect()
    }

    /// Follows a file; `false` if its path names another one by now.
    fn follow(&mut self, found: &Found, now_ms: i64) -> std::io::Result<bool> {
        let id = FileId(self.next_id);
        // What was received is new, however old the agent is.
        let received = self.logs.received.as_ref().is_some_and(|directory| found.path.starts_with(directory));
        let at_end = self.at_end && !received;
        let Some(file) = Followed::new(id, found, at_end, now_ms)? else { return Ok(false) };
        info!(path = %found.path.display(), offset = file.offset(), "following file");
        self.next_id += 1;
        self.files.push(file);
        Ok(true)
    }

    /// Warns once for as long as the path stays unreadable; it is tried again with every poll.
    fn warn_unreadable(&self, unreadable: &mut BTreeSet<PathBuf>, path: &Path, error: &std::io::Error) {
        if !self.unreadable.contains(path) && !unreadable.contains(path) {
            warn!(path = %path.display(), %error, "file cannot be read; it is tried again");
        }
        unreadable.insert(path.to_owned());
    }

    fn forget(&mut self, now_ms: i64) {
        let removed = &mut self.removed;
        let forget_after_ms = self.forget_after_ms;
        self.files.retain(|file| {
            let gone_ms = match file.phase() {
                Phase::Followed => return true,
                Phase::Ended { since_ms } | Phase::Lost { since_ms } => now_ms.saturating_sub(since_ms),
            };
            let keep = gone_ms < forget_after_ms || !file.end_told();
            if !keep {
                removed.push(file.id());
            }
            keep
        });
    }
}

/// The log that a file is of: its path without the number or date of its rotation.
fn log_of(path: &Path) -> &[u8] {
    let path = path.as_os_str().as_bytes();
    let name = path.iter().rposition(|byte| !byte.is_ascii_digit() && !b".-_".contains(byte));
    path.get(..name.map_or(0, |last| last + 1)).unwrap_or(path)
}
