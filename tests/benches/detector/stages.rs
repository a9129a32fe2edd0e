//! The stages of the detector, each with all that comes before it. Those before the sessions work on whole lines; the
//! detector cuts its lines itself.

use std::hint::black_box;
use std::io;

use blocksift_detector::detector::Serial;
use blocksift_detector::head::{Heads, Parsed};
use blocksift_detector::key;
use blocksift_detector::template::Captures;
use blocksift_detector::time::Zone;
use blocksift_detector::{Detector, FileId, Model, Settings};
use memchr::memchr_iter;
use memchr::memmem::Finder;

use crate::log::Pieces;
use crate::threads::{THREADS, Threads};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reading alone, which every stage does.
    Read,
    Newlines,
    /// The yardstick: find the newline, find `blk_`, parse the number.
    BlockIds,
    HeadsKeys,
    Templates,
    Sessions,
    Everything,
    /// Everything, scored by table.
    Table,
    /// Everything, on as many threads as [`THREADS`] says.
    Threads,
}

impl Stage {
    pub(crate) const ALL: [Self; 9] = [
        Self::Read,
        Self::Newlines,
        Self::BlockIds,
        Self::HeadsKeys,
        Self::Templates,
        Self::Sessions,
        Self::Everything,
        Self::Table,
        Self::Threads,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Newlines => "newlines",
            Self::BlockIds => "block_ids",
            Self::HeadsKeys => "heads_keys",
            Self::Templates => "templates",
            Self::Sessions => "sessions",
            Self::Everything => "everything",
            Self::Table => "everything_by_table",
            Self::Threads => "two_threads",
        }
    }
}

/// What one pass came across.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    /// Blocks named, templates known, sessions or reports, whatever the stage yields.
    pub(crate) found: u64,
}

/// A stage that is ready to run.
pub(crate) enum Work {
    Read,
    Newlines,
    BlockIds,
    HeadsKeys,
    Templates(Box<Model>),
    Detector { detector: Box<Detector>, scored: bool },
    Threads(Box<Detector>, Threads),
}

/// Makes what a stage needs.
pub(crate) fn work(stage: Stage, model: &[u8]) -> io::Result<Work> {
    let by_table = || Model::from_onnx_table(model).map_err(io::Error::other);
    let model = || Model::from_onnx(model).map_err(io::Error::other);
    Ok(match stage {
        Stage::Read => Work::Read,
        Stage::Newlines => Work::Newlines,
        Stage::BlockIds => Work::BlockIds,
        Stage::HeadsKeys => Work::HeadsKeys,
        Stage::Templates => Work::Templates(Box::new(model()?)),
        Stage::Sessions => {
            let (sessions_max, sessions_bytes_max) = (usize::MAX, usize::MAX);
            let settings = Settings { sessions_max, sessions_bytes_max, ..Settings::default() };
            Work::Detector { detector: Box::new(Detector::new(model()?, settings)), scored: false }
        }
        Stage::Everything => {
            let detector = Detector::new(model()?, Settings::default());
            Work::Detector { detector: Box::new(detector), scored: true }
        }
        Stage::Table => {
            let detector = Detector::new(by_table()?, Settings::default());
            Work::Detector { detector: Box::new(detector), scored: true }
        }
        Stage::Threads => {
            let detector = Detector::new(model()?, Settings::default());
            Work::Threads(Box::new(detector), Threads::new()?)
        }
    })
}

impl Work {
    pub(crate) fn run(&mut self, pieces: &mut Pieces) -> io::Result<Counted> {
        match self {
            Self::Read => read(pieces),
            Self::Newlines => count(pieces),
            Self::BlockIds => block_ids(pieces),
            Self::HeadsKeys => heads_keys(pieces),
            Self::Templates(model) => templates(pieces, model),
            Self::Detector { detector, scored } => detect(pieces, detector, *scored),
            Self::Threads(detector, threads) => detect_on(pieces, detector, threads),
        }
    }
}

fn read(pieces: &mut Pieces) -> io::Result<Counted> {
    let mut counted = Counted::default();
    while let Some(piece) = pieces.next()? {
        counted.bytes += black_box(piece).len() as u64;
    }
    Ok(counted)
}

/// Counts lines.
pub(crate) fn count(pieces: &mut Pieces) -> io::Result<Counted> {
    let mut counted = Counted::default();
    while let Some(piece) = pieces.next()? {
        counted.bytes += piece.len() as u64;
        for newline in memchr_iter(b'\n', piece) {
            black_box(newline);
            counted.lines += 1;
        }
    }
    Ok(counted)
}

fn block_ids(pieces: &mut Pieces) -> io::Result<Counted> {
    let finder = Finder::new(b"blk_");
    each_line(pieces, |line| {
        let Some(start) = finder.find(line) else { return 0 };
        let digits = line.get(start + finder.needle().len()..).unwrap_or_default();
        let (negative, digits) = match digits.split_first() {
            Some((b'-', digits)) => (true, digits),
            _ => (false, digits),
        };
        let mut id: i64 = 0;
        for digit in digits.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10) {
            id = id.wrapping_mul(10).wrapping_add(i64::from(digit));
        }
        black_box(if negative { id.wrapping_neg() } else { id });
        1
    })
}

fn heads_keys(pieces: &mut Pieces) -> io::Result<Counted> {
    let (mut heads, mut zone) = parsers();
    each_line(pieces, |line| {
        black_box(heads.parse(line, &mut zone));
        key::find(line).map(black_box).count() as u64
    })
}

fn templates(pieces: &mut Pieces, model: &Model) -> io::Result<Counted> {
    let (mut heads, mut zone) = parsers();
    let mut captures = Captures::new();
    each_line(pieces, |line| {
        let Parsed::Head(head) = heads.parse(line, &mut zone) else { return 0 };
        let template = black_box(model.catalogue.find_with(head.message, &mut captures));
        let captured = template
            .is_some_and(|index| !captures.may_hide_keys() && !model.catalogue.constants_name_blocks(index));
        if captured {
            captures.keys(head.message).map(black_box).count();
        } else {
            key::find(head.message).map(black_box).count();
        }
        u64::from(template.is_some())
    })
}

fn detect(pieces: &mut Pieces, detector: &mut Detector, scored: bool) -> io::Result<Counted> {
    let file = FileId(0);
    let mut bytes = 0;
    let mut reports = 0;
    while let Some(piece) = pieces.next()? {
        reports += detector.push(file, bytes, piece).map(black_box).count() as u64;
        bytes += piece.len() as u64;
    }
    let lines = detector.end_of_file(file).lines_read;
    if !scored {
        return Ok(Counted { bytes, lines, found: detector.summary().sessions_open });
    }
    reports += detector.finish_with(&Serial).map(black_box).count() as u64;
    Ok(Counted { bytes, lines, found: reports })
}

fn detect_on(pieces: &mut Pieces, detector: &mut Detector, threads: &Threads) -> io::Result<Counted> {
    let file = FileId(0);
    let mut bytes = 0;
    let mut reports = 0;
    let (mut chunk, mut next) = (Vec::new(), Vec::new());
    pieces.fill(THREADS, &mut chunk)?;
    while !chunk.is_empty() {
        // What comes next is read meanwhile, by whoever has nothing else to do.
        let (found, read) = threads.both(
            || detector.push_with(file, bytes, &chunk, threads).map(black_box).count() as u64,
            || pieces.fill(THREADS, &mut next),
        );
        read?;
        reports += found;
        bytes += chunk.len() as u64;
        std::mem::swap(&mut chunk, &mut next);
    }
    let lines = detector.end_of_file(file).lines_read;
    reports += detector.finish_with(threads).map(black_box).count() as u64;
    Ok(Counted { bytes, lines, found: reports })
}

fn parsers() -> (Heads, Zone) {
    let settings = Settings::default();
    (Heads::new(settings.layout, settings.line_bytes_max), Zone::new(settings.zone))
}

/// Calls `take` with each line, without its line end, and adds up what it finds.
fn each_line(pieces: &mut Pieces, mut take: impl FnMut(&[u8]) -> u64) -> io::Result<Counted> {
    let mut counted = Counted::default();
    while let Some(piece) = pieces.next_lines()? {
        let mut begin = 0;
        for newline in memchr_iter(b'\n', piece) {
            counted.found += take(piece.get(begin..newline).unwrap_or_default());
            counted.lines += 1;
            begin = newline + 1;
        }
        counted.bytes += piece.len() as u64;
    }
    Ok(counted)
}
