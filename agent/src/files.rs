//! Which log files there are, and what makes a file the same file: its device and inode, and the [`Fingerprint`] of
//! its first bytes and the [`Anchor`] where reading stopped, which tell a reused inode or a rewritten file from the one
//! that was read. Following them over time is [`crate::tail`]'s part.

mod fingerprint;

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use crate::config::Logs;
use crate::source::FILES;
pub(crate) use fingerprint::{Anchor, Fingerprint};

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
    /// Directories in which names that come and go may matter.
    pub(crate) directories: BTreeSet<PathBuf>,
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
        scanned.directories.insert(first_directory(pattern));
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
    let parents = scanned.files.iter().filter_map(|file| file.path.parent());
    scanned.directories.extend(parents.map(Path::to_owned));
    scanned.left_out = scanned.files.len().saturating_sub(logs.files_max);
    scanned.files.drain(..scanned.left_out);
    scanned
}

/// The deepest directory that exists and that everything a pattern names is below.
fn first_directory(pattern: &str) -> PathBuf {
    let fixed = pattern.split(['*', '?', '[']).next().unwrap_or_default();
    let mut directory = Path::new(fixed.rsplit_once('/').map_or(".", |(directory, _)| directory));
    while !directory.is_dir() {
        let Some(parent) = directory.parent() else { break };
        directory = parent;
    }
    if directory.as_os_str().is_empty() { PathBuf::from("/") } else { directory.to_owned() }
}

const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

fn look_at(path: PathBuf, known: &mut HashSet<Identity>, scanned: &mut Scanned) {
    // A link may lead elsewhere tomorrow: a file is known by its own name.
    let link = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
    let path = if link { fs::canonicalize(&path).unwrap_or(path) } else { path };
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
///
/// # Errors
/// When the directory cannot be listed, so that nothing is known.
pub(crate) fn find_by_identity(directory: &Path, identity: Identity) -> io::Result<Option<PathBuf>> {
    let found = list(directory)?.into_iter().find(|(_, other)| *other == identity);
    Ok(found.map(|(path, _)| path))
}

/// The files of `directory`, in order of their names; empty if it is gone.
///
/// # Errors
/// When the directory cannot be listed.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<(PathBuf, Identity)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push((entry.path(), Identity::of(&metadata)));
        }
    }
    files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

/// A path without what rotation appends to it: that of `a.log` for `a.log`, `a.log.3` and `a.log.2026-11-25.gz`.
pub(crate) fn without_rotation(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    let name = memchr::memrchr(b'/', bytes).map_or(0, |slash| slash + 1);
    let mut kept = bytes.strip_suffix(b".gz").or_else(|| bytes.strip_suffix(b".zst")).unwrap_or(bytes);
    while let Some(at) = memchr::memrchr3(b'.', b'-', b'_', kept).filter(|&at| at > name)
        && kept.get(at + 1..).is_some_and(|suffix| suffix.iter().all(u8::is_ascii_digit))
    {
        kept = kept.get(..at).unwrap_or_default();
    }
    kept
}

/// A file's name without what rotation appends to it.
pub(crate) fn series(path: &Path) -> String {
    let name = Path::new(path.file_name().unwrap_or_default());
    String::from_utf8_lossy(without_rotation(name)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_appends_numbers_and_dates() {
        let names = ["a.log", "a.log.3", "a.log.2026-11-25", "a.log-20261125.1.gz", "logs/a.log.20"];
        assert!(names.iter().all(|name| series(Path::new(name)) == "a.log"));
        assert_eq!(series(Path::new("2026")), "2026");
        assert_eq!(without_rotation(Path::new("logs-1/a.log.20")), b"logs-1/a.log");
        assert_eq!(without_rotation(Path::new("logs.1/20")), b"logs.1/20");
    }

    #[test]
    fn the_first_directory_that_exists_is_watched_for_those_to_come() {
        let folder = tempfile::tempdir().unwrap();
        let pattern = |tail: &str| format!("{}/{tail}", folder.path().display());
        assert_eq!(first_directory(&pattern("*.log")), folder.path());
        assert_eq!(first_directory(&pattern("not/yet/*.log")), folder.path());
        assert_eq!(first_directory("/*.log"), Path::new("/"));
    }
}
