//! kill -9 while reports come in: every acknowledged report is there once, whatever the instant.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const SENDERS: usize = 4;
/// Kills, each at another moment: after so many reports were acknowledged.
const KILLS: [usize; 3] = [1, 40, 150];
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn request(id: u64) -> String {
    ACCEPTED.replace("0123456789abcdef", &format!("{id:016x}")).replace("blk_-7", &format!("blk_{}", id / 3))
}

pub(super) fn ids(collector: &Collector) -> Vec<String> {
    let answer = collector.request("GET /api/sessions?format=ndjson", "");
    let lines = answer.lines().filter(|line| line.starts_with('{'));
    lines.filter_map(|line| Some(line.split_once("\"id\":\"")?.1.get(..16)?.to_owned())).collect()
}

/// Sends new reports on several connections until the collector is gone; adds the acknowledged ones.
pub(super) fn send_until_gone(
    collector: &Collector,
    next: &AtomicU64,
    acknowledged: &Mutex<BTreeSet<u64>>,
    target: usize,
) {
    let before = acknowledged.lock().unwrap().len();
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    match collector.try_request("POST /v1/logs", &request(id)) {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200") => {
                            acknowledged.lock().unwrap().insert(id);
                        }
                        Ok(answer) if answer.starts_with("HTTP/1.1 429") => {}
                        // Cut off in the middle, or nobody there: not acknowledged.
                        Ok(_) | Err(_) => return,
                    }
                }
            });
        }
        let deadline = Instant::now() + PATIENCE;
        while acknowledged.lock().unwrap().len() < before + target {
            assert!(Instant::now() < deadline, "the senders get no further");
            thread::yield_now();
        }
        collector.signal("-KILL");
    });
}

#[test]
fn every_acknowledged_report_is_there_once_after_any_kill() {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged = Mutex::new(BTreeSet::new());
    let next = AtomicU64::new(1);
    for target in KILLS {
        let collector = Collector::start(directory.path());
        send_until_gone(&collector, &next, &acknowledged, target);
        drop(collector);
        let collector = Collector::start(directory.path());
        let stored = ids(&collector);
        let distinct: BTreeSet<&String> = stored.iter().collect();
        assert_eq!(distinct.len(), stored.len(), "nothing is there twice");
        for id in acknowledged.lock().unwrap().iter() {
            assert!(distinct.contains(&format!("{id:016x}")), "{id} was acknowledged");
        }
        // What was not acknowledged is sent again, and is there once whether it was stored or not.
        for id in 1..next.load(Ordering::Relaxed) {
            assert!(collector.request("POST /v1/logs", &request(id)).starts_with("HTTP/1.1 200"));
            acknowledged.lock().unwrap().insert(id);
        }
        assert_eq!(ids(&collector).len(), acknowledged.lock().unwrap().len());
        assert_eq!(collector.end("-TERM").0, Some(0));
    }
}
