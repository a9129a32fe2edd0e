//! The constants of templates as matchers compare them: eight bytes at a time, most of them by one comparison.

use super::scan;

/// A constant, which may be empty. The matcher keeps the bytes of all its constants one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constant {
    /// The first eight bytes, zeros behind the last one.
    head: u64,
    /// Ones where the head has a byte.
    mask: u64,
    /// Where all its bytes are among those of the matcher's constants.
    start: u32,
    end: u32,
}

impl Constant {
    /// Puts `text` behind the other constants; those of one matcher are far from taking 4 GiB.
    pub(super) fn new(text: &[u8], texts: &mut Vec<u8>) -> Self {
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let start = position(texts.len());
        texts.extend_from_slice(text);
        let bits = 8 * u32::try_from(text.len()).unwrap_or(8).min(8);
        let mask = u64::MAX.checked_shr(64 - bits).unwrap_or(0);
        Self { head: scan::load(text, 0), mask, start, end: position(texts.len()) }
    }

    /// The place behind the constant if it stands at `at` of a message.
    #[inline(always)]
    pub(super) fn behind(&self, message: &[u8], at: usize, texts: &[u8]) -> Option<usize> {
        if (scan::load(message, at) ^ self.head) & self.mask != 0 {
            return None;
        }
        let (start, end) = (self.start as usize, self.end as usize);
        let behind = at + (end - start);
        if end - start <= 8 {
            return (behind <= message.len()).then_some(behind);
        }
        same(message.get(at..behind)?, texts.get(start..end)?).then_some(behind)
    }
}

/// Whether two texts of one length, which is more than 8, are the same behind their first eight bytes.
#[inline]
fn same(text: &[u8], constant: &[u8]) -> bool {
    let length = constant.len();
    let word = |at: usize| scan::load(text, at) ^ scan::load(constant, at);
    let mut at = 8;
    while at + 8 < length {
        if word(at) != 0 {
            return false;
        }
        at += 8;
    }
    word(length - 8) == 0
}
