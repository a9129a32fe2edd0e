//! Streams: which records continue each other. Lines of two files must not mix within a record, so each file, or
//! whatever tag and fields tell apart, is a file to the detector.

use std::collections::VecDeque;

use blocksift_detector::FileId;

use crate::lines::{Lines, Place};

/// Streams that are told apart at a time; the one that was silent for the longest time ends to make room.
const STREAMS_MAX: usize = 256;

/// Bytes of a tag that reports show.
const NAME_BYTES_MAX: usize = 255;

/// Everything that came by one way.
#[derive(Debug)]
pub(crate) struct Stream {
    key: u64,
    pub(crate) file: FileId,
    /// Number of the record that came last, of all streams.
    used: u64,
    /// What reports call it: its tag.
    name: String,
    /// Behind the last byte, counted from the stream's first.
    pub(crate) end: u64,
    /// When the last line came, in the clock.
    pub(crate) heard_ms: i64,
    /// Whether its last record may still be waiting for lines that continue it.
    pub(crate) is_open: bool,
    /// Where its lines are kept: offset and place, in order.
    places: VecDeque<(u64, Place)>,
}

/// The streams of a node.
#[derive(Debug)]
pub(crate) struct Streams {
    all: Vec<Stream>,
    /// Position of the one that was asked for last: records come in runs.
    last: usize,
    next: u32,
    records: u64,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self { all: Vec::new(), last: 0, next: 0, records: 0 }
    }

    /// The stream with this key. A new one may end another, which comes with it.
    pub(crate) fn of(&mut self, key: u64, tag: &[u8]) -> (Option<&mut Stream>, Option<FileId>) {
        let mut ended = None;
        if self.all.get(self.last).is_none_or(|stream| stream.key != key) {
            let known = self.all.iter().position(|stream| stream.key == key);
            (self.last, ended) = known.map_or_else(|| self.begin(key, tag), |at| (at, None));
        }
        self.records += 1;
        let stream = self.all.get_mut(self.last);
        (stream.map(|stream| stream.used(self.records)), ended)
    }

    /// Begins a stream: its position, and the file of the one that ended to make room.
    fn begin(&mut self, key: u64, tag: &[u8]) -> (usize, Option<FileId>) {
        let file = FileId(self.next);
        self.next = self.next.wrapping_add(1);
        let tag = tag.get(..NAME_BYTES_MAX).unwrap_or(tag);
        let name = String::from_utf8_lossy(tag).into_owned();
        let places = VecDeque::new();
        let stream = Stream { key, file, used: 0, name, end: 0, heard_ms: 0, is_open: false, places };
        if self.all.len() >= STREAMS_MAX
            && let Some((at, oldest)) = self.all.iter_mut().enumerate().min_by_key(|(_, stream)| stream.used)
        {
            return (at, Some(std::mem::replace(oldest, stream).file));
        }
        self.all.push(stream);
        (self.all.len() - 1, None)
    }

    /// Files of streams whose last record has waited since `since_ms`; they are not open any more.
    pub(crate) fn waited(&mut self, since_ms: i64) -> Vec<FileId> {
        let mut files = Vec::new();
        for stream in &mut self.all {
            if stream.is_open && stream.heard_ms <= since_ms {
                stream.is_open = false;
                files.push(stream.file);
            }
        }
        files
    }

    /// The record of `bytes` bytes at an offset of a file, or the line there where they are `0`.
    pub(crate) fn text(&self, file: FileId, offset: u64, bytes: u32, lines: &Lines) -> Option<String> {
        let stream = self.by_file(file)?;
        let first = stream.places.binary_search_by_key(&offset, |(its, _)| *its).ok()?;
        let end = offset + u64::from(bytes.max(1));
        let mut text = String::new();
        for (at, place) in stream.places.range(first..).take_while(|(its, _)| *its < end) {
            if *at > offset {
                text.push('\n');
            }
            if !lines.append(*place, &mut text) {
                return None;
            }
        }
        Some(text)
    }

    /// What reports call a stream; empty if it has ended.
    pub(crate) fn name(&self, file: FileId) -> &str {
        self.by_file(file).map_or("", |stream| &stream.name)
    }

    fn by_file(&self, file: FileId) -> Option<&Stream> {
        self.all.iter().find(|stream| stream.file == file)
    }
}

impl Stream {
    fn used(&mut self, record: u64) -> &mut Self {
        self.used = record;
        self
    }

    /// Notes that a line of so many bytes, its line end included, was added and where it is kept.
    pub(crate) fn add(&mut self, bytes: usize, place: Option<Place>, lines: &Lines, now_ms: i64) {
        while self.places.front().is_some_and(|(_, place)| !lines.has(*place)) {
            self.places.pop_front();
        }
        if let Some(place) = place {
            self.places.push_back((self.end, place));
        }
        self.end += bytes as u64;
        self.heard_ms = now_ms;
        self.is_open = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_that_was_silent_longest_makes_room() {
        let mut streams = Streams::new();
        for key in 0..STREAMS_MAX as u64 {
            assert_eq!(streams.of(key, b"a").1, None);
        }
        assert_eq!(streams.of(0, b"a").1, None);
        let (stream, ended) = streams.of(1_000, b"b");
        assert_eq!((stream.unwrap().file, ended), (FileId(256), Some(FileId(1))));
        assert_eq!(streams.of(0, b"a").0.unwrap().file, FileId(0));
        assert_eq!(streams.of(1, b"a").1, Some(FileId(2)));
    }
}
