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

/// Numbers at the ends of their types.
const EXTREMES: [&str; 7] = [
    "0",
    "-1",
    "4294967295",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551000",
];

/// Four faults, of a place and a byte each: mostly another number, so that it is still a snapshot.
fn with_faults(mut bytes: Vec<u8>, faults: &[u8]) -> Vec<u8> {
    for fault in faults.chunks_exact(3) {
        let at = (usize::from(fault[0]) << 8 | usize::from(fault[1])) % bytes.len().max(1);
        let (kind, value) = (fault[2] % 8, fault[2]);
        if kind == 7 {
            bytes[at] = value;
            continue;
        }
        let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        let Some(start) = bytes[at..].iter().position(is_number).map(|skipped| at + skipped) else {
            continue;
        };
        let end =
            bytes[start..].iter().position(|byte| !is_number(byte)).map_or(bytes.len(), |len| start + len);
        let text = EXTREMES[usize::from(value) / 8 % EXTREMES.len()];
        bytes.splice(start..end, text.bytes());
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
    detector.take_changes(usize::MAX);
    let again = detector.snapshot();
    assert_eq!(again.sessions.sessions.len() as u64, again.summary.sessions_open);
    let _ = ended(detector, reports);
}
