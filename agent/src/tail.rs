//! Follows log files through growth, renames and truncation, and hands out their bytes in order.
//!
//! [`Tail::poll`] looks at what there is; [`Tail::read`] then gives everything up to the sizes seen, oldest file
//! first, so that what is left of a rotated file comes before its successor. No line is given twice or left out:
//! a file is known by [`Identity`] and [`Fingerprint`], not by its name; an open file is read to its end after a rename or
//! delete; a copy that is made before a truncation, or a compressed file that takes a rotated one's place, is
//! recognised by its contents (`moved.rs`). What is removed before it was read is a gap: measured as far as it was
//! seen, told as [`Ended::gap_bytes`] and logged.
//!
//! Time is an argument, in milliseconds. Only [`Tail::wait`] sleeps.

mod content;
mod followed;
mod moved;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use blocksift_detector::FileId;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::config::{Backfill, Logs};
use crate::files::{Anchor, Fingerprint, Found, Identity, Scanned, scan, without_rotation};
use crate::raw_lines::Records;
use crate::status::{FILES_MAX, FileStatus};
use content::Content;
use followed::{Followed, Seen};
use moved::Origin;
pub(crate) use watch::Waker;
use watch::Watch;

/// Bytes given at a time.
pub(crate) const CHUNK_BYTES: usize = 256 * 1_024;

/// Looks at the files until they are taken as they are, while they are being renamed.
const SCANS_MAX: u32 = 5;

/// What a file is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Being read.
    Followed,
    /// Rotated or gone from the globs, and read to its end. Kept while it is there and for as long as sessions may refer
    /// to it.
    Ended {
        /// Since when.
        since_ms: i64,
    },
    /// Its contents were replaced; what sessions refer to cannot be read any more.
    Lost {
        /// Since when.
        since_ms: i64,
    },
    /// Holds the first bytes of another file and nothing else, up to its offset: it is not read.
    Copy {
        /// The file that it is a copy of.
        of: FileId,
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
    /// What is before the place up to which it was read.
    pub(crate) anchor: Anchor,
    /// Bytes that it had when last seen.
    pub(crate) size: u64,
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
    /// A file will not grow any more. If it does, by being moved back, its bytes follow after all.
    End(Ended),
}

/// The end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Which file.
    pub(crate) file: FileId,
    /// Bytes of it that were removed before they were read and will not come, as far as they were seen; `None` if it was
    /// read to its end.
    pub(crate) gap_bytes: Option<u64>,
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
    /// The files of the next poll are those that were there before the agent ever ran.
    first: bool,
    /// Compressed files, which are left alone, by what they were when they were opened.
    compressed: HashMap<Identity, (u64, SystemTime)>,
    watch: Watch,
    unreadable: BTreeSet<PathBuf>,
    left_out: usize,
    forget_after_ms: i64,
    removed: Vec<FileId>,
    buffer: Vec<u8>,
}

impl Tail {
    /// Follows the files of `logs`, going on with `saved`. `next_id` is above every number used before.
    /// `first_run`: there is no memory, so `backfill` decides where files begin.
    /// A file that is gone is forgotten after `forget_after_ms`.
    pub(crate) fn new(
        logs: Logs,
        saved: Vec<Saved>,
        next_id: u32,
        first_run: bool,
        forget_after_ms: i64,
    ) -> Self {
        Self {
            first: first_run,
            logs,
            files: saved.into_iter().map(Followed::restored).collect(),
            cursor: 0,
            next_id,
            compressed: HashMap::new(),
            watch: Watch::new(),
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
    pub(crate) fn take_ends(&mut self) -> Vec<Ended> {
        self.files.iter_mut().filter_map(Followed::take_end).collect()
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

        let mut new = Vec::new();
        let missing = self.look(scanned.files, &mut new, &mut unreadable, now_ms);
        let mut all_followed = true;
        for (id, replaced) in missing {
            all_followed &= self.settle(id, replaced, &mut new, now_ms);
        }
        if !all_followed {
            new.clear();
        }
        let followed = self.files.iter().map(Followed::path);
        let paths: BTreeSet<PathBuf> =
            new.iter().map(|found| found.path.as_path()).chain(followed).map(Path::to_owned).collect();
        for found in new {
            // What was received is new, however old the agent is.
            let received =
                self.logs.received.as_ref().is_some_and(|directory| found.path.starts_with(directory));
            let at_end = self.first && !received && begins_at_end(self.logs.backfill, &found.path, &paths);
            match self.follow(&found, at_end, now_ms) {
                Ok(true) => {}
                // The next look has it and those after it in their order.
                Ok(false) => {
                    all_followed = false;
                    break;
                }
                Err(error) => self.warn_unreadable(&mut unreadable, &found.path, &error),
            }
        }
        self.first &= !all_followed;
        self.unreadable = unreadable;
        self.forget(now_ms);
        self.cursor = 0;
        let here = self.files.iter().filter(|file| file.is_here());
        let files = here.map(|file| (file.now().identity, file.path()));
        self.watch.set(scanned.directories.iter().map(PathBuf::as_path), files);
    }

    /// Looks at every known file; what is `found` and not known is put into `new`. Files whose contents are not where
    /// they were, and whether other ones are there.
    fn look(
        &mut self,
        found: Vec<Found>,
        new: &mut Vec<Found>,
        unreadable: &mut BTreeSet<PathBuf>,
        now_ms: i64,
    ) -> Vec<(FileId, bool)> {
        let known = self.by_identity();
        let mut missing = Vec::new();
        let mut seen = vec![false; self.files.len()];
        for found in found {
            let Some(&index) = known.get(&found.identity) else {
                new.push(found);
                continue;
            };
            if let Some(seen) = seen.get_mut(index) {
                *seen = true;
            }
            let id = self.files.get(index).map(Followed::id);
            match self.look_at(index, &found, now_ms) {
                Ok(Seen::Same) => {}
                Ok(Seen::Missing) => missing.extend(id.map(|id| (id, false))),
                Ok(Seen::Replaced) => {
                    missing.extend(id.map(|id| (id, true)));
                    new.push(found);
                }
                Err(error) => self.warn_unreadable(unreadable, &found.path, &error),
            }
        }
        for (index, seen) in seen.into_iter().enumerate() {
            let copied = !seen && self.was_copied_to(index);
            let Some(file) = self.files.get_mut(index).filter(|_| !seen) else { continue };
            if copied {
                missing.push((file.id(), true));
                continue;
            }
            // A directory that cannot be listed says nothing about its files.
            let unknown = unreadable.iter().any(|path| file.path().starts_with(path));
            match if unknown { Seen::Same } else { file.unseen(now_ms) } {
                Seen::Same => {}
                Seen::Missing => missing.push((file.id(), false)),
                Seen::Replaced => missing.push((file.id(), true)),
            }
        }
        missing
    }

    /// Sleeps until a file may have changed, `waker` is used, or `longest` has passed.
    pub(crate) fn wait(&mut self, longest: Duration, waker: &Waker) {
        self.watch.wait(longest, waker);
    }

    /// Looks at the files until two looks agree, unless all are known. A look takes a while, and a rename in the midst
    /// of it may hide a file but show its successor, which would then be read first.
    fn scan_settled(&self) -> Scanned {
        let mut scanned = scan(&self.logs);
        let known: HashSet<Identity> = self.files.iter().map(|file| file.now().identity).collect();
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
                followed::Step::End(ended) => return Some(Read::End(ended)),
                followed::Step::Nothing => self.cursor += 1,
            }
        }
        None
    }

    /// A file of the same log as the one at `index` whose last record may still be waited for: its successor has lines,
    /// so it gets no more.
    fn complete_before(&mut self, index: usize) -> Option<FileId> {
        let (before, rest) = self.files.split_at_mut_checked(index)?;
        let log = without_rotation(rest.first()?.path());
        let mut of_log = before.iter_mut().filter(|file| without_rotation(file.path()) == log);
        of_log.find_map(|file| file.complete().then(|| file.id()))
    }

    /// The file that a report refers to, for reading its lines back, and the path that it has now. No file if it is
    /// gone or holds other contents by now; nothing if it was forgotten.
    pub(crate) fn open(&self, id: FileId) -> Option<(String, Option<Box<dyn Records>>)> {
        let file = self.files.iter().find(|file| file.id() == id)?;
        Some((file.path().to_string_lossy().into_owned(), file.records()))
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
        own.map(|(index, file)| (file.now().identity, index)).collect()
    }

    /// Follows a file; `false` if only the next look can tell what it is: its path names another one by now, or a file that
    /// it may be a copy of was truncated.
    fn follow(&mut self, found: &Found, at_end: bool, now_ms: i64) -> io::Result<bool> {
        let seen = (found.size, found.modified);
        if self.compressed.get(&found.identity) == Some(&seen) {
            return Ok(true);
        }
        let mut content = match Content::open(&found.path, found.identity) {
            Ok(Some(content @ Content::Plain(_))) => content,
            Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
            Ok(None) => return Ok(false),
            Ok(Some(Content::Packed(_))) | Err(_) => {
                info!(path = %found.path.display(), "compressed file is not read; exclude it to save looking at it");
                self.compressed.insert(found.identity, seen);
                return Ok(true);
            }
        };
        let phase = match self.origin_of(&mut content, found.identity)? {
            Origin::Undecided => return Ok(false),
            Origin::CopyOf(of) => Phase::Copy { of },
            Origin::New if self.extended_by(&mut content, found, now_ms)?.is_some() => return Ok(true),
            Origin::New => Phase::Followed,
        };
        let id = FileId(self.next_id);
        let file = Followed::new(id, found, content, phase, at_end, now_ms)?;
        info!(path = %found.path.display(), offset = file.now().offset, ?phase, "following file");
        self.next_id += 1;
        self.files.push(file);
        Ok(true)
    }

    /// Warns once for as long as the path stays unreadable; it is tried again with every poll.
    fn warn_unreadable(&self, unreadable: &mut BTreeSet<PathBuf>, path: &Path, error: &io::Error) {
        if !self.unreadable.contains(path) && !unreadable.contains(path) {
            warn!(path = %path.display(), %error, "file cannot be read; it is tried again");
        }
        unreadable.insert(path.to_owned());
    }

    fn forget(&mut self, now_ms: i64) {
        let removed = &mut self.removed;
        let forget_after_ms = self.forget_after_ms;
        self.files.retain(|file| {
            let keep = match file.phase() {
                Phase::Followed => true,
                Phase::Copy { .. } => !file.is_gone(),
                Phase::Ended { since_ms } | Phase::Lost { since_ms } => {
                    now_ms.saturating_sub(since_ms) < forget_after_ms || !file.end_told()
                }
            };
            if !keep {
                removed.push(file.id());
            }
            keep
        });
    }
}

/// Whether a file that was there before the agent ever ran begins at its end; `all` are the files there were.
fn begins_at_end(backfill: Backfill, path: &Path, all: &BTreeSet<PathBuf>) -> bool {
    match backfill {
        Backfill::All => false,
        Backfill::None => true,
        Backfill::Current => {
            let name = path.to_string_lossy();
            let mut suffixes = name.rmatch_indices(['.', '-', '_']);
            suffixes.any(|(at, _)| name.get(..at).is_some_and(|series| all.contains(Path::new(series))))
        }
    }
}
