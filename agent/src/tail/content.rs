//! The contents of an open file, plain or compressed after its rotation: equal offsets give equal bytes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::compressed::Compression;
use crate::files::{Anchor, Fingerprint, Identity, read_up_to};
use crate::raw_lines::{Records, Stream};
use crate::tail::Saved;

/// Bytes at the end of a copy that are compared with the original.
const COPY_END_BYTES: usize = 4 * 1_024;

/// What an open file holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Read with `read_at` alone: its position is not ours.
    Plain(File),
    /// Compressed: it will not change any more.
    Packed(Packed),
}

/// A compressed file, gone through from its start to wherever it was read last.
pub(super) struct Packed {
    file: File,
    compression: Compression,
    reader: Box<dyn Read + Send>,
    position: u64,
    /// Of the text; known once it was gone through.
    size: Option<u64>,
}

impl fmt::Debug for Packed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Packed").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Content {
    /// Opens `path` if it is the file with this identity; `None` if it is gone or another one.
    ///
    /// # Errors
    /// When it cannot be opened or read, or is compressed in a way that cannot be read.
    pub(super) fn open(path: &Path, identity: Identity) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if Identity::of(&file.metadata()?) != identity {
            return Ok(None);
        }
        let compression = Compression::of(&file)?;
        Ok(Some(match compression {
            Compression::None => Self::Plain(file),
            _ => {
                let reader = compression.reader(Positioned { file: file.try_clone()?, position: 0 })?;
                Self::Packed(Packed { file, compression, reader, position: 0, size: None })
            }
        }))
    }

    /// Bytes of the text. A compressed file is gone through for it, once.
    ///
    /// # Errors
    /// When it cannot be read, or a compressed file is not complete.
    pub(super) fn size(&mut self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Packed(packed) => packed.size(),
        }
    }

    /// Whether no name leads to it any more.
    pub(super) fn is_deleted(&self) -> bool {
        let (Self::Plain(file) | Self::Packed(Packed { file, .. })) = self;
        file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Fills as much of `buffer` as there is from `offset` on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => read_up_to(file, buffer, offset),
            Self::Packed(packed) => packed.read(buffer, offset),
        }
    }

    /// Its first bytes, at most [`Fingerprint::BYTES_MAX`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn head(&mut self) -> io::Result<Vec<u8>> {
        self.bytes(0, Fingerprint::BYTES_MAX.into())
    }

    /// Whether the bytes before the anchor's end are those that were read there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn holds(&mut self, anchor: Anchor) -> io::Result<bool> {
        let (start, bytes) = anchor.place();
        Ok(anchor.fits(&self.bytes(start, bytes)?))
    }

    /// Whether this may be what was read as `saved`, and perhaps more: nothing speaks against it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn fits(&mut self, saved: &Saved) -> io::Result<bool> {
        // Of an empty file nothing is known; then a compressed one is another one with its inode.
        let known = matches!(self, Self::Plain(_)) || !saved.fingerprint.is_empty();
        Ok(known && saved.fingerprint.fits(&self.head()?) && self.holds(saved.anchor)?)
    }

    /// Whether this is what was read as `saved`, and perhaps more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn continues(&mut self, saved: &Saved) -> io::Result<bool> {
        Ok(!saved.fingerprint.is_empty() && self.fits(saved)?)
    }

    /// Whether the `size` bytes here are the first ones of `original`, as far as head and end tell.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn is_copy_of(&mut self, size: u64, original: &mut Self) -> io::Result<bool> {
        let end_bytes = usize::try_from(size).unwrap_or(usize::MAX).min(COPY_END_BYTES);
        let end = size - end_bytes as u64;
        let head = self.head()?;
        Ok(size > 0
            && original.head()?.starts_with(&head)
            && original.bytes(end, end_bytes)? == self.bytes(end, end_bytes)?)
    }

    /// For reading lines back.
    pub(super) fn records(&self) -> io::Result<Box<dyn Records>> {
        Ok(match self {
            Self::Plain(file) => Box::new(file.try_clone()?),
            Self::Packed(packed) => Box::new(Stream::new(packed.reader()?)),
        })
    }

    /// Up to `count` bytes at `offset`.
    pub(super) fn bytes(&mut self, offset: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let filled = self.read(&mut bytes, offset)?;
        bytes.truncate(filled);
        Ok(bytes)
    }
}

impl Packed {
    fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        self.compression.reader(Positioned { file: self.file.try_clone()?, position: 0 })
    }

    fn size(&mut self) -> io::Result<u64> {
        if let Some(size) = self.size {
            return Ok(size);
        }
        self.position += io::copy(&mut self.reader, &mut io::sink())?;
        self.size = Some(self.position);
        Ok(self.position)
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.position {
            self.reader = self.reader()?;
            self.position = 0;
        }
        let before = offset - self.position;
        self.position += io::copy(&mut self.reader.by_ref().take(before), &mut io::sink())?;
        if self.position < offset {
            return Ok(0);
        }
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.reader.read(rest) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }
}

/// Whether an error says that the path leads nowhere, for now at least: NFS says it in its own way.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

/// Reads a file from its start, wherever others that share it are.
struct Positioned {
    file: File,
    position: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let filled = read_up_to(&self.file, buffer, self.position)?;
        self.position += filled as u64;
        Ok(filled)
    }
}
