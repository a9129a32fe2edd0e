//! The log that is played, what has to be reported of it, and how it rotates.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use blocksift_detector::{Detector, FileId, Model, Settings};
use blocksift_tests::simulate::{Batch, Dialect, Pace, Plan, batch_with};

use crate::harness::Node;

/// The silence after which a session is scored. Longer than any halt of this test in the time of the wall, so that only
/// the times in the log decide before its end.
pub(super) const IDLE_TIMEOUT_S: i64 = 8;

/// A log of Hadoop 3, with stack traces, of blocks that fall silent and speak again. Many are faulty, so that there is
/// much to report.
pub(super) fn played(seed: u64, kills: u32) -> Batch {
    let pace = Pace { block_interval_ms: 400, write_ms: 20_000, silence_ms: 300_000 };
    let blocks = 200 + 40 * u64::from(kills);
    batch_with(
        Plan { pace, faults_per_1000: 300, ..Plan::archive_of(Dialect::Hadoop3, seed, blocks) },
        |_| true,
    )
}

/// Id, revision and score of a report; the score in bits.
pub(super) type Reports = BTreeSet<(String, u64, u32)>;

/// What has to arrive.
pub(super) struct Expected {
    pub(super) reports: Reports,
    /// Times that sessions are scored.
    pub(super) sessions_scored: u64,
    pub(super) revision_max: u64,
}

/// What the lines alone say has to be reported: one pass over all of them, without files, clock or restarts.
pub(super) fn expected(log: &Batch) -> Expected {
    let settings = Settings {
        node: Node::NAME.to_owned(),
        idle_timeout_ms: IDLE_TIMEOUT_S * 1_000,
        score_gaps: true,
        ..Settings::default()
    };
    let model = Model::from_onnx(include_bytes!("../../../models/hdfs-v1.onnx")).unwrap();
    let mut detector = Detector::new(model, settings);
    detector.push(FileId(0), 0, &log.log);
    detector.end_of_file(FileId(0));
    detector.finish();
    let reports: Reports =
        detector.reports().map(|report| (report.id, report.revision, report.score.to_bits())).collect();
    let revision_max = reports.iter().map(|(_, revision, _)| *revision).max().unwrap_or_default();
    Expected { reports, sessions_scored: detector.summary().sessions_scored, revision_max }
}

/// A way to rotate a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// `.log.1` becomes `.log.2`, `.log` becomes `.log.1` (log4j's `RollingFileAppender`, Hadoop's RFA).
    Rename,
    /// `.log` becomes `.log.2026-01-05` (`DailyRollingFileAppender`, Hadoop's DRFA).
    Date,
    /// `.log.1` becomes `.log.2`, `.log` is copied to `.log.1` and emptied (logrotate's `copytruncate`).
    CopyTruncate,
    /// `.log` is deleted.
    Delete,
}

/// Backups that are kept: more than the log rotates while a slow machine starts an agent.
const BACKUPS: u32 = 100;

impl Rotation {
    pub(super) const ALL: [Self; 4] = [Self::Rename, Self::Date, Self::CopyTruncate, Self::Delete];

    /// Whether the lines are gone for an agent that does not have the log open.
    pub(super) fn takes_lines(self) -> bool {
        self == Self::Delete
    }

    /// Rotates for the `turn`th time.
    pub(super) fn rotate(self, log: &Path, turn: u32) {
        match self {
            Self::Rename => {
                shift(log);
                fs::rename(log, backup(log, 1)).unwrap();
            }
            Self::Date => fs::rename(log, dated(log, turn)).unwrap(),
            Self::CopyTruncate => {
                shift(log);
                fs::copy(log, backup(log, 1)).unwrap();
                fs::File::options().write(true).open(log).unwrap().set_len(0).unwrap();
            }
            Self::Delete => fs::remove_file(log).unwrap(),
        }
    }
}

fn backup(log: &Path, number: u32) -> PathBuf {
    log.with_extension(format!("log.{number}"))
}

fn dated(log: &Path, turn: u32) -> PathBuf {
    log.with_extension(format!("log.2026-{:02}-{:02}", 1 + turn / 28, 1 + turn % 28))
}

fn shift(log: &Path) {
    for number in (1..BACKUPS).rev() {
        if backup(log, number).exists() {
            fs::rename(backup(log, number), backup(log, number + 1)).unwrap();
        }
    }
}
