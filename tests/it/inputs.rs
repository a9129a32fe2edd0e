//! `detect` reads the same from a plain file, a compressed one, parts of one, and standard input, and says the same in
//! every format.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use blocksift_tests::simulate::batch;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Flags, cut, detect, run, run_with_input};

#[test]
fn the_same_lines_give_the_same_flags_however_they_come() {
    let batch = batch(71, 400);
    let folder = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let plain = file("hdfs.log", &batch.log);
    let of_plain = detect(&[&plain]);
    assert!(!of_plain.reports.is_empty());

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&batch.log).unwrap();
    let gzip = detect(&[&file("hdfs.log.gz", &encoder.finish().unwrap())]);
    assert_eq!((gzip.flags(), &gzip.summary), (of_plain.flags(), &of_plain.summary));

    // Rotated parts, named in the wrong order.
    let parts: Vec<_> =
        cut(&batch.log, 3).into_iter().zip(1..).map(|(part, n)| file(&format!("part{n}"), part)).collect();
    let rotated = detect(&[&parts[2], &parts[0], &parts[1]]);
    assert_eq!((rotated.flags(), &rotated.summary), (of_plain.flags(), &of_plain.summary));

    let stdin = File::open(&plain).unwrap();
    let said = run_with_input("blocksift-agent", ["detect", "-", "--zone", "UTC"], stdin.into());
    assert_eq!((said.code, flags(&said.stdout)), (1, of_plain.flags()));
}

#[test]
fn raw_lines_in_a_report_are_those_of_the_log() {
    let batch = batch(72, 200);
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, &batch.log).unwrap();
    for report in detect(&[&log]).reports {
        for event in report["events"].as_array().unwrap() {
            let (offset, line) =
                (event["offset"].as_u64().unwrap() as usize, event["line"].as_str().unwrap());
            assert!(batch.log[offset..].starts_with(line.as_bytes()), "{event}");
            assert!(line.contains(report["block"].as_str().unwrap()), "{event}");
            assert_eq!(event["file"].as_str().map(Path::new), Some(log.as_path()));
        }
    }
}

#[test]
fn every_format_has_every_flagged_block() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, batch(73, 300).log).unwrap();
    let flags = detect(&[&log]).flags();
    for format in ["ndjson", "csv", "text"] {
        let out = folder.path().join(format);
        let arguments =
            ["detect".as_ref(), log.as_os_str(), "--format".as_ref(), format.as_ref(), "-o".as_ref()];
        let said = run("blocksift-agent", arguments.into_iter().chain([out.as_os_str()]));
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{}", said.stderr);
        let text = fs::read_to_string(out).unwrap();
        assert!(flags.keys().all(|block| text.contains(block.as_str())), "{format}");
    }
}

fn flags(ndjson: &str) -> Flags {
    let report = |line| serde_json::from_str::<Value>(line).unwrap();
    ndjson.lines().map(|line| crate::harness::block_and_score(&report(line))).collect()
}
