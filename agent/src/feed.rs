//! The thread that feeds the detector: files → detector → one transaction, in a loop.
//!
//! A round looks at the files, reads what they have, tells the detector the time, and commits. Raw lines of reports
//! are read back before the commit, while their files are at hand. When the spool is full or the disk fails, neither
//! lines are read nor time is told until that is over: the log files are the buffer.
//!
//! Which revisions of a session are scored is decided by the times in the log: one in front of every silence of
//! `idle_timeout_s`, and the last one. The agent's own time ([`clock`]) only decides when the last one is scored, and
//! it is told so that this is never one that the next line would have belonged to: only a moment before which
//! everything that was written is in sessions ([`unfinished`]), less [`DELAY_MS`]. So kills, restarts and outages
//! change nothing of what is reported.

pub(crate) mod clock;
mod keeper;
#[cfg(test)]
mod tests;
mod unfinished;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use blocksift_detector::detector::{FileState, Snapshot};
use blocksift_detector::miner;
use blocksift_detector::{Detector, FileId, Ledger, Model, Report};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;
use crate::limits::Limits;
use crate::raw_lines::{self, Records, Source};
use crate::redact::Redactor;
use crate::ship::Status;
use crate::state::{Commit, Meta, Restored, StateError, Store};
use crate::tail::{Phase, Read, Saved, Tail};
pub(crate) use clock::now_ms;
use clock::{Clock, HostTime};
use keeper::Keeper;
use unfinished::Unfinished;

/// How much later than its own time says a line may be readable: times in whole seconds, and buffers of the writer.
const DELAY_MS: i64 = 2_000;

/// Bytes read at which a commit does not wait for its interval: it holds every changed session in memory at once.
const COMMIT_BYTES_MAX: u64 = 8 * 1_024 * 1_024;

/// Tells a feed that no more lines will be written: once all of them are read, every session is scored, and it ends.
#[derive(Debug)]
pub(crate) struct LastLine;

/// Feeds the detector until it is told to stop.
#[derive(Debug)]
pub(crate) struct Feed {
    detector: Detector,
    tail: Tail,
    keeper: Keeper,
    status: watch::Sender<Status>,
    /// Disconnected to stop.
    stop: Receiver<LastLine>,
    /// No more lines will be written.
    last_line: bool,
    /// All of them were read.
    finished: bool,
    poll_interval: Duration,
    commit_interval: Duration,
    /// Whether a report is committed at once.
    commit_on_flag: bool,
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
    /// A feed that goes on with what `store` remembers.
    pub(crate) fn new(
        config: &Config,
        redactor: Option<Redactor>,
        model: Model,
        store: Arc<Store>,
        restored: Restored,
        status: watch::Sender<Status>,
        stop: Receiver<LastLine>,
    ) -> Self {
        let Restored { first_run, files, sessions, templates, meta, .. } = restored;
        let settings =
            blocksift_detector::Settings { track_changes: true, score_gaps: true, ..config.detector.clone() };
        let (followed, ended): (Vec<_>, Vec<_>) =
            files.iter().partition(|(saved, _)| saved.phase == Phase::Followed);
        let mut detector = Detector::new(model, settings);
        detector.restore(Snapshot {
            sessions,
            files: followed.into_iter().map(|(_, state)| *state).collect(),
            summary: meta.totals,
            templates: miner::Snapshot { texts: templates, evicted: meta.templates_evicted },
        });
        let ended = ended.into_iter().map(|(saved, state)| (saved.id, state.ledger)).collect();
        let saved = files.into_iter().map(|(saved, _)| saved).collect();
        let forget_after_ms = config.detector.forget_after_ms;
        Self {
            detector,
            tail: Tail::new(config.logs.clone(), saved, meta.next_file, first_run, forget_after_ms),
            keeper: Keeper::new(store),
            status,
            stop,
            last_line: false,
            finished: false,
            poll_interval: config.logs.poll_interval,
            commit_interval: config.commit_interval,
            commit_on_flag: config.commit_on_flag,
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
            since_ms: meta.since_ms,
        }
    }

    /// Runs until the sender of `stop` is dropped, or everything up to the last line is read; commits what was read.
    ///
    /// # Errors
    /// When the store fails in a way that does not pass, or still fails at the end. Nothing is lost: what was not
    /// committed is read again by the next process.
    pub(crate) fn run(mut self) -> Result<(), StateError> {
        loop {
            // A round that begins after the last line was written sees all of them.
            let last_round = self.last_line;
            let round = self.round(HostTime::now(self.started))?;
            self.publish();
            if last_round && round == Round::CaughtUp {
                return self.finish();
            }
            if self.wait() {
                return self.close();
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
            let complete_ms = self.unfinished.complete_until(look_ms);
            self.detector.tick(complete_ms.saturating_sub(DELAY_MS));
        }
        self.fit_memory();
        self.commit_if_due()?;
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
                Some(Read::End(file)) => {
                    let ledger = self.detector.end_of_file(file);
                    self.unfinished.close(file);
                    self.ended.insert(file, ledger);
                }
            }
            self.fit_memory();
            self.commit_if_due()?;
            let rest = self.limits.rest().unwrap_or_default();
            if self.keeper.store().is_failing() || self.is_spool_full() || self.is_stopping(rest) || enough {
                return Ok(Round::Interrupted);
            }
        }
    }

    /// Forgets sessions where the agent takes more memory than it may.
    fn fit_memory(&mut self) {
        if let Some(bytes_max) = self.limits.sessions_bytes_max(self.detector.sessions_bytes()) {
            // What comes of it is taken with the other reports.
            self.detector.limit_sessions_bytes(bytes_max);
        }
    }

    /// Commits when the interval has passed or much was read, and if so configured at once when there are reports.
    fn commit_if_due(&mut self) -> Result<(), StateError> {
        self.reports.extend(self.detector.reports());
        let due = self.committed.elapsed() >= self.commit_interval
            || self.uncommitted_bytes >= COMMIT_BYTES_MAX
            || (self.commit_on_flag && !self.reports.is_empty());
        if !due || !self.keeper.is_ready(self.clock.time().steady_ms)? {
            return Ok(());
        }
        let (files, files_forgotten) = self.tail.take_changes();
        self.commit(files, files_forgotten)
    }

    fn commit(&mut self, files: Vec<Saved>, files_forgotten: Vec<FileId>) -> Result<(), StateError> {
        self.committed = Instant::now();
        self.uncommitted_bytes = 0;
        let sessions = self.detector.take_changes();
        let templates = self.detector.take_template_changes();
        let mut reports = std::mem::take(&mut self.reports);
        if files.is_empty() && files_forgotten.is_empty() && sessions.is_empty() && reports.is_empty() {
            return Ok(());
        }
        raw_lines::fill(&mut reports, |file| {
            let (path, file) = self.tail.open(file)?;
            Some(Source { path, records: file.map(|file| Box::new(file) as Box<dyn Records>) })
        });
        if let Some(redactor) = &self.redactor {
            reports.iter_mut().for_each(|report| redactor.report(report));
        }
        let files = files.into_iter().map(|saved| self.with_state(saved)).collect();
        for file in &files_forgotten {
            self.ended.remove(file);
        }
        let time = self.clock.time();
        let meta = Meta {
            totals: self.detector.summary(),
            time,
            since_ms: self.since_ms,
            next_file: self.tail.next_id(),
            templates_evicted: self.detector.templates_evicted(),
        };
        let commit = Commit { files, files_forgotten, sessions, templates, reports, meta };
        self.keeper.commit(commit, time.steady_ms)
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

    fn publish(&self) {
        self.status.send_replace(Status {
            totals: self.detector.summary(),
            files: self.tail.counts(),
            limits: self.limits.counts(),
            finished: self.finished,
        });
    }

    /// Waits for the time of the next round; `true` if there is none.
    fn wait(&mut self) -> bool {
        match self.stop.recv_timeout(self.poll_interval) {
            Ok(LastLine) => {
                self.last_line = true;
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        }
    }

    /// Whether the agent stops, waiting so long for it.
    fn is_stopping(&mut self, wait: Duration) -> bool {
        match self.stop.recv_timeout(wait) {
            Ok(LastLine) => {
                self.last_line = true;
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        }
    }

    /// Everything is read: what waited for more lines is scored without them.
    fn finish(mut self) -> Result<(), StateError> {
        let followed: Vec<FileId> = self.tail.followed().collect();
        for file in followed {
            self.detector.close_records(file);
        }
        self.reports.extend(self.detector.finish());
        self.finished = true;
        self.close()
    }

    /// The last commit: records that only wait for further lines are complete, and every file's offset is kept.
    fn close(mut self) -> Result<(), StateError> {
        if !self.keeper.is_ready(i64::MAX)? {
            return Err(StateError::Closed);
        }
        let time = self.clock.time();
        self.detector.set_time(time.steady_ms, time.date_ms);
        let followed: Vec<FileId> = self.tail.followed().collect();
        for file in followed {
            self.detector.close_records(file);
        }
        self.reports.extend(self.detector.reports());
        let (mut files, files_forgotten) = self.tail.take_changes();
        let open = self.tail.saved().into_iter().filter(|saved| saved.phase == Phase::Followed);
        files.retain(|saved| saved.phase != Phase::Followed);
        files.extend(open);
        self.commit(files, files_forgotten)?;
        self.publish();
        if self.keeper.store().is_failing() { Err(StateError::Closed) } else { Ok(()) }
    }
}
