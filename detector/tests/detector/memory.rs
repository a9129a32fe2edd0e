//! What a quiet session costs, and whether the detector knows what it takes.

use allocation_counter::measure;
use blocksift_detector::{Detector, Settings};

use crate::checks::A;
use crate::checks::model::{Reported, model};
use crate::log::{Log, block};

const SESSIONS: u64 = 100_000;
const EVENTS: u64 = 20;
/// Blocks that are written at the same time, within seven seconds: so many sessions come of a day.
const WRITING: u64 = 8;
/// When the blocks are read and at last deleted, counted in blocks written since at the same time: after two minutes at
/// first, after half a day at last.
const LATER: [u64; 11] = [20, 40, 100, 200, 400, 700, 1_000, 1_500, 2_500, 4_000, 6_000];
/// The key: block, pool, and its place in the index, which at 7/16 to 7/8 load is 5 bytes and 1.3 times as many here.
const KEY_BYTES: usize = 8 + 2 + 6;

/// What a block's event says. A block is written in a burst, read for hours, and deleted in the end.
fn message(event: u64, block: &str, number: u64) -> (&'static str, String) {
    match event {
        0..=2 => (
            "dfs.DataNode$DataXceiver",
            format!(
                "Receiving block {block} src: /10.251.{}.{}:50010 dest: /10.0.0.2:50010",
                number % 7,
                number % 250
            ),
        ),
        3..=5 => (
            "dfs.DataNode$PacketResponder",
            format!("PacketResponder {} for block {block} terminating", event - 3),
        ),
        6..=8 => (
            "dfs.DataNode$PacketResponder",
            format!(
                "Received block {block} of size {} from /10.251.1.{}",
                67_108_864 - number % 9,
                number % 250
            ),
        ),
        9..=18 => (
            "dfs.DataNode$DataXceiver",
            format!("10.0.0.2:50010 Served block {block} to /10.251.3.{}", (number + event) % 250),
        ),
        _ => (
            "dfs.FSDataset",
            format!("Deleting block {block} file /mnt/hadoop/dfs/data/current/subdir{}/{block}", number % 64),
        ),
    }
}

/// Hands on the lines of all sessions, as a node writes them: bursts of a few blocks at a time, and between them reads and
/// deletions of others.
fn write(mut part: impl FnMut(&[u8])) {
    let mut log = Log::new(1);
    let mut line = |log: &mut Log, event: u64, number: u64| {
        let (logger, message) = message(event, &block(number), number);
        log.v1("INFO", logger, number % 9_000, &message);
        if log.bytes.len() > 200_000 {
            part(&log.bytes);
            log.bytes.clear();
        }
    };
    let groups = SESSIONS / WRITING;
    for group in 0..=groups + LATER.last().unwrap() {
        let blocks = |later: u64| {
            let group = group.checked_sub(later).filter(|&group| group < groups);
            group.into_iter().flat_map(|group| group * WRITING..(group + 1) * WRITING)
        };
        for event in 0..9 {
            blocks(0).for_each(|number| line(&mut log, event, number));
            log.clock += u64::from(event % 4 != 0);
        }
        for (event, later) in (9..).zip(LATER) {
            blocks(later).for_each(|number| line(&mut log, event, number));
        }
        log.clock += 1;
    }
    part(&log.bytes);
}

#[test]
fn a_quiet_session_of_20_events_takes_at_most_200_bytes_beyond_its_key() {
    // Keys are spread over shards by chance, and each has its share of the room.
    let settings = Settings { sessions_max: 110_000, ..Settings::default() };
    let mut kept = None;
    let (mut before, mut after) = (0, 0);
    let made = measure(|| kept = Some(Detector::new(model(Reported::None, None), settings)));
    let mut detector = kept.unwrap();
    before += detector.memory_bytes();
    let mut offset = 0;
    let filled = measure(|| {
        write(|bytes| {
            detector.push(A, offset, bytes).for_each(drop);
            offset += bytes.len() as u64;
        });
        detector.close_records(A);
        detector.tick(100_000).for_each(drop);
        detector.tick(200_000).for_each(drop);
    });
    after += detector.memory_bytes();
    let summary = detector.summary();
    assert_eq!((summary.sessions_open, summary.ledger.lines_in_sessions), (SESSIONS, SESSIONS * EVENTS));
    assert_eq!((summary.sessions_evicted, summary.sessions_scored), (0, SESSIONS));
    let live = usize::try_from(filled.bytes_current).unwrap();
    let said = after - before;
    let each = said / SESSIONS as usize - KEY_BYTES;
    eprintln!(
        "100,000 quiet sessions of 20 events: {after} bytes in all, {each} beyond the key of each; \
         {said} bytes said to be added, {live} live, {} live at once at most, {} of a detector without sessions",
        filled.bytes_max, made.bytes_current,
    );
    assert!(each <= 200, "{each} bytes a session");
    assert!(after <= 32 << 20, "{after} bytes in all");
    assert!(live.abs_diff(said) < live / 50, "{said} bytes said, {live} live");
}
