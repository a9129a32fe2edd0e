//! The logs to read: simulated once, kept, and read in pieces from the page cache.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use blocksift_tests::simulate::Dialect;
use blocksift_tests::simulate::batch::write_at_least;
use memchr::memrchr;

/// Bytes of one piece: large enough that the call for it does not count, small enough for the second cache.
const PIECE_BYTES: usize = 256 * 1_024;
/// Bytes of a piece for one of several threads, which wait for each other after each.
const THREAD_BYTES: usize = 1_024 * 1_024;
/// Bytes by which the last record of a log may exceed the size asked for.
const RECORD_BYTES_MAX: u64 = 10_000;
const SEED: u64 = 1;

/// The log of `dialect` with at least `bytes` bytes in `folder`; written if it is not there in that size.
pub(crate) fn made(folder: &Path, dialect: Dialect, bytes: u64) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}-{}mb.log", dialect.name(), bytes / 1_000_000));
    let sizes = bytes..bytes + RECORD_BYTES_MAX;
    if fs::metadata(&path).is_ok_and(|found| sizes.contains(&found.len())) {
        return Ok(path);
    }
    let unfinished = path.with_extension("part");
    let mut out = BufWriter::with_capacity(PIECE_BYTES, File::create(&unfinished)?);
    write_at_least(bytes, dialect, SEED, &mut out)?;
    out.flush()?;
    fs::rename(&unfinished, &path)?;
    Ok(path)
}

/// A file read piece by piece into one buffer.
pub(crate) struct Pieces {
    file: File,
    buffer: Vec<u8>,
    /// Bytes at the buffer's start that the last lines take.
    taken: usize,
    /// Bytes behind them that were read but are no whole line yet.
    kept: usize,
}

impl Pieces {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, buffer: vec![0; 2 * PIECE_BYTES], taken: 0, kept: 0 })
    }

    /// The next piece, cut wherever it ends; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let space = self.buffer.get_mut(..PIECE_BYTES).unwrap_or_default();
        let count = self.file.read(space)?;
        Ok(self.buffer.get(..count).filter(|piece| !piece.is_empty()))
    }

    /// Fills `buffer` with the next megabyte for each of `threads`; leaves it empty at the end of the file.
    pub(crate) fn fill(&mut self, threads: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.resize(threads * THREAD_BYTES, 0);
        let mut filled = 0;
        loop {
            let count = self.file.read(buffer.get_mut(filled..).unwrap_or_default())?;
            filled += count;
            if count == 0 || filled == buffer.len() {
                buffer.truncate(filled);
                return Ok(());
            }
        }
    }

    /// The next piece, cut behind a line end; a last line without one is left out.
    pub(crate) fn next_lines(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.copy_within(self.taken..self.taken + self.kept, 0);
        loop {
            let space = self.buffer.get_mut(self.kept..self.kept + PIECE_BYTES).unwrap_or_default();
            let count = self.file.read(space)?;
            if count == 0 {
                return Ok(None);
            }
            let filled = self.kept + count;
            let piece = self.buffer.get(..filled).unwrap_or_default();
            if let Some(newline) = memrchr(b'\n', piece) {
                self.taken = newline + 1;
                self.kept = filled - self.taken;
                return Ok(self.buffer.get(..=newline));
            }
            self.kept = filled;
            if self.kept > PIECE_BYTES {
                return Err(io::Error::other("a line is longer than a piece"));
            }
        }
    }
}
