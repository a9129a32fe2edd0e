//! Received lines on their way to the detector: files of whole lines, one row of files for each stream, which
//! [`crate::tail`] follows as it follows logs. [`Journal::append`] returns when the lines are on the disk.
//!
//! Bounded in bytes: a file is deleted, oldest first, to make room for new lines once the store says that all of it is
//! in sessions; until then its lines can be read back for reports. Where there is no such file, appending fails with
//! [`JournalError::Full`], and the sender keeps its lines.
//!
//! A chunk that comes twice under one id is kept once, if it is among the last [`CHUNKS_MAX`] of this process.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};
use xxhash_rust::xxh3::xxh3_64;

use crate::files::Identity;
use crate::state::{StateError, Store};

/// What the names of the files have between that of their stream and their number. Numbered as rotated logs are, only
/// upwards.
const INFIX: &str = ".lines.";
/// The files in the directory, as a glob.
pub(crate) const FILES: &str = "*.lines.*";
/// Bytes of a file from which on the next one is begun, unless the journal is so small that an eighth of it is less.
const FILE_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
/// Streams that have files of their own; what further ones send goes into files that they share.
const STREAMS_MAX: usize = 100;
/// Name of the stream that the others share.
const OTHERS: &str = "others";
/// Characters of a stream's name that are kept in the names of its files.
const NAME_CHARS_MAX: usize = 64;
/// Ids of chunks that are remembered.
const CHUNKS_MAX: usize = 1_024;
/// Only the agent's user: received lines may hold anything.
const MODE: u32 = 0o600;

/// Why lines were not taken. None of them was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// There will be room once more lines were read.
    #[error("no room for more received lines until those before them are read")]
    Full,
    /// The chunk would not even fit into an empty journal.
    #[error("chunk of {bytes} bytes is larger than receive.bytes_max")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
    },
    /// The disk does not let the lines be written.
    #[error("received lines cannot be written to `{path}`")]
    Write {
        /// File or directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The store does not say what was read.
    #[error(transparent)]
    Store(#[from] StateError),
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    bytes_max: u64,
    file_bytes_max: u64,
    store: Arc<Store>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Every file, oldest first.
    files: VecDeque<Kept>,
    bytes: u64,
    /// The file that a stream writes to, by the name of the stream.
    open: HashMap<String, Open>,
    /// Above the number of every file.
    next: u64,
    /// Ids of the last chunks, oldest first.
    chunks: VecDeque<u64>,
    /// That there is no room was told.
    full: bool,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    number: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    number: u64,
}

impl Journal {
    /// Opens the journal in `directory`, which is made if it is not there. Pieces of lines that a crash left are cut off.
    ///
    /// # Errors
    /// When the disk does not let it be opened.
    pub(super) fn open(directory: &Path, bytes_max: u64, store: Arc<Store>) -> Result<Self, JournalError> {
        let wrong = |source| JournalError::Write { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(wrong)?;
        let mut inner = Inner::default();
        for entry in fs::read_dir(directory).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let Some(number) = number(&path) else { continue };
            let bytes =
                cut_off_piece(&path).map_err(|source| JournalError::Write { path: path.clone(), source })?;
            inner.bytes += bytes;
            inner.next = inner.next.max(number + 1);
            inner.files.push_back(Kept { path, number, bytes });
        }
        inner.files.make_contiguous().sort_by_key(|file| file.number);
        let file_bytes_max = FILE_BYTES_MAX.min(bytes_max / 8);
        let directory = directory.to_owned();
        Ok(Self { directory, bytes_max, file_bytes_max, store, inner: Mutex::new(inner) })
    }

    /// Keeps whole lines of some streams, all of them or none. A chunk whose id was seen is not kept again. With `sync`
    /// the lines outlive a crash of the host, without only one of the agent.
    ///
    /// # Errors
    /// Any of [`JournalError`]; the sender should keep the lines and try again. Where the disk failed, a part of them
    /// may have been kept.
    pub(super) fn append(
        &self,
        chunk: Option<&[u8]>,
        streams: &[(&str, &[u8])],
        sync: bool,
    ) -> Result<(), JournalError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let chunk = chunk.map(xxh3_64);
        if chunk.is_some_and(|chunk| inner.chunks.contains(&chunk)) {
            return Ok(());
        }
        self.make_room(&mut inner, streams.iter().map(|(_, lines)| lines.len() as u64).sum())?;
        for (stream, lines) in streams.iter().filter(|(_, lines)| !lines.is_empty()) {
            self.write(&mut inner, stream, lines, sync)?;
        }
        if let Some(chunk) = chunk {
            inner.chunks.push_back(chunk);
            if inner.chunks.len() > CHUNKS_MAX {
                inner.chunks.pop_front();
            }
        }
        Ok(())
    }

    /// Deletes files that were read until so many more bytes fit.
    fn make_room(&self, inner: &mut Inner, bytes: u64) -> Result<(), JournalError> {
        if bytes > self.bytes_max {
            return Err(JournalError::TooLarge { bytes });
        }
        if inner.bytes + bytes <= self.bytes_max {
            return Ok(());
        }
        // By number and inode: the inode of a deleted file is used again, and a number only while its file is there.
        let read: HashMap<(Option<u64>, Identity), u64> = self
            .store
            .checkpoints()?
            .into_iter()
            .map(|(path, identity, offset)| ((number(&path), identity), offset))
            .collect();
        let mut at = 0;
        while inner.bytes + bytes > self.bytes_max
            && let Some(file) = inner.files.get(at)
        {
            let key = |metadata: &fs::Metadata| (Some(file.number), Identity::of(metadata));
            let done = fs::metadata(&file.path).map_or(true, |metadata| {
                read.get(&key(&metadata)).is_some_and(|offset| *offset >= metadata.len())
            });
            // The last one stays in any case: its number must not be given to another one after a restart.
            if !done || file.number + 1 == inner.next {
                at += 1;
                continue;
            }
            let Some(file) = inner.files.remove(at) else { break };
            inner.open.retain(|_, open| open.number != file.number);
            inner.bytes = inner.bytes.saturating_sub(file.bytes);
            if let Err(error) = fs::remove_file(&file.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(path = %file.path.display(), %error, "received lines that were read cannot be deleted");
            }
        }
        let full = inner.bytes + bytes > self.bytes_max;
        match (inner.full, full) {
            (false, true) => {
                warn!(bytes = inner.bytes, "no room for received lines; none are taken until some were read")
            }
            (true, false) => info!("received lines are taken again"),
            _ => {}
        }
        inner.full = full;
        if full { Err(JournalError::Full) } else { Ok(()) }
    }

    fn write(&self, inner: &mut Inner, stream: &str, lines: &[u8], sync: bool) -> Result<(), JournalError> {
        let mut name = file_name(stream);
        if !inner.open.contains_key(&name) && inner.open.len() >= STREAMS_MAX {
            name = OTHERS.to_owned();
        }
        self.ensure_open(inner, &name)?;
        let Some(open) = inner.open.get_mut(&name) else { return Err(JournalError::Full) };
        let number = open.number;
        let written = write_all(&mut open.file, lines, sync);
        let Some(kept) = inner.files.iter_mut().rev().find(|file| file.number == number) else {
            return Err(JournalError::Full);
        };
        if let Err(source) = written {
            // What got into it may be in a session already: it is left, and the next lines go into a new file.
            let error = JournalError::Write { path: kept.path.clone(), source };
            let bytes = open.file.metadata().map_or(kept.bytes, |metadata| metadata.len());
            inner.bytes += bytes.saturating_sub(kept.bytes);
            kept.bytes = bytes;
            inner.open.remove(&name);
            return Err(error);
        }
        kept.bytes += lines.len() as u64;
        let large = kept.bytes >= self.file_bytes_max;
        inner.bytes += lines.len() as u64;
        if large {
            inner.open.remove(&name);
        }
        Ok(())
    }

    fn ensure_open(&self, inner: &mut Inner, name: &str) -> Result<(), JournalError> {
        if inner.open.contains_key(name) {
            return Ok(());
        }
        let number = inner.next;
        let path = self.directory.join(format!("{name}{INFIX}{number:010}"));
        let wrong = |source| JournalError::Write { path: path.clone(), source };
        let file = OpenOptions::new().append(true).create_new(true).mode(MODE).open(&path).map_err(wrong)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(wrong)?;
        inner.next += 1;
        inner.open.insert(name.to_owned(), Open { file, number });
        inner.files.push_back(Kept { path, number, bytes: 0 });
        Ok(())
    }
}

/// Writes all or nothing where the file system can tell beforehand whether there is room.
fn write_all(file: &mut File, lines: &[u8], sync: bool) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    let length = file.metadata()?.len();
    match fallocate(&*file, FallocateFlags::KEEP_SIZE, length, lines.len() as u64) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    file.write_all(lines)?;
    if sync { file.sync_data() } else { Ok(()) }
}

/// What a sender calls its stream, as part of a file name: never a path, and unique by its hash.
fn file_name(stream: &str) -> String {
    let kept = stream.chars().take(NAME_CHARS_MAX);
    let kept: String =
        kept.map(|char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' }).collect();
    format!("{kept}-{:08x}", xxh3_64(stream.as_bytes()) >> 32)
}

/// The number in the name of one of the journal's files.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.rsplit_once(INFIX)?.1.parse().ok()
}

/// Cuts off what follows the last line end, which no sender was told to be taken; the length that is left.
fn cut_off_piece(path: &Path) -> io::Result<u64> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let whole = crate::files::last_line_end(&file, length)?;
    if whole < length {
        file.set_len(whole)?;
    }
    Ok(whole)
}
