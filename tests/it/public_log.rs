//! The path on the public HDFS_v1 data, where it is at hand: every line read, and flags that match the labels. The model
//! saw these blocks, so this checks the path and not the quality.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write, stderr};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::harness::detect;

/// Lines of `raw_random2pct.log.gz`.
const LINES: u64 = 156_489;

#[test]
fn every_line_of_the_public_log_is_read_and_its_flags_match_the_labels() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hdfs");
    let (log, labels) = (folder.join("raw_random2pct.log.gz"), folder.join("sessions.csv.gz"));
    if !log.is_file() || !labels.is_file() {
        // Not by a macro: the output of a test that passes is not shown.
        let skipped = b"SKIPPED: ../shared/data/hdfs is not here; the public log is not read\n";
        stderr().write_all(skipped).unwrap();
        return;
    }
    let detected = detect(&[&log]);
    assert_eq!(detected.count("lines_read"), LINES);
    assert_eq!(detected.code, 1);
    let abnormal = abnormal_blocks(&labels);
    let flags = detected.flags();
    let caught = flags.keys().filter(|&block| abnormal[block]).count();
    let in_log = abnormal.values().filter(|&&abnormal| abnormal).count();
    let (recall, precision) = (ratio(caught, in_log), ratio(caught, flags.len()));
    eprintln!(
        "{} flagged, {caught} of {in_log} abnormal blocks: recall {recall:.4}, precision {precision:.4}",
        flags.len()
    );
    assert!(recall >= 0.98 && precision >= 0.90, "recall {recall}, precision {precision}");
}

/// The blocks of the log, which is the random 2 % sample, and whether they are labelled abnormal.
fn abnormal_blocks(labels: &PathBuf) -> HashMap<String, bool> {
    let lines = BufReader::new(MultiGzDecoder::new(File::open(labels).unwrap())).lines();
    let mut blocks = HashMap::new();
    for line in lines.skip(1) {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split(',').collect();
        if fields[3] == "1" {
            blocks.insert(fields[0].to_owned(), fields[1] == "1");
        }
    }
    blocks
}

fn ratio(part: usize, whole: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of blocks")]
    let ratio = part as f64 / whole.max(1) as f64;
    ratio
}
