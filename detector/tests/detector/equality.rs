//! Equal results: whatever the chunks, whoever does the work, in whatever order the files come.

use blocksift_detector::miner::{Mined, Miner, MinerSettings};
use blocksift_detector::{Detector, Settings};
use proptest::prelude::*;

use crate::checks::model::{Reported, model};
use crate::checks::{Outcome, Threads, Turned, equal_outcomes, outcome, push_all};
use crate::log::{HADOOP_3, HDFS_V1, KINDS, Log};

/// Bytes of a log of several pieces for each of four workers: a piece has at least 32 KiB.
const LARGE: usize = 400_000;

fn run(log: &[u8], settings: &Settings, sizes: &[usize], workers: Option<&Turned>) -> Outcome {
    let detector = Detector::new(model(Reported::All, None), settings.clone());
    outcome(detector, |detector| push_all(detector, log, sizes, workers))
}

fn all_kinds() -> Vec<u8> {
    (0..KINDS).collect()
}

/// Logs of one layout, of one that gives way to another, and of all mixed.
fn logs(bytes: usize) -> Vec<Vec<u8>> {
    let v1 = Log::of(1, &HDFS_V1, bytes);
    let hadoop_3 = Log::of(2, &HADOOP_3, bytes);
    let changing = [&v1[..bytes / 3], b"\n", &hadoop_3[..bytes / 3], b"\n", &v1[..bytes / 3]].concat();
    let json = Log::of(3, &[15], bytes);
    let wrapped = Log::of(4, &[16, 16, 16, 17], bytes);
    vec![v1, hadoop_3, changing, json, wrapped, Log::of(5, &all_kinds(), bytes)]
}

/// Room for all, room for few, room for few bytes, and shards with room for all.
fn settings() -> [Settings; 4] {
    let small = Settings { sessions_max: 12, ..Settings::default() };
    let bytes = Settings { sessions_bytes_max: 3_000, events_max: 9, ..Settings::default() };
    let one_shard =
        Settings { sessions_max: 4_095, line_bytes_max: 200, record_lines_max: 4, ..Settings::default() };
    [Settings::default(), small, bytes, one_shard]
}

#[test]
fn chunks_do_not_matter() {
    for log in logs(60_000) {
        for settings in settings() {
            let whole = run(&log, &settings, &[log.len()], None);
            assert!(whole.ledger.adds_up() && !whole.reports.is_empty());
            for sizes in [&[1_usize][..], &[7, 100, 3], &[4_096], &[40_000, 1]] {
                equal_outcomes(&whole, &run(&log, &settings, sizes, None));
            }
        }
    }
}

#[test]
fn it_does_not_matter_who_does_the_work() {
    for log in logs(LARGE) {
        for settings in settings() {
            let whole = run(&log, &settings, &[log.len()], None);
            for count in 1..=4 {
                let workers = Turned { count, by: count + 1 };
                // Below the least piece, a piece or two, and a piece for each.
                for sizes in [&[30_000_usize][..], &[33_000, 65_000, 5], &[LARGE / 2 + 1], &[log.len()]] {
                    equal_outcomes(&whole, &run(&log, &settings, sizes, Some(&workers)));
                }
            }
        }
    }
}

#[test]
fn a_part_whose_rest_never_came_goes_with_the_line_that_follows() {
    let time = "2024-05-06T07:08:09";
    let part = format!(r#"{{"log":"about blk_8","stream":"stdout","time":"{time}Z"}}"#);
    let error = format!(r#"{{"log":"an error\n","stream":"stderr","time":"{time}Z"}}"#);
    let end = format!(r#"{{"log":"no more of it\n","stream":"stdout","time":"{time}Z"}}"#);
    for between in [&[][..], &[error.as_str()]] {
        let mut log = Log::new(7);
        while log.bytes.len() < LARGE {
            log.record(6);
            log.line(&end);
            log.record(6);
            log.line(&part);
            between.iter().for_each(|line| log.line(line));
        }
        let log = log.bytes;
        for layout in [None, Some("hdfs_v1")] {
            let settings =
                Settings { layout: layout.map(|layout| layout.parse().unwrap()), ..Settings::default() };
            let whole = run(&log, &settings, &[log.len()], None);
            assert_eq!(whole.ledger.lines_in_sessions, 0, "a part on its own is not read");
            for sizes in [&[log.len()][..], &[33_000, 65_000, 5]] {
                equal_outcomes(&whole, &run(&log, &settings, sizes, Some(&Turned { count: 2, by: 3 })));
            }
        }
    }
}

#[test]
fn threads_give_what_one_gives() {
    let log = Log::of(6, &HDFS_V1, LARGE);
    let whole = run(&log, &Settings::default(), &[log.len()], None);
    for count in [2, 4] {
        let threads = Threads(count);
        let detector = Detector::new(model(Reported::All, None), Settings::default());
        let shared = outcome(detector, |detector| {
            let mut reports: Vec<_> = detector.push_with(crate::checks::A, 0, &log, &threads).collect();
            detector.end_of_file(crate::checks::A);
            reports.extend(detector.finish_with(&threads));
            reports
        });
        assert_eq!(whole.reports, shared.reports);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunks_and_any_order_of_tasks_give_the_same(
        seed in any::<u64>(),
        sizes in prop::collection::vec(1_usize..200_000, 1..5),
        (count, by) in (1_usize..5, 0_usize..8),
        (kinds, setting) in (0_usize..3, 0_usize..4),
    ) {
        let kinds = [&HDFS_V1[..], &HADOOP_3, &all_kinds()][kinds].to_vec();
        let log = Log::of(seed, &kinds, 250_000);
        let settings = &settings()[setting];
        let whole = run(&log, settings, &[log.len()], None);
        equal_outcomes(&whole, &run(&log, settings, &sizes, None));
        equal_outcomes(&whole, &run(&log, settings, &sizes, Some(&Turned { count, by })));
    }
}

/// Template ids and texts that the reports name, by file and place.
fn templates(logs: &[(u32, Vec<u8>)]) -> Vec<(u32, u64, String, String)> {
    let mut detector = Detector::new(model(Reported::All, None), Settings::default());
    for (file, log) in logs {
        detector.push(blocksift_detector::FileId(*file), 0, log).for_each(drop);
        detector.end_of_file(blocksift_detector::FileId(*file));
    }
    let events = detector.finish().flat_map(|report| report.events);
    let mut all: Vec<_> =
        events.map(|event| (event.file_id.0, event.offset, event.template, event.text)).collect();
    all.sort();
    all
}

#[test]
fn any_order_of_files_gives_the_same_templates() {
    let files: Vec<(u32, Vec<u8>)> = (0..).zip(logs(30_000)).collect();
    let expected = templates(&files);
    assert!(expected.iter().any(|(.., text)| text.starts_with("  about") || text.contains("DataXceiver")));
    for turn in 1..files.len() {
        let mut turned = files.clone();
        turned.rotate_left(turn);
        assert_eq!(templates(&turned), expected);
        turned.reverse();
        assert_eq!(templates(&turned), expected);
    }
}

fn mined(logs: &[Vec<u8>]) -> Vec<Mined> {
    let mut miner = Miner::new(MinerSettings::default()).unwrap();
    for line in logs.iter().flat_map(|log| log.split(|&byte| byte == b'\n')) {
        miner.learn(line);
    }
    assert_eq!(miner.evictions(), 0);
    miner.templates()
}

#[test]
fn any_order_of_files_mines_the_same_templates() {
    let mut files = logs(20_000);
    let texts = |mined: Vec<Mined>| -> Vec<_> {
        mined.into_iter().map(|mined| (mined.id, mined.text, mined.count)).collect()
    };
    let expected = texts(mined(&files));
    for _ in 0..3 {
        files.rotate_left(1);
        assert_eq!(texts(mined(&files)), expected);
    }
}
