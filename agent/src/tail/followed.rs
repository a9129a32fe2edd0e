//! One file being followed: its open handle, how far it was read, and whether it is still what it was.

mod copied;
mod reading;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blocksift_detector::FileId;
use tracing::{debug, info, warn};

use super::content::Content;
use super::{Ended, Phase, Saved};
use crate::files::{Anchor, Fingerprint, Found, find_by_identity, series};
use crate::limits::PageCache;
use crate::raw_lines::Records;
use crate::status::FileStatus;

/// A file that has not grown for this long has no unfinished record.
const QUIET_AFTER_MS: i64 = 2_000;
/// A file that is gone from the globs, or was rotated, has ended when it has not grown for this long: its writer may still
/// hold it, and on NFS a name may be missing for a moment. Zero bytes at its end are waited upon for as long.
pub(super) const END_AFTER_MS: i64 = 10_000;
/// A file that has become empty was truncated when it still is after this long: on NFS a size may lag behind.
const EMPTY_AFTER_MS: i64 = 1_000;
/// A file that has not grown for this long is closed; it is opened again when it grows.
const CLOSE_AFTER_MS: i64 = 300_000;
/// How far back the start of a line is looked for when a file is begun at its end.
const LINE_BYTES_MAX: usize = 64 * 1_024;

/// A file being followed.
#[derive(Debug)]
pub(super) struct Followed {
    /// Its `size` is as last seen; reading goes up to there.
    saved: Saved,
    handle: Option<Content>,
    cache: PageCache,
    /// Size and time of the last change, as last seen; `None` makes the next look a thorough one.
    stat: Option<(u64, SystemTime)>,
    /// When bytes were last read, or the file was first seen.
    active_ms: i64,
    /// Since when the globs do not name it.
    gone_since_ms: Option<i64>,
    /// Since when there is nothing in it where there was something.
    empty_since_ms: Option<i64>,
    /// The last bytes before the offset, for the anchor; empty if not known.
    last: Vec<u8>,
    /// Nothing of it was seen by this process yet.
    restored: bool,
    /// By its name, or because it had another one before: its writer has turned to the next file.
    rotated: bool,
    /// While no process followed it, another file took its place: more was written to it than was ever seen.
    outrun: bool,
    quiet_told: bool,
    /// Bytes that are gone unread, to be told.
    gap_bytes: Option<u64>,
    end_told: bool,
    changed: bool,
}

/// What a look at a file that was known showed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The same file.
    Same,
    /// Other contents are in the place of its own.
    Replaced,
    /// Nothing is where its contents were, for now at least.
    Missing,
}

/// What a file has to give.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Bytes { offset: u64, length: usize },
    Quiet,
    End(Ended),
    Nothing,
}

impl Followed {
    /// A file that the agent knew when it stopped.
    pub(super) fn restored(mut saved: Saved) -> Self {
        // A copy may be shorter than what was read of its original.
        saved.offset = saved.offset.min(saved.size);
        Self {
            handle: None,
            cache: PageCache::default(),
            stat: None,
            active_ms: 0,
            gone_since_ms: None,
            empty_since_ms: None,
            last: Vec::new(),
            restored: true,
            rotated: is_rotated(&saved.path),
            outrun: false,
            quiet_told: false,
            gap_bytes: None,
            end_told: saved.phase != Phase::Followed,
            changed: false,
            saved,
        }
    }

    /// A file that the globs name for the first time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn new(
        id: FileId,
        found: &Found,
        mut content: Content,
        phase: Phase,
        at_end: bool,
        now_ms: i64,
    ) -> io::Result<Self> {
        let size = content.size()?;
        let fingerprint = Fingerprint::default().grown(&content.head()?).unwrap_or_default();
        let offset = match phase {
            Phase::Copy { .. } => size,
            _ if at_end => last_line_start(&mut content, size)?,
            _ => 0,
        };
        let known = offset.min(Anchor::BYTES_MAX.into());
        let last = content.bytes(offset - known, usize::try_from(known).unwrap_or_default())?;
        let saved = Saved {
            id,
            path: found.path.clone(),
            identity: found.identity,
            fingerprint,
            anchor: Anchor::behind(&last, offset),
            size,
            offset,
            phase,
        };
        Ok(Self {
            handle: Some(content),
            stat: Some((found.size, found.modified)),
            active_ms: now_ms,
            restored: false,
            changed: true,
            ..Self::restored(saved)
        })
    }

    pub(super) fn id(&self) -> FileId {
        self.saved.id
    }

    pub(super) fn now(&self) -> &Saved {
        &self.saved
    }

    pub(super) fn path(&self) -> &Path {
        &self.saved.path
    }

    pub(super) fn phase(&self) -> Phase {
        self.saved.phase
    }

    /// Whether the globs do not name it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone_since_ms.is_some()
    }

    /// Whether the globs name it, or it is open.
    pub(super) fn is_at_hand(&self) -> bool {
        self.gone_since_ms.is_none() || self.handle.is_some()
    }

    /// Whether it is read, and the globs name it.
    pub(super) fn is_here(&self) -> bool {
        self.saved.phase == Phase::Followed && self.gone_since_ms.is_none()
    }

    /// Whether its first bytes come next.
    pub(super) fn begins(&self) -> bool {
        self.saved.phase == Phase::Followed && self.saved.offset == 0 && self.saved.size > 0
    }

    /// Whether its end was told since it ended.
    pub(super) fn end_told(&self) -> bool {
        self.end_told
    }

    pub(super) fn lag_bytes(&self) -> u64 {
        match self.saved.phase {
            Phase::Followed => self.saved.size.saturating_sub(self.saved.offset),
            _ => 0,
        }
    }

    pub(super) fn status(&self) -> FileStatus {
        FileStatus {
            path: self.saved.path.to_string_lossy().into_owned(),
            offset: self.saved.offset,
            size: self.saved.size,
            lag_bytes: self.lag_bytes(),
        }
    }

    /// For how long nothing was read of it.
    pub(super) fn quiet_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.active_ms)
    }

    pub(super) fn take_change(&mut self) -> Option<Saved> {
        std::mem::take(&mut self.changed).then(|| self.saved())
    }

    /// What to keep now. A file counts as ended once its end was told: only then is its last record closed. One of which
    /// nothing is known has no record, and to follow it again would be to read whatever has its inode by then.
    pub(super) fn saved(&self) -> Saved {
        let phase = if self.end_told || self.is_blank() { self.saved.phase } else { Phase::Followed };
        Saved { phase, ..self.saved.clone() }
    }

    /// The file for reading lines back; `None` if it cannot be had any more.
    pub(super) fn records(&self) -> Option<Box<dyn Records>> {
        match (&self.handle, self.saved.phase) {
            (_, Phase::Lost { .. }) => None,
            (Some(content), _) => content.records().ok(),
            (None, _) => {
                let mut content = self.open_again()?;
                self.saved.fingerprint.fits(&content.head().ok()?).then(|| content.records().ok())?
            }
        }
    }

    /// Its contents, for comparing others with them; `None` if they cannot be had.
    pub(super) fn with_content<R>(&mut self, ask: impl FnOnce(&mut Content) -> R) -> Option<R> {
        match &mut self.handle {
            Some(content) => Some(ask(content)),
            None => self.open_again().as_mut().map(ask),
        }
    }

    fn open_again(&self) -> Option<Content> {
        Content::open(&self.saved.path, self.saved.identity).ok()?
    }

    /// The globs name a file of this identity.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn seen(&mut self, found: &Found, now_ms: i64) -> io::Result<Seen> {
        if let Phase::Ended { since_ms } = &mut self.saved.phase {
            *since_ms = now_ms;
        }
        let stat = Some((found.size, found.modified));
        let changed = self.stat != stat;
        if changed {
            if self.handle.is_none() && self.is_blank() && found.size > 0 {
                // Nothing but the inode says that it is the same one, and nothing of it was read.
                return Ok(Seen::Replaced);
            }
            if self.handle.is_none() {
                self.handle = Content::open(&found.path, found.identity)?;
            }
            if self.handle.is_none() {
                // Renamed since the globs were looked at; the next look finds it.
                return Ok(Seen::Same);
            }
            match self.look(now_ms)? {
                Seen::Same => self.stat = stat,
                other => return Ok(other),
            }
        }
        self.gone_since_ms = None;
        if self.saved.path != found.path {
            info!(from = %self.saved.path.display(), to = %found.path.display(), "file was renamed");
            self.saved.path.clone_from(&found.path);
            self.rotated = true;
            self.changed = true;
        }
        if self.saved.phase != Phase::Followed && self.saved.offset < self.saved.size {
            // It goes on after all.
            self.saved.phase = Phase::Followed;
            self.end_told = false;
            self.changed = true;
        }
        if !changed || self.saved.phase != Phase::Followed {
            self.rest(now_ms);
        }
        Ok(Seen::Same)
    }

    /// The globs do not name a file of this identity: it was renamed, moved or deleted.
    pub(super) fn unseen(&mut self, now_ms: i64) -> Seen {
        if self.saved.phase != Phase::Followed {
            if let (Phase::Ended { since_ms }, None) = (&mut self.saved.phase, self.gone_since_ms) {
                // It was there until now, or until the agent stopped.
                *since_ms = now_ms;
            }
            self.gone_since_ms.get_or_insert(now_ms);
            return Seen::Same;
        }
        let first = self.gone_since_ms.is_none();
        let gone_since_ms = *self.gone_since_ms.get_or_insert(now_ms);
        if first || self.handle.is_none() {
            self.find_again(first);
        }
        if self.handle.is_some() {
            match self.look(now_ms) {
                Ok(Seen::Same) => {}
                Ok(other) => return other,
                Err(error) => {
                    let path = self.saved.path.display();
                    warn!(%path, %error, "file that was rotated away cannot be read; it is tried again");
                }
            }
        }
        let waited = now_ms.saturating_sub(self.active_ms.max(gone_since_ms)) >= END_AFTER_MS;
        match &self.handle {
            Some(_) if waited && self.lag_bytes() == 0 => {
                self.give_up(Phase::Ended { since_ms: now_ms }, None)
            }
            None if waited => self.give_up(Phase::Ended { since_ms: now_ms }, self.gap()),
            None => return Seen::Missing,
            Some(_) => {}
        }
        Seen::Same
    }

    /// The contents are nowhere any more. `outrun`: see the field.
    pub(super) fn lose(&mut self, outrun: bool, now_ms: i64) {
        self.outrun = outrun;
        self.give_up(Phase::Lost { since_ms: now_ms }, self.gap());
    }

    /// The file is gone, and another one took its place while no process followed it.
    pub(super) fn set_outrun(&mut self) {
        self.outrun = true;
    }

    /// Whether nothing is known of its contents.
    pub(super) fn is_blank(&self) -> bool {
        self.saved.offset == 0 && self.saved.fingerprint.is_empty()
    }

    /// Whether more was written to it than this process ever saw.
    pub(super) fn is_restored(&self) -> bool {
        self.restored
    }

    /// Sees how long the open file is and whether it still is what was read.
    fn look(&mut self, now_ms: i64) -> io::Result<Seen> {
        if matches!(self.handle, Some(Content::Packed(_))) && !self.restored {
            return Ok(Seen::Same);
        }
        let anchor = self.saved.anchor;
        let Some(content) = &mut self.handle else { return Ok(Seen::Same) };
        let mut measure = || -> io::Result<(u64, Option<Fingerprint>)> {
            // The bytes at the anchor are there, even where the size lags behind, as on NFS.
            let fits = content.fits(&self.saved)?;
            let fingerprint = self.saved.fingerprint.grown(&content.head()?);
            Ok((content.size()?, fingerprint.filter(|_| fits)))
        };
        let looked = measure();
        let (size, fingerprint) = looked.inspect_err(|_| self.handle = None)?;
        if size == 0 && anchor.end().max(self.saved.offset) > 0 && fingerprint.is_none() {
            let waited = now_ms.saturating_sub(*self.empty_since_ms.get_or_insert(now_ms)) >= EMPTY_AFTER_MS;
            return Ok(if waited { Seen::Replaced } else { Seen::Missing });
        }
        let size = size.max(anchor.end());
        let Some(fingerprint) = fingerprint.filter(|_| size >= self.saved.offset) else {
            return Ok(Seen::Replaced);
        };
        self.empty_since_ms = None;
        self.restored = false;
        self.changed |= size != self.saved.size || fingerprint != self.saved.fingerprint;
        self.saved.size = size;
        self.saved.fingerprint = fingerprint;
        Ok(Seen::Same)
    }

    /// Looks for the file under another name in its directory, which the globs may not cover.
    fn find_again(&mut self, first: bool) {
        match self.find() {
            Ok(Some(path)) if path != self.saved.path => self.rename(path),
            Ok(Some(_)) => {}
            Ok(None) if first => info!(path = %self.saved.path.display(), "file is gone"),
            Ok(None) => {}
            Err(error) => {
                let path = self.saved.path.display();
                warn!(%path, %error, "file that was rotated away cannot be opened; it is tried again");
            }
        }
    }

    /// Where the file is, which is open then.
    fn find(&mut self) -> io::Result<Option<PathBuf>> {
        if self.handle.as_ref().is_some_and(Content::is_deleted) {
            return Ok(None);
        }
        let directory = self.saved.path.parent().unwrap_or(Path::new("."));
        let Some(path) = find_by_identity(directory, self.saved.identity)? else { return Ok(None) };
        if self.handle.is_none() {
            // The inode may be another file's by now.
            let Some(mut content) = Content::open(&path, self.saved.identity)? else { return Ok(None) };
            if !content.fits(&self.saved)? {
                return Ok(None);
            }
            self.handle = Some(content);
        }
        Ok(Some(path))
    }

    fn rename(&mut self, path: PathBuf) {
        info!(from = %self.saved.path.display(), to = %path.display(), "file was renamed out of the globs");
        self.saved.path = path;
        self.rotated = true;
        self.changed = true;
    }

    /// Bytes that were seen and are not read, if any, or zero if more was written than was seen.
    fn gap(&self) -> Option<u64> {
        let unread = self.saved.size.max(self.saved.anchor.end()).saturating_sub(self.saved.offset);
        (unread > 0 || self.outrun).then_some(unread)
    }

    fn give_up(&mut self, phase: Phase, gap_bytes: Option<u64>) {
        let (path, offset) = (self.saved.path.display(), self.saved.offset);
        debug!(%path, offset, ?phase, "file has ended");
        if let Some(bytes) = gap_bytes {
            let bytes_at_least = bytes;
            warn!(%path, offset, bytes_at_least, "lines were removed before they were read; rotate later or keep more files");
        }
        if self.saved.phase == Phase::Followed {
            self.gap_bytes = gap_bytes;
            self.end_told = false;
        }
        self.saved.phase = phase;
        self.handle = None;
        self.changed = true;
    }

    /// Nothing new: closes a file that has been like that for long, and ends one that was rotated.
    fn rest(&mut self, now_ms: i64) {
        if self.saved.offset < self.saved.size {
            return;
        }
        let quiet_ms = self.quiet_ms(now_ms);
        if self.saved.phase != Phase::Followed || quiet_ms >= CLOSE_AFTER_MS {
            self.handle = None;
        } else if self.rotated && quiet_ms >= END_AFTER_MS {
            self.give_up(Phase::Ended { since_ms: now_ms }, None);
        }
    }
}

/// Whether a file's name says that it was rotated.
fn is_rotated(path: &Path) -> bool {
    path.file_name().is_some_and(|name| *name != *series(path))
}

/// Start of the line that is last in the file, or its end if that line is complete.
fn last_line_start(content: &mut Content, size: u64) -> io::Result<u64> {
    let start = size.saturating_sub(LINE_BYTES_MAX as u64);
    let tail = content.bytes(start, LINE_BYTES_MAX)?;
    let newline = tail.iter().rposition(|&byte| byte == b'\n');
    Ok(newline.map_or(if start == 0 { 0 } else { size }, |newline| start + newline as u64 + 1))
}
