//! One log on several threads. The detector has none of its own: the caller lends them ([`Workers`]).
//!
//! A chunk is cut where records start, the pieces are parsed side by side, what they saw for the first time is taken up
//! in the order of the lines, and then the shards take their events side by side. There are more pieces and shards than
//! threads, and whoever is done with one takes the next, so that none waits for long. What comes out is what
//! [`Detector::push`] gives.

use std::sync::{Mutex, PoisonError};

use memchr::{memchr, memrchr};

use super::{Detector, Reports, Worker};
use crate::file::File;
use crate::head::{Heads, Wrapper};
use crate::line;
use crate::parser::{Grammar, Parser, close_record};
use crate::settings::FileId;
use crate::shard::Shard;

/// Pieces of a chunk for each thread.
const PIECES_EACH: usize = 4;
/// Bytes of a piece that is worth a thread's while.
const PIECE_BYTES_MIN: usize = 32 * 1_024;
/// Lines that are looked at for one that starts a record.
const LINES_TRIED_MAX: usize = 512;

/// Something to be done once, on any thread.
pub type Task<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Threads that the caller lends.
pub trait Workers {
    /// How many tasks can run side by side, at least one.
    fn count(&self) -> usize;

    /// Runs all tasks, in any order and side by side as far as it can, and returns when all are done.
    fn run(&self, tasks: Vec<Task<'_>>);
}

/// The caller's own thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Workers for Serial {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, tasks: Vec<Task<'_>>) {
        tasks.into_iter().for_each(|task| task());
    }
}

impl Detector {
    /// As [`push`](Self::push), with the work shared among `workers`. Chunks of a megabyte for each keep them busy.
    pub fn push_with(
        &mut self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
        workers: &impl Workers,
    ) -> Reports<'_> {
        let pieces = (workers.count() * PIECES_EACH).min(bytes.len() / PIECE_BYTES_MIN);
        if workers.count() == 1 || pieces < 2 {
            return self.push(file, offset, bytes);
        }
        self.hire(pieces, workers.count());
        let mut known = self.at(file, offset);
        self.parse(&mut known, bytes, pieces, workers);
        self.files.insert(file, known);
        self.apply_with(file, workers)
    }

    /// As [`finish`](Self::finish), with the work shared among `workers`.
    pub fn finish_with(&mut self, workers: &impl Workers) -> Reports<'_> {
        self.hire(1, workers.count());
        let (law, shards, judges, _) = self.court();
        let shards = Mutex::new(shards.iter_mut());
        let shards = &shards;
        let tasks = judges.iter_mut().take(workers.count()).map(|judge| {
            Box::new(move || each(shards, |shard: &mut Shard| shard.finish(law, judge))) as Task<'_>
        });
        workers.run(tasks.collect());
        self.collect()
    }

    /// Parses `bytes` of a file in `count` pieces or fewer into the batches of the first workers, in the order of the
    /// lines.
    fn parse(&mut self, known: &mut File, bytes: &[u8], count: usize, workers: &impl Workers) {
        let (grammar, crew) = self.school();
        let Some(first) = crew.first_mut() else { return };
        let layout = known.heads.layout();
        let cuts = Cuts { grammar, parser: &mut first.parser, heads: known.heads.clone(), bytes };
        let cuts = cuts.find(known.partial.bytes() > 0, count);
        let start = cuts.first().copied().unwrap_or(0);
        // What belongs to records that began before this chunk.
        first.parser.push(grammar, known, bytes.get(..start).unwrap_or_default(), &mut first.batch);
        // Cuts are of no use if the rest of a line that the container runtime split is still to come, or if they were
        // looked for with another layout.
        let useless = known.heads.waits() || known.heads.layout() != layout;
        let cuts = if useless { Vec::new() } else { cuts };
        if !cuts.is_empty() {
            close_record(grammar, &mut known.records, &mut first.batch);
        }
        let mut pieces = pieces(known, bytes, &cuts);
        let queue = Mutex::new(pieces.iter_mut().zip(crew.iter_mut()));
        let parse = || each(&queue, |(piece, worker): (&mut Piece<'_>, _)| piece.parse(grammar, worker));
        workers.run((0..workers.count()).map(|_| Box::new(parse) as Task<'_>).collect());
        let (mut parsed, mut last) = (start, 0);
        for (at, piece) in pieces.into_iter().enumerate() {
            let same_layout = piece.file.heads.layout() == known.heads.layout();
            let went_on = same_layout && !piece.file.heads.waits();
            parsed += piece.bytes.len();
            last = at;
            known.take(piece.file);
            if !went_on {
                // What follows was parsed by another layout than it has now to be tried by first, or without the
                // start of a line that goes on there.
                crew.iter_mut().skip(at + 1).for_each(|worker| worker.batch.clear());
                break;
            }
        }
        if let Some(worker) = crew.get_mut(last) {
            worker.parser.push(grammar, known, bytes.get(parsed..).unwrap_or_default(), &mut worker.batch);
        }
    }

    fn apply_with(&mut self, file: FileId, workers: &impl Workers) -> Reports<'_> {
        for worker in &mut self.crew {
            self.statements.adopt(&mut worker.batch.contents);
        }
        let now_ms = self.now_ms;
        let (law, shards, judges, crew) = self.court();
        let crew = &*crew;
        let queue = &Mutex::new(shards.iter_mut().enumerate());
        let tasks = judges.iter_mut().take(workers.count()).map(|judge| {
            let apply = move |(number, shard): (usize, &mut Shard)| {
                for Worker { batch, .. } in crew {
                    let events = batch.events.get(number).map_or(&[][..], Vec::as_slice);
                    shard.apply(law, judge, file, (events, &batch.contents), now_ms);
                }
            };
            Box::new(move || each(queue, apply)) as Task<'_>
        });
        workers.run(tasks.collect());
        self.crew.iter_mut().for_each(|worker| worker.batch.clear());
        self.collect()
    }
}

/// Takes one after the other from what several threads take from.
fn each<T>(queue: &Mutex<impl Iterator<Item = T>>, mut take: impl FnMut(T)) {
    // A thread that panicked took its own part with it, and the queue is as good as before.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(part) = next() {
        take(part);
    }
}

/// Whole records of a chunk.
struct Piece<'a> {
    file: File,
    bytes: &'a [u8],
}

impl Piece<'_> {
    fn parse(&mut self, grammar: Grammar<'_>, worker: &mut Worker) {
        worker.parser.push(grammar, &mut self.file, self.bytes, &mut worker.batch);
        // What follows starts a record.
        close_record(grammar, &mut self.file.records, &mut worker.batch);
    }
}

fn pieces<'a>(known: &File, bytes: &'a [u8], cuts: &[usize]) -> Vec<Piece<'a>> {
    let starts = cuts.iter().zip(cuts.iter().skip(1));
    let mut offset = known.end;
    let piece = |(&from, &to): (&usize, &usize)| {
        let file = File::with_heads(known.heads.clone(), offset);
        let bytes = bytes.get(from..to).unwrap_or_default();
        offset += bytes.len() as u64;
        Piece { file, bytes }
    };
    starts.map(piece).collect()
}

/// Looks for the places where a chunk can be cut.
struct Cuts<'a> {
    grammar: Grammar<'a>,
    parser: &'a mut Parser,
    heads: Heads,
    bytes: &'a [u8],
}

impl Cuts<'_> {
    /// Where the first record starts, where about equal parts for `count` workers do, and where the last one does;
    /// none where fewer than two records are found.
    fn find(mut self, in_line: bool, count: usize) -> Vec<usize> {
        if self.heads.layout().is_none_or(|pinned| pinned.wrapper != Wrapper::None) {
            return Vec::new();
        }
        let first = if in_line { self.line_behind(0) } else { Some(0) };
        let first = first.and_then(|start| self.record_from(start));
        let Some((first, last)) = first.zip(self.last_record()) else { return Vec::new() };
        let between = last.saturating_sub(first);
        let mut cuts = vec![first];
        for part in 1..count {
            let start = self.line_behind(first + between / count * part);
            cuts.extend(start.and_then(|start| self.record_from(start)));
        }
        cuts.push(last);
        cuts.dedup();
        if cuts.len() > 1 && cuts.is_sorted() { cuts } else { Vec::new() }
    }

    /// Start of the first line behind `at`.
    fn line_behind(&self, at: usize) -> Option<usize> {
        Some(at + memchr(b'\n', self.bytes.get(at..)?)? + 1)
    }

    /// Start of the first record at or behind the start of a line.
    fn record_from(&mut self, start: usize) -> Option<usize> {
        let mut start = start;
        for _ in 0..LINES_TRIED_MAX {
            let behind = self.line_behind(start)?;
            if self.starts_record(start, behind) {
                return Some(start);
            }
            start = behind;
        }
        None
    }

    /// Start of the last record whose first line is whole.
    fn last_record(&mut self) -> Option<usize> {
        let mut behind = memrchr(b'\n', self.bytes)? + 1;
        for _ in 0..LINES_TRIED_MAX {
            let start = memrchr(b'\n', self.bytes.get(..behind - 1)?)? + 1;
            if self.starts_record(start, behind) {
                return Some(start);
            }
            behind = start;
        }
        None
    }

    fn starts_record(&mut self, start: usize, behind: usize) -> bool {
        let text = self.bytes.get(start..behind - 1).unwrap_or_default();
        let text = line::whole(text, 0, self.grammar.settings.line_bytes_max).text;
        // A part of a line that the container runtime split starts nothing here, nor does what completes it.
        // Asked of the layout that is known: what another line of the chunk would pin may make this one a head that
        // it is not where its piece begins.
        let mut heads = self.heads.clone();
        self.parser.starts_record(&mut heads, text) && heads.layout() == self.heads.layout()
    }
}
