//! Compressed files: what a file holds is told by its first bytes, not by its name.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;

use crate::files::read_up_to;

/// Bytes of a compressed file read at a time.
const CHUNK_BYTES: usize = 64 * 1_024;

/// How a file's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As they are.
    None,
    Gzip,
    Zstd,
    /// Zip, bzip2 or xz: recognised, but not read.
    Other,
}

impl Compression {
    /// That of a file.
    ///
    /// # Errors
    /// When its first bytes cannot be read.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let mut magic = [0; 6];
        let filled = read_up_to(file, &mut magic, 0)?;
        Ok(match magic.get(..filled).unwrap_or_default() {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'P', b'K', 3, 4, ..] | [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', 0] => {
                Self::Other
            }
            _ => Self::None,
        })
    }

    /// Reads the text that `stored` holds, which is read from its start.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for [`Self::Other`].
    pub(crate) fn reader(self, stored: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None => Box::new(stored),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, stored))),
            Self::Zstd => Box::new(zstd::Decoder::new(stored)?),
            Self::Other => {
                let text = "is compressed as zip, bzip2 or xz; unpack it first";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        })
    }
}
