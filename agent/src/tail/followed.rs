//! One file being followed: its open handle, how far it was read, and whether it is still what it was.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blocksift_detector::FileId;
use tracing::{debug, info, warn};

use super::{Phase, Saved};
use crate::files::{Fingerprint, Found, Identity, find_by_identity, read_up_to};
use crate::limits::PageCache;
use crate::status::FileStatus;

/// A file that has not grown for this long has no unfinished record.
const QUIET_AFTER_MS: i64 = 2_000;
/// A file that is gone from the globs has ended when it has not grown for this long: its writer may still hold it.
const END_AFTER_MS: i64 = 10_000;
/// A file that has not grown for this long is closed; it is opened again when it grows.
const CLOSE_AFTER_MS: i64 = 300_000;
/// How far back the start of a line is looked for when a file is begun at its end.
const LINE_BYTES_MAX: usize = 64 * 1_024;

/// A file being followed.
#[derive(Debug)]
pub(super) struct Followed {
    saved: Saved,
    /// Read with `read_at` alone: its position is not ours.
    handle: Option<File>,
    cache: PageCache,
    /// As last seen; reading goes up to here.
    size: u64,
    /// As last seen; `None` makes the next look a thorough one.
    modified: Option<SystemTime>,
    /// When bytes were last read, or the file was first seen.
    active_ms: i64,
    /// Since when the globs do not name it.
    gone_since_ms: Option<i64>,
    quiet_told: bool,
    end_told: bool,
    changed: bool,
}

/// What a look at a file that the globs name showed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The same file.
    Same,
    /// Other contents in its place, which belong to a new file.
    Replaced,
}

/// What a file has to give.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Bytes { offset: u64, length: usize },
    Quiet,
    End,
    Nothing,
}

impl Followed {
    /// A file that the agent knew when it stopped.
    pub(super) fn restored(saved: Saved) -> Self {
        Self {
            handle: None,
            cache: PageCache::default(),
            size: saved.offset,
            modified: None,
            active_ms: 0,
            gone_since_ms: None,
            quiet_told: false,
            end_told: saved.phase != Phase::Followed,
            changed: false,
            saved,
        }
    }

    /// A file that the globs name for the first time; `None` if it has gone again.
    pub(super) fn new(id: FileId, found: &Found, at_end: bool, now_ms: i64) -> io::Result<Option<Self>> {
        let Some(handle) = open_same(&found.path, found.identity)? else { return Ok(None) };
        let size = handle.metadata()?.len();
        let offset = if at_end { last_line_start(&handle, size)? } else { 0 };
        let fingerprint = Fingerprint::default().grown(&handle)?.unwrap_or_default();
        let saved = Saved {
            id,
            path: found.path.clone(),
            identity: found.identity,
            fingerprint,
            offset,
            phase: Phase::Followed,
        };
        Ok(Some(Self {
            handle: Some(handle),
            cache: PageCache::default(),
            size,
            modified: Some(found.modified),
            active_ms: now_ms,
            gone_since_ms: None,
            quiet_told: false,
            end_told: false,
            changed: true,
            saved,
        }))
    }

    pub(super) fn id(&self) -> FileId {
        self.saved.id
    }

    pub(super) fn identity(&self) -> Identity {
        self.saved.identity
    }

    pub(super) fn path(&self) -> &Path {
        &self.saved.path
    }

    pub(super) fn phase(&self) -> Phase {
        self.saved.phase
    }

    pub(super) fn offset(&self) -> u64 {
        self.saved.offset
    }

    /// Whether [`Step::End`] was given since the file ended.
    pub(super) fn end_told(&self) -> bool {
        self.end_told
    }

    pub(super) fn lag_bytes(&self) -> u64 {
        match self.saved.phase {
            Phase::Followed => self.size.saturating_sub(self.saved.offset),
            Phase::Ended { .. } | Phase::Lost { .. } => 0,
        }
    }

    pub(super) fn status(&self) -> FileStatus {
        FileStatus {
            path: self.saved.path.to_string_lossy().into_owned(),
            offset: self.saved.offset,
            size: self.size,
            lag_bytes: self.lag_bytes(),
        }
    }

    pub(super) fn take_change(&mut self) -> Option<Saved> {
        std::mem::take(&mut self.changed).then(|| self.saved())
    }

    /// What to keep now. A file counts as ended once its end was told: only then is its last record closed.
    pub(super) fn saved(&self) -> Saved {
        let phase = if self.end_told { self.saved.phase } else { Phase::Followed };
        Saved { phase, ..self.saved.clone() }
    }

    /// The file for reading lines back; `None` if it cannot be had any more.
    pub(super) fn open(&self) -> Option<File> {
        if matches!(self.saved.phase, Phase::Lost { .. }) {
            return None;
        }
        match &self.handle {
            Some(handle) => handle.try_clone().ok(),
            None => {
                let file = open_same(&self.saved.path, self.saved.identity).ok()??;
                self.saved.fingerprint.grown(&file).ok()??;
                Some(file)
            }
        }
    }

    /// The globs name a file of this identity.
    pub(super) fn seen(&mut self, found: &Found, now_ms: i64) -> io::Result<Seen> {
        self.gone_since_ms = None;
        if self.saved.phase != Phase::Followed {
            // It was moved away and back.
            self.saved.phase = Phase::Followed;
            self.end_told = false;
            self.changed = true;
        }
        if self.saved.path != found.path {
            info!(from = %self.saved.path.display(), to = %found.path.display(), "file was renamed");
            self.saved.path.clone_from(&found.path);
            self.changed = true;
        }
        if self.modified == Some(found.modified) && self.size == found.size {
            self.close_if_idle(now_ms);
            return Ok(Seen::Same);
        }
        if !self.ensure_open()? {
            // Renamed since the globs were looked at; the next look finds it.
            return Ok(Seen::Same);
        }
        if !self.look(now_ms)? {
            return Ok(Seen::Replaced);
        }
        self.modified = Some(found.modified);
        Ok(Seen::Same)
    }

    /// The globs do not name a file of this identity: it was renamed, moved or deleted.
    pub(super) fn unseen(&mut self, now_ms: i64) {
        if self.saved.phase != Phase::Followed {
            return;
        }
        if self.gone_since_ms.is_none() {
            self.gone_since_ms = Some(now_ms);
            self.find_again();
        }
        if let Err(error) = self.look(now_ms) {
            warn!(path = %self.saved.path.display(), %error, "file that was rotated away cannot be read");
            self.handle = None;
        }
        let quiet_since_ms = self.active_ms.max(self.gone_since_ms.unwrap_or(now_ms));
        let waited = now_ms.saturating_sub(quiet_since_ms) >= END_AFTER_MS;
        let nothing_left = self.handle.is_none() || self.size <= self.saved.offset;
        if self.saved.phase == Phase::Followed && nothing_left && (waited || self.handle.is_none()) {
            debug!(path = %self.saved.path.display(), offset = self.saved.offset, "file has ended");
            self.give_up(Phase::Ended { since_ms: now_ms });
        }
    }

    /// Whether its first bytes come next.
    pub(super) fn begins(&self) -> bool {
        self.saved.phase == Phase::Followed && self.saved.offset == 0 && self.size > 0
    }

    /// Takes note that its last record is complete; `true` if that is news and all of it was read.
    pub(super) fn complete(&mut self) -> bool {
        let is_news = self.saved.phase == Phase::Followed
            && !self.quiet_told
            && self.saved.offset > 0
            && self.saved.offset >= self.size;
        if is_news {
            self.quiet_told = true;
            self.changed = true;
        }
        is_news
    }

    /// What comes next, up to the size seen last.
    pub(super) fn read(&mut self, buffer: &mut [u8], now_ms: i64) -> Step {
        if self.saved.phase != Phase::Followed {
            return if self.take_end() { Step::End } else { Step::Nothing };
        }
        let offset = self.saved.offset;
        if offset < self.size {
            let length = self.read_at(buffer, offset);
            if length > 0 {
                self.saved.offset += length as u64;
                self.active_ms = now_ms;
                self.quiet_told = false;
                self.changed = true;
                return Step::Bytes { offset, length };
            }
        }
        self.cache.at_end();
        if !self.quiet_told && now_ms.saturating_sub(self.active_ms) >= QUIET_AFTER_MS {
            self.quiet_told = true;
            // Closing its last record moves the checkpoint.
            self.changed = true;
            return Step::Quiet;
        }
        Step::Nothing
    }

    /// Whether the file has ended and nobody was told; somebody is by this.
    pub(super) fn take_end(&mut self) -> bool {
        let end = self.saved.phase != Phase::Followed && !self.end_told;
        if end {
            self.end_told = true;
            self.changed = true;
        }
        end
    }

    /// Goes back to `offset`, below which every byte was read.
    pub(super) fn rewind(&mut self, offset: u64) {
        if offset < self.saved.offset {
            self.saved.offset = offset;
            self.quiet_told = false;
            // It may have been closed.
            self.modified = None;
        }
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> usize {
        let Some(handle) = &self.handle else { return 0 };
        let wanted = usize::try_from(self.size - offset).unwrap_or(usize::MAX).min(buffer.len());
        match self.cache.read(handle, buffer.get_mut(..wanted).unwrap_or_default(), offset) {
            Ok(length) => length,
            Err(error) => {
                warn!(path = %self.saved.path.display(), offset, %error, "file cannot be read; it is tried again");
                self.handle = None;
                self.modified = None;
                0
            }
        }
    }

    /// Opens the file if it is not; `false` if its path names another one by now.
    fn ensure_open(&mut self) -> io::Result<bool> {
        if self.handle.is_none() {
            self.handle = open_same(&self.saved.path, self.saved.identity)?;
        }
        Ok(self.handle.is_some())
    }

    /// Sees how long the open file is and whether it still is what was read; `false`, and the file given up, if not.
    fn look(&mut self, now_ms: i64) -> io::Result<bool> {
        let Some(handle) = &self.handle else { return Ok(true) };
        let size = handle.metadata()?.len();
        let fingerprint = self.saved.fingerprint.grown(handle)?;
        let Some(fingerprint) = fingerprint.filter(|_| size >= self.saved.offset) else {
            let (path, offset) = (self.saved.path.display(), self.saved.offset);
            warn!(%path, offset, size, "file was truncated or replaced in place; it is read from its start");
            self.give_up(Phase::Lost { since_ms: now_ms });
            return Ok(false);
        };
        self.size = size;
        if fingerprint != self.saved.fingerprint {
            self.saved.fingerprint = fingerprint;
            self.changed = true;
        }
        Ok(true)
    }

    /// Looks for the file under another name in its directory, which the globs may not cover.
    fn find_again(&mut self) {
        let deleted =
            self.handle.as_ref().is_some_and(|handle| handle.metadata().is_ok_and(|meta| meta.nlink() == 0));
        let directory = self.saved.path.parent().unwrap_or(Path::new("."));
        let found = if deleted { None } else { find_by_identity(directory, self.saved.identity) };
        let Some(path) = found else {
            info!(path = %self.saved.path.display(), "file is gone");
            return;
        };
        self.rename(path);
        if let Err(error) = self.ensure_open() {
            warn!(path = %self.saved.path.display(), %error, "file that was rotated away cannot be opened");
        }
    }

    fn rename(&mut self, path: PathBuf) {
        info!(from = %self.saved.path.display(), to = %path.display(), "file was renamed out of the globs");
        self.saved.path = path;
        self.changed = true;
    }

    fn give_up(&mut self, phase: Phase) {
        self.saved.phase = phase;
        self.handle = None;
        self.end_told = false;
        self.changed = true;
    }

    fn close_if_idle(&mut self, now_ms: i64) {
        if self.saved.offset >= self.size && now_ms.saturating_sub(self.active_ms) >= CLOSE_AFTER_MS {
            self.handle = None;
        }
    }
}

/// Opens `path` if it is still the file it was found to be.
fn open_same(path: &Path, identity: Identity) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let same = Identity::of(&file.metadata()?) == identity;
    Ok(same.then_some(file))
}

/// Start of the line that is last in the file, or its end if that line is complete.
fn last_line_start(file: &File, size: u64) -> io::Result<u64> {
    let start = size.saturating_sub(LINE_BYTES_MAX as u64);
    let mut tail = vec![0; LINE_BYTES_MAX];
    let filled = read_up_to(file, &mut tail, start)?;
    let newline = tail.get(..filled).and_then(|tail| tail.iter().rposition(|&byte| byte == b'\n'));
    Ok(newline.map_or(if start == 0 { 0 } else { size }, |newline| start + newline as u64 + 1))
}
