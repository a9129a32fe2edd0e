//! How the agent is doing, for those who look from this host: feed and shipping publish it here, [`serve`] says it
//! over HTTP, [`crate::notify`] to systemd. Nothing here waits for the feed: an agent that is stuck can still be asked.

mod document;
mod health;
mod listen;
mod metrics;
mod process;
mod serve;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blocksift_detector::{Report, Summary};
use serde::Serialize;
use tokio::sync::watch;

use crate::limits;
use crate::otlp::AgentCounts;
use crate::reload::Setup;
use crate::state::Store;
use crate::summary::Details;
use crate::tail::Counts;

pub(crate) use serve::Server;

/// Files that are listed; of more, those with the most bytes to read.
pub(crate) const FILES_MAX: usize = 200;
/// Reports that are listed, the latest ones.
pub(crate) const REPORTS_MAX: usize = 20;

/// How the feed is doing; replaced with every commit and after every round.
#[derive(Clone, Debug, Default)]
pub(crate) struct FeedStatus {
    /// What the detector did.
    pub(crate) totals: Summary,
    /// How the files are doing.
    pub(crate) files: Counts,
    /// The files, at most [`FILES_MAX`].
    pub(crate) listed: Arc<[FileStatus]>,
    /// What the limits held up.
    pub(crate) limits: limits::Counts,
    /// Bytes that the detector takes in memory.
    pub(crate) memory_bytes: u64,
    /// Whether lines wait for room in the spool.
    pub(crate) spool_full: bool,
    /// What the summary says beyond totals; at most a second older than the rest.
    pub(crate) details: Arc<Details>,
    /// When this was true, in the agent's clock; 0 before the first round.
    pub(crate) round_ms: i64,
    /// The same, by a clock that nobody sets; `None` before the first round.
    pub(crate) progress: Option<Instant>,
    /// Whether nothing more will come, and there is no hurry.
    pub(crate) finished: bool,
    /// Whether another feed goes on where this one ended.
    pub(crate) paused: bool,
    /// When every line that was there had been read, in the agent's clock.
    pub(crate) caught_up_ms: i64,
    /// The last reports, at most [`REPORTS_MAX`], the oldest first.
    pub(crate) reports: Arc<[ReportStatus]>,
}

impl FeedStatus {
    /// How old the oldest line is that was not read yet, in milliseconds, at most; 0 if there is none.
    pub(crate) fn lag_ms(&self) -> u64 {
        if self.files.lag_bytes == 0 {
            return 0;
        }
        u64::try_from(self.round_ms.saturating_sub(self.caught_up_ms)).unwrap_or(0)
    }
}

/// A file that is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileStatus {
    /// Where it was last seen.
    pub(crate) path: String,
    /// Bytes read.
    pub(crate) offset: u64,
    /// Bytes in the file.
    pub(crate) size: u64,
    /// Bytes to read.
    pub(crate) lag_bytes: u64,
}

/// What there is to know of a report at a glance.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReportStatus {
    id: String,
    revision: u64,
    block: String,
    flagged: bool,
    score: f32,
    reasons: Vec<String>,
    /// Time of the last event, RFC 3339.
    end: String,
}

impl ReportStatus {
    pub(crate) fn of(report: &Report) -> Self {
        Self {
            id: report.id.clone(),
            revision: report.revision,
            block: report.block.clone(),
            flagged: report.flagged,
            score: report.score,
            reasons: report.reasons.clone(),
            end: report.end.clone(),
        }
    }
}

/// How shipping is doing; replaced whenever it changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShipStatus {
    /// What was shipped since the agent started.
    pub(crate) counts: AgentCounts,
    /// Why the last request was not taken; `None` if it was.
    pub(crate) failure: Option<String>,
    /// When a request was last taken, in the agent's clock.
    pub(crate) taken_ms: Option<i64>,
}

/// What does not change while an agent runs on one configuration.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct About {
    /// Name of the node.
    pub(crate) node: String,
    /// Of the agent.
    pub(crate) version: &'static str,
    /// Process id.
    pub(crate) pid: u32,
    /// When the agent started, in its clock.
    pub(crate) started_ms: i64,
    /// Path of the configuration.
    pub(crate) config: PathBuf,
    /// Directory of the store.
    pub(crate) state_dir: PathBuf,
    /// Name and content hash of the model.
    pub(crate) model: String,
    /// Score at which a session is flagged.
    pub(crate) threshold: f32,
    /// Address of the receiver.
    pub(crate) endpoint: String,
    /// Sessions remembered at most.
    pub(crate) sessions_max: u64,
    /// Reports in the spool at which reading stops.
    pub(crate) spool_reports_max: u64,
    /// Bytes in the spool at which reading stops.
    pub(crate) spool_bytes_max: u64,
}

impl About {
    pub(crate) fn new(setup: &Setup, path: &Path, started_ms: i64) -> Self {
        let Setup { config, model } = setup;
        Self {
            node: config.detector.node.clone(),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started_ms,
            config: path.to_owned(),
            state_dir: config.state_dir.clone(),
            model: model.id.clone(),
            threshold: model.metadata.decision.threshold,
            endpoint: config.ship.to.to_string(),
            sessions_max: config.detector.sessions_max as u64,
            spool_reports_max: config.ship.spool_reports_max,
            spool_bytes_max: config.ship.spool_bytes_max,
        }
    }
}

/// What became of changed configurations since the agent started.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Reloads {
    /// Those that the agent went on with.
    pub(crate) taken: u64,
    /// Those that were refused.
    pub(crate) refused: u64,
    /// Why the last one was refused; `None` if it was not.
    pub(crate) failure: Option<String>,
}

impl Reloads {
    /// Counts one that was refused for a reason, or taken.
    pub(crate) fn count(&mut self, failure: Option<String>) {
        match failure {
            Some(_) => self.refused += 1,
            None => self.taken += 1,
        }
        self.failure = failure;
    }
}

/// Where everything is that can be said.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    /// What does not change.
    pub(crate) about: Arc<About>,
    /// How the feed is doing.
    pub(crate) feed: watch::Receiver<FeedStatus>,
    /// How shipping is doing.
    pub(crate) ship: watch::Receiver<ShipStatus>,
    /// What waits to be shipped.
    pub(crate) store: Arc<Store>,
    /// When the agent began to run on this configuration.
    pub(crate) started: Instant,
    /// A feed that makes no round for this long does not work.
    pub(crate) stuck_after: Duration,
    /// What became of changed configurations.
    pub(crate) reloads: Reloads,
}

impl Board {
    /// How long the feed made no round.
    fn quiet(&self, status: &FeedStatus, now: Instant) -> Duration {
        now.saturating_duration_since(status.progress.unwrap_or(self.started))
    }

    /// Whether the feed makes no rounds any more.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        self.quiet(&self.feed.borrow(), now) > self.stuck_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board as at the start, and what keeps it from being closed.
    pub(super) fn board() -> (Board, (tempfile::TempDir, watch::Sender<FeedStatus>, watch::Sender<ShipStatus>))
    {
        let folder = tempfile::tempdir().unwrap();
        let (feed, ship) = (watch::Sender::default(), watch::Sender::default());
        let about = About {
            node: "dn1".to_owned(),
            version: "0",
            pid: 1,
            started_ms: 1,
            config: PathBuf::new(),
            state_dir: folder.path().to_owned(),
            model: "m".to_owned(),
            threshold: 0.5,
            endpoint: String::new(),
            sessions_max: 1,
            spool_reports_max: 1,
            spool_bytes_max: 1,
        };
        let board = Board {
            about: Arc::new(about),
            feed: feed.subscribe(),
            ship: ship.subscribe(),
            store: Arc::new(Store::open(folder.path()).unwrap().0),
            started: Instant::now(),
            stuck_after: Duration::from_secs(60),
            reloads: Reloads::default(),
        };
        (board, (folder, feed, ship))
    }
}
