//! What leaves the node: one [`Report`] per revision of a session whose verdict concerns somebody.
//! This is the one report format of the project; NDJSON and OTLP carry the same fields.

use serde::{Deserialize, Serialize};

use crate::settings::FileId;
use crate::token::Token;

/// One scored session.
///
/// `id` and `revision` together are stable: the same lines give the same pair, so a receiver stores a report once
/// however often it is delivered, and the highest revision of an id is its current state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Session on its node, 16 hexadecimal digits.
    pub id: String,
    /// Number of events of the session when it was scored; grows when the block speaks again.
    pub revision: u64,
    /// Name of the node that wrote the lines.
    pub node: String,
    /// Block, as `blk_<id>`; the id may be negative. Empty where the session is one of the node itself.
    pub block: String,
    /// Block pool, as `BP-...`; empty where the log names none.
    pub pool: String,
    /// Whether the verdict is flagged. `false` takes an earlier revision's flag back.
    pub flagged: bool,
    /// `0.0..=1.0`, higher is worse.
    pub score: f32,
    /// A score at or above this is flagged.
    pub threshold: f32,
    /// Name and content hash of the model file, as `<name>-<12 hexadecimal digits>`.
    pub model: String,
    /// Why the session is flagged, in words of [`verdict`](crate::verdict); empty when it is not, or
    /// [`ASKED`](crate::verdict::ASKED) where somebody asked for the report.
    pub reasons: Vec<String>,
    /// Time of the first event, RFC 3339 in UTC.
    pub start: String,
    /// Time of the last event, RFC 3339 in UTC.
    pub end: String,
    /// Events in order of time; at most `events_max` of the settings, none where these want no events.
    pub events: Vec<Event>,
    /// Events that `events` leaves out.
    #[serde(default)]
    pub events_dropped: u64,
}

/// One event of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// RFC 3339 in UTC.
    pub time: String,
    /// Template id, 16 hexadecimal digits.
    pub template: String,
    /// Text of the template.
    pub text: String,
    /// `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`.
    pub level: String,
    /// Logger as written in the log.
    pub logger: String,
    /// Class of the exception in the lines that continue the record; empty if there is none.
    #[serde(default)]
    pub exception: String,
    /// Class and method of the first frame of its stack trace; empty if there is none.
    #[serde(default)]
    pub frame: String,
    /// How much the score falls when this event is left out, `-1.0..=1.0`.
    pub contribution: f32,
    /// Path of the file, filled in by whoever opened it; empty in the detector's own reports.
    pub file: String,
    /// Offset of the record's first byte in the uncompressed file.
    pub offset: u64,
    /// The record as written, without its last line end, invalid UTF-8 replaced; `None` where it can no longer be read.
    /// Filled in by whoever can read the file.
    pub line: Option<String>,
    /// Which file, in the caller's numbering; does not leave the process.
    #[serde(skip)]
    pub file_id: FileId,
    /// Length of the record in bytes, its last line end included; `0` if the record is one line, up to its line end. Does
    /// not leave the process.
    #[serde(skip)]
    pub bytes: u32,
    /// What the model read of it; does not leave the process.
    #[serde(skip)]
    pub token: Token,
}
