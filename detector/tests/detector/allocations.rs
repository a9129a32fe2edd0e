//! The steady state allocates nothing, whatever the layout.

use allocation_counter::measure;
use blocksift_detector::{Detector, Settings};

use crate::checks::A;
use crate::checks::model::{Reported, model};
use crate::log::{Log, block};

/// Lines that are pushed while allocations are counted.
const LINES: usize = 100_000;
/// Stretches of so many lines that are pushed, the first of them uncounted.
const STRETCHES: usize = 7;
/// Blocks that speak at about the same time.
const SPEAKING: u64 = 300;
/// Bytes from one tick to the next.
const TICK_BYTES: usize = 64 * 1_024;

/// Writes a log in which every block has its turn, speaks four times, and is never heard of again.
fn log(lines_each: usize, mut write: impl FnMut(&mut Log, usize, &str)) -> Vec<u8> {
    let mut log = Log::new(1);
    for turn in 0..(STRETCHES * LINES).div_ceil(4 * lines_each * SPEAKING as usize) as u64 {
        for event in 0..4 {
            for at in 0..SPEAKING {
                write(&mut log, event, &block(turn * SPEAKING + at));
            }
            log.clock += 2;
        }
    }
    log.bytes
}

/// Asserts that a stretch of a log allocates nothing, in chunks with ticks between them by which older sessions are
/// scored and forgotten. Until then single buffers may still double, as their largest load so far depends on the
/// seed of the hash table. With shards it also depends on how the keys are spread over them: there a buffer or two
/// doubles now and then for long.
fn allocates_nothing(log: &[u8]) {
    let one_list = allocations(log, 4_095);
    assert!(one_list.contains(&0), "{one_list:?}");
    let shards = allocations(log, 100_000);
    for counted in [one_list, shards] {
        assert!(counted.iter().all(|&count| count < LINES as u64 / 1_000), "{counted:?}");
    }
}

/// Allocations in each stretch of a log but the first.
fn allocations(log: &[u8], sessions_max: usize) -> Vec<u64> {
    let settings =
        Settings { idle_timeout_ms: 5_000, forget_after_ms: 9_000, sessions_max, ..Settings::default() };
    let mut detector = Detector::new(model(Reported::None, None), settings);
    let mut run = |start: usize, end: usize| {
        for (at, bytes) in log[start..end].chunks(TICK_BYTES).enumerate() {
            let offset = start + at * TICK_BYTES;
            detector.push(A, offset as u64, bytes).for_each(drop);
            detector.tick((offset / TICK_BYTES) as i64 * 700).for_each(drop);
        }
    };
    // Ticks come at equal distances, also where one stretch gives way to the next.
    let starts: Vec<usize> =
        (0..STRETCHES).map(|at| log.len() / STRETCHES * at / TICK_BYTES * TICK_BYTES).collect();
    run(0, starts[1]);
    let mut counted = Vec::new();
    for stretch in starts[1..].windows(2) {
        counted.push(measure(|| run(stretch[0], stretch[1])).count_total);
    }
    run(starts[STRETCHES - 1], log.len());
    let summary = detector.summary();
    assert!(summary.ledger.lines_read as usize >= STRETCHES * LINES - 9, "{summary:?}");
    assert!(summary.sessions_open < summary.sessions_scored / 4, "{summary:?}");
    assert_eq!((summary.sessions_flagged, summary.sessions_evicted), (0, 0));
    counted
}

fn message(event: usize, block: &str) -> String {
    match event {
        0 => format!("Receiving block {block} src: /10.0.0.1:50010 dest: /10.0.0.2:50010"),
        1 => format!("PacketResponder 1 for block {block} terminating"),
        2 => format!("Received block {block} of size 67108864 from /10.0.0.1"),
        _ => format!("Deleting block {block} file /d/current/{block}"),
    }
}

#[test]
fn lines_of_2008_allocate_nothing() {
    let log = log(1, |log, event, block| log.v1("INFO", "a.B", 7, &message(event, block)));
    allocates_nothing(&log);
}

#[test]
fn lines_of_log4j_allocate_nothing() {
    let log = log(1, |log, event, block| log.log4j("INFO", 250, &message(event, block)));
    allocates_nothing(&log);
}

#[test]
fn lines_of_the_console_allocate_nothing() {
    let log = log(1, |log, event, block| {
        let second = log.clock % 60;
        let message = message(event, block);
        log.line(&format!("24/05/06 07:08:{second:02} INFO datanode.DataNode: {message}"));
    });
    allocates_nothing(&log);
}

#[test]
fn json_lines_allocate_nothing() {
    let log = log(1, |log, event, block| log.json(event as u64 * 5, &message(event, block)));
    allocates_nothing(&log);
}

#[test]
fn stack_traces_allocate_nothing() {
    let log = log(5, |log, _, block| {
        log.v1(
            "WARN",
            "a.B",
            7,
            &format!("Exception in receiveBlock for block {block} java.io.IOException: x"),
        );
        log.line("java.io.EOFException: Premature EOF: no length prefix available");
        log.line("\tat org.apache.hadoop.hdfs.DataNode.run(DataNode.java:12)");
        log.line("Caused by: java.net.SocketException: Connection reset");
        log.line("\t... 12 more");
    });
    allocates_nothing(&log);
}
