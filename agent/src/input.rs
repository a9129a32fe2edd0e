//! Inputs of a batch: log files, plain or compressed, and standard input. What a compressed file holds is told by its
//! first bytes, not by its name. Each input can be read twice: once for the detector, once for the raw lines of
//! flagged sessions; standard input is copied to an unnamed temporary file for that.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::ProgressBar;
use tracing::{debug, warn};

use crate::compressed::Compression;
use crate::raw_lines::{Records, Stream};

/// Bytes handed to the detector at a time.
const CHUNK_BYTES: usize = 64 * 1_024;
/// The same for each of several threads, which wait for each other after every chunk.
const THREAD_BYTES: usize = 1_024 * 1_024;

/// One input of a batch.
#[derive(Debug)]
pub(crate) struct Input {
    path: PathBuf,
    file: File,
    compression: Compression,
    /// Standard input, copied to `file` while it is read.
    stdin: bool,
    /// What was read of standard input to look at it.
    begun: OnceCell<Vec<u8>>,
    /// Whether the copy failed, so that raw lines cannot be read again.
    copy_failed: Cell<bool>,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// If there is no such file, it is a directory, or it must not be read.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            let file = tempfile::tempfile().context("no temporary file for standard input; set TMPDIR")?;
            return Ok(Self {
                path: path.to_owned(),
                file,
                compression: Compression::None,
                stdin: true,
                begun: OnceCell::new(),
                copy_failed: Cell::new(false),
            });
        }
        let open = || -> io::Result<Self> {
            let file = File::open(path)?;
            if file.metadata()?.is_dir() {
                return Err(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "is a directory; name the files in it",
                ));
            }
            let compression = Compression::of(&file)?;
            if compression == Compression::Other {
                compression.reader(io::empty())?;
            }
            let (begun, copy_failed) = (OnceCell::new(), Cell::new(false));
            Ok(Self { path: path.to_owned(), file, compression, stdin: false, begun, copy_failed })
        };
        open().with_context(|| format!("log `{}` cannot be read", path.display()))
    }

    /// As given; `-` for standard input.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Bytes on disk; `0` for standard input.
    pub(crate) fn stored_bytes(&self) -> u64 {
        if self.stdin { 0 } else { self.file.metadata().map_or(0, |metadata| metadata.len()) }
    }

    /// The first bytes of the text, at most `bytes_max`; none of standard input, which comes only once.
    pub(crate) fn peek(&self, bytes_max: u64) -> Vec<u8> {
        let mut head = Vec::new();
        if !self.stdin
            && let Ok(reader) = self.reader(&ProgressBar::hidden())
            && let Err(error) = reader.take(bytes_max).read_to_end(&mut head)
        {
            // Reading the whole file meets the same error and tells the user.
            debug!(path = %self.path.display(), %error, "first bytes are not readable");
        }
        head
    }

    /// As [`peek`](Self::peek), of standard input too: what is looked at waits for [`read`](Self::read).
    pub(crate) fn start(&self, bytes_max: u64) -> Vec<u8> {
        if !self.stdin {
            return self.peek(bytes_max);
        }
        let begin = || {
            let mut bytes = Vec::new();
            if let Err(error) = io::stdin().lock().take(bytes_max).read_to_end(&mut bytes) {
                // Reading on meets the same error and tells the user.
                debug!(%error, "first bytes are not readable");
            }
            bytes
        };
        self.begun.get_or_init(begin).clone()
    }

    /// Reads all of the text in chunks that suit so many threads, each with its offset in the text.
    ///
    /// # Errors
    /// If the file cannot be read to its end; what came before the error has been handed over.
    pub(crate) fn read(
        &self,
        progress: &ProgressBar,
        threads: usize,
        mut take: impl FnMut(u64, &[u8]),
    ) -> anyhow::Result<()> {
        let mut read = || -> io::Result<()> {
            let begun = || io::Cursor::new(self.begun.get().cloned().unwrap_or_default());
            let mut reader: Box<dyn Read> = match self.stdin {
                true => Box::new(begun().chain(io::stdin().lock())),
                false => self.reader(progress)?,
            };
            let mut chunk = vec![0; if threads == 1 { CHUNK_BYTES } else { threads * THREAD_BYTES }];
            let mut offset = 0;
            loop {
                let (count, end) = fill(&mut reader, &mut chunk);
                let bytes = chunk.get(..count).unwrap_or_default();
                if self.stdin {
                    self.copy(bytes);
                }
                if count > 0 {
                    take(offset, bytes);
                }
                offset += count as u64;
                match end {
                    None => {}
                    Some(Ok(())) => return Ok(()),
                    Some(Err(error)) => return Err(error),
                }
            }
        };
        let hint = match self.compression {
            Compression::None => "",
            _ => " (is the compressed file complete?); what could be read was used",
        };
        read().with_context(|| format!("log `{}` cannot be read to its end{hint}", self.path.display()))
    }

    /// Reads single records again.
    pub(crate) fn records(&self) -> Option<Box<dyn Records>> {
        match self.compression {
            _ if self.copy_failed.get() => None,
            Compression::None => Some(Box::new(self.file.try_clone().ok()?)),
            _ => Some(Box::new(Stream::new(self.reader(&ProgressBar::hidden()).ok()?))),
        }
    }

    fn copy(&self, bytes: &[u8]) {
        if !self.copy_failed.get()
            && let Err(error) = (&self.file).write_all(bytes)
        {
            self.copy_failed.set(true);
            warn!(%error, "standard input cannot be copied to TMPDIR; reports go without raw lines");
        }
    }

    /// The text from its start, while no other reader of this input is in use. Not for standard input.
    ///
    /// # Errors
    /// If the file cannot be read from its start.
    pub(crate) fn reader(&self, progress: &ProgressBar) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        self.compression.reader(progress.wrap_read(file))
    }
}

/// Reads until `chunk` is full: how much of it is, and how the text ended if it did.
fn fill(reader: &mut impl Read, chunk: &mut [u8]) -> (usize, Option<io::Result<()>>) {
    let mut filled = 0;
    while let Some(room) = chunk.get_mut(filled..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => return (filled, Some(Ok(()))),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(Err(error))),
        }
    }
    (filled, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> (Vec<u8>, anyhow::Result<()>) {
        let input = Input::open(path).unwrap();
        let mut text = Vec::new();
        let outcome = input.read(&ProgressBar::hidden(), 1, |offset, bytes| {
            assert_eq!(offset, text.len() as u64);
            text.extend_from_slice(bytes);
        });
        (text, outcome)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_files_are_known_by_their_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let members = [gzip(b"one\n"), gzip(b"two\n")].concat();
        let frame = zstd::encode_all(&b"one\ntwo\n"[..], 0).unwrap();
        for (name, bytes) in [("a.log", &b"one\ntwo\n"[..]), ("b.log", &members), ("c.log", &frame)] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let (text, outcome) = text(&path);
            outcome.unwrap();
            assert_eq!(text, b"one\ntwo\n", "{name}");
            assert_eq!(Input::open(&path).unwrap().peek(3), b"one");
            let mut records = Input::open(&path).unwrap().records().unwrap();
            assert_eq!(records.record(4, 4).unwrap(), b"two\n");
        }
    }

    #[test]
    fn a_truncated_file_gives_what_it_holds_and_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.gz");
        let whole: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
        let bytes = gzip(whole.as_bytes());
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let (text, outcome) = text(&path);
        assert!(!text.is_empty() && whole.as_bytes().starts_with(&text));
        let error = format!("{:#}", outcome.unwrap_err());
        assert!(error.contains("cut.gz") && error.contains("complete?"), "{error}");
    }

    #[test]
    fn an_archive_is_refused_instead_of_being_read_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, b"PK\x03\x04rest").unwrap();
        let error = format!("{:#}", Input::open(&path).unwrap_err());
        assert!(error.contains("a.log") && error.contains("unpack it first"), "{error}");
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("absent.log")] {
            let error = format!("{:#}", Input::open(&path).unwrap_err());
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
