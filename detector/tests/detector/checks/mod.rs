//! What must hold for any bytes at all. Each check takes bytes and panics where a promise is broken; `cargo fuzz` gives
//! it what it makes up, the tests of this folder give it logs with faults in them. Nothing here knows who calls.

pub(crate) mod input;
pub(crate) mod model;

mod json_heads;
mod metadata;
mod run;
mod snapshots;

use blocksift_detector::Detector;

use input::Input;
use model::{Reported, model};
use run::lines_of;

pub(crate) use json_heads::json_heads;
pub(crate) use metadata::model_metadata;
pub(crate) use run::{A, Outcome, Threads, Turned, ended, equal_outcomes, outcome, push_all};
pub(crate) use snapshots::snapshots;

/// Bytes that the detector may take beyond the sessions' own limit, whatever it reads.
const MEMORY_MAX: usize = 16 << 20;

/// Any bytes in any chunks, with whatever else a caller may do between them: no panic, every line in one class, no
/// limit overstepped.
pub(crate) fn lines(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = input.settings();
    let (sessions_max, model) = (settings.sessions_max, model(Reported::All, input.node_window_ms()));
    let mut detector = Detector::new(model, settings);
    let actions = input.take(8);
    let chunk = input.number() % 700 + 1;
    let log = input.rest();
    let (mut end, mut now_ms) = (0, 0);
    for (at, bytes) in log.chunks(chunk).enumerate() {
        detector.push(A, end as u64, bytes);
        end += bytes.len();
        match actions.get(at % 8).copied().unwrap_or(0) % 8 {
            1 => {
                now_ms += 900;
                detector.tick(now_ms).for_each(drop);
            }
            2 => detector.close_records(A),
            3 => drop(detector.take_changes(2)),
            4 => detector.finish().for_each(drop),
            _ => {}
        }
        let (ledger, checkpoint) = (detector.ledger(A), detector.checkpoint(A));
        assert!(ledger.adds_up());
        assert_eq!(ledger.bytes_read, checkpoint);
        assert!(checkpoint <= end as u64);
        assert!(detector.summary().sessions_open <= sessions_max.max(1) as u64 + SHARDS);
        assert!(detector.memory_bytes() < MEMORY_MAX);
    }
    let ledger = detector.end_of_file(A);
    assert!(ledger.adds_up());
    assert_eq!((ledger.lines_read, ledger.bytes_read), (lines_of(log), log.len() as u64));
    detector.finish().for_each(drop);
    assert_eq!(detector.summary().ledger, ledger);
    assert_eq!(detector.ledger(A), blocksift_detector::Ledger::default(), "it has ended");
}

/// What is left over where the limit is shared out.
const SHARDS: u64 = 16;

/// Bytes from which on a log is not repeated any further: enough for a piece for each of four threads.
const REPEATED_BYTES: usize = 5 * 32 * 1_024;

/// The same bytes in chunks of any sizes, alone and with the work shared among two to four, give the same.
pub(crate) fn chunks(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = input.settings();
    let window_ms = input.node_window_ms();
    let sizes: Vec<usize> = (0..4).map(|_| input.number() % 3_000 + 1).collect();
    let factor = input.choose(&[1, 50]);
    let workers = Turned { count: 2 + usize::from(input.byte() % 3), by: usize::from(input.byte()) };
    let log = input.rest();
    let log = log.repeat(if log.is_empty() { 1 } else { (REPEATED_BYTES / log.len()).clamp(1, 4_000) });
    let detector = || Detector::new(model(Reported::All, window_ms), settings.clone());
    let large: Vec<usize> = sizes.iter().map(|size| size * factor).collect();
    let whole = outcome(detector(), |detector| push_all(detector, &log, &[log.len().max(1)], None));
    let cut = outcome(detector(), |detector| push_all(detector, &log, &large, None));
    equal_outcomes(&whole, &cut);
    for sizes in [&[log.len().max(1)][..], &large] {
        let shared: Outcome = outcome(detector(), |detector| push_all(detector, &log, sizes, Some(&workers)));
        equal_outcomes(&whole, &shared);
    }
}
