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

/// logrotate's copytruncate: the first backup is a copy of the log, which is then emptied.
fn copy_truncate(log: &Path, backups: usize) {
    let backup = |number: usize| log.with_extension(format!("log.{number}"));
    for number in (1..backups).rev() {
        if backup(number).exists() {
            fs::rename(backup(number), backup(number + 1)).unwrap();
        }
    }
    fs::copy(log, backup(1)).unwrap();
    OpenOptions::new().write(true).open(log).unwrap().set_len(0).unwrap();
}

#[test]
fn copies_within_the_globs_are_not_read_twice() {
    let batch = batch(35, 300);
    let flags = expected(&batch.log);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let agent = node.start_agent();
    for piece in cut(&batch.log, 4) {
        append(&node.log(), piece);
        collector.wait_for(Node::NAME, "files", 1);
        copy_truncate(&node.log(), 5);
    }
    assert_whole(&collector, &batch, &flags);
    end(agent);
    collector.end();
}

#[test]
fn what_was_compressed_while_the_agent_was_stopped_is_read_from_there() {
    let batch = batch(36, 300);
    let flags = expected(&batch.log);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let pieces = cut(&batch.log, 3);
    append(&node.log(), pieces[0]);
    let agent = node.start_agent();
    collector.wait_for(Node::NAME, "lines_read", 100);
    end(agent);
    append(&node.log(), pieces[1]);
    rotate(&node.log(), 1);
    let rotated = node.log().with_extension("log.1");
    let packed = fs::File::create(node.log().with_extension("log.1.gz")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    encoder.write_all(&fs::read(&rotated).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(rotated).unwrap();
    append(&node.log(), pieces[2]);
    let agent = node.start_agent();
    assert_whole(&collector, &batch, &flags);
    assert_eq!(collector.summary(Node::NAME)["gaps"], 0);
    end(agent);
    collector.end();
}

#[test]
fn lines_that_rotation_removed_unread_are_told_as_a_gap() {
    let batch = batch(37, 100);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let pieces = cut(&batch.log, 3);
    append(&node.log(), pieces[0]);
    let agent = node.start_agent();
    collector.wait_for(Node::NAME, "lines_read", 10);
    end(agent);
    // All that was there is gone.
    append(&node.log(), pieces[1]);
    fs::write(node.log(), pieces[2]).unwrap();
    let mut agent = node.start_agent();
    collector.wait_for(Node::NAME, "gaps", 1);
    assert_eq!(node.status()["files"]["gaps"], 1);
    let said = agent.output();
    assert!(said.contains("removed before they were read") && said.contains("hdfs.log"), "{said}");
    end(agent);
    collector.end();
}
