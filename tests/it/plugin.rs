//! The plugin's promises, natively and as the module that ships, in wasmtime and in WAMR: the same answers everywhere,
//! the flags of `blocksift-agent detect`, and never a trap.

mod agent;
mod calls;
mod guest;
mod hostile;
mod hosts;
mod other_hosts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write, stderr};
use std::path::{Path, PathBuf};

use blocksift::{Answer as Taken, Filter, Mode, Settings, Time};
use blocksift_detector::{Model, Report};
use blocksift_tests::simulate::{Dialect, Plan, batch_with};
use blocksift_tests::wasm;
use flate2::read::MultiGzDecoder;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::detect;
use hostile::Hostile;
use hosts::{Answer, Record, native, wamr, wasmtime};

/// Blocks of each log.
const BLOCKS: u64 = 1_000;
/// Blocks of a short log.
const BLOCKS_FEW: u64 = 150;
/// Records that one second brings.
const RECORDS_A_SECOND: u32 = 1_000;
/// When they begin, in seconds since 1970.
const START_S: u32 = 1_700_000_000;
/// Largest difference between a score by table and one by tract.
const TOLERANCE: f64 = 1e-5;
/// Records that are taken in all engines, in each mode.
const HOSTILE_RECORDS: u32 = 6_000;
const ALL_MODES: [Mode; 3] = [Mode::Annotate, Mode::Flagged, Mode::Shadow];

/// Fluent Bit's module, if it can be built here.
fn module() -> Option<PathBuf> {
    module_for(wasm::Host::FluentBit)
}

fn module_for(host: wasm::Host) -> Option<PathBuf> {
    let module = wasm::plugin_module(host).unwrap();
    if module.is_none() {
        skip(&format!("this compiler cannot build for {}", wasm::TARGET));
    }
    module
}

/// Not by a macro: the output of a test that passes is not shown.
fn say(text: &str) {
    stderr().write_all(text.as_bytes()).unwrap();
}

fn skip(why: &str) {
    say(&format!("SKIPPED: {why}\n"));
}

/// Logs of Hadoop of 2008 and of Hadoop 3, with faults.
fn logs() -> Vec<Vec<u8>> {
    let log = |dialect| {
        let plan = Plan { faults_per_1000: 60, ..Plan::archive_of(dialect, 31, BLOCKS) };
        batch_with(plan, |_| true).log
    };
    Dialect::ALL.into_iter().map(log).collect()
}

/// Settings that forget nothing and put every event in its place, as `detect` does.
fn patient() -> Value {
    json!({ "forget_after_s": 2_592_000, "reorder_s": 2_592_000, "sessions_max": 500_000, "sessions_bytes_max": 33_554_432 })
}

/// Records with their times: the settings, the lines, a flush, and ticks that fetch what waits.
fn records(lines: impl IntoIterator<Item = Value>, ticks: usize) -> Vec<Record> {
    let controls = |control: Value| json!({ "blocksift": control });
    let all = std::iter::once(controls(json!({ "configure": patient() })))
        .chain(lines)
        .chain([controls(json!({ "flush": true }))])
        .chain(std::iter::repeat_n(controls(json!({ "tick": true })), ticks));
    let record = |(number, record): (u32, Value)| Record {
        time: (START_S + number / RECORDS_A_SECOND, 0),
        bytes: record.to_string().into_bytes(),
    };
    (0..).zip(all).map(record).collect()
}

fn lines(log: &[u8]) -> impl Iterator<Item = Value> {
    let lines = log.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| json!({ "log": String::from_utf8_lossy(line) }))
}

/// The logs line by line in turns, as two files, a part of them taken apart by a parser.
fn mixed() -> Vec<Record> {
    let logs = logs();
    let mut files: Vec<_> = logs.iter().map(|log| lines(log)).collect();
    let mut all = Vec::new();
    while !files.is_empty() {
        files.retain_mut(|file| file.next().map(|line| all.push(line)).is_some());
    }
    for (number, record) in all.iter_mut().enumerate() {
        record["filename"] = format!("/var/log/{}", number % 2).into();
        if number % 50 == 0 {
            let message =
                format!("Receiving block blk_{} src: /10.0.0.1:5 dest: /10.0.0.2:50010", number / 500);
            *record = json!({ "level": "INFO", "logger": "dfs.DataNode$DataXceiver", "message": message, "host": "localhost" });
        }
    }
    records(all, 3_000)
}

/// A short log with faults, as [`records`], some of them no line.
fn few() -> Vec<Record> {
    let plan = Plan { faults_per_1000: 60, ..Plan::archive_of(Dialect::Hadoop3, 5, BLOCKS_FEW) };
    let mut all = records(lines(&batch_with(plan, |_| true).log), 400);
    for (at, bytes) in [(50, "no record"), (60, "{\"cpu\":0.5}"), (70, "{\"log\":"), (80, "")] {
        all[at].bytes = bytes.as_bytes().to_vec();
    }
    all
}

/// Reports among answers, the last revision of each session.
fn last_reports(answers: &[Answer]) -> BTreeMap<String, Report> {
    let mut last: BTreeMap<String, Report> = BTreeMap::new();
    for report in answers.iter().flatten().filter_map(|answer| serde_json::from_slice::<Report>(answer).ok())
    {
        let is_newer = last.get(&report.id).is_none_or(|known| known.revision < report.revision);
        if is_newer {
            last.insert(report.id.clone(), report);
        }
    }
    last
}

fn flagged(answers: &[Answer]) -> BTreeSet<String> {
    last_reports(answers).into_values().filter(|report| report.flagged).map(|report| report.block).collect()
}

#[test]
fn equal_records_give_equal_answers_natively_and_in_the_module() {
    let Some(path) = module() else { return };
    let records = mixed();
    for mode in ALL_MODES {
        let natively = native(mode, &records);
        assert_same(&natively, &wasmtime(&path, mode, &records), mode);
        if let Some((answers, _)) = wamr(&path, mode, &records) {
            assert_same(&natively, &answers, mode);
        }
        if mode == Mode::Flagged {
            let flagged = flagged(&natively);
            assert!(flagged.len() > 50, "{} flagged", flagged.len());
        } else {
            assert!(
                natively.iter().take(records.len() - 4_000).all(Option::is_some),
                "{mode:?} dropped a record"
            );
        }
    }
}

fn assert_same(one: &[Answer], other: &[Answer], mode: Mode) {
    for (at, (one, other)) in one.iter().zip(other).enumerate() {
        let text = |answer: &Answer| answer.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(text(one), text(other), "{mode:?}, record {at}");
    }
}

/// The models that ship, by path.
fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect()
}

#[test]
fn equal_records_give_equal_verdicts_by_table_and_by_tract() {
    let (records, models) = (mixed(), models());
    assert!(models.len() > 1, "{models:?}");
    for path in models {
        assert_equal_verdicts(&std::fs::read(&path).unwrap(), &records);
    }
}

fn assert_equal_verdicts(model: &[u8], records: &[Record]) {
    let run = |model: Model| {
        let mut filter = Filter::new(Mode::Flagged, model, Settings::default()).unwrap();
        let mut take = |record: &Record| match filter.take(
            hosts::TAG,
            Time::Written(i64::from(record.time.0) * 1_000),
            &record.bytes,
        ) {
            Taken::Record(answer) => Some(answer.to_vec()),
            Taken::Unchanged | Taken::Dropped => None,
        };
        last_reports(&records.iter().map(&mut take).collect::<Vec<_>>())
    };
    let table = run(Model::from_onnx_table(model).unwrap());
    let tract = run(Model::from_onnx(model).unwrap());
    assert!(table.len() > 50 && table.keys().eq(tract.keys()), "other sessions are reported");
    for (table, tract) in table.values().zip(tract.values()) {
        assert_eq!((table.flagged, table.revision), (tract.flagged, tract.revision), "{}", table.block);
        let difference = f64::from(table.score - tract.score).abs();
        assert!(difference <= TOLERANCE, "{}: {} {}", table.block, table.score, tract.score);
    }
}

/// The public log where it is at hand, otherwise generated ones.
fn log_to_compare(folder: &Path) -> PathBuf {
    let public = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hdfs/raw_random2pct.log.gz");
    let mut log = Vec::new();
    if public.is_file() {
        MultiGzDecoder::new(File::open(public).unwrap()).read_to_end(&mut log).unwrap();
    } else {
        skip("../shared/data/hdfs is not here; generated logs are compared instead of the public one");
        log.extend(logs().swap_remove(0));
    }
    let path = folder.join("hdfs.log");
    std::fs::write(&path, log).unwrap();
    path
}

/// Chunks of about a thousand lines, in random order. They end where the second changes: the order of what was written
/// within one is not to be had from the log.
fn shuffled(log: &[u8]) -> Vec<Value> {
    const SECOND: usize = "081109 203518".len();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut chunks: Vec<Vec<&[u8]>> = vec![Vec::new()];
    let mut left = 0;
    for line in log.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let chunk = chunks.last_mut().unwrap();
        if left == 0 && chunk.last().is_some_and(|before| before.get(..SECOND) != line.get(..SECOND)) {
            chunks.push(Vec::new());
            left = random.random_range(1..2_000);
        }
        chunks.last_mut().unwrap().push(line);
        left = usize::saturating_sub(left, 1);
    }
    chunks.shuffle(&mut random);
    chunks.concat().into_iter().map(|line| json!({ "log": String::from_utf8_lossy(line) })).collect()
}

#[test]
fn the_flagged_set_is_that_of_detect_in_any_order_of_chunks() {
    let Some(path) = module() else { return };
    let folder = TempDir::new().unwrap();
    let log = log_to_compare(folder.path());
    let expected: BTreeSet<String> = detect(&[&log]).flags().into_keys().collect();
    assert!(expected.len() > 20, "{} flagged", expected.len());
    let records = records(shuffled(&std::fs::read(&log).unwrap()), 3_000);
    assert_eq!(flagged(&wasmtime(&path, Mode::Flagged, &records)), expected);
    match wamr(&path, Mode::Flagged, &records) {
        Some((answers, measured)) => {
            assert_eq!(flagged(&answers), expected);
            say(&format!("WAMR: {measured:?}\n"));
        }
        None => skip("WAMR was not built, see `cargo xtask test`; the module ran in wasmtime alone"),
    }
}

/// A NUL ends a record for such hosts, so there are none.
fn without_nul(mut record: Record) -> Record {
    record.bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = 1);
    record
}

#[test]
fn no_record_traps() {
    let Some(path) = module() else { return };
    let mut hostile = Hostile::new(11);
    let records: Vec<Record> = (0..HOSTILE_RECORDS).map(|_| without_nul(hostile.record())).collect();
    for mode in ALL_MODES {
        let natively = native(mode, &records);
        assert_same(&natively, &wasmtime(&path, mode, &records), mode);
        if let Some((answers, _)) = wamr(&path, mode, &records) {
            let as_seen = |answer: &Answer| answer.clone().filter(|text| !text.is_empty());
            let natively: Vec<Answer> = natively.iter().map(as_seen).collect();
            assert_same(&natively, &answers, mode);
        }
    }
}
