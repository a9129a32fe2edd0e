//! What the caller decides: names, times and limits. Every limit says what happens when it is reached.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::head::Layout;
use crate::miner::mask::Masks;

/// A file, in the caller's numbering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId(pub u32);

/// Settings of a [`Detector`](crate::Detector).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the node whose logs these are.
    pub node: String,
    /// Zone of times in the log that carry none (log4j writes local time).
    pub zone: TimeZone,
    /// Layout of the line heads; `None` finds it out per file.
    pub layout: Option<Layout>,
    /// A session is scored when no line named its block for this long.
    pub idle_timeout_ms: i64,
    /// A scored session is forgotten when no line named its block for this long.
    pub forget_after_ms: i64,
    /// Whether the two times above are also looked for between the events of a session, by the times in the log: before
    /// an event that comes so much later than the one before, the session is scored, or forgotten. So which of its
    /// revisions are scored depends on the lines alone, and not on when they are read. For callers that tell the time;
    /// a batch scores every session once, at its end.
    pub score_gaps: bool,
    /// Sessions remembered; beyond it the least recently active one is scored, forgotten and counted.
    pub sessions_max: usize,
    /// Bytes that remembered sessions take; beyond it the least recently active ones are scored, forgotten and counted.
    pub sessions_bytes_max: usize,
    /// Events kept per session, at most 8,192; beyond it the middle quarter keeps only its counts.
    pub events_max: usize,
    /// How late an event may come, by the times in the log, to be put in its place among those of its session. One that
    /// is later than this stays where it came: there the node's clock was set back.
    pub reorder_ms: i64,
    /// Bytes of a line that are looked at; what is beyond is cut and counted.
    pub line_bytes_max: usize,
    /// Lines of a record; continuation lines beyond it are skipped and counted.
    pub record_lines_max: usize,
    /// Bytes of a record; continuation lines beyond it are skipped and counted.
    pub record_bytes_max: usize,
    /// Blocks that one record may count for; further ones are dropped and counted.
    pub keys_max: usize,
    /// Scores remembered by token window; the least recently used one makes room.
    pub cache_max: usize,
    /// What varies in messages that the catalogue lacks; `None` are blocks, addresses, paths, ids and numbers.
    pub masks: Option<Masks>,
    /// Whether what the catalogue lacks is mined, for [`Detector::unknown_templates`](crate::Detector::unknown_templates).
    pub mine: bool,
    /// Templates kept of those the catalogue lacks; beyond it they share one.
    pub unknown_max: usize,
    /// Whether every session that is judged is reported, also where the verdict is normal and always was.
    pub report_all: bool,
    /// Whether reports hold their sessions' events and what each contributes to the score, which takes far more than the
    /// verdict alone does.
    pub report_events: bool,
    /// Reports that may wait in each shard of the sessions before no further session that fell silent is judged; it is in
    /// its turn at the next call. What has to make room is judged all the same.
    pub reports_max: usize,
    /// Whether to note which sessions changed, for [`Detector::take_changes`](crate::Detector::take_changes).
    pub track_changes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: "localhost".to_owned(),
            zone: TimeZone::UTC,
            layout: None,
            idle_timeout_ms: 60_000,
            forget_after_ms: 24 * 3_600_000,
            score_gaps: false,
            sessions_max: 100_000,
            sessions_bytes_max: 64 * 1_024 * 1_024,
            events_max: 1_024,
            reorder_ms: 600_000,
            line_bytes_max: 64 * 1_024,
            record_lines_max: 500,
            record_bytes_max: 256 * 1_024,
            keys_max: 1_000,
            cache_max: 4_096,
            masks: None,
            mine: true,
            unknown_max: 1_000,
            report_all: false,
            report_events: true,
            reports_max: usize::MAX,
            track_changes: false,
        }
    }
}
