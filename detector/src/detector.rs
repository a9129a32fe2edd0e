//! The detector: wires the path of the data from bytes to reports.
//!
//! [`Detector::push`] takes the bytes of a file in chunks of any size; [`Detector::tick`] tells the time and scores
//! what has fallen silent; [`Detector::finish`] scores the rest. Each hands out the reports that came of it.
//! Equal bytes give equal reports, however they are cut into chunks and on however many threads they are parsed.

mod parallel;
mod snapshot;
mod tally;

use std::collections::{HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use crate::file::File;
use crate::judge::{Judge, Law};
use crate::key::BlockId;
use crate::ledger::{Ledger, Summary};
use crate::miner::{Mined, Miner, MinerSettings};
use crate::model::Model;
use crate::parser::{Batch, Grammar, Parser, close_record, shard_of};
use crate::report::Report;
use crate::settings::{FileId, Settings};
use crate::shard::Shard;
use crate::statement::Statements;
use crate::time::Zone;

pub use crate::session::{SessionEvent, pack_events};
pub use parallel::{Serial, Task, Workers};
pub use snapshot::{FileState, SessionGroup, SessionState, Snapshot};

/// Bits of a key's hash that choose its shard, where there is room for many sessions.
const SHARD_BITS: u32 = 4;
/// Sessions from which on they are kept in `2^SHARD_BITS` shards. With fewer, which session makes room for which would
/// differ too much from what one list of all would give.
const SHARDED_SESSIONS_MIN: usize = 4_096;

/// Parses, sessionizes and scores the logs of one node.
///
/// ```
/// # use blocksift_detector::model::{Decision, Golden, Metadata, Model, TokenizerSpec, Training};
/// # use blocksift_detector::score::{Score, ScoreError};
/// # use blocksift_detector::template::{Template, TemplateId};
/// # use blocksift_detector::token::{Token, Window};
/// # struct Exceptions;
/// # impl Score for Exceptions {
/// #     fn fork(&self) -> Box<dyn Score> { Box::new(Self) }
/// #     fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
/// #         Ok(windows.iter().map(|window| f32::from(u8::from(window.0.contains(&Token(3))))).collect())
/// #     }
/// # }
/// # let texts = ["Receiving block <blk>", "Exception in receiveBlock for block <blk> <exception>"];
/// # let text = |text: &&str| Template { text: text.to_string(), logger: String::new(), level: String::new(), key: None };
/// # let vocabulary = texts.iter().map(|text| TemplateId::of(text)).collect();
/// # let metadata = Metadata {
/// #     name: "example".to_owned(),
/// #     licence: String::new(),
/// #     catalogue: texts.iter().map(text).collect(),
/// #     tokenizer: TokenizerSpec { length: 4, vocabulary, refinements: vec![], node_window_ms: None },
/// #     decision: Decision { threshold: 0.5, novel_counts: false, unknown_warn: true, quantiles: vec![] },
/// #     novelty: Default::default(),
/// #     training: Training { data: String::new(), seed: 0, sessions: 0, sequences: String::new() },
/// #     scores: Default::default(),
/// #     golden: vec![Golden { tokens: vec![Token(3); 4], score: 1.0 }],
/// # };
/// # let model = Model::new(metadata, b"", Box::new(Exceptions))?;
/// use blocksift_detector::{Detector, FileId, Settings};
///
/// let log = b"\
/// 081109 203518 143 INFO dfs.DataNode: Receiving block blk_-1608999687919862906\n\
/// 081109 203519 143 WARN dfs.DataNode: Exception in receiveBlock for block blk_-1608999687919862906 java.io.IOException\n\
/// \tat java.lang.Thread.run(Thread.java:745)\n";
/// // `model` is what `Model::from_onnx` made of a file.
/// let mut detector = Detector::new(model, Settings::default());
/// let file = FileId(0);
/// let (start, rest) = log.split_at(100);
/// detector.push(file, 0, start);
/// detector.push(file, 100, rest);
/// assert!(detector.end_of_file(file).adds_up());
/// let reports: Vec<_> = detector.finish().collect();
/// assert_eq!(reports[0].block, "blk_-1608999687919862906");
/// assert_eq!(reports[0].events[1].exception, "java.io.IOException");
/// # Ok::<(), blocksift_detector::ModelError>(())
/// ```
#[derive(Debug)]
pub struct Detector {
    settings: Settings,
    model: Model,
    statements: Statements,
    node_seed: u64,
    files: HashMap<FileId, File>,
    shards: Vec<Shard>,
    /// As many as there were pieces of one chunk so far, at least one.
    crew: Vec<Worker>,
    /// As many as were asked for at once so far, at least one.
    judges: Vec<Judge>,
    now_ms: i64,
    /// Of files that have ended, and of sessions before a restart.
    totals: Summary,
    /// Missing only where the settings say so.
    miner: Option<Miner>,
    reports: VecDeque<Report>,
}

/// What one piece of a chunk is parsed with.
#[derive(Debug)]
struct Worker {
    parser: Parser,
    batch: Batch,
}

impl Detector {
    /// A detector with no files and no sessions.
    #[must_use]
    pub fn new(model: Model, settings: Settings) -> Self {
        let shards = if settings.sessions_max >= SHARDED_SESSIONS_MIN { 1 << SHARD_BITS } else { 1 };
        let shard = || Shard::new(settings.sessions_max / shards, settings.sessions_bytes_max / shards);
        let mut detector = Self {
            statements: Statements::new(&model.catalogue, &model.tokenizer, settings.unknown_max),
            node_seed: xxh3_64(settings.node.as_bytes()),
            files: HashMap::new(),
            shards: (0..shards).map(|_| shard()).collect(),
            crew: Vec::new(),
            judges: Vec::new(),
            now_ms: 0,
            totals: Summary::default(),
            miner: settings.mine.then(|| Miner::new(MinerSettings::default()).ok()).flatten(),
            reports: VecDeque::new(),
            settings,
            model,
        };
        detector.track_templates();
        detector.hire(1, 1);
        detector
    }

    fn track_templates(&mut self) {
        if let Some(miner) = &mut self.miner
            && self.settings.track_changes
        {
            miner.track_changes();
        }
    }

    /// Takes the bytes of `file` at `offset`. They may end anywhere, also within a line. Where `offset` is not behind
    /// the bytes pushed before, what is still open of the file is closed first.
    ///
    /// Reports come of it only where a session had to make room.
    ///
    /// ```
    /// # use blocksift_detector::{Detector, FileId, Report};
    /// /// Reads a file to its end.
    /// fn read(detector: &mut Detector, file: FileId, mut from: impl std::io::Read) -> std::io::Result<Vec<Report>> {
    ///     let (mut buffer, mut reports) = (vec![0; 1 << 20], Vec::new());
    ///     let mut offset = detector.checkpoint(file);
    ///     loop {
    ///         let count = from.read(&mut buffer)?;
    ///         if count == 0 {
    ///             return Ok(reports);
    ///         }
    ///         reports.extend(detector.push(file, offset, &buffer[..count]));
    ///         offset += count as u64;
    ///     }
    /// }
    /// ```
    pub fn push(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Reports<'_> {
        let mut known = self.at(file, offset);
        let (grammar, crew) = self.school();
        if let Some(Worker { parser, batch }) = crew.first_mut() {
            parser.push(grammar, &mut known, bytes, batch);
        }
        self.files.insert(file, known);
        self.apply(file)
    }

    /// Closes the last line and record of a file that will not grow, and forgets the file but for its ledger in
    /// [`summary`](Self::summary). Returns that ledger.
    pub fn end_of_file(&mut self, file: FileId) -> Ledger {
        let Some(mut known) = self.files.remove(&file) else { return Ledger::default() };
        self.end(&mut known);
        self.apply(file);
        self.totals.ledger += known.records.ledger;
        known.records.ledger
    }

    /// Counts lines that were removed before they could be pushed: `bytes` at least.
    pub fn count_gap(&mut self, bytes: u64) {
        self.totals.gaps += 1;
        self.totals.gap_bytes += bytes;
    }

    /// Closes the last record of a file, which has waited long enough for lines that continue it. Such lines are
    /// still counted with it when they come; a line without a line end goes on waiting for one.
    pub fn close_records(&mut self, file: FileId) {
        if let Some(mut known) = self.files.remove(&file) {
            let (grammar, crew) = self.school();
            if let Some(worker) = crew.first_mut() {
                close_record(grammar, &mut known.records, &mut worker.batch);
            }
            self.files.insert(file, known);
            self.apply(file);
        }
    }

    /// Tells the time, in milliseconds of the caller's clock: scores sessions that were silent for
    /// `idle_timeout_ms`, forgets those that were for `forget_after_ms`. A clock that goes back stops this until it
    /// has caught up.
    ///
    /// ```
    /// # use blocksift_detector::Detector;
    /// # fn send(report: blocksift_detector::Report) {}
    /// # fn every_second(detector: &mut Detector, now_ms: i64) {
    /// for report in detector.tick(now_ms) {
    ///     send(report);
    /// }
    /// # }
    /// ```
    pub fn tick(&mut self, now_ms: i64) -> Reports<'_> {
        self.set_time(now_ms, now_ms);
        let idle_since_ms = now_ms.saturating_sub(self.settings.idle_timeout_ms);
        let forgotten_since_ms = now_ms.saturating_sub(self.settings.forget_after_ms);
        let (law, shards, judges, _) = self.court();
        if let Some(judge) = judges.first_mut() {
            for shard in shards {
                shard.tick(law, judge, idle_since_ms, forgotten_since_ms);
            }
        }
        self.collect()
    }

    /// Tells when the lines that are pushed next were read, and scores nothing. For callers that look at their files
    /// first and [`tick`](Self::tick) only when all they saw is pushed: `heard_ms` is the time of the look, in the clock
    /// of the ticks; `date_ms` the date, by which times without a year are read.
    pub fn set_time(&mut self, heard_ms: i64, date_ms: i64) {
        self.now_ms = heard_ms;
        self.crew.iter_mut().for_each(|worker| worker.parser.set_now_ms(date_ms));
    }

    /// Reports what is remembered of a block, as it is now and whatever the verdict: somebody who knows of other nodes' part
    /// in it asks. A report that is not flagged says [`ASKED`](crate::verdict::ASKED).
    pub fn ask(&mut self, block: BlockId) -> Reports<'_> {
        let (law, shards, judges, _) = self.court();
        let shard = shard_of(block, shards.len().ilog2());
        if let (Some(shard), Some(judge)) = (shards.get_mut(shard), judges.first_mut()) {
            shard.ask(law, judge, block);
        }
        self.collect()
    }

    /// Scores every session that has events which no score has seen: the end of a batch.
    pub fn finish(&mut self) -> Reports<'_> {
        self.finish_with(&Serial)
    }

    /// Reports that nobody took yet.
    pub fn reports(&mut self) -> Reports<'_> {
        Reports(&mut self.reports)
    }

    /// What was mined from the messages that name a block but that the vocabulary lacks: templates with how often they
    /// occurred, in order of their text. Equal for equal lines, in whatever order they came, as long as there was room
    /// for all of them.
    pub fn unknown_templates(&mut self) -> Vec<Mined> {
        self.mine();
        self.miner.as_ref().map(Miner::templates).unwrap_or_default()
    }

    /// Hands what the shards counted to the miner.
    fn mine(&mut self) {
        let Some(miner) = &mut self.miner else { return };
        let mut counted: Vec<(u32, u64)> =
            self.shards.iter_mut().flat_map(|shard| shard.unknown.drain()).collect();
        counted.sort_unstable();
        for (statement, count) in counted {
            miner.learn_masked(self.statements.template(statement).1, count);
        }
    }

    /// Every byte below this offset is in the ledger and in sessions: where to read on after a restart.
    #[must_use]
    pub fn checkpoint(&self, file: FileId) -> u64 {
        self.files.get(&file).map_or(0, |known| known.records.counted)
    }

    /// Where every line of a file went, up to its [`checkpoint`](Self::checkpoint). All zero for a file that is not
    /// known or has ended.
    #[must_use]
    pub fn ledger(&self, file: FileId) -> Ledger {
        self.files.get(&file).map_or_else(Ledger::default, |known| known.records.ledger)
    }

    /// What became of all files and sessions so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = self.totals;
        for known in self.files.values() {
            summary.ledger += known.records.ledger;
        }
        for shard in &self.shards {
            let totals = &shard.totals;
            summary.sessions_open += shard.sessions.len() as u64;
            summary.sessions_scored += totals.scored;
            summary.sessions_flagged = summary.sessions_flagged.saturating_add_signed(totals.flagged);
            summary.sessions_evicted += totals.evicted;
            summary.score_errors += totals.score_errors;
            summary.events_unknown += totals.events_unknown;
        }
        for judge in &self.judges {
            let (hits, misses) = judge.hits_and_misses();
            summary.cache_hits += hits;
            summary.cache_misses += misses;
        }
        summary
    }

    /// Bytes that the sessions and what they refer to take in memory: exact but for what the allocator adds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let shards: usize = self.shards.iter().map(Shard::memory_bytes).sum();
        let crew: usize = self.crew.iter().map(|worker| worker.batch.memory_bytes()).sum();
        let judges: usize = self.judges.iter().map(Judge::memory_bytes).sum();
        let miner = self.miner.as_ref().map_or(0, Miner::bytes);
        shards + crew + judges + miner + self.statements.memory_bytes()
    }

    /// Bytes of the sessions that are remembered, without what is kept ready for others: what `sessions_bytes_max` of
    /// the settings bounds.
    #[must_use]
    pub fn sessions_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.sessions.data_bytes()).sum()
    }

    /// Changes `sessions_bytes_max`. Where sessions take more, the least recently active ones are scored, forgotten and
    /// counted at once, and their memory is given back.
    pub fn limit_sessions_bytes(&mut self, bytes_max: usize) -> Reports<'_> {
        self.settings.sessions_bytes_max = bytes_max;
        let (law, shards, judges, _) = self.court();
        let of_shard = bytes_max / shards.len().max(1);
        if let Some(judge) = judges.first_mut() {
            for shard in shards {
                shard.limit_bytes(law, judge, of_shard);
            }
        }
        self.collect()
    }

    /// The model in use.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The state of a file, ready for bytes at `offset`.
    fn at(&mut self, file: FileId, offset: u64) -> File {
        let mut known = self.files.remove(&file).unwrap_or_else(|| self.new_file(offset));
        if known.end != offset {
            self.end(&mut known);
            known.end = offset;
            known.records.counted = offset;
        }
        known
    }

    fn new_file(&self, offset: u64) -> File {
        File::new(&self.settings, offset)
    }

    fn end(&mut self, known: &mut File) {
        let (grammar, crew) = self.school();
        if let Some(Worker { parser, batch }) = crew.first_mut() {
            parser.end(grammar, known, batch);
        }
    }

    /// Brings what the first worker parsed into the sessions.
    fn apply(&mut self, file: FileId) -> Reports<'_> {
        if let Some(worker) = self.crew.first_mut() {
            self.statements.adopt(&mut worker.batch.contents);
        }
        let now_ms = self.now_ms;
        let (law, shards, judges, crew) = self.court();
        if let (Some(Worker { batch, .. }), Some(judge)) = (crew.first_mut(), judges.first_mut()) {
            for (shard, events) in shards.iter_mut().zip(&batch.events) {
                shard.apply(law, judge, file, (events, &batch.contents), now_ms);
            }
            batch.clear();
        }
        self.collect()
    }

    fn collect(&mut self) -> Reports<'_> {
        let mut new = Vec::new();
        self.shards.iter_mut().for_each(|shard| new.append(&mut shard.reports));
        // As a rule there is nothing, and this is called for every piece of a log.
        if !new.is_empty() {
            self.reports.extend(in_order(new));
        }
        Reports(&mut self.reports)
    }

    /// Makes sure that there are as many workers and judges.
    fn hire(&mut self, workers: usize, judges: usize) {
        while self.crew.len() < workers {
            self.crew.push(Worker { parser: self.parser(), batch: Batch::new(self.shards.len()) });
        }
        while self.judges.len() < judges {
            self.judges.push(Judge::new(self.model.scorer.fork(), self.settings.cache_max));
        }
    }

    fn parser(&self) -> Parser {
        let mut parser = Parser::new(Zone::new(self.settings.zone.clone()));
        if self.now_ms != 0 {
            parser.set_now_ms(self.now_ms);
        }
        parser
    }

    fn court(&mut self) -> (Law<'_>, &mut [Shard], &mut [Judge], &mut [Worker]) {
        let law = Law {
            settings: &self.settings,
            metadata: &self.model.metadata,
            model: &self.model.id,
            tokenizer: &self.model.tokenizer,
            statements: &self.statements,
            node_seed: self.node_seed,
        };
        (law, &mut self.shards, &mut self.judges, &mut self.crew)
    }

    fn school(&mut self) -> (Grammar<'_>, &mut [Worker]) {
        let grammar = Grammar {
            settings: &self.settings,
            catalogue: &self.model.catalogue,
            tokenizer: &self.model.tokenizer,
            node_window_ms: self.model.metadata.tokenizer.node_window_ms,
            shard_bits: self.shards.len().ilog2(),
        };
        (grammar, &mut self.crew)
    }
}

/// Puts reports in the order of their sessions' last events, whichever shard they came from. Those of one session stay as
/// they came: where a clock was set back, a later one may end earlier.
fn in_order(reports: Vec<Report>) -> impl Iterator<Item = Report> {
    let mut latest: HashMap<String, String> = HashMap::new();
    let mut ended: Vec<(String, Report)> = Vec::with_capacity(reports.len());
    for report in reports {
        let end = latest.entry(report.id.clone()).or_default();
        if report.end > *end {
            end.clone_from(&report.end);
        }
        ended.push((end.clone(), report));
    }
    ended.sort_by(|(end, report), (other_end, other)| (end, &report.id).cmp(&(other_end, &other.id)));
    ended.into_iter().map(|(_, report)| report)
}

/// Reports, those of one call in the order of their sessions' last events. Those that are not taken wait for the next
/// call.
#[derive(Debug)]
pub struct Reports<'a>(&'a mut VecDeque<Report>);

impl Iterator for Reports<'_> {
    type Item = Report;

    fn next(&mut self) -> Option<Report> {
        self.0.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for Reports<'_> {}

#[cfg(test)]
mod tests;
