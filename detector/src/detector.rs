//! The detector: wires the path of the data from bytes to reports.
//!
//! [`Detector::push`] takes the bytes of a file in chunks of any size; [`Detector::tick`] tells the time and scores
//! what has fallen silent; [`Detector::finish`] scores the rest. Reports queue up for [`Detector::take_reports`].
//! Equal bytes give equal reports, however they are cut into chunks.

mod judge;
mod snapshot;

use std::collections::HashMap;

use memchr::{memchr, memchr_iter};
use xxhash_rust::xxh3::Xxh3;

use crate::head::{Head, Heads, Level, Parsed};
use crate::key::{self, BlockId};
use crate::ledger::{Ledger, Summary};
use crate::line::{self, Line, Partial};
use crate::model::Model;
use crate::record::Record;
use crate::report::Report;
use crate::score::Cache;
use crate::session::{List, PoolId, Session, SessionEvent, Sessions};
use crate::settings::{FileId, Settings};
use crate::template::{Templates, mask};
use crate::time::Zone;
use crate::token::Token;

use judge::Judge;
pub use snapshot::{Change, SessionState};

/// Names kept of loggers and of pools; beyond it the further ones share the empty name.
const NAMES_MAX: usize = 4_096;
/// Bytes of a logger's name that are kept.
const LOGGER_BYTES_MAX: usize = 256;
/// Bytes of a message that are kept for a template while no block was named.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Parses, sessionizes and scores the logs of one node.
#[derive(Debug)]
pub struct Detector {
    settings: Settings,
    model: Model,
    templates: Templates,
    loggers: Names,
    pools: Names,
    zone: Zone,
    files: HashMap<FileId, File>,
    sessions: Sessions,
    judge: Judge,
    now_ms: i64,
    totals: Summary,
    reports: Vec<Report>,
    changes: snapshot::Changes,
}

/// What is known of one file.
#[derive(Debug)]
struct File {
    heads: Heads,
    partial: Partial,
    record: Record,
    state: RecordState,
    /// Behind the last byte pushed.
    end: u64,
    /// Behind the last line that is in the ledger.
    counted: u64,
    ledger: Ledger,
}

/// What further lines without a head belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordState {
    /// No record yet.
    None,
    /// `File::record`.
    Open,
    /// A record that was closed before its last lines came; says whether it had a key.
    Closed { in_session: bool },
}

impl Detector {
    /// A detector with no files and no sessions.
    #[must_use]
    pub fn new(model: Model, settings: Settings) -> Self {
        Self {
            templates: Templates::new(&model.catalogue, &model.tokenizer, settings.unknown_max),
            loggers: Names::new(),
            pools: Names::new(),
            zone: Zone::new(settings.zone.clone()),
            files: HashMap::new(),
            sessions: Sessions::new(),
            judge: Judge::new(Cache::new(settings.cache_max)),
            now_ms: 0,
            totals: Summary::default(),
            reports: Vec::new(),
            changes: snapshot::Changes::default(),
            settings,
            model,
        }
    }

    /// Takes the bytes of `file` at `offset`. They may end anywhere, also within a line. Where `offset` is not behind
    /// the bytes pushed before, what is still open of the file is closed first.
    pub fn push(&mut self, file: FileId, offset: u64, bytes: &[u8]) {
        let mut known = self.files.remove(&file).unwrap_or_else(|| self.new_file(offset));
        if known.end != offset {
            self.close_file(file, &mut known);
            known.end = offset;
            known.counted = offset;
        }
        self.push_lines(file, &mut known, bytes);
        self.files.insert(file, known);
    }

    /// Closes the last line and record of a file that will not grow, and forgets the file but for its ledger in
    /// [`summary`](Self::summary). Returns that ledger.
    pub fn end_of_file(&mut self, file: FileId) -> Ledger {
        let Some(mut known) = self.files.remove(&file) else { return Ledger::default() };
        self.close_file(file, &mut known);
        self.totals.ledger += known.ledger;
        known.ledger
    }

    /// Closes the last record of a file, which has waited long enough for lines that continue it. Such lines are
    /// still counted with it when they come; a line without a line end goes on waiting for one.
    pub fn close_records(&mut self, file: FileId) {
        if let Some(mut known) = self.files.remove(&file) {
            self.close_record(file, &mut known);
            self.files.insert(file, known);
        }
    }

    /// Every byte below this offset is in the ledger and in sessions: where to read on after a restart.
    #[must_use]
    pub fn checkpoint(&self, file: FileId) -> u64 {
        self.files.get(&file).map_or(0, |known| known.counted)
    }

    /// Where every line of a file went, up to its [`checkpoint`](Self::checkpoint). All zero for a file that is not
    /// known or has ended.
    #[must_use]
    pub fn ledger(&self, file: FileId) -> Ledger {
        self.files.get(&file).map_or_else(Ledger::default, |known| known.ledger)
    }

    /// What became of all files and sessions so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = self.totals;
        for known in self.files.values() {
            summary.ledger += known.ledger;
        }
        summary.sessions_open = self.sessions.len() as u64;
        summary
    }

    /// Reports since the last call, in the order in which their sessions were scored.
    #[must_use]
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// The model in use.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn new_file(&self, offset: u64) -> File {
        File {
            heads: Heads::new(self.settings.layout.clone(), self.settings.line_bytes_max),
            partial: Partial::default(),
            record: Record::new(),
            state: RecordState::None,
            end: offset,
            counted: offset,
            ledger: Ledger::default(),
        }
    }

    fn push_lines(&mut self, id: FileId, file: &mut File, bytes: &[u8]) {
        let line_bytes_max = self.settings.line_bytes_max;
        let start = file.end;
        let mut begin = 0;
        for newline in memchr_iter(b'\n', bytes) {
            let piece = bytes.get(begin..newline).unwrap_or_default();
            if file.partial.bytes() == 0 {
                self.line(id, file, &line::whole(piece, start + begin as u64, line_bytes_max));
            } else {
                file.partial.append(piece, line_bytes_max);
                let mut partial = std::mem::take(&mut file.partial);
                self.line(id, file, &partial.line(start + newline as u64, true, line_bytes_max));
                partial.clear();
                file.partial = partial;
            }
            begin = newline + 1;
        }
        file.partial.append(bytes.get(begin..).unwrap_or_default(), line_bytes_max);
        file.end = start + bytes.len() as u64;
    }

    fn close_file(&mut self, id: FileId, file: &mut File) {
        if file.partial.bytes() > 0 {
            let partial = std::mem::take(&mut file.partial);
            self.line(id, file, &partial.line(file.end, false, self.settings.line_bytes_max));
        }
        self.close_record(id, file);
        file.state = RecordState::None;
    }

    fn line(&mut self, id: FileId, file: &mut File, line: &Line<'_>) {
        let mut heads = std::mem::replace(&mut file.heads, Heads::new(None, 0));
        match heads.parse(line.text, &mut self.zone) {
            Parsed::Head(head) => {
                self.close_record(id, file);
                self.start_record(file, line, &head);
            }
            Parsed::Continuation(_) | Parsed::Partial => self.continue_record(file, line),
        }
        file.heads = heads;
    }

    fn start_record(&mut self, file: &mut File, line: &Line<'_>, head: &Head<'_>) {
        file.state = RecordState::Open;
        let logger = head.logger.get(..LOGGER_BYTES_MAX).unwrap_or(head.logger);
        let logger = self.loggers.intern(logger);
        let record = &mut file.record;
        record.start(line, head.time_ms, head.level, logger);
        self.add_keys(record, line.text);
        if record.keys.is_empty() {
            let message = first_line(head.message);
            record.message.extend_from_slice(message.get(..MESSAGE_BYTES_MAX).unwrap_or(message));
        } else {
            record.template = Some(self.template(head.message));
        }
    }

    fn continue_record(&mut self, file: &mut File, line: &Line<'_>) {
        let settings = &self.settings;
        match file.state {
            RecordState::Open => {
                let record = &mut file.record;
                if record.extend(line, settings.record_lines_max, settings.record_bytes_max) {
                    self.add_keys(record, line.text);
                }
                if record.template.is_none() && !record.keys.is_empty() {
                    let message = std::mem::take(&mut record.message);
                    record.template = Some(self.template(&message));
                }
            }
            RecordState::Closed { in_session } => {
                count(&mut file.ledger, in_session, 1);
                count_bytes(file, line.bytes, line.bytes_cut);
            }
            RecordState::None => {
                file.ledger.lines_read += 1;
                file.ledger.lines_skipped.no_head += 1;
                count_bytes(file, line.bytes, line.bytes_cut);
            }
        }
    }

    fn close_record(&mut self, id: FileId, file: &mut File) {
        if file.state != RecordState::Open {
            return;
        }
        let record = &file.record;
        let in_session = !record.keys.is_empty();
        count(&mut file.ledger, in_session, record.lines);
        file.ledger.lines_read += record.lines_skipped;
        file.ledger.lines_skipped.beyond_record += record.lines_skipped;
        file.ledger.keys_dropped += record.keys_dropped;
        let (bytes, bytes_cut) = (record.bytes + record.bytes_skipped, record.bytes_cut);
        let event = SessionEvent {
            time_ms: record.time_ms,
            offset: record.offset,
            file: id,
            bytes: u32::try_from(record.bytes).unwrap_or(u32::MAX),
            template: record.template.unwrap_or(u32::MAX),
            logger: record.logger,
            level: record.level,
        };
        for &(block, pool) in &record.keys {
            self.add_event(block, pool, event);
        }
        count_bytes(file, bytes, bytes_cut);
        file.state = RecordState::Closed { in_session };
    }

    fn add_event(&mut self, block: BlockId, pool: PoolId, event: SessionEvent) {
        let slot = match self.sessions.find(block, pool) {
            Some(slot) => slot,
            None => {
                self.make_room();
                let id = session_id(&self.settings.node, block, event.time_ms);
                self.sessions.insert(Session::new(block, pool, id))
            }
        };
        let unknown = self.templates.token(event.template) == Token::UNKNOWN;
        self.totals.events_unknown += u64::from(unknown);
        if let Some(session) = self.sessions.get_mut(slot) {
            session.unknown_warn |= unknown && event.level >= Level::Warn;
            session.add(event, self.settings.events_max);
        }
        self.sessions.touch(slot, List::Speaking, self.now_ms);
        self.changed(slot);
    }

    /// Scores and forgets the least recently active session if there is no room for another.
    fn make_room(&mut self) {
        while self.sessions.len() >= self.settings.sessions_max.max(1) {
            let Some(slot) = self.sessions.least_recently_active() else { return };
            if self.sessions.get(slot).is_some_and(|session| session.list == List::Speaking) {
                self.judge(slot);
            }
            self.totals.sessions_evicted += 1;
            self.forget(slot);
        }
    }

    fn add_keys(&mut self, record: &mut Record, text: &[u8]) {
        for key in key::find(text) {
            let pool = if key.pool.is_empty() { 0 } else { self.pools.intern(key.pool) };
            record.add_key(key.block, PoolId(pool), self.settings.keys_max);
        }
    }

    fn template(&mut self, message: &[u8]) -> u32 {
        let message = first_line(message);
        match self.model.catalogue.find(message) {
            Some(index) => u32::try_from(index).unwrap_or(u32::MAX),
            None => self.templates.intern(&mask(message)),
        }
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

/// Moves the checkpoint of a file behind lines that are in its ledger now.
fn count_bytes(file: &mut File, bytes: u64, bytes_cut: u64) {
    file.ledger.bytes_read += bytes;
    file.ledger.bytes_cut += bytes_cut;
    file.counted += bytes;
}

/// A JSON message may hold several lines.
fn first_line(message: &[u8]) -> &[u8] {
    let end = memchr(b'\n', message).unwrap_or(message.len());
    message.get(..end).unwrap_or(message).trim_ascii_end()
}

/// Equal for equal lines, and new when a forgotten block speaks again.
fn session_id(node: &str, block: BlockId, first_ms: i64) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(node.as_bytes());
    hasher.update(&[0]);
    hasher.update(&block.0.to_le_bytes());
    hasher.update(&first_ms.to_le_bytes());
    hasher.digest()
}

/// Names by number; `0` is the empty name.
#[derive(Debug)]
struct Names {
    names: Vec<String>,
    numbers: hashbrown::HashMap<Vec<u8>, u16>,
}

impl Names {
    fn new() -> Self {
        Self { names: vec![String::new()], numbers: hashbrown::HashMap::new() }
    }

    fn intern(&mut self, name: &[u8]) -> u16 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        match u16::try_from(self.names.len()) {
            Ok(number) if self.names.len() < NAMES_MAX => {
                self.names.push(String::from_utf8_lossy(name).into_owned());
                self.numbers.insert(name.to_vec(), number);
                number
            }
            _ => 0,
        }
    }

    fn name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests;
