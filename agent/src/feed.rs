//! The thread that feeds the detector: files → detector → one transaction, in a loop.
//!
//! A round looks at the files, reads what they have, tells the detector the time, and commits: its reports at once, the rest at
//! an interval. Raw lines of reports are read back before the commit, while their files are at hand. When the spool is full
//! or the disk fails, neither lines are read nor time is told until that is over: the log files are the buffer.
//!
//! Which revisions of a session are scored is decided by the times in the log: one in front of every silence of
//! `idle_timeout_s`, and the last one. The agent's own time ([`clock`]) only decides when the last one is scored, and
//! it is told so that this is never one that the next line would have belonged to: only a moment before which
//! everything that was written is in sessions ([`unfinished`]), less [`DELAY_MS`]. So kills, restarts and outages
//! change nothing of what is reported.
//!
//! A feed ends when it is told to stop, or pauses for another one to go on with its files.

pub(crate) mod clock;
mod keeper;
mod order;
mod reports;
#[cfg(test)]
mod tests;
mod unfinished;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blocksift_detector::detector::{FileState, SessionGroup, Snapshot};
use blocksift_detector::miner;
use blocksift_detector::{Detector, FileId, Ledger, Model, Report};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;
use crate::encoding::Packer;
use crate::limits::Limits;
use crate::redact::Redactor;
use crate::state::{Commit, GROUP_SESSIONS, Meta, Restored, SessionRows, StateError, Store};
use crate::status::{FeedStatus, ReportStatus};
use crate::summary::{Details, Summarizer};
use crate::tail::{Ended as FileEnded, Phase, Read, Saved, Tail};
pub(crate) use clock::now_ms;
use clock::{Clock, HostTime};
use keeper::Keeper;
pub(crate) use order::{Order, Ordered, Orders};
use unfinished::Unfinished;

/// How much later than its own time says a line may be readable: times in whole seconds, and buffers of the writer.
const DELAY_MS: i64 = 2_000;

/// Bytes read at which a commit does not wait for its interval: it holds every changed session in memory at once.
const COMMIT_BYTES_MAX: u64 = 8 * 1_024 * 1_024;

/// Time between two looks at templates and scores, which take longer than the totals.
const DETAILS_INTERVAL: Duration = Duration::from_secs(1);

/// How a feed ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// What was read is committed, and the last records are taken to be complete.
    Closed,
    /// What was read is committed as far as records were complete. The files go on from there.
    Paused(Box<Tail>),
}

/// How a feed will end.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Close,
    Pause,
}

/// Feeds the detector until it is told to stop.
#[derive(Debug)]
pub(crate) struct Feed {
    detector: Detector,
    tail: Tail,
    keeper: Keeper,
    packer: Packer,
    summarizer: Summarizer,
    details: Arc<Details>,
    /// When the details were made.
    detailed: Option<Instant>,
    status: watch::Sender<FeedStatus>,
    orders: Ordered,
    /// How to end, once that is known.
    ending: Option<Ending>,
    /// No more lines will be written.
    last_line: bool,
    /// All of them were read.
    finished: bool,
    poll_interval: Duration,
    commit_interval: Duration,
    /// Whether reports are committed at the end of the round that they came up in, ahead of what they came from: after
    /// a crash that is read again, and makes them again.
    commit_on_flag: bool,
    /// Everything was committed once.
    has_committed: bool,
    spool_reports_max: u64,
    spool_bytes_max: u64,
    spool_full: bool,
    limits: Limits,
    /// `None` where nothing is redacted.
    redactor: Option<Redactor>,
    /// Ledgers of files that ended and are not forgotten.
    ended: HashMap<FileId, Ledger>,
    reports: Vec<Report>,
    committed: Instant,
    /// Bytes read since then.
    uncommitted_bytes: u64,
    clock: Clock,
    started: Instant,
    /// The last look of which everything was read.
    complete_look_ms: i64,
    unfinished: Unfinished,
    /// When every line that was there had been read, in the agent's clock.
    caught_up_ms: i64,
    /// The last reports, the oldest first.
    recent: VecDeque<ReportStatus>,
    since_ms: i64,
}

/// Why a round of reading is over.
#[derive(PartialEq, Eq)]
enum Round {
    /// Everything that there was is read.
    CaughtUp,
    /// The spool is full, the node is busy, or the agent stops.
    Interrupted,
}

impl Feed {
    /// A feed that goes on with what `store` remembers, and with the open files of one that has paused.
    pub(crate) fn new(
        config: &Config,
        redactor: Option<Redactor>,
        model: Model,
        store: Arc<Store>,
        (restored, tail): (Restored, Option<Tail>),
        status: watch::Sender<FeedStatus>,
        orders: Ordered,
    ) -> Self {
        let Restored { first_run, files, sessions, templates, meta, .. } = restored;
        let settings =
            blocksift_detector::Settings { track_changes: true, score_gaps: true, ..config.detector.clone() };
        let (followed, ended): (Vec<_>, Vec<_>) =
            files.iter().partition(|(saved, _)| saved.phase == Phase::Followed);
        let mut detector = Detector::new(model, settings);
        detector.restore(Snapshot {
            sessions: SessionGroup::default(),
            files: followed.into_iter().map(|(_, state)| *state).collect(),
            summary: meta.totals,
            templates: miner::Snapshot { texts: templates, evicted: meta.templates_evicted },
        });
        sessions.into_iter().for_each(|group| detector.restore_sessions(group));
        let ended = ended.into_iter().map(|(saved, state)| (saved.id, state.ledger)).collect();
        let saved = files.into_iter().map(|(saved, _)| saved).collect();
        let (logs, forget_after_ms) = (config.logs.clone(), config.detector.forget_after_ms);
        Self {
            tail: match tail {
                Some(tail) => tail.rewound(logs, forget_after_ms, |file| detector.checkpoint(file)),
                None => Tail::new(logs, saved, meta.next_file, first_run, forget_after_ms),
            },
            detector,
            keeper: Keeper::new(store),
            packer: Packer::default(),
            summarizer: Summarizer::new(now_ms()),
            details: Arc::default(),
            detailed: None,
            status,
            orders,
            ending: None,
            last_line: false,
            finished: false,
            poll_interval: config.logs.poll_interval,
            commit_interval: config.commit_interval,
            commit_on_flag: config.commit_on_flag,
            has_committed: false,
            spool_reports_max: config.ship.spool_reports_max,
            spool_bytes_max: config.ship.spool_bytes_max,
            spool_full: false,
            limits: Limits::new(&config.limits, config.detector.sessions_bytes_max),
            redactor,
            ended,
            reports: Vec::new(),
            committed: Instant::now(),
            uncommitted_bytes: 0,
            clock: Clock::new(meta.time),
            started: Instant::now(),
            // What was written while no agent ran may be as old as it likes.
            complete_look_ms: i64::MIN,
            unfinished: Unfinished::default(),
            caught_up_ms: now_ms(),
            recent: VecDeque::new(),
            since_ms: meta.since_ms,
        }
    }

    /// Runs until it is told to pause, it is told to stop, or everything up to the last line is read;
    /// commits what was read.
    ///
    /// # Errors
    /// When the store fails in a way that does not pass, or still fails at the end. Nothing is lost: what was not
    /// committed is read again by the next process.
    pub(crate) fn run(mut self) -> Result<Ended, StateError> {
        loop {
            // A round that begins after the last line was written sees all of them.
            let last_round = self.last_line;
            let round = self.round(HostTime::now(self.started))?;
            self.publish();
            if last_round && round == Round::CaughtUp {
                return self.finish();
            }
            match self.wait() {
                None => {}
                Some(Ending::Close) => return self.close(),
                Some(Ending::Pause) => return self.pause(),
            }
        }
    }

    fn round(&mut self, now: HostTime) -> Result<Round, StateError> {
        let time = self.clock.tell(now);
        let look_ms = time.steady_ms;
        if !self.keeper.is_ready(look_ms)? || self.is_spool_full() || !self.limits.may_read() {
            return Ok(Round::Interrupted);
        }
        self.detector.set_time(look_ms, time.date_ms);
        self.tail.poll(look_ms);
        let round = self.read(look_ms)?;
        if round == Round::CaughtUp {
            self.complete_look_ms = look_ms;
            self.caught_up_ms = now_ms();
            let complete_ms = self.unfinished.complete_until(look_ms);
            self.detector.tick(complete_ms.saturating_sub(DELAY_MS));
        }
        self.fit_memory();
        self.answer();
        self.commit_if_due(self.commit_on_flag)?;
        Ok(round)
    }

    fn read(&mut self, look_ms: i64) -> Result<Round, StateError> {
        loop {
            let mut enough = false;
            match self.tail.read(look_ms) {
                None => return Ok(Round::CaughtUp),
                Some(Read::Bytes { file, offset, bytes }) => {
                    self.detector.push(file, offset, bytes);
                    let (length, checkpoint) = (bytes.len() as u64, self.detector.checkpoint(file));
                    self.uncommitted_bytes += length;
                    enough = self.limits.has_read(bytes.len());
                    self.unfinished.read(file, checkpoint, offset + length, self.complete_look_ms);
                }
                Some(Read::Quiet(file)) => {
                    self.detector.close_records(file);
                    self.unfinished.close(file);
                }
                Some(Read::End(ended)) => self.end(ended),
            }
            self.fit_memory();
            self.commit_if_due(false)?;
            let rest = self.limits.rest().unwrap_or_default();
            if self.keeper.store().is_failing() || self.is_spool_full() || self.is_ending(rest) || enough {
                return Ok(Round::Interrupted);
            }
        }
    }

    fn end(&mut self, FileEnded { file, gap_bytes }: FileEnded) {
        if let Some(bytes) = gap_bytes {
            self.detector.count_gap(bytes);
        }
        let ledger = self.detector.end_of_file(file);
        self.unfinished.close(file);
        self.ended.insert(file, ledger);
    }

    /// Forgets sessions where the agent takes more memory than it may.
    fn fit_memory(&mut self) {
        if let Some(bytes_max) = self.limits.sessions_bytes_max(self.detector.sessions_bytes()) {
            // What comes of it is taken with the other reports.
            self.detector.limit_sessions_bytes(bytes_max);
        }
    }

    /// Commits when the interval has passed or much was read; `for_reports`, also the reports alone when there are any.
    fn commit_if_due(&mut self, for_reports: bool) -> Result<(), StateError> {
        self.reports.extend(self.detector.reports());
        let due =
            self.committed.elapsed() >= self.commit_interval || self.uncommitted_bytes >= COMMIT_BYTES_MAX;
        let for_reports = for_reports && !self.reports.is_empty();
        if !(due || for_reports) || !self.keeper.is_ready(self.clock.time().steady_ms)? {
            return Ok(());
        }
        if due || !self.has_committed {
            let (files, files_forgotten) = self.tail.take_changes();
            self.commit(files, files_forgotten)?;
        } else {
            let reports = self.take_reports();
            self.keep(Commit { reports, ..Commit::default() })?;
        }
        self.publish();
        Ok(())
    }

    fn commit(&mut self, files: Vec<Saved>, files_forgotten: Vec<FileId>) -> Result<(), StateError> {
        self.committed = Instant::now();
        self.uncommitted_bytes = 0;
        let sessions = self.sessions()?;
        let templates = self.detector.take_template_changes();
        let reports = self.take_reports();
        if files.is_empty() && files_forgotten.is_empty() && sessions.is_empty() && reports.is_empty() {
            return Ok(());
        }
        let files = files.into_iter().map(|saved| self.with_state(saved)).collect();
        for file in &files_forgotten {
            self.ended.remove(file);
        }
        let meta = Meta {
            totals: self.detector.summary(),
            time: self.clock.time(),
            since_ms: self.since_ms,
            next_file: self.tail.next_id(),
            templates_evicted: self.detector.templates_evicted(),
        };
        let meta = Some(meta);
        self.keep(Commit { files, files_forgotten, sessions, templates, reports, meta })?;
        self.has_committed = true;
        Ok(())
    }

    fn keep(&mut self, commit: Commit) -> Result<(), StateError> {
        self.keeper.commit(commit, self.clock.time().steady_ms)
    }

    /// What is to be kept of sessions.
    fn sessions(&mut self) -> Result<SessionRows, StateError> {
        let Self { detector, packer, .. } = self;
        let mut changes = std::iter::from_fn(|| {
            Some(detector.take_changes(GROUP_SESSIONS)).filter(|group| !group.is_empty())
        });
        if !self.keeper.store().wants_all_sessions() {
            return SessionRows::changed(changes, packer);
        }
        changes.by_ref().for_each(drop);
        SessionRows::all(detector.session_groups(GROUP_SESSIONS), packer)
    }

    /// A file with the detector's checkpoint in place of how far it was read.
    fn with_state(&self, saved: Saved) -> (Saved, FileState) {
        if let Some(state) = self.detector.file_state(saved.id) {
            return (Saved { offset: state.checkpoint, ..saved }, state);
        }
        let ledger = self.ended.get(&saved.id).copied().unwrap_or_default();
        let state = FileState { file: saved.id, checkpoint: saved.offset, ledger, continues: None };
        (saved, state)
    }

    fn is_spool_full(&mut self) -> bool {
        let spooled = self.keeper.store().spooled();
        let full = spooled.reports >= self.spool_reports_max || spooled.bytes >= self.spool_bytes_max;
        match (self.spool_full, full) {
            (false, true) => {
                warn!(
                    reports = spooled.reports,
                    bytes = spooled.bytes,
                    "spool is full; no lines are read until it has room"
                );
            }
            (true, false) => info!("spool has room; reading on"),
            _ => {}
        }
        self.spool_full = full;
        full
    }

    fn publish(&mut self) {
        if self.detailed.is_none_or(|detailed| detailed.elapsed() >= DETAILS_INTERVAL) {
            self.detailed = Some(Instant::now());
            let mut details = self.summarizer.details(&self.detector, now_ms());
            if let Some(redactor) = &self.redactor {
                for template in &mut details.unknown.list {
                    template.text = redactor.template(&template.text);
                }
            }
            self.details = Arc::new(details);
        }
        let now = FeedStatus {
            totals: self.detector.summary(),
            files: self.tail.counts(),
            listed: self.tail.list().into(),
            memory_bytes: self.detector.memory_bytes() as u64,
            spool_full: self.spool_full,
            details: Arc::clone(&self.details),
            round_ms: now_ms(),
            progress: Some(Instant::now()),
            limits: self.limits.counts(),
            finished: self.finished,
            paused: matches!(self.ending, Some(Ending::Pause)),
            caught_up_ms: self.caught_up_ms,
            reports: self.recent.iter().cloned().collect(),
        };
        let to_ship = self.keeper.store().spooled().reports > 0;
        // Everybody sees what is replaced, but only for news are others woken.
        self.status.send_if_modified(|status| {
            let news = to_ship || status.progress.is_none() || now.finished || now.paused;
            *status = now;
            news
        });
    }

    /// Waits until a file has changed, it is time for the next round, or there is an order.
    fn wait(&mut self) -> Option<Ending> {
        if !self.is_ending(Duration::ZERO) {
            self.tail.wait(self.poll_interval, self.orders.waker());
            self.is_ending(Duration::ZERO);
        }
        self.ending
    }

    /// Whether it has to end, waiting so long for it.
    fn is_ending(&mut self, wait: Duration) -> bool {
        if self.ending.is_none() {
            match self.orders.next(wait) {
                None => {}
                Some(Order::LastLine) => self.last_line = true,
                Some(Order::Pause) => self.ending = Some(Ending::Pause),
                Some(Order::Stop) => self.ending = Some(Ending::Close),
            }
        }
        self.ending.is_some()
    }

    /// Everything is read: what waited for more lines is scored without them.
    fn finish(mut self) -> Result<Ended, StateError> {
        let followed: Vec<FileId> = self.tail.followed().collect();
        for file in followed {
            self.detector.close_records(file);
        }
        self.reports.extend(self.detector.finish());
        self.finished = true;
        self.close()
    }

    /// The last commit: records that only wait for further lines are complete, and every file's offset is kept.
    fn close(mut self) -> Result<Ended, StateError> {
        self.ready_to_end()?;
        let followed: Vec<FileId> = self.tail.followed().collect();
        for file in followed {
            self.detector.close_records(file);
        }
        self.commit_all()?;
        Ok(Ended::Closed)
    }

    /// The last commit of this feed: what comes after the last whole records is read again by the next one.
    fn pause(mut self) -> Result<Ended, StateError> {
        self.ready_to_end()?;
        for ended in self.tail.take_ends() {
            self.end(ended);
        }
        self.commit_all()?;
        Ok(Ended::Paused(Box::new(self.tail)))
    }

    fn ready_to_end(&mut self) -> Result<(), StateError> {
        if !self.keeper.is_ready(i64::MAX)? {
            return Err(StateError::Closed);
        }
        let time = self.clock.time();
        self.detector.set_time(time.steady_ms, time.date_ms);
        Ok(())
    }

    fn commit_all(&mut self) -> Result<(), StateError> {
        self.reports.extend(self.detector.reports());
        let (mut files, files_forgotten) = self.tail.take_changes();
        let open = self.tail.saved().into_iter().filter(|saved| saved.phase == Phase::Followed);
        files.retain(|saved| saved.phase != Phase::Followed);
        files.extend(open);
        self.commit(files, files_forgotten)?;
        self.detailed = None;
        self.publish();
        if self.keeper.store().is_failing() { Err(StateError::Closed) } else { Ok(()) }
    }
}
