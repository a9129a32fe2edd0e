//! What the wildcards of a matched template took.

use super::part::Wildcard;
use super::way::Recent;
use crate::key::{BlockId, Key};

/// Wildcards of one template whose text is kept; further ones match but are not kept.
pub const CAPTURES_MAX: usize = 16;

/// What one wildcard took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The wildcard.
    pub kind: Wildcard,
    /// First byte in the message.
    pub start: u32,
    /// Byte behind the last one. A block is covered whole, from its pool to its generation stamp.
    pub end: u32,
    /// The block's id; the number, at the end of the range if it lies beyond `i64`; 0 for all other wildcards.
    pub value: i64,
}

impl Capture {
    const NONE: Self = Self { kind: Wildcard::Any, start: 0, end: 0, value: 0 };
}

/// What the wildcards of a matched template took, in order. At most [`CAPTURES_MAX`] are kept.
#[derive(Clone, Debug)]
pub struct Captures {
    settled: Settled,
    /// What was found last with these captures, which makes the next search short.
    pub(super) recent: Recent,
}

/// What the wildcards of one match took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    all: [Capture; CAPTURES_MAX],
    count: usize,
    hides: bool,
}

impl Captures {
    /// Without captures, to be filled by [`find_with`](super::Catalogue::find_with) again and again.
    #[must_use]
    pub fn new() -> Self {
        let settled = Settled { all: [Capture::NONE; CAPTURES_MAX], count: 0, hides: false };
        Self { settled, recent: Recent::NONE }
    }

    /// The captures in the order of the wildcards.
    #[must_use]
    pub fn as_slice(&self) -> &[Capture] {
        self.settled.all.get(..self.settled.count).unwrap_or(&self.settled.all)
    }

    /// Whether a block or a pool may stand in the message beyond the captured blocks and the template's constants: in
    /// free text, in a host name, in a list of blocks, in what is not kept.
    #[must_use]
    pub fn may_hide_keys(&self) -> bool {
        self.settled.hides
    }

    /// The captured blocks as [`key::find`](crate::key::find) gives them: one without a pool of its own gets the first
    /// pool that the message names. All of the message's blocks, unless the template's constants name some
    /// ([`Catalogue::constants_name_blocks`](super::Catalogue::constants_name_blocks)) or
    /// [`may_hide_keys`](Self::may_hide_keys).
    pub fn keys<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = Key<'a>> {
        let blocks = || self.as_slice().iter().filter(|capture| capture.kind == Wildcard::Block);
        let mut message_pool = None;
        blocks().map(move |block| {
            let mut pool = pool(block, message);
            if pool.is_empty() {
                let first = || blocks().map(|block| self::pool(block, message)).find(|pool| !pool.is_empty());
                pool = message_pool.get_or_insert_with(|| first().unwrap_or(b""));
            }
            Key { block: BlockId(block.value), pool }
        })
    }

    pub(super) fn clear(&mut self) {
        (self.settled.count, self.settled.hides) = (0, false);
    }

    /// Puts a capture behind the first `count` ones; `false` if there is no room.
    #[inline]
    pub(super) fn put(&mut self, count: usize, capture: Capture) -> bool {
        match self.settled.all.get_mut(count) {
            Some(place) => {
                *place = capture;
                true
            }
            None => false,
        }
    }

    /// Settles that the first `count` captures are the ones.
    #[inline]
    pub(super) fn settle(&mut self, count: usize, hides: bool) {
        (self.settled.count, self.settled.hides) = (count, hides);
    }

    /// A copy of what was taken, for [`restore`](Self::restore).
    pub(super) fn settled(&self) -> Settled {
        self.settled
    }

    pub(super) fn restore(&mut self, settled: Settled) {
        self.settled = settled;
    }
}

impl Default for Captures {
    fn default() -> Self {
        Self::new()
    }
}

/// The pool that a captured block names, empty if it names none.
fn pool<'a>(block: &Capture, message: &'a [u8]) -> &'a [u8] {
    let (Ok(start), Ok(end)) = (usize::try_from(block.start), usize::try_from(block.end)) else { return b"" };
    let Some(text) = message.get(start..end).filter(|text| text.starts_with(b"BP-")) else { return b"" };
    text.split(|&byte| byte == b':').next().unwrap_or(b"")
}
