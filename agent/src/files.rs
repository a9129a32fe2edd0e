//! Which log files there are, and what makes a file the same file: its device and inode, and the [`Fingerprint`] of
//! its first bytes, which tells a reused inode or a rewritten file from the one that was read.
//! Following them over time is [`crate::tail`]'s part.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::Logs;
use crate::source::FILES;

/// What a rename does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Device number.
    pub(crate) device: u64,
    /// Inode number; used again once its file is deleted.
    pub(crate) inode: u64,
}

impl Identity {
    /// That of an open or named file.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Hash of a file's first bytes: of all it had when last looked at, up to [`Fingerprint::BYTES_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    bytes: u16,
    hash: u64,
}

impl Fingerprint {
    /// Bytes looked at: the first lines of a log hold its first times, so this tells any two logs apart.
    pub(crate) const BYTES_MAX: u16 = 1_024;

    /// The fingerprint of `file` now if it still begins as it did, else `None`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn grown(self, file: &File) -> io::Result<Option<Self>> {
        let mut head = [0; Self::BYTES_MAX as usize];
        let filled = read_up_to(file, &mut head, 0)?;
        let head = head.get(..filled).unwrap_or_default();
        let same = head
            .get(..usize::from(self.bytes))
            .is_some_and(|old| self.bytes == 0 || xxh3_64(old) == self.hash);
        let bytes = u16::try_from(filled).unwrap_or(Self::BYTES_MAX);
        Ok(same.then(|| Self { bytes, hash: xxh3_64(head) }))
    }
}

/// Fills as much of `buffer` as the file has from `offset` on.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Bytes read at a time in search of the last line end.
const LINE_END_STEP_BYTES: u64 = 64 * 1_024;

/// Length of the whole lines of a file that is `length` bytes long.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn last_line_end(file: &File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut bytes = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(LINE_END_STEP_BYTES);
        bytes.resize(usize::try_from(end - start).unwrap_or(0), 0);
        file.read_exact_at(&mut bytes, start)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A file that the globs name.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Path under which it was found first.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) identity: Identity,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Time of its last change.
    pub(crate) modified: SystemTime,
}

/// What one look at the globs gave.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// Files, the least recently changed first: a rotated file comes before the one that replaced it.
    pub(crate) files: Vec<Found>,
    /// What could not be looked at.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
    /// Files beyond `files_max`, the least recently changed ones.
    pub(crate) left_out: usize,
}

/// Looks at the globs of `logs`. A file with several names counts once.
pub(crate) fn scan(logs: &Logs) -> Scanned {
    let mut scanned = Scanned::default();
    let mut known = HashSet::new();
    let received = logs
        .received
        .as_ref()
        .map(|directory| format!("{}/{FILES}", Pattern::escape(&directory.to_string_lossy())));
    for pattern in logs.paths.iter().chain(&received) {
        // Checked with the configuration: each pattern compiles.
        let Ok(paths) = glob::glob_with(pattern, MATCH) else { continue };
        let exclude = if Some(pattern) == received.as_ref() { &[][..] } else { &logs.exclude };
        for path in paths {
            match path {
                Ok(path) if excluded(exclude, &path) => {}
                Ok(path) => look_at(path, &mut known, &mut scanned),
                Err(error) => scanned.unreadable.push((error.path().to_owned(), error.into())),
            }
        }
    }
    scanned.files.sort_by(|a, b| (a.modified, &b.path).cmp(&(b.modified, &a.path)));
    scanned.left_out = scanned.files.len().saturating_sub(logs.files_max);
    scanned.files.drain(..scanned.left_out);
    scanned
}

const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

fn look_at(path: PathBuf, known: &mut HashSet<Identity>, scanned: &mut Scanned) {
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        // Renamed or deleted since the glob listed it: the next look will tell.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return scanned.unreadable.push((path, error)),
    };
    let identity = Identity::of(&metadata);
    if !metadata.is_file() || !known.insert(identity) {
        return;
    }
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    scanned.files.push(Found { path, identity, size: metadata.len(), modified });
}

fn excluded(exclude: &[Pattern], path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    exclude.iter().any(|pattern| {
        if pattern.as_str().contains('/') {
            pattern.matches_path_with(path, MATCH)
        } else {
            pattern.matches_with(&name, MATCH)
        }
    })
}

/// Where in `directory` the file with this identity is, under whatever name.
pub(crate) fn find_by_identity(directory: &Path, identity: Identity) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?;
    entries
        .flatten()
        .filter(|entry| {
            entry.metadata().is_ok_and(|metadata| metadata.is_file() && Identity::of(&metadata) == identity)
        })
        .map(|entry| entry.path())
        .next()
}
