//! What tells a file's contents from others, whatever name or inode they have: a [`Fingerprint`] of how they begin,
//! and an [`Anchor`] at the place up to which they were read. Both are kept over a restart, the contents are not.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Hash of a file's first bytes: of all it had when last looked at, up to [`Fingerprint::BYTES_MAX`] or the first zero
/// byte, which may be a byte that is not visible yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    bytes: u16,
    hash: u64,
}

impl Fingerprint {
    /// Bytes looked at: the first lines of a log hold its first times, so this tells most logs apart.
    pub(crate) const BYTES_MAX: u16 = 1_024;

    /// Whether nothing is known yet.
    pub(crate) fn is_empty(self) -> bool {
        self.bytes == 0
    }

    /// Whether contents that begin with `head` (all there is, up to [`Self::BYTES_MAX`]) may be these.
    pub(crate) fn fits(self, head: &[u8]) -> bool {
        head.get(..usize::from(self.bytes)).is_some_and(|old| self.is_empty() || xxh3_64(old) == self.hash)
    }

    /// The fingerprint of contents that begin with `head` now, if they still begin as they did.
    pub(crate) fn grown(self, head: &[u8]) -> Option<Self> {
        if !self.fits(head) {
            return None;
        }
        let visible = head.iter().position(|&byte| byte == 0).unwrap_or(head.len());
        let bytes = u16::try_from(visible).unwrap_or(Self::BYTES_MAX);
        if bytes <= self.bytes {
            return Some(self);
        }
        Some(Self { bytes, hash: xxh3_64(head.get(..visible).unwrap_or_default()) })
    }
}

/// Hash of the last bytes before a place that was read to. Contents that begin alike, and have the same bytes at the same
/// place, are the same up to there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anchor {
    end: u64,
    bytes: u16,
    hash: u64,
}

impl Anchor {
    /// Bytes looked at: one or two lines.
    pub(crate) const BYTES_MAX: u16 = 256;

    /// At `end`, behind the last bytes of `read`.
    pub(crate) fn behind(read: &[u8], end: u64) -> Self {
        let start = read.len().saturating_sub(Self::BYTES_MAX.into());
        let last = read.get(start..).unwrap_or_default();
        Self { end, bytes: u16::try_from(last.len()).unwrap_or(Self::BYTES_MAX), hash: xxh3_64(last) }
    }

    /// Contents that were read to here are at least this long.
    pub(crate) fn end(self) -> u64 {
        self.end
    }

    /// Place and number of the bytes that [`Self::fits`] wants.
    pub(crate) fn place(self) -> (u64, usize) {
        (self.end.saturating_sub(self.bytes.into()), self.bytes.into())
    }

    /// Whether `bytes`, read at [`Self::place`], are those that were read there before.
    pub(crate) fn fits(self, bytes: &[u8]) -> bool {
        self.bytes == 0 || (bytes.len() == usize::from(self.bytes) && xxh3_64(bytes) == self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_grows_with_what_is_visible_and_fits_what_it_was_made_of() {
        let short = Fingerprint::default().grown(b"one\0\0").unwrap();
        assert!(!short.is_empty() && Fingerprint::default().grown(b"\0\0").unwrap().is_empty());
        let longer = short.grown(b"one\ntwo\n").unwrap();
        assert_ne!(longer, short);
        assert_eq!(short.grown(b"onX"), None);
        assert!(!longer.fits(b"one\n"), "shorter than it was");
        let whole = longer.grown(&b"one\ntwo\n".repeat(1_000)[..1_024]).unwrap();
        assert_eq!(whole.grown(&b"one\ntwo\n".repeat(1_000)[..1_024]), Some(whole));
    }

    #[test]
    fn an_anchor_fits_the_bytes_before_its_end_alone() {
        let text: Vec<u8> = (0..200_u8).cycle().take(1_000).collect();
        let anchor = Anchor::behind(&text[..700], 700);
        let (start, bytes) = anchor.place();
        assert_eq!((start, bytes), (444, 256));
        assert!(anchor.fits(&text[444..700]));
        assert!(!anchor.fits(&text[445..701]) && !anchor.fits(&text[444..600]));
        assert!(Anchor::default().fits(b""), "nothing was read");
    }
}
