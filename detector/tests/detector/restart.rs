//! Restarts: a detector made from the snapshot of another goes on as that one would have, evictions included.

use blocksift_detector::detector::Snapshot;
use blocksift_detector::{Detector, Report, Settings, Summary};
use proptest::prelude::*;

use crate::checks::model::{Reported, model};
use crate::checks::{A, Outcome, ended, push_all};
use crate::log::{HADOOP_3, HDFS_V1, KINDS, Log};

/// A run with a tick after each part of the log, and a restart after some of its bytes.
struct Run<'a> {
    log: &'a [u8],
    settings: Settings,
    /// Bytes from one tick to the next.
    tick_bytes: usize,
}

impl Run<'_> {
    fn detector(&self) -> Detector {
        Detector::new(model(Reported::All, None), self.settings.clone())
    }

    /// Pushes from `start` to `end`, telling the time whenever as many bytes have gone by.
    fn push(&self, detector: &mut Detector, start: usize, end: usize) -> Vec<Report> {
        let (mut reports, mut at) = (Vec::new(), start);
        while at < end {
            let next = ((at / self.tick_bytes + 1) * self.tick_bytes).min(end);
            detector.push(A, at as u64, &self.log[at..next]).for_each(|report| reports.push(report));
            at = next;
            if at % self.tick_bytes == 0 {
                reports.extend(detector.tick(self.now_ms(at)));
            }
        }
        reports
    }

    /// The caller's clock when so many bytes were pushed.
    fn now_ms(&self, bytes: usize) -> i64 {
        (bytes / self.tick_bytes) as i64 * 1_000
    }

    fn whole(&self) -> Outcome {
        let mut detector = self.detector();
        let reports = self.push(&mut detector, 0, self.log.len());
        ended(detector, reports)
    }

    fn with_restart(&self, cut: usize) -> Outcome {
        let mut first = self.detector();
        let mut reports = self.push(&mut first, 0, cut);
        let snapshot = serde_json::to_string(&first.snapshot()).unwrap();
        let checkpoint = usize::try_from(first.checkpoint(A)).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&snapshot).unwrap();
        let mut second = self.detector();
        second.restore(snapshot);
        assert_eq!(second.tick(self.now_ms(cut)).next(), None, "scored anew");
        // What was open is read once more, at the time at which it was read first.
        reports.extend(second.push(A, checkpoint as u64, &self.log[checkpoint..cut]));
        reports.extend(self.push(&mut second, cut, self.log.len()));
        ended(second, reports)
    }
}

fn plain(outcome: &Outcome) -> Summary {
    Summary { cache_hits: 0, cache_misses: 0, ..outcome.summary }
}

fn all_kinds() -> Vec<u8> {
    (0..KINDS).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_restart_anywhere_changes_nothing(
        seed in any::<u64>(),
        cut in any::<prop::sample::Index>(),
        kinds in 0_usize..3,
        sessions_max in prop::sample::select(vec![1, 5, 16, 100_000]),
        events_max in prop::sample::select(vec![4, 1_024]),
        (reorder_ms, forget_after_ms) in (prop::sample::select(vec![0, 5_000, 600_000]), 3_000_i64..20_000),
        tick_bytes in 500_usize..9_000,
        score_gaps in any::<bool>(),
    ) {
        let kinds = [&HDFS_V1[..], &HADOOP_3, &all_kinds()][kinds].to_vec();
        let log = Log::of(seed, &kinds, 12_000);
        let settings = Settings {
            sessions_max, events_max, reorder_ms, forget_after_ms, idle_timeout_ms: 2_000, score_gaps, ..Settings::default()
        };
        let run = Run { log: &log, settings, tick_bytes };
        let (whole, restarted) = (run.whole(), run.with_restart(cut.index(log.len())));
        prop_assert_eq!(restarted.ledger, whole.ledger);
        prop_assert_eq!(plain(&restarted), plain(&whole));
        prop_assert_eq!(restarted.last, whole.last);
        prop_assert_eq!(restarted.reports, whole.reports);
    }
}

#[test]
fn who_spoke_last_is_the_last_to_make_room_after_a_restart_too() {
    let mut log = Log::new(1);
    for number in [0, 1, 2, 0] {
        let block = crate::log::block(number);
        log.v1("INFO", "a.B", 1, &format!("PacketResponder 1 for block {block} terminating"));
    }
    let settings = Settings { sessions_max: 3, ..Settings::default() };
    let detector = || Detector::new(model(Reported::All, None), settings.clone());
    let mut first = detector();
    push_all(&mut first, &log.bytes, &[log.bytes.len()], None);
    first.close_records(A);
    let mut second = detector();
    second.restore(first.snapshot());
    let end = log.bytes.len();
    for number in [3, 4] {
        let block = crate::log::block(number);
        log.v1("INFO", "a.B", 1, &format!("PacketResponder 1 for block {block} terminating"));
    }
    let mut evicted: Vec<_> =
        second.push(A, end as u64, &log.bytes[end..]).map(|report| report.block).collect();
    second.close_records(A);
    evicted.extend(second.reports().map(|report| report.block));
    assert_eq!(evicted, [crate::log::block(1), crate::log::block(2)]);
}

#[test]
fn a_damaged_snapshot_leaves_room_to_count_on() {
    let log = Log::of(7, &HDFS_V1, 2_000);
    let settings = Settings { events_max: 4, ..Settings::default() };
    let detector = || Detector::new(model(Reported::All, None), settings.clone());
    let mut first = detector();
    push_all(&mut first, &log, &[log.len()], None);
    let text = serde_json::to_string(&first.snapshot()).unwrap();
    for field in ["order", "lines_read", "bytes_read", "sessions_scored", "events_unknown"] {
        let start = text.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
        let end = start + text[start..].find([',', '}']).unwrap();
        let damaged = format!("{}{}{}", &text[..start], u64::MAX, &text[end..]);
        let mut second = detector();
        second.restore(serde_json::from_str(&damaged).unwrap());
        let reports = push_all(&mut second, &log, &[log.len()], None);
        let _ = ended(second, reports);
    }
}
