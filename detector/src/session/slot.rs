//! One session but for its events, and what its slot says of it.

use super::codec::Last;
use super::pages::{Piece, Size};
use crate::key::BlockId;
use crate::settings::FileId;

/// A block pool, in the detector's numbering; `0` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PoolId(pub(crate) u16);

impl PoolId {
    /// Stands for the node itself: the key is the number of the window, not a block.
    pub(crate) const NODE: Self = Self(u16::MAX);

    /// Whether two blocks of equal id can be the same: a line may leave the pool out.
    pub(crate) fn may_be(self, other: Self) -> bool {
        self == other || (self.0 == 0 && other != Self::NODE) || (other.0 == 0 && self != Self::NODE)
    }
}

/// Which list a session is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// Has events that no score has seen.
    Speaking,
    /// Scored, and silent since.
    Quiet,
}

/// Yes and no about a session, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(super) u8);

impl Flags {
    /// Remembered at all; otherwise the slot is free.
    pub(super) const LIVE: u8 = 1;
    /// In the quiet list; otherwise in the speaking one.
    pub(super) const QUIET: u8 = 1 << 1;
    /// Last verdict.
    pub(crate) const FLAGGED: u8 = 1 << 2;
    /// Has an event of unknown template at WARN or worse.
    pub(crate) const UNKNOWN_WARN: u8 = 1 << 3;
    /// Listed among the changes that the caller has not taken yet.
    pub(crate) const CHANGED: u8 = 1 << 4;
    /// An event came with an earlier time than the one before.
    pub(crate) const UNORDERED: u8 = 1 << 5;
    /// The slot is entered in the list of those that speak. Belongs to the slot, not to the session.
    pub(super) const ENTERED_SPEAKING: u8 = 1 << 6;
    /// The slot is entered in the list of the quiet ones. Belongs to the slot, not to the session.
    pub(super) const ENTERED_QUIET: u8 = 1 << 7;

    pub(crate) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.0 |= flag;
        } else {
            self.0 &= !flag;
        }
    }

    pub(super) fn entered(list: List) -> u8 {
        match list {
            List::Speaking => Self::ENTERED_SPEAKING,
            List::Quiet => Self::ENTERED_QUIET,
        }
    }
}

/// A session but for its events. One line of the CPU's cache: a line of the log touches few of them.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Session {
    pub(crate) block: BlockId,
    /// Stable over restarts; part of every report.
    pub(crate) id: u64,
    /// When a line last named the block, by the caller's clock.
    pub(crate) active_ms: i64,
    /// Rises with every event of any session.
    pub(crate) order: u64,
    /// Place of the last event.
    pub(super) last_time_ms: i64,
    pub(super) last_offset: u64,
    pub(super) last_file: FileId,
    pub(super) piece: Piece,
    pub(super) bytes: u16,
    pub(crate) pool: PoolId,
    /// Events that are kept.
    pub(crate) events: u16,
    pub(super) size: Size,
    pub(crate) flags: Flags,
}

const _: () = assert!(size_of::<Session>() == 64, "a session is one cache line");

impl Session {
    pub(super) const FREE: Self = Self {
        block: BlockId(0),
        id: 0,
        active_ms: i64::MIN,
        order: 0,
        last_time_ms: 0,
        last_offset: 0,
        last_file: FileId(0),
        piece: Piece::NONE,
        bytes: 0,
        pool: PoolId(0),
        events: 0,
        size: Size::SMALLEST,
        flags: Flags(0),
    };

    pub(super) fn last(&self) -> Last {
        Last { time_ms: self.last_time_ms, offset: self.last_offset, file: self.last_file }
    }

    pub(super) fn set_last(&mut self, last: Last) {
        (self.last_time_ms, self.last_offset, self.last_file) = (last.time_ms, last.offset, last.file);
    }

    /// Time of the event that came last, by the log; any time where there is none.
    pub(crate) fn last_time_ms(&self) -> i64 {
        self.last_time_ms
    }

    /// Whether it is that of a block; either may leave the pool out.
    pub(super) fn is_of(&self, block: BlockId, pool: PoolId) -> bool {
        self.block == block && self.pool.may_be(pool)
    }

    pub(crate) fn list(&self) -> List {
        if self.flags.has(Flags::QUIET) { List::Quiet } else { List::Speaking }
    }
}
