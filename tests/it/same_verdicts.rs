//! The same lines give the same flagged blocks with the same scores, whichever program reads them.

use std::fs;

use blocksift_tests::simulate::batch;
use tempfile::TempDir;

use crate::harness::{Collector, Node, detect, end};

#[test]
fn detect_and_run_flag_the_same_blocks_with_the_same_scores() {
    let batch = batch(21, 600);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    fs::write(node.log(), &batch.log).unwrap();
    let detected = detect(&[&node.log()]);
    assert_eq!(detected.code, 1, "{}", detected.stderr);
    assert_eq!(detected.count("lines_read"), batch.written.lines);
    assert_eq!(detected.count("lines_in_sessions"), batch.written.lines_in_sessions);
    assert_eq!(detected.count("bytes_read"), batch.written.bytes);

    let agent = node.start_agent();
    collector.wait_for(Node::NAME, "sessions_scored", 600);
    collector.wait_for(Node::NAME, "lines_read", batch.written.lines);
    collector.wait_for_flags(&detected.flags());
    let summary = collector.summary(Node::NAME);
    for name in ["lines_read", "lines_in_sessions", "lines_without_key", "bytes_read"] {
        assert_eq!(summary[name], detected.summary[name], "{name}");
    }
    end(agent);
    collector.end();
}

/// The simulator's faults are what its healthy blocks are not, so a model that is any good tells them apart.
#[test]
fn faults_are_flagged_and_healthy_blocks_are_not() {
    let batch = batch(23, 2_000);
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, &batch.log).unwrap();
    let flags = detect(&[&log]).flags();
    let faulty = batch.labels.iter().filter(|label| label.fault.is_some());
    let missed: Vec<_> =
        faulty.clone().filter(|label| !flags.contains_key(&format!("blk_{}", label.block))).collect();
    assert!(missed.len() * 50 <= faulty.clone().count(), "missed: {missed:?}");
    let caught = faulty.count() - missed.len();
    let false_flags = flags.len() - caught;
    assert!(false_flags * 100 <= batch.labels.len(), "{false_flags} false flags");
}
