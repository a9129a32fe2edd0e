//! What is known of one file: its layout, the line without a line end, the open record, and where every line went.

use crate::head::Heads;
use crate::ledger::Ledger;
use crate::line::{Line, Partial};
use crate::record::Record;
use crate::settings::Settings;

/// State of one file between two pushes.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) heads: Heads,
    pub(crate) partial: Partial,
    /// Behind the last byte pushed.
    pub(crate) end: u64,
    pub(crate) records: Records,
}

/// The open record of a file, and where the lines before it went.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) record: Record,
    pub(crate) state: RecordState,
    /// Lines that the container runtime split, as far as they are here.
    pub(crate) split: Option<Split>,
    /// Behind the last line that is in the ledger.
    pub(crate) counted: u64,
    pub(crate) ledger: Ledger,
}

/// Place of a line of which only the first parts are here; the layout keeps their text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    offset: u64,
    bytes: u64,
    bytes_cut: u64,
    lines: u64,
}

/// What further lines without a head belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordState {
    /// No record yet.
    None,
    /// `Records::record`.
    Open,
    /// A record that was closed before its last lines came; says whether it was part of a session.
    Closed { in_session: bool },
}

impl File {
    /// A file that is read from `offset` on.
    pub(crate) fn new(settings: &Settings, offset: u64) -> Self {
        Self::with_heads(Heads::new(settings.layout.clone(), settings.line_bytes_max), offset)
    }

    /// A file whose layout may be known already.
    pub(crate) fn with_heads(heads: Heads, offset: u64) -> Self {
        Self {
            heads,
            partial: Partial::default(),
            end: offset,
            records: Records {
                record: Record::new(),
                state: RecordState::None,
                split: None,
                counted: offset,
                ledger: Ledger::default(),
            },
        }
    }

    /// Goes on where `piece`, which follows, ended; its last record is closed.
    pub(crate) fn take(&mut self, piece: Self) {
        self.heads = piece.heads;
        self.end = piece.end;
        self.records.ledger += piece.records.ledger;
        self.records.counted = piece.records.counted;
        self.records.state = piece.records.state;
        self.records.split = piece.records.split;
    }
}

impl Records {
    /// Counts the open record and closes it.
    pub(crate) fn close(&mut self, in_session: bool) {
        let record = &self.record;
        count(&mut self.ledger, in_session, record.lines);
        self.ledger.lines_read += record.lines_skipped;
        self.ledger.lines_skipped.beyond_record += record.lines_skipped;
        self.ledger.keys_dropped += record.keys_dropped;
        let (bytes, bytes_cut) = (record.bytes + record.bytes_skipped, record.bytes_cut);
        self.count_bytes(bytes, bytes_cut);
        self.state = RecordState::Closed { in_session };
    }

    /// Counts a line that came after its record was closed, or that has none.
    pub(crate) fn count_late(&mut self, line: &Line<'_>) {
        if let RecordState::Closed { in_session } = self.state {
            count(&mut self.ledger, in_session, line.lines);
        } else {
            self.ledger.lines_read += line.lines;
            self.ledger.lines_skipped.no_head += line.lines;
        }
        self.count_bytes(line.bytes, line.bytes_cut);
    }

    /// Moves the checkpoint behind lines that are in the ledger now.
    fn count_bytes(&mut self, bytes: u64, bytes_cut: u64) {
        self.ledger.bytes_read += bytes;
        self.ledger.bytes_cut += bytes_cut;
        self.counted += bytes;
    }
}

impl Split {
    /// The place of `line` together with the parts before it.
    pub(crate) fn join(before: Option<Self>, line: &Line<'_>) -> Self {
        let before = before.unwrap_or(Self { offset: line.offset, bytes: 0, bytes_cut: 0, lines: 0 });
        Self {
            offset: before.offset,
            bytes: before.bytes + line.bytes,
            bytes_cut: before.bytes_cut + line.bytes_cut,
            lines: before.lines + line.lines,
        }
    }

    /// A line at this place.
    pub(crate) fn line(self, text: &[u8]) -> Line<'_> {
        Line { offset: self.offset, text, bytes: self.bytes, bytes_cut: self.bytes_cut, lines: self.lines }
    }
}

/// Counts lines of a record that is in a session or not.
fn count(ledger: &mut Ledger, in_session: bool, lines: u64) {
    ledger.lines_read += lines;
    if in_session {
        ledger.lines_in_sessions += lines;
    } else {
        ledger.lines_without_key += lines;
    }
}
