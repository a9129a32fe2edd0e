//! Snapshots: one that is whole goes on as if nothing had happened, one with faults in it is taken as far as it goes.

use blocksift_detector::Detector;
use blocksift_detector::detector::Snapshot;

use super::input::Input;
use super::model::{Reported, model};
use super::run::{A, ended, push_all};

/// A snapshot after any byte, with faults in its bytes or without, and the rest of the log after it.
pub(crate) fn snapshots(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = input.settings();
    let window_ms = input.node_window_ms();
    let faults = input.take(12);
    let cut = input.number();
    let log = input.rest();
    let cut = cut % (log.len() + 1);
    let detector = || Detector::new(model(Reported::All, window_ms), settings.clone());
    let mut first = detector();
    push_all(&mut first, &log[..cut], &[cut.max(1)], None);
    first.tick(5_000).for_each(drop);
    let snapshot = first.snapshot();
    let bytes = serde_json::to_vec(&snapshot).unwrap();
    let read: Snapshot = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(read, snapshot);
    go_on(detector(), read, log);
    if let Ok(faulty) = serde_json::from_slice(&with_faults(bytes, faults)) {
        go_on(detector(), faulty, log);
    }
}

/// Four faults: place, and a byte to be there. Half of the bytes become digits, so that it is still a snapshot.
fn with_faults(mut bytes: Vec<u8>, faults: &[u8]) -> Vec<u8> {
    for fault in faults.chunks_exact(3) {
        let at = (usize::from(fault[0]) << 8 | usize::from(fault[1])) % bytes.len().max(1);
        let digit = b'0' + fault[2] % 10;
        match bytes.get_mut(at) {
            Some(byte) if byte.is_ascii_digit() => *byte = digit,
            Some(byte) if fault[2] % 4 == 0 => *byte = fault[2],
            _ => {}
        }
        // A number of many digits is one beyond most limits.
        if fault[2] % 5 == 0 && bytes.get(at).is_some_and(u8::is_ascii_digit) {
            bytes.splice(at..at, std::iter::repeat_n(digit, usize::from(fault[2]) % 19));
        }
    }
    bytes
}

/// Restores, and does all that a detector does.
fn go_on(mut detector: Detector, snapshot: Snapshot, log: &[u8]) {
    detector.restore(snapshot);
    let checkpoint = detector.checkpoint(A);
    let mut reports: Vec<_> = detector.tick(5_000).collect();
    let rest = usize::try_from(checkpoint).ok().and_then(|start| log.get(start..)).unwrap_or_default();
    reports.extend(detector.push(A, checkpoint, rest));
    reports.extend(detector.tick(7_000));
    detector.take_changes();
    let again = detector.snapshot();
    assert_eq!(again.sessions.len() as u64, again.summary.sessions_open);
    let _ = ended(detector, reports);
}
