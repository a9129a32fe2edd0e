//! Records: a line with a head and the lines that continue it (stack traces, `ReplicaInfo`, JvmPauseMonitor). Only
//! what the event needs is kept of the text, so that a record costs no copy.

use crate::exception::Trace;
use crate::head::Level;
use crate::key::BlockId;
use crate::line::Line;
use crate::statement::NameId;
use crate::template::TemplateId;

/// The record that a file's last lines belong to, open until the next head or [`close`](crate::Detector).
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// First byte in the file.
    pub(crate) offset: u64,
    /// Bytes of its lines, line ends included.
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) lines_skipped: u64,
    pub(crate) bytes_skipped: u64,
    pub(crate) bytes_cut: u64,
    pub(crate) time_ms: i64,
    pub(crate) level: Level,
    pub(crate) logger: NameId,
    /// Known at once where the catalogue has it, else from the first key on.
    pub(crate) template: Option<TemplateId>,
    pub(crate) bucket: u16,
    /// Blocks, each with the hash of its pool's name.
    pub(crate) keys: Vec<(BlockId, NameId)>,
    pub(crate) keys_dropped: u64,
    /// The message, kept only while there is neither template nor key.
    pub(crate) message: Vec<u8>,
    /// What the continuation lines say of exceptions.
    pub(crate) trace: Trace,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            offset: 0,
            bytes: 0,
            lines: 0,
            lines_skipped: 0,
            bytes_skipped: 0,
            bytes_cut: 0,
            time_ms: 0,
            level: Level::Info,
            logger: NameId(0),
            template: None,
            bucket: 0,
            keys: Vec::new(),
            keys_dropped: 0,
            message: Vec::new(),
            trace: Trace::default(),
        }
    }

    /// Starts anew with a head line; the buffers are used again.
    pub(crate) fn start(&mut self, line: &Line<'_>, time_ms: i64, level: Level, logger: NameId) {
        self.offset = line.offset;
        self.bytes = line.bytes;
        self.lines = line.lines;
        self.lines_skipped = 0;
        self.bytes_skipped = 0;
        self.bytes_cut = line.bytes_cut;
        self.time_ms = time_ms;
        self.level = level;
        self.logger = logger;
        self.template = None;
        self.bucket = 0;
        self.keys.clear();
        self.keys_dropped = 0;
        self.message.clear();
        self.trace.clear();
    }

    /// Takes a continuation line; `false` if the record is full and the line is only counted.
    pub(crate) fn extend(&mut self, line: &Line<'_>, lines_max: usize, bytes_max: usize) -> bool {
        self.bytes_cut += line.bytes_cut;
        let fits = self.lines < lines_max as u64 && self.bytes + line.bytes <= bytes_max as u64;
        // Once one line was skipped all further ones are, so that what is kept is one piece.
        if fits && self.lines_skipped == 0 {
            self.lines += line.lines;
            self.bytes += line.bytes;
            return true;
        }
        self.lines_skipped += line.lines;
        self.bytes_skipped += line.bytes;
        false
    }

    /// Adds a block unless it is there; a pool learned later completes it.
    pub(crate) fn add_key(&mut self, block: BlockId, pool: NameId, keys_max: usize) {
        let may_be = |its: NameId| its == pool || its.0 == 0 || pool.0 == 0;
        let known = self.keys.iter_mut().find(|(other, its)| *other == block && may_be(*its));
        if let Some((_, its)) = known {
            if its.0 == 0 {
                *its = pool;
            }
        } else if self.keys.len() < keys_max {
            self.keys.push((block, pool));
        } else {
            self.keys_dropped += 1;
        }
    }
}
