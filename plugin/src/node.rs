//! A node: its sessions, its streams and its lines of late. Lines are handed to the detector many at a time, which is
//! cheaper than one by one and changes nothing of what comes of them.

use blocksift_detector::{Detector, FileId, Model, Report, Summary};
use memchr::memchr_iter;

use crate::filter::Mode;
use crate::lines::Lines;
use crate::settings::{Settings, as_usize};
use crate::stream::Streams;

/// Bytes of lines that wait for the detector, about.
const PENDING_BYTES_MAX: usize = 16 * 1_024;
/// How long the last record of a stream waits for lines that continue it.
const CONTINUED_WITHIN_MS: i64 = 2_000;

/// All that is known of one node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// Whether a record named it.
    pub(crate) is_named: bool,
    pub(crate) detector: Detector,
    streams: Streams,
    lines: Lines,
    pending: Pending,
    report_bytes_max: usize,
}

/// Lines of one stream that the detector has not seen yet.
#[derive(Debug, Default)]
struct Pending {
    file: FileId,
    offset: u64,
    bytes: Vec<u8>,
    /// When the last of them came.
    heard_ms: i64,
}

impl Node {
    pub(crate) fn new(name: &str, model: &Model, settings: &Settings, mode: Mode) -> Self {
        // Nobody asks for lines where all of them pass with verdicts alone.
        let lines_bytes_max =
            if mode == Mode::Annotate { 0 } else { settings.part(settings.lines_bytes_max) };
        Self {
            name: name.to_owned(),
            is_named: false,
            detector: Detector::new(settings.model(model), settings.detector(name, mode)),
            streams: Streams::new(),
            lines: Lines::new(lines_bytes_max),
            pending: Pending::default(),
            report_bytes_max: as_usize(settings.report_bytes_max),
        }
    }

    /// Adds the lines of a record to the stream with this key, which has a tag.
    pub(crate) fn add(&mut self, stream: u64, tag: &[u8], text: &[u8], now_ms: i64) {
        let (stream, ended) = self.streams.of(stream, tag);
        let Some(stream) = stream else { return };
        let is_next = self.pending.file == stream.file && self.pending.bytes.len() < PENDING_BYTES_MAX;
        let end = stream.end;
        if !is_next || ended.is_some() {
            Self::push(&mut self.detector, &mut self.pending);
            self.pending.file = stream.file;
            self.pending.offset = end;
        } else if self.pending.bytes.is_empty() {
            self.pending.offset = end;
        }
        if let Some(file) = ended {
            self.detector.end_of_file(file);
        }
        self.pending.heard_ms = now_ms;
        let mut start = 0;
        for end in memchr_iter(b'\n', text).chain([text.len()]) {
            let line = text.get(start..end).unwrap_or_default();
            start = end + 1;
            let place = self.lines.keep(line);
            stream.add(line.len() + 1, place, &self.lines, now_ms);
            self.pending.bytes.extend_from_slice(line);
            self.pending.bytes.push(b'\n');
        }
    }

    fn push(detector: &mut Detector, pending: &mut Pending) {
        if pending.bytes.is_empty() {
            return;
        }
        detector.set_time(pending.heard_ms, pending.heard_ms);
        // What comes of it is taken by whoever called.
        detector.push(pending.file, pending.offset, &pending.bytes);
        pending.bytes.clear();
    }

    /// Tells the time: scores what has fallen silent.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        Self::push(&mut self.detector, &mut self.pending);
        for file in self.streams.waited(now_ms.saturating_sub(CONTINUED_WITHIN_MS)) {
            self.detector.close_records(file);
        }
        self.detector.tick(now_ms);
    }

    /// Takes the last records to be complete and scores sessions as far as there is room for their reports.
    pub(crate) fn finish(&mut self) {
        Self::push(&mut self.detector, &mut self.pending);
        for file in self.streams.waited(i64::MAX) {
            self.detector.close_records(file);
        }
        self.detector.finish();
    }

    /// The next report, with the lines that are still kept.
    pub(crate) fn report(&mut self) -> Option<Report> {
        let mut report = self.detector.reports().next()?;
        let mut bytes_left = self.report_bytes_max;
        for event in &mut report.events {
            let line = self.streams.text(event.file_id, event.offset, event.bytes, &self.lines);
            event.line = line.filter(|line| line.len() <= bytes_left);
            bytes_left -= event.line.as_ref().map_or(0, String::len);
            self.streams.name(event.file_id).clone_into(&mut event.file);
        }
        Some(report)
    }

    /// The detector's totals.
    pub(crate) fn summary(&self) -> Summary {
        self.detector.summary()
    }
}
