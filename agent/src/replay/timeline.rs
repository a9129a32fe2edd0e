//! Old logs in the order of their times: all files advance together, a second of the log at a time, as they did when
//! they were written.

use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use blocksift_detector::head::{Heads, Layout, Parsed};
use blocksift_detector::time::Zone;
use blocksift_detector::{Detector, FileId, Settings};
use indicatif::ProgressBar;
use jiff::tz::TimeZone;
use memchr::memchr;
use tracing::error;

use crate::input::Input;
use crate::raw_lines::Records;

/// Milliseconds of the log that are read at a time; so often a live agent looks at its files.
const STEP_MS: i64 = 1_000;
/// Bytes of a file in memory; of a longer line only the first part tells whether it has a head.
const BUFFER_BYTES: usize = 256 * 1_024;

/// An old log, opened twice at once, so that a rename between does not matter.
#[derive(Debug)]
pub(super) struct Log {
    text: Input,
    /// For the raw lines of reports: a compressed file is read from its start for them.
    again: Input,
}

impl Log {
    /// Opens a log.
    ///
    /// # Errors
    /// If it is no file or cannot be read.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(path != Path::new("-"), "standard input cannot be replayed: keep it in a file first");
        Ok(Self { text: Input::open(path)?, again: Input::open(path)? })
    }

    /// As given.
    pub(super) fn name(&self) -> String {
        self.text.name()
    }

    /// Its first bytes.
    pub(super) fn start(&self) -> Vec<u8> {
        crate::model::start(&self.text)
    }

    /// Bytes on disk.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.text.stored_bytes()
    }

    /// Reads single records.
    pub(super) fn records(&self) -> Option<Box<dyn Records>> {
        self.again.records()
    }
}

/// The logs and how far each was read.
pub(super) struct Timeline {
    logs: Vec<Followed>,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    failed: usize,
}

impl Timeline {
    /// Reads each log up to its first record.
    ///
    /// # Errors
    /// If a log cannot be read at all.
    pub(super) fn new(
        logs: Vec<Log>,
        layout: Option<&Layout>,
        zone: &TimeZone,
        progress: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let follow = |(log, id): (Log, u32)| Followed::new(log, FileId(id), layout, zone, progress);
        let logs: Vec<Followed> = logs.into_iter().zip(0..).map(follow).collect::<anyhow::Result<_>>()?;
        Ok(Self { logs, first_ms: None, last_ms: None, failed: 0 })
    }

    /// Tells the detector the time of the next record, and gives it all lines of that second. Returns the time;
    /// nothing when all logs have ended.
    pub(super) fn step(&mut self, detector: &mut Detector) -> Option<i64> {
        for log in self.logs.iter_mut().filter(|log| !log.begun) {
            log.begun = true;
            self.failed += usize::from(log.give(i64::MIN, detector).is_err());
        }
        let time_ms = self.logs.iter().filter_map(|log| log.next.map(|next| next.time_ms)).min()?;
        detector.tick(time_ms);
        let limit_ms = time_ms.saturating_add(STEP_MS);
        let due = |log: &&mut Followed| log.next.is_some_and(|next| next.time_ms < limit_ms);
        for log in self.logs.iter_mut().filter(due) {
            self.failed += usize::from(log.give(limit_ms, detector).is_err());
        }
        self.first_ms = Some(self.first_ms.map_or(time_ms, |first| first.min(time_ms)));
        self.last_ms = Some(self.last_ms.map_or(time_ms, |last| last.max(time_ms)));
        Some(time_ms)
    }

    /// The log that the detector knows as `file`.
    pub(super) fn log(&self, file: FileId) -> Option<&Log> {
        self.logs.get(usize::try_from(file.0).ok()?).map(|followed| &followed.log)
    }

    /// Logs that could not be read to their end.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// The least and the greatest time so far.
    pub(super) fn span_ms(&self) -> Option<(i64, i64)> {
        self.first_ms.zip(self.last_ms)
    }
}

/// A log and how far it was read.
struct Followed {
    log: Log,
    file: FileId,
    reader: Box<dyn Read>,
    heads: Heads,
    zone: Zone,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were given to the detector.
    given: usize,
    /// Offset in the text of the first byte that was not.
    offset: u64,
    /// Whether the lines before the first head were given.
    begun: bool,
    /// The record to go on with.
    next: Option<Next>,
    /// Whether what was not given begins within a line.
    within_line: bool,
    ended: bool,
}

/// A record that waits for its time; its line is the first that was not given.
#[derive(Clone, Copy)]
struct Next {
    time_ms: i64,
    /// Bytes of its first line in the buffer.
    bytes: usize,
}

impl Followed {
    fn new(
        log: Log,
        file: FileId,
        layout: Option<&Layout>,
        zone: &TimeZone,
        progress: &ProgressBar,
    ) -> anyhow::Result<Self> {
        let reader =
            log.text.reader(progress).with_context(|| format!("log `{}` cannot be read", log.name()))?;
        Ok(Self {
            log,
            file,
            reader,
            heads: Heads::new(layout.cloned(), Settings::default().line_bytes_max),
            zone: Zone::new(zone.clone()),
            buffer: Vec::new(),
            given: 0,
            offset: 0,
            begun: false,
            next: None,
            within_line: false,
            ended: false,
        })
    }

    /// Gives the detector every line before the first record whose time is `limit_ms` or later, which becomes the next
    /// one. What the text holds before an error is given all the same.
    ///
    /// # Errors
    /// If the text cannot be read to its end; that is told, and the log has ended.
    fn give(&mut self, limit_ms: i64, detector: &mut Detector) -> Result<(), Unreadable> {
        let mut done = self.next.take().map_or(0, |next| next.bytes);
        let outcome = loop {
            match self.scan(&mut done, limit_ms) {
                Some(next) => {
                    self.push(done, detector);
                    self.next = Some(next);
                    detector.close_records(self.file);
                    return Ok(());
                }
                None if self.ended => break Ok(()),
                None => {}
            }
            self.push(done, detector);
            done = 0;
            if let Err(error) = self.fill() {
                let name = self.log.name();
                error!(%error, "log `{name}` cannot be read to its end; what could be read was used");
                self.ended = true;
                break Err(Unreadable);
            }
        };
        self.push(self.left().len(), detector);
        detector.end_of_file(self.file);
        outcome
    }

    /// Moves `done` behind the lines that are due; gives the record that is not.
    fn scan(&mut self, done: &mut usize, limit_ms: i64) -> Option<Next> {
        loop {
            let left = self.buffer.get(self.given..).unwrap_or_default();
            let rest = left.get(*done..).unwrap_or_default();
            let newline = memchr(b'\n', rest);
            let whole = newline.is_some() || self.ended || rest.len() >= BUFFER_BYTES;
            if !whole || rest.is_empty() {
                return None;
            }
            let line = rest.get(..newline.unwrap_or(rest.len())).unwrap_or_default();
            let bytes = newline.map_or(rest.len(), |newline| newline + 1);
            let begins = !self.within_line;
            self.within_line = newline.is_none();
            if begins
                && let Parsed::Head(head) = self.heads.parse(line, &mut self.zone)
                && head.time_ms >= limit_ms
            {
                return Some(Next { time_ms: head.time_ms, bytes });
            }
            *done += bytes;
        }
    }

    /// What is in memory and was not given to the detector.
    fn left(&self) -> &[u8] {
        self.buffer.get(self.given..).unwrap_or_default()
    }

    /// Gives the next `bytes` bytes to the detector.
    fn push(&mut self, bytes: usize, detector: &mut Detector) {
        if let Some(due) = self.left().get(..bytes).filter(|due| !due.is_empty()) {
            // What comes of it is taken after the step.
            detector.push(self.file, self.offset, due);
            self.offset += bytes as u64;
            self.given += bytes;
        }
    }

    /// Reads on, behind what was not given.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.given);
        self.given = 0;
        let room = BUFFER_BYTES.saturating_sub(self.buffer.len());
        let read = self.reader.by_ref().take(room as u64).read_to_end(&mut self.buffer)?;
        self.ended = read < room;
        Ok(())
    }
}

/// A log ended with an error, which was told.
#[derive(Debug)]
struct Unreadable;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A line at a second of a day in 2008, of block `block`.
    fn line(second: u32, block: u32) -> String {
        let (minutes, seconds) = (second / 60, second % 60);
        format!("081109 20{minutes:02}{seconds:02} 1 INFO dfs.DataNode: Receiving block blk_{block}\n")
    }

    fn timeline(folder: &Path, texts: &[&str]) -> Timeline {
        let open = |(text, number): (&&str, u32)| {
            let path = folder.join(format!("{number}.log"));
            std::fs::write(&path, text).unwrap();
            Log::open(&path).unwrap()
        };
        let logs = texts.iter().zip(0..).map(open).collect();
        Timeline::new(logs, None, &TimeZone::UTC, &ProgressBar::hidden()).unwrap()
    }

    fn detector() -> Detector {
        let settings = Settings { report_all: true, ..Settings::default() };
        Detector::new(crate::model::load(Path::new(crate::model::HDFS_V1)).unwrap(), settings)
    }

    /// Ids, revisions and times of the reports.
    fn told(texts: &[&str]) -> Vec<(String, u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let (mut timeline, mut detector) = (timeline(folder.path(), texts), detector());
        while timeline.step(&mut detector).is_some() {}
        detector.finish();
        assert!(detector.summary().ledger.adds_up());
        detector.reports().map(|report| (report.block, report.revision, report.end)).collect()
    }

    #[test]
    fn a_session_is_scored_when_the_log_has_been_silent_about_it() {
        let log = [line(0, 1), line(1, 1), line(200, 2), line(400, 1)].concat();
        let told = told(&[&log]);
        let revisions: Vec<_> = told.iter().map(|(block, revision, _)| (block.as_str(), *revision)).collect();
        assert_eq!(revisions, [("blk_1", 2), ("blk_2", 1), ("blk_1", 3)]);
        assert_eq!(told[0].2, "2008-11-09T20:00:01.000Z");
    }

    #[test]
    fn files_advance_together() {
        // The other file speaks about the block before its minute is over.
        let (one, other) = ([line(0, 1), line(90, 3)].concat(), [line(50, 1), line(300, 4)].concat());
        let told = told(&[&one, &other]);
        assert_eq!((told[0].0.as_str(), told[0].1), ("blk_1", 2));
    }

    #[test]
    fn how_a_text_is_cut_does_not_matter() {
        let trace = "\tat a.b.c(d.java:1)\n".repeat(20_000);
        let long = format!("081109 200007 1 INFO dfs.DataNode: blk_9 {}\n", "x".repeat(3 * BUFFER_BYTES));
        let log = format!("no head\n{}{trace}{long}{}last", line(0, 1), line(100, 2));
        assert!(log.len() > 4 * BUFFER_BYTES);
        let folder = tempfile::tempdir().unwrap();
        let (mut timeline, mut detector) = (timeline(folder.path(), &[&log, "", "none\n"]), detector());
        while timeline.step(&mut detector).is_some() {}
        let ledger = detector.summary().ledger;
        assert_eq!(ledger.bytes_read, log.len() as u64 + 5);
        assert_eq!((timeline.failed(), ledger.lines_skipped.no_head), (0, 2));
        assert_eq!(detector.finish().count(), 3, "a report for each block");
        assert_eq!(timeline.span_ms().map(|(first, last)| last - first), Some(100_000));
    }

    #[test]
    fn a_text_that_breaks_off_gives_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.gz");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        (0..9_000).for_each(|number| encoder.write_all(line(number / 10, number).as_bytes()).unwrap());
        let packed = encoder.finish().unwrap();
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let logs = vec![Log::open(&path).unwrap()];
        let mut timeline = Timeline::new(logs, None, &TimeZone::UTC, &ProgressBar::hidden()).unwrap();
        let mut detector = detector();
        while timeline.step(&mut detector).is_some() {}
        assert_eq!(timeline.failed(), 1);
        let lines = detector.summary().ledger.lines_read;
        assert!((4_000..5_000).contains(&lines), "{lines}");
    }
}
