//! Where every line went. Exact: each line that was read is in one of the classes, see [`Ledger::adds_up`].
//! Lines are counted when their record is complete, so a ledger belongs to the offset of
//! [`Detector::checkpoint`](crate::Detector::checkpoint).

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of lines by what became of them. Continuation lines count with their record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Lines read; the sum of the three classes below.
    pub lines_read: u64,
    /// Lines of records that name a block and so are part of at least one session.
    pub lines_in_sessions: u64,
    /// Lines of records that name no block.
    pub lines_without_key: u64,
    /// Lines that belong to no record, by reason.
    pub lines_skipped: Skipped,
    /// Bytes of all lines read, their line ends included.
    pub bytes_read: u64,
    /// Bytes beyond `line_bytes_max` of a line; the line itself is counted by what its first bytes say.
    pub bytes_cut: u64,
    /// Blocks on one record beyond `keys_max`, whose sessions miss that record.
    pub keys_dropped: u64,
}

/// Lines that belong to no record, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skipped {
    /// No recognised line head, and no record before it that it could continue.
    pub no_head: u64,
    /// Continuation lines beyond `record_lines_max` or `record_bytes_max`.
    pub beyond_record: u64,
}

impl Skipped {
    /// All skipped lines.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.no_head + self.beyond_record
    }
}

impl Ledger {
    /// Whether every line read is in exactly one class.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.lines_read == self.lines_in_sessions + self.lines_without_key + self.lines_skipped.total()
    }
}

impl Ledger {
    /// Takes the counts of `other`, which are part of these, away.
    pub(crate) fn subtract(&mut self, other: Self) {
        let take = |from: &mut u64, what: u64| *from = from.saturating_sub(what);
        take(&mut self.lines_read, other.lines_read);
        take(&mut self.lines_in_sessions, other.lines_in_sessions);
        take(&mut self.lines_without_key, other.lines_without_key);
        take(&mut self.lines_skipped.no_head, other.lines_skipped.no_head);
        take(&mut self.lines_skipped.beyond_record, other.lines_skipped.beyond_record);
        take(&mut self.bytes_read, other.bytes_read);
        take(&mut self.bytes_cut, other.bytes_cut);
        take(&mut self.keys_dropped, other.keys_dropped);
    }
}

impl Ledger {
    /// The same with no count above `max`.
    pub(crate) fn at_most(self, max: u64) -> Self {
        Self {
            lines_read: self.lines_read.min(max),
            lines_in_sessions: self.lines_in_sessions.min(max),
            lines_without_key: self.lines_without_key.min(max),
            lines_skipped: Skipped {
                no_head: self.lines_skipped.no_head.min(max),
                beyond_record: self.lines_skipped.beyond_record.min(max),
            },
            bytes_read: self.bytes_read.min(max),
            bytes_cut: self.bytes_cut.min(max),
            keys_dropped: self.keys_dropped.min(max),
        }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.lines_read += other.lines_read;
        self.lines_in_sessions += other.lines_in_sessions;
        self.lines_without_key += other.lines_without_key;
        self.lines_skipped.no_head += other.lines_skipped.no_head;
        self.lines_skipped.beyond_record += other.lines_skipped.beyond_record;
        self.bytes_read += other.bytes_read;
        self.bytes_cut += other.bytes_cut;
        self.keys_dropped += other.keys_dropped;
    }
}

/// What a detector did since it was made: its ledger over all files, and its sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Where every line went, over all files.
    #[serde(flatten)]
    pub ledger: Ledger,
    /// Sessions remembered now.
    pub sessions_open: u64,
    /// Times a session was scored; a session that spoke again is scored again.
    pub sessions_scored: u64,
    /// Sessions whose last verdict is flagged, forgotten ones included.
    pub sessions_flagged: u64,
    /// Sessions scored and forgotten before their time because `sessions_max` or `sessions_bytes_max` was reached.
    pub sessions_evicted: u64,
    /// Windows whose score came from the cache.
    pub cache_hits: u64,
    /// Windows that were not in the cache.
    pub cache_misses: u64,
    /// Times a session could not be scored because the model failed.
    pub score_errors: u64,
    /// Events in sessions whose template the catalogue lacks.
    pub events_unknown: u64,
    /// Times that lines were removed before they were read.
    pub gaps: u64,
    /// Bytes of those lines, as far as they were seen.
    pub gap_bytes: u64,
}

impl Summary {
    /// The same with no count above `max`.
    pub(crate) fn at_most(self, max: u64) -> Self {
        Self {
            ledger: self.ledger.at_most(max),
            sessions_open: self.sessions_open.min(max),
            sessions_scored: self.sessions_scored.min(max),
            sessions_flagged: self.sessions_flagged.min(max),
            sessions_evicted: self.sessions_evicted.min(max),
            cache_hits: self.cache_hits.min(max),
            cache_misses: self.cache_misses.min(max),
            score_errors: self.score_errors.min(max),
            events_unknown: self.events_unknown.min(max),
            gaps: self.gaps.min(max),
            gap_bytes: self.gap_bytes.min(max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_flat_and_adds_up() {
        let ledger = Ledger {
            lines_read: 6,
            lines_in_sessions: 3,
            lines_without_key: 1,
            lines_skipped: Skipped { no_head: 1, beyond_record: 1 },
            ..Ledger::default()
        };
        assert!(ledger.adds_up());
        let summary = Summary { ledger, sessions_scored: 2, ..Summary::default() };
        let json = serde_json::to_value(summary).unwrap();
        assert_eq!(json["lines_skipped"]["no_head"], 1);
        assert_eq!(json["lines_read"], 6);
        assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), summary);
    }

    #[test]
    fn ledgers_add() {
        let one = Ledger { lines_read: 1, lines_without_key: 1, bytes_read: 5, ..Ledger::default() };
        let mut sum = one;
        sum += one;
        assert_eq!((sum.lines_read, sum.bytes_read), (2, 10));
        assert!(sum.adds_up());
    }
}
