//! Fills in what only the reader of the files knows of a report: the path of each event's file, and the record as it
//! was written, read again by its offset. Each record is read once and in the order of the file, however many
//! sessions share it, so that a compressed file is gone through once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use blocksift_detector::{FileId, Report};
use memchr::memchr;

use crate::files::read_up_to;

/// Bytes of records in one report; the events beyond it have no line.
const REPORT_BYTES_MAX: usize = 1_024 * 1_024;
/// Bytes of one record; a longer one ends with [`CUT`].
const RECORD_BYTES_MAX: u32 = 16 * 1_024;
/// Bytes in which most lines end.
const LINE_BYTES: u32 = 512;
const CUT: &str = " [cut]";

/// Where the records of one file come from.
pub(crate) struct Source {
    /// Path to put into reports.
    pub(crate) path: String,
    /// The file's contents; `None` if they cannot be read any more.
    pub(crate) records: Option<Box<dyn Records>>,
}

/// Reads single records of a file.
pub(crate) trait Records {
    /// The `bytes` bytes at `offset` of the text; `None` if it does not have them. Offsets only rise.
    fn record(&mut self, offset: u64, bytes: u32) -> Option<Vec<u8>>;

    /// The line at `offset` of the text with its line end, or as much of it as [`RECORD_BYTES_MAX`]; `None` if there is
    /// nothing. Offsets only rise.
    fn line(&mut self, offset: u64) -> Option<Vec<u8>>;
}

impl Records for File {
    fn record(&mut self, offset: u64, bytes: u32) -> Option<Vec<u8>> {
        let mut record = vec![0; usize::try_from(bytes).ok()?];
        let filled = read_up_to(self, &mut record, offset).ok()?;
        (filled == record.len()).then_some(record)
    }

    fn line(&mut self, offset: u64) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        for bytes in [LINE_BYTES, RECORD_BYTES_MAX] {
            line.resize(usize::try_from(bytes).ok()?, 0);
            let filled = read_up_to(self, &mut line, offset).ok()?;
            line.truncate(filled);
            if let Some(end) = memchr(b'\n', &line) {
                line.truncate(end + 1);
                break;
            }
        }
        (!line.is_empty()).then_some(line)
    }
}

/// A text that can only be read forwards, such as that of a compressed file.
pub(crate) struct Stream {
    reader: BufReader<Box<dyn Read + Send>>,
    offset: u64,
}

impl Stream {
    /// A text from its start.
    pub(crate) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader: BufReader::new(reader), offset: 0 }
    }
}

impl Stream {
    fn skip_to(&mut self, offset: u64) -> Option<()> {
        let before = offset.checked_sub(self.offset)?;
        self.offset += io::copy(&mut self.reader.by_ref().take(before), &mut io::sink()).ok()?;
        Some(())
    }
}

impl Records for Stream {
    fn record(&mut self, offset: u64, bytes: u32) -> Option<Vec<u8>> {
        self.skip_to(offset)?;
        let mut record = Vec::new();
        self.offset += self.reader.by_ref().take(bytes.into()).read_to_end(&mut record).ok()? as u64;
        (record.len() == usize::try_from(bytes).ok()?).then_some(record)
    }

    fn line(&mut self, offset: u64) -> Option<Vec<u8>> {
        self.skip_to(offset)?;
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(RECORD_BYTES_MAX.into()).read_until(b'\n', &mut line).ok()?;
        self.offset += read as u64;
        (!line.is_empty()).then_some(line)
    }
}

/// An event that refers to a record: position of its report, and its own in there.
type Place = (usize, usize);

/// Fills in `file` and `line` of every event. `open` is asked once for each file; it gives nothing for a file that
/// was forgotten.
pub(crate) fn fill(reports: &mut [Report], mut open: impl FnMut(FileId) -> Option<Source>) {
    let mut wanted: BTreeMap<FileId, BTreeMap<(u64, u32), Vec<Place>>> = BTreeMap::new();
    for (at_report, report) in reports.iter().enumerate() {
        for (at_event, event) in report.events.iter().enumerate() {
            let records = wanted.entry(event.file_id).or_default();
            records.entry((event.offset, event.bytes)).or_default().push((at_report, at_event));
        }
    }
    let mut bytes_left = vec![REPORT_BYTES_MAX; reports.len()];
    for (file, records) in wanted {
        let Some(mut source) = open(file) else { continue };
        for ((offset, bytes), places) in records {
            let line = source.records.as_mut().and_then(|records| text(records.as_mut(), offset, bytes));
            for (at_report, at_event) in places {
                let report = reports.get_mut(at_report);
                let event = report.and_then(|report| report.events.get_mut(at_event));
                let (Some(event), Some(bytes_left)) = (event, bytes_left.get_mut(at_report)) else {
                    continue;
                };
                event.file.clone_from(&source.path);
                event.line = line.clone().filter(|line| line.len() <= *bytes_left);
                *bytes_left -= event.line.as_ref().map_or(0, String::len);
            }
        }
    }
}

/// The text of a record of `bytes` bytes, or of one line where they are `0`.
fn text(records: &mut dyn Records, offset: u64, bytes: u32) -> Option<String> {
    if bytes == 0 {
        let line = records.line(offset)?;
        let whole = line.ends_with(b"\n") || line.len() < usize::try_from(RECORD_BYTES_MAX).ok()?;
        return Some(without_line_end(&line) + if whole { "" } else { CUT });
    }
    let record = records.record(offset, bytes.min(RECORD_BYTES_MAX))?;
    Some(without_line_end(&record) + if bytes > RECORD_BYTES_MAX { CUT } else { "" })
}

/// A record as text, without its last line end.
fn without_line_end(record: &[u8]) -> String {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    let record = record.strip_suffix(b"\r").unwrap_or(record);
    String::from_utf8_lossy(record).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use blocksift_detector::Event;

    use super::*;

    fn event(file: u32, offset: u64, bytes: u32) -> Event {
        Event {
            time: String::new(),
            template: String::new(),
            text: String::new(),
            level: String::new(),
            logger: String::new(),
            exception: String::new(),
            frame: String::new(),
            contribution: 0.0,
            file: String::new(),
            offset,
            line: None,
            file_id: FileId(file),
            bytes,
            token: blocksift_detector::token::Token::PAD,
        }
    }

    #[test]
    fn a_long_record_is_cut_and_says_so() {
        let mut reports = [Report { events: vec![event(1, 0, 40_000)], ..report() }];
        fill(&mut reports, |_| {
            let text = io::Cursor::new("x".repeat(40_000));
            Some(Source { path: String::new(), records: Some(Box::new(Stream::new(Box::new(text)))) })
        });
        let line = reports[0].events[0].line.as_deref().unwrap();
        assert!(line.ends_with("x [cut]") && line.len() == 16 * 1_024 + CUT.len());
    }

    #[test]
    fn records_are_read_back_and_what_is_gone_stays_empty() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"first\r\nsecond \xff\n more\nlast").unwrap();
        let events = vec![event(1, 0, 7), event(1, 7, 15), event(1, 22, 4), event(1, 22, 9), event(2, 0, 1)];
        let mut reports = [Report { events, ..report() }];
        let mut asked = 0;
        fill(&mut reports, |id| {
            asked += 1;
            let records: Box<dyn Records> = Box::new(file.try_clone().unwrap());
            (id == FileId(1)).then(|| Source { path: "a.log".to_owned(), records: Some(records) })
        });
        let lines: Vec<_> = reports[0].events.iter().map(|event| event.line.as_deref()).collect();
        assert_eq!(lines, [Some("first"), Some("second \u{fffd}\n more"), Some("last"), None, None]);
        assert_eq!(reports[0].events[3].file, "a.log");
        assert_eq!(reports[0].events[4].file, "");
        assert_eq!(asked, 2);
    }

    #[test]
    fn a_record_of_one_line_ends_with_it() {
        let long = "y".repeat(20_000);
        let text = format!("one\r\n{long}\n{}\nlast", "z".repeat(600));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let stream = Stream::new(Box::new(io::Cursor::new(text.clone())));
        let sources: [Box<dyn Records>; 2] = [Box::new(file), Box::new(stream)];
        for source in sources {
            let mut source = Some(source);
            let events = [0, 5, 20_006, 20_607, 30_000].map(|offset| event(1, offset, 0)).to_vec();
            let mut reports = [Report { events, ..report() }];
            fill(&mut reports, |_| Some(Source { path: String::new(), records: source.take() }));
            let lines: Vec<_> = reports[0].events.iter().map(|event| event.line.as_deref()).collect();
            let cut = format!("{}{CUT}", "y".repeat(16 * 1_024));
            assert_eq!(lines, [Some("one"), Some(&*cut), Some(&*"z".repeat(600)), Some("last"), None]);
        }
    }

    #[test]
    fn a_stream_is_gone_through_once() {
        let mut stream = Stream::new(Box::new(&b"onetwothree"[..]));
        assert_eq!(stream.record(0, 3).unwrap(), b"one");
        assert_eq!(stream.record(6, 5).unwrap(), b"three");
        assert_eq!(stream.record(0, 3), None);
        assert_eq!(stream.record(11, 1), None);
    }

    #[test]
    fn a_report_has_room_for_so_many_bytes() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; 20_000]).unwrap();
        let fitting = REPORT_BYTES_MAX / usize::try_from(RECORD_BYTES_MAX).unwrap();
        let events: Vec<Event> =
            (0..66).zip(0..=fitting).map(|(offset, _)| event(1, offset, RECORD_BYTES_MAX)).collect();
        let mut reports = [Report { events: events.clone(), ..report() }, Report { events, ..report() }];
        fill(&mut reports, |_| {
            Some(Source { path: String::new(), records: Some(Box::new(file.try_clone().unwrap())) })
        });
        for report in &reports {
            let filled: Vec<_> = report.events.iter().map(|event| event.line.is_some()).collect();
            let expected: Vec<_> = (0..=fitting).map(|at| at < fitting).collect();
            assert_eq!(filled, expected);
        }
    }

    fn report() -> Report {
        Report {
            id: String::new(),
            revision: 1,
            node: String::new(),
            block: String::new(),
            pool: String::new(),
            flagged: true,
            score: 1.0,
            threshold: 0.5,
            model: String::new(),
            reasons: Vec::new(),
            start: String::new(),
            end: String::new(),
            events: Vec::new(),
            events_dropped: 0,
        }
    }
}
