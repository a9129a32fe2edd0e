//! Input that is no log, or only half of one: counted or named, never a panic, and the rest still counts.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use blocksift_tests::simulate::batch;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::harness::{Collector, Node, detect, end, run};

const LINE: &[u8] = b"081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38865049064139660 terminating\n";

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    ChaCha8Rng::seed_from_u64(5).fill(noise.as_mut_slice());
    noise
}

#[test]
fn an_empty_file_has_no_lines_and_nothing_to_flag() {
    let folder = TempDir::new().unwrap();
    let detected = detect(&[&file(&folder, "empty.log", b"")]);
    assert_eq!((detected.code, detected.count("lines_read"), detected.reports.len()), (0, 0, 0));
}

#[test]
fn lines_of_a_binary_file_are_counted_as_skipped() {
    let folder = TempDir::new().unwrap();
    let bytes = noise(1 << 20);
    let detected = detect(&[&file(&folder, "noise", &bytes)]);
    let newlines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    assert_eq!(detected.count("lines_read"), newlines + u64::from(!bytes.ends_with(b"\n")));
    assert_eq!(detected.count("bytes_read"), bytes.len() as u64);
    assert_eq!((detected.code, detected.reports.len()), (0, 0), "{}", detected.stderr);
    assert_eq!(detected.summary["lines_skipped"]["no_head"], detected.count("lines_read"));
}

#[test]
fn a_line_of_ten_megabytes_is_cut_and_its_neighbours_are_read() {
    let folder = TempDir::new().unwrap();
    let long = [&LINE[..LINE.len() - 1], vec![b'x'; 10_000_000].as_slice(), b"\n"].concat();
    let detected = detect(&[&file(&folder, "long.log", &[LINE, &long, LINE].concat())]);
    assert_eq!((detected.count("lines_read"), detected.count("lines_in_sessions")), (3, 3));
    assert!(detected.count("bytes_cut") > 9_000_000, "{}", detected.summary);
    assert_eq!(detected.count("bytes_read"), (long.len() + 2 * LINE.len()) as u64);
}

#[test]
fn invalid_utf8_is_read_as_it_is() {
    let folder = TempDir::new().unwrap();
    let odd = b"081109 203616 148 INFO dfs.DataNode: \xff\xfe\x80 blk_38865049064139660 \xc3\x28\n";
    let detected = detect(&[&file(&folder, "odd.log", &[LINE, odd, LINE].concat())]);
    assert_eq!((detected.count("lines_read"), detected.count("lines_in_sessions")), (3, 3));
}

#[test]
fn of_a_truncated_gzip_file_is_used_what_is_there_and_the_rest_is_named() {
    let folder = TempDir::new().unwrap();
    let batch = batch(51, 300);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&batch.log).unwrap();
    let whole = encoder.finish().unwrap();
    let path = file(&folder, "hdfs.log.gz", &whole);
    let of_whole = detect(&[&path]);
    assert_eq!(of_whole.count("lines_read"), batch.written.lines);
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let detected = detect(&[&path]);
    assert_eq!(detected.code, 2);
    assert!(detected.stderr.contains("hdfs.log.gz"), "{}", detected.stderr);
    assert!((1..batch.written.lines).contains(&detected.count("lines_read")));
}

#[test]
fn a_missing_file_is_named_and_the_others_are_read() {
    let folder = TempDir::new().unwrap();
    let log = file(&folder, "hdfs.log", LINE);
    let detected = detect(&[&log, &folder.path().join("absent.log")]);
    assert_eq!((detected.code, detected.count("lines_read")), (2, 1));
    assert!(detected.stderr.contains("absent.log"), "{}", detected.stderr);
}

#[test]
fn detect_says_with_its_exit_code_whether_something_is_flagged() {
    let folder = TempDir::new().unwrap();
    let quiet = file(
        &folder,
        "quiet.log",
        b"081109 203615 19 INFO dfs.DataNode: BlockReport of 3 blocks got processed in 1 msecs\n",
    );
    assert_eq!(detect(&[&quiet]).code, 0);
    let faulty = file(&folder, "faulty.log", &batch(52, 300).log);
    assert_eq!(detect(&[&faulty]).code, 1);
    assert_eq!(run("blocksift-agent", ["detect", "--no-such-option"]).code, 2);
}

#[test]
fn an_agent_survives_everything_at_once_and_reads_the_log_beside_it() {
    let batch = batch(53, 200);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let beside = |name: &str| node.log().with_file_name(name);
    let bytes = noise(1 << 18);
    fs::write(beside("hdfs.log-empty"), b"").unwrap();
    fs::write(beside("hdfs.log-noise"), &bytes).unwrap();
    fs::write(beside("hdfs.log-long"), [vec![b'x'; 10_000_000].as_slice(), b"\n"].concat()).unwrap();
    fs::create_dir(beside("hdfs.log-folder")).unwrap();
    std::os::unix::fs::symlink("absent", beside("hdfs.log-broken")).unwrap();
    fs::write(node.log(), &batch.log).unwrap();
    let expected = expected_lines(&[beside("hdfs.log-noise"), beside("hdfs.log-long"), node.log()]);
    let flags = detect(&[&node.log()]).flags();

    let agent = node.start_agent();
    // The last line of the noise has no end, so it goes on waiting for one.
    collector.wait_for(Node::NAME, "lines_read", expected - 1);
    collector.wait_for_flags(&flags);
    let summary = collector.summary(Node::NAME);
    crate::harness::assert_adds_up(&summary);
    assert!(summary["lines_read"].as_u64().is_some_and(|lines| lines <= expected), "{summary}");
    end(agent);
    collector.end();
}

fn expected_lines(logs: &[PathBuf]) -> u64 {
    let logs: Vec<&Path> = logs.iter().map(PathBuf::as_path).collect();
    detect(&logs).count("lines_read")
}
