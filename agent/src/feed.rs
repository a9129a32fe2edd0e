//! The thread that feeds the detector: files → detector → one transaction, in a loop.
//!
//! A round looks at the files, reads what they have, tells the detector the time, and commits. Raw lines of reports
//! are read back before the commit, while their files are at hand. When the spool is full, neither lines are read
//! nor time is told until it has room: the log files are the buffer.
//!
//! The time that the detector is told is that of the last look at the files whose lines it has all seen. So after
//! a restart no session is scored before the lines that were written meanwhile are in it.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use blocksift_detector::detector::Snapshot;
use blocksift_detector::{Detector, FileId, Ledger, Model, Report};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;
use crate::raw_lines::{self, Records, Source};
use crate::ship::Status;
use crate::state::{Commit, Meta, Restored, StateError, Store};
use crate::tail::{Phase, QUIET_AFTER_MS, Read, Saved, Tail};

/// After a restart, no session is scored for this long: the last records of the files have to be complete first.
const SETTLE_MS: i64 = QUIET_AFTER_MS + 1_000;

/// Bytes read at which a commit does not wait for its interval: it holds every changed session in memory at once.
const COMMIT_BYTES_MAX: u64 = 8 * 1_024 * 1_024;

/// Feeds the detector until it is told to stop.
#[derive(Debug)]
pub(crate) struct Feed {
    detector: Detector,
    tail: Tail,
    store: Arc<Store>,
    status: watch::Sender<Status>,
    /// Disconnected to stop.
    stop: Receiver<Infallible>,
    poll_interval: Duration,
    commit_interval: Duration,
    spool_reports_max: u64,
    spool_bytes_max: u64,
    spool_full: bool,
    /// Files that the detector has state of.
    fed: HashSet<FileId>,
    /// Ledgers of files that ended since the last commit.
    ended: HashMap<FileId, Ledger>,
    reports: Vec<Report>,
    committed: Instant,
    /// Bytes read since then.
    uncommitted_bytes: u64,
    /// Time that the detector was told last.
    ticked_ms: i64,
    /// Time of the first round.
    started_ms: Option<i64>,
    since_ms: i64,
}

/// Why a round of reading is over.
#[derive(PartialEq, Eq)]
enum Round {
    /// Everything that there was is read.
    CaughtUp,
    /// The spool is full, or the agent stops.
    Interrupted,
}

impl Feed {
    /// A feed that goes on with what `store` remembers.
    pub(crate) fn new(
        config: &Config,
        model: Model,
        store: Arc<Store>,
        restored: Restored,
        status: watch::Sender<Status>,
        stop: Receiver<Infallible>,
    ) -> Self {
        let Restored { first_run, files, sessions, meta, .. } = restored;
        let settings = blocksift_detector::Settings { track_changes: true, ..config.detector.clone() };
        let followed: Vec<_> = files
            .iter()
            .filter(|(saved, _)| saved.phase == Phase::Followed)
            .map(|(saved, ledger)| (saved.id, saved.offset, *ledger))
            .collect();
        let fed = followed.iter().map(|(id, ..)| *id).collect();
        let mut detector = Detector::new(model, settings);
        detector.restore(Snapshot { sessions, files: followed, summary: meta.totals, ..Snapshot::default() });
        let ticked_ms = if meta.ticked_ms == 0 { now_ms() } else { meta.ticked_ms };
        // Scores nothing that was not scored: it only says when the next lines come, at the earliest.
        detector.tick(ticked_ms);
        let saved = files.into_iter().map(|(saved, _)| saved).collect();
        let forget_after_ms = config.detector.forget_after_ms;
        Self {
            detector,
            tail: Tail::new(config.logs.clone(), saved, meta.next_file, first_run, forget_after_ms),
            store,
            status,
            stop,
            poll_interval: config.logs.poll_interval,
            commit_interval: config.commit_interval,
            spool_reports_max: config.ship.spool_reports_max,
            spool_bytes_max: config.ship.spool_bytes_max,
            spool_full: false,
            fed,
            ended: HashMap::new(),
            reports: Vec::new(),
            committed: Instant::now(),
            uncommitted_bytes: 0,
            ticked_ms,
            started_ms: None,
            since_ms: meta.since_ms,
        }
    }

    /// Runs until the sender of `stop` is dropped; commits what was read.
    ///
    /// # Errors
    /// When the store fails. Nothing is lost: what was not committed is read again by the next process.
    pub(crate) fn run(mut self) -> Result<(), StateError> {
        loop {
            self.round(now_ms())?;
            self.publish();
            if self.wait() {
                return self.close();
            }
        }
    }

    fn round(&mut self, polled_ms: i64) -> Result<(), StateError> {
        if self.is_spool_full() {
            return Ok(());
        }
        self.tail.poll(polled_ms);
        let started_ms = *self.started_ms.get_or_insert(polled_ms);
        let settled = polled_ms.saturating_sub(started_ms) >= SETTLE_MS;
        if self.read(polled_ms)? == Round::CaughtUp && settled {
            self.ticked_ms = polled_ms;
            self.detector.tick(polled_ms);
        }
        self.commit_if_due()
    }

    fn read(&mut self, polled_ms: i64) -> Result<Round, StateError> {
        loop {
            match self.tail.read(polled_ms) {
                None => return Ok(Round::CaughtUp),
                Some(Read::Bytes { file, offset, bytes }) => {
                    self.detector.push(file, offset, bytes);
                    self.uncommitted_bytes += bytes.len() as u64;
                    self.fed.insert(file);
                }
                Some(Read::Quiet(file)) => self.detector.close_records(file),
                Some(Read::End(file)) => {
                    self.fed.remove(&file);
                    let ledger = self.detector.end_of_file(file);
                    self.ended.insert(file, ledger);
                }
            }
            self.commit_if_due()?;
            if self.is_spool_full() || self.is_stopping() {
                return Ok(Round::Interrupted);
            }
        }
    }

    /// Commits at once when there are reports, else when the interval has passed or much was read.
    fn commit_if_due(&mut self) -> Result<(), StateError> {
        self.reports.extend(self.detector.reports());
        let due =
            self.committed.elapsed() >= self.commit_interval || self.uncommitted_bytes >= COMMIT_BYTES_MAX;
        if self.reports.is_empty() && !due {
            return Ok(());
        }
        let (files, files_forgotten) = self.tail.take_changes();
        self.commit(files, files_forgotten)
    }

    fn commit(&mut self, files: Vec<Saved>, files_forgotten: Vec<FileId>) -> Result<(), StateError> {
        self.committed = Instant::now();
        self.uncommitted_bytes = 0;
        let sessions = self.detector.take_changes();
        let mut reports = std::mem::take(&mut self.reports);
        if files.is_empty() && files_forgotten.is_empty() && sessions.is_empty() && reports.is_empty() {
            return Ok(());
        }
        raw_lines::fill(&mut reports, |file| {
            let (path, file) = self.tail.open(file)?;
            Some(Source { path, records: file.map(|file| Box::new(file) as Box<dyn Records>) })
        });
        let files = files.into_iter().map(|saved| self.with_checkpoint(saved)).collect();
        self.ended.clear();
        let meta = Meta {
            totals: self.detector.summary(),
            ticked_ms: self.ticked_ms,
            since_ms: self.since_ms,
            next_file: self.tail.next_id(),
        };
        self.store.commit(&Commit { files, files_forgotten, sessions, reports, meta })
    }

    /// A file with the detector's checkpoint in place of how far it was read.
    fn with_checkpoint(&self, saved: Saved) -> (Saved, Ledger) {
        if self.fed.contains(&saved.id) {
            let offset = self.detector.checkpoint(saved.id);
            return (Saved { offset, ..saved }, self.detector.ledger(saved.id));
        }
        let ledger = self.ended.get(&saved.id).copied().unwrap_or_default();
        (saved, ledger)
    }

    fn is_spool_full(&mut self) -> bool {
        let spooled = self.store.spooled();
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
        self.status.send_replace(Status { totals: self.detector.summary(), files: self.tail.counts() });
    }

    /// Waits for the time of the next round; `true` if there is none.
    fn wait(&self) -> bool {
        match self.stop.recv_timeout(self.poll_interval) {
            Ok(never) => match never {},
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        }
    }

    fn is_stopping(&self) -> bool {
        matches!(self.stop.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected))
    }

    /// The last commit: records that only wait for further lines are complete, and every file's offset is kept.
    fn close(mut self) -> Result<(), StateError> {
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
        Ok(())
    }
}

/// The agent's clock: milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
