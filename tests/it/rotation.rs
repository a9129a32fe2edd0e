//! Rotation by rename and restarts of the agent, while the log is written: no line is lost or read twice.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use blocksift_tests::simulate::{Batch, batch};
use tempfile::TempDir;

use crate::harness::{Collector, Flags, Node, cut, detect, end};

/// What `detect` says about the whole log.
fn expected(log: &[u8]) -> Flags {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("whole.log");
    fs::write(&path, log).unwrap();
    detect(&[&path]).flags()
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// hdfs.log.1 becomes hdfs.log.2, hdfs.log becomes hdfs.log.1.
fn rotate(log: &Path, backups: usize) {
    for number in (0..backups).rev() {
        let from = if number == 0 { log.to_owned() } else { log.with_extension(format!("log.{number}")) };
        if from.exists() {
            fs::rename(from, log.with_extension(format!("log.{}", number + 1))).unwrap();
        }
    }
}

/// Every line is in the ledger once, and the flagged blocks are those of the whole log.
fn assert_whole(collector: &Collector, batch: &Batch, flags: &Flags) {
    collector.wait_for(Node::NAME, "lines_read", batch.written.lines);
    collector.wait_for_flags(flags);
    let summary = collector.summary(Node::NAME);
    assert_eq!(summary["lines_read"], batch.written.lines);
    assert_eq!(summary["bytes_read"], batch.written.bytes);
    assert_eq!(summary["lines_in_sessions"], batch.written.lines_in_sessions);
    crate::harness::assert_adds_up(&summary);
}

#[test]
fn renames_lose_and_repeat_nothing() {
    let batch = batch(31, 400);
    let flags = expected(&batch.log);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let agent = node.start_agent();
    // Without waiting for the agent: it must find its place in files that were renamed under its hands.
    for piece in cut(&batch.log, 5) {
        rotate(&node.log(), 5);
        let half = piece.len() / 2;
        append(&node.log(), &piece[..half]);
        append(&node.log(), &piece[half..]);
    }
    assert_whole(&collector, &batch, &flags);
    end(agent);
    collector.end();
}

#[test]
fn a_rename_between_two_reads_loses_and_repeats_nothing() {
    let batch = batch(32, 300);
    let flags = expected(&batch.log);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let agent = node.start_agent();
    let pieces = cut(&batch.log, 3);
    append(&node.log(), pieces[0]);
    collector.wait_for(Node::NAME, "lines_read", 1);
    append(&node.log(), pieces[1]);
    rotate(&node.log(), 1);
    append(&node.log(), pieces[2]);
    assert_whole(&collector, &batch, &flags);
    end(agent);
    collector.end();
}

#[test]
fn a_restart_reads_on_where_the_agent_stopped() {
    let batch = batch(33, 300);
    let flags = expected(&batch.log);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let pieces = cut(&batch.log, 3);
    append(&node.log(), pieces[0]);
    let agent = node.start_agent();
    collector.wait_for(Node::NAME, "lines_read", 100);
    end(agent);
    // Written and rotated while no agent runs.
    append(&node.log(), pieces[1]);
    rotate(&node.log(), 1);
    append(&node.log(), pieces[2]);
    let agent = node.start_agent();
    assert_whole(&collector, &batch, &flags);
    end(agent);
    collector.end();
}

#[test]
fn a_killed_agent_reads_on_from_its_last_commit() {
    let batch = batch(34, 300);
    let flags = expected(&batch.log);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    for piece in cut(&batch.log, 4) {
        append(&node.log(), piece);
        let mut agent = node.start_agent();
        collector.wait_for(Node::NAME, "lines_read", 1);
        agent.kill();
    }
    let agent = node.start_agent();
    assert_whole(&collector, &batch, &flags);
    end(agent);
    collector.end();
}
