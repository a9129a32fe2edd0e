//! Whole runs over one file, and what is compared of them.

use std::collections::BTreeMap;

use blocksift_detector::detector::{Task, Workers};
use blocksift_detector::{Detector, FileId, Ledger, Report, Summary};

/// The file.
pub(crate) const A: FileId = FileId(1);

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// In an order that does not depend on which call handed them out.
    pub(crate) reports: Vec<Report>,
    /// The last one of each session.
    pub(crate) last: BTreeMap<String, Report>,
    /// Of the whole run.
    pub(crate) summary: Summary,
    /// Of the file.
    pub(crate) ledger: Ledger,
}

/// Lines that bytes are counted as: also a last one without a line end.
pub(crate) fn lines_of(log: &[u8]) -> u64 {
    let ends = log.iter().filter(|&&byte| byte == b'\n').count() as u64;
    ends + u64::from(log.last().is_some_and(|&byte| byte != b'\n'))
}

/// Runs `work`, ends the file, and scores the rest.
pub(crate) fn outcome(mut detector: Detector, work: impl FnOnce(&mut Detector) -> Vec<Report>) -> Outcome {
    let reports = work(&mut detector);
    ended(detector, reports)
}

/// Ends the file and scores the rest.
pub(crate) fn ended(mut detector: Detector, mut reports: Vec<Report>) -> Outcome {
    let ledger = detector.end_of_file(A);
    reports.extend(detector.finish());
    let last = reports.iter().map(|report| (report.id.clone(), report.clone())).collect();
    reports.sort_by_cached_key(|report| format!("{report:?}"));
    Outcome { reports, last, summary: detector.summary(), ledger }
}

/// Pushes `log` in chunks whose sizes take turns.
pub(crate) fn push_all(
    detector: &mut Detector,
    log: &[u8],
    sizes: &[usize],
    workers: Option<&Turned>,
) -> Vec<Report> {
    let (mut reports, mut offset) = (Vec::new(), 0);
    let mut sizes = sizes.iter().cycle();
    while offset < log.len() {
        let end = (offset + sizes.next().copied().unwrap_or(1).max(1)).min(log.len());
        let bytes = &log[offset..end];
        match workers {
            Some(workers) => reports.extend(detector.push_with(A, offset as u64, bytes, workers)),
            None => reports.extend(detector.push(A, offset as u64, bytes)),
        }
        offset = end;
    }
    reports
}

/// The same reports, ledger and summary. How often a score came from a cache depends on how many caches there are.
pub(crate) fn equal_outcomes(one: &Outcome, other: &Outcome) {
    let plain = |summary: Summary| Summary { cache_hits: 0, cache_misses: 0, ..summary };
    assert_eq!(one.ledger, other.ledger);
    assert_eq!(plain(one.summary), plain(other.summary));
    for (one, other) in one.reports.iter().zip(&other.reports) {
        assert_eq!(one, other);
    }
    assert_eq!(one.reports.len(), other.reports.len());
}

/// Runs all tasks on the caller's thread, from the task `by` on and, for an odd `by`, backwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turned {
    /// Tasks that it says could run side by side.
    pub(crate) count: usize,
    /// Where it starts.
    pub(crate) by: usize,
}

impl Workers for Turned {
    fn count(&self) -> usize {
        self.count
    }

    fn run(&self, mut tasks: Vec<Task<'_>>) {
        if !tasks.is_empty() {
            let start = self.by / 2 % tasks.len();
            tasks.rotate_left(start);
        }
        if self.by % 2 == 1 {
            tasks.reverse();
        }
        tasks.into_iter().for_each(|task| task());
    }
}

/// Threads that live as long as the tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads(pub(crate) usize);

impl Workers for Threads {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: Vec<Task<'_>>) {
        std::thread::scope(|scope| {
            for task in tasks {
                scope.spawn(task);
            }
        });
    }
}
