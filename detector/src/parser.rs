//! Parsing: bytes of a file to events. What a parser knows does not depend on what others parse, so several can work on
//! parts of one file; what it sees for the first time is handed on with the events ([`Contents`]).

use std::num::NonZeroU32;

use memchr::{memchr, memchr_iter};

use crate::exception::Trace;
use crate::file::{File, RecordState, Records, Split};
use crate::head::{Head, Heads, Level, Parsed};
use crate::key::{self, BlockId};
use crate::line::{self, Line};
use crate::record::Record;
use crate::settings::Settings;
use crate::statement::{Contents, NameId, Named, Number, Statement};
use crate::template::{Captures, Catalogue, TemplateId, mask};
use crate::time::Zone;
use crate::token::Tokenizer;

/// Bytes of a logger's, exception's, frame's or pool's name that are kept.
const NAME_BYTES_MAX: usize = 256;
/// Bytes of a message that are kept for a template while no block was named.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// The pool of keys that are windows of the node.
pub(crate) const NODE: Number = Number::MAX;

/// What parsing needs to know; equal for all parsers of a detector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grammar<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) tokenizer: &'a Tokenizer,
    /// Length of the windows of records that name no block; `None` only counts them.
    pub(crate) node_window_ms: Option<NonZeroU32>,
    /// Bits of a key's hash that choose its shard.
    pub(crate) shard_bits: u32,
}

/// A record's part in one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) block: BlockId,
    /// By the parser's numbers, as the statement is.
    pub(crate) pool: Number,
    pub(crate) statement: Number,
    pub(crate) time_ms: i64,
    pub(crate) offset: u64,
    /// Length of the record; `0` if it is one line.
    pub(crate) bytes: u32,
}

/// Events by shard, each in the order of the lines, and what was seen for the first time.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Vec<Event>>,
    pub(crate) contents: Contents,
}

impl Batch {
    pub(crate) fn new(shards: usize) -> Self {
        Self { events: vec![Vec::new(); shards], contents: Contents::default() }
    }

    /// Bytes that the events take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.events.iter().map(Vec::capacity).sum::<usize>() * size_of::<Event>()
    }

    /// Forgets the events; their memory is used again.
    pub(crate) fn clear(&mut self) {
        self.events.iter_mut().for_each(Vec::clear);
        self.contents.forget();
    }
}

/// Turns lines into events.
#[derive(Debug)]
pub(crate) struct Parser {
    zone: Zone,
    captures: Captures,
}

impl Parser {
    pub(crate) fn new(zone: Zone) -> Self {
        Self { zone, captures: Captures::new() }
    }

    /// Tells the time, by which times without a year are read.
    pub(crate) fn set_now_ms(&mut self, now_ms: i64) {
        self.zone.set_now_ms(now_ms);
    }

    /// Takes the next bytes of a file, which may end anywhere.
    pub(crate) fn push(&mut self, grammar: Grammar<'_>, file: &mut File, bytes: &[u8], batch: &mut Batch) {
        let line_bytes_max = grammar.settings.line_bytes_max;
        let start = file.end;
        let mut begin = 0;
        for newline in memchr_iter(b'\n', bytes) {
            let piece = bytes.get(begin..newline).unwrap_or_default();
            if file.partial.bytes() == 0 {
                self.line(grammar, file, line::whole(piece, start + begin as u64, line_bytes_max), batch);
            } else {
                file.partial.append(piece, line_bytes_max);
                let mut partial = std::mem::take(&mut file.partial);
                let line = partial.line(start + newline as u64, true, line_bytes_max);
                self.line(grammar, file, line, batch);
                partial.clear();
                file.partial = partial;
            }
            begin = newline + 1;
        }
        file.partial.append(bytes.get(begin..).unwrap_or_default(), line_bytes_max);
        file.end = start + bytes.len() as u64;
    }

    /// Closes the last line and record of a file.
    pub(crate) fn end(&mut self, grammar: Grammar<'_>, file: &mut File, batch: &mut Batch) {
        if file.partial.bytes() > 0 {
            let partial = std::mem::take(&mut file.partial);
            let line = partial.line(file.end, false, grammar.settings.line_bytes_max);
            self.line(grammar, file, line, batch);
        }
        if let Some(split) = file.records.split.take() {
            file.heads.forget_partial();
            continue_record(grammar, &mut file.records, &split.line(b""), batch);
        }
        close_record(grammar, &mut file.records, batch);
        file.records.state = RecordState::None;
    }

    /// Whether a line of a file with these heads starts a record.
    pub(crate) fn starts_record(&mut self, heads: &mut Heads, text: &[u8]) -> bool {
        matches!(heads.parse(text, &mut self.zone), Parsed::Head(_))
    }

    fn line(&mut self, grammar: Grammar<'_>, file: &mut File, mut line: Line<'_>, batch: &mut Batch) {
        let records = &mut file.records;
        if records.split.is_some() {
            line = Split::join(records.split.take(), &line).line(line.text);
        }
        match file.heads.parse(line.text, &mut self.zone) {
            Parsed::Head(head) => {
                close_record(grammar, records, batch);
                records.state = RecordState::Open;
                start_record(grammar, &mut records.record, &mut self.captures, &line, &head, batch);
            }
            Parsed::Continuation(text) => {
                continue_record(grammar, records, &Line { text, ..line }, batch);
            }
            Parsed::Partial => records.split = Some(Split::join(None, &line)),
        }
    }
}

fn start_record(
    grammar: Grammar<'_>,
    record: &mut Record,
    captures: &mut Captures,
    line: &Line<'_>,
    head: &Head<'_>,
    batch: &mut Batch,
) {
    let logger = batch.contents.logger(head.logger.get(..NAME_BYTES_MAX).unwrap_or(head.logger));
    record.start(line, head.time_ms, head.level, logger);
    if head.thread.contains(&b'_') {
        scan(grammar, record, head.thread, batch);
    }
    // Only what was unescaped, and so is not part of the line, can hold line ends.
    let in_line = line.text.as_ptr_range().contains(&head.message.as_ptr());
    let end = if in_line { None } else { memchr(b'\n', head.message) };
    let (message, rest) = match end.and_then(|end| head.message.split_at_checked(end)) {
        Some((message, rest)) => (message.trim_ascii_end(), rest),
        None => (head.message, &b""[..]),
    };
    if let Some(index) = grammar.catalogue.find_with(message, captures) {
        let template = grammar.catalogue.id(index);
        record.template = template;
        record.bucket = template.map_or(0, |id| grammar.tokenizer.bucket(id, captures.as_slice()));
        if captures.may_hide_keys() || grammar.catalogue.constants_name_blocks(index) {
            scan(grammar, record, message, batch);
        } else {
            for key in captures.keys(message) {
                add_key(grammar, record, key.block, key.pool, batch);
            }
        }
    } else {
        scan(grammar, record, message, batch);
        if record.keys.is_empty() && grammar.node_window_ms.is_none() {
            record.message.extend_from_slice(message.get(..MESSAGE_BYTES_MAX).unwrap_or(message));
        } else {
            record.template = Some(unknown(grammar, message, batch));
        }
    }
    // Other messages name an exception only in the lines that follow.
    if head.level >= Level::Warn {
        record.trace.line(message);
    }
    for text in [rest, head.trace] {
        if !text.is_empty() {
            text.split(|&byte| byte == b'\n').for_each(|text| take_text(grammar, record, text, batch));
        }
    }
}

fn continue_record(grammar: Grammar<'_>, records: &mut Records, line: &Line<'_>, batch: &mut Batch) {
    if records.state != RecordState::Open {
        records.count_late(line);
        return;
    }
    let record = &mut records.record;
    if record.extend(line, grammar.settings.record_lines_max, grammar.settings.record_bytes_max) {
        take_text(grammar, record, line.text, batch);
    }
}

/// Takes keys and exceptions of a line that continues the record.
fn take_text(grammar: Grammar<'_>, record: &mut Record, text: &[u8], batch: &mut Batch) {
    record.trace.line(text);
    scan(grammar, record, text, batch);
    if record.template.is_none() && !record.keys.is_empty() {
        record.template = Some(unknown(grammar, &record.message, batch));
    }
}

/// Closes the open record of a file; lines that continue it are still counted with it.
pub(crate) fn close_record(grammar: Grammar<'_>, records: &mut Records, batch: &mut Batch) {
    if records.state != RecordState::Open {
        return;
    }
    let record = &records.record;
    let in_session = if !record.keys.is_empty() {
        let event = event(record, batch);
        for &(block, pool) in &record.keys {
            let pool = batch.contents.pool(pool);
            emit(grammar, batch, Event { block, pool, ..event });
        }
        true
    } else if let Some(window_ms) = grammar.node_window_ms {
        let event = event(record, batch);
        let block = BlockId(event.time_ms.div_euclid(i64::from(window_ms.get())));
        emit(grammar, batch, Event { block, pool: NODE, ..event });
        true
    } else {
        false
    };
    records.close(in_session);
}

/// The event of a record, but for its key.
fn event(record: &Record, batch: &mut Batch) -> Event {
    let contents = &mut batch.contents;
    let (exception, frame) = trace_names(&record.trace, contents);
    let statement = Statement {
        template: record.template.unwrap_or(TemplateId::OTHER),
        bucket: record.bucket,
        level: record.level,
        logger: record.logger,
        exception,
        frame,
    };
    Event {
        block: BlockId(0),
        pool: 0,
        statement: contents.statement(&statement),
        time_ms: record.time_ms,
        offset: record.offset,
        bytes: if record.lines == 1 { 0 } else { u32::try_from(record.bytes).unwrap_or(u32::MAX) },
    }
}

fn trace_names(trace: &Trace, contents: &mut Contents) -> (NameId, NameId) {
    let mut name = |of, text: &[u8]| {
        let text = text.get(..NAME_BYTES_MAX).unwrap_or(text);
        let id = NameId::of(text);
        contents.name(of, id.0, text);
        id
    };
    if trace.is_empty() {
        return (NameId(0), NameId(0));
    }
    (name(Named::Exception, trace.exception()), name(Named::Frame, trace.frame()))
}

fn emit(grammar: Grammar<'_>, batch: &mut Batch, event: Event) {
    if let Some(events) = batch.events.get_mut(shard_of(event.block, grammar.shard_bits)) {
        events.push(event);
    }
}

/// The shard of a key: the topmost bits of a product with the golden ratio (Knuth, vol. 3, 6.4).
pub(crate) fn shard_of(block: BlockId, bits: u32) -> usize {
    let hash = block.0.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(hash.checked_shr(u64::BITS - bits).unwrap_or(0)).unwrap_or(0)
}

/// Adds the blocks that a text names.
fn scan(grammar: Grammar<'_>, record: &mut Record, text: &[u8], batch: &mut Batch) {
    for key in key::find(text) {
        add_key(grammar, record, key.block, key.pool, batch);
    }
}

fn add_key(grammar: Grammar<'_>, record: &mut Record, block: BlockId, pool: &[u8], batch: &mut Batch) {
    let pool = pool.get(..NAME_BYTES_MAX).unwrap_or(pool);
    let id = NameId::of(pool);
    if id.0 != 0 {
        batch.contents.name(Named::Pool, id.0, pool);
    }
    record.add_key(block, id, grammar.settings.keys_max);
}

/// The template of a message that the catalogue lacks.
fn unknown(grammar: Grammar<'_>, message: &[u8], batch: &mut Batch) -> TemplateId {
    let text = match &grammar.settings.masks {
        Some(masks) => masks.mask(message),
        None => mask(message),
    };
    let id = TemplateId::of(&text);
    batch.contents.name(Named::Template, id.0, text.as_bytes());
    id
}
