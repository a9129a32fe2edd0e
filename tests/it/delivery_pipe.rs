//! The agent as a part of other pipelines: lines from standard input or from a shipper, reports to a file or to standard
//! output. The reports are those of the same lines in a log file.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use blocksift_tests::binaries::binary;
use blocksift_tests::process::{Process, poll};
use blocksift_tests::simulate::batch;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Flags, PATIENCE, block_and_score, detect, end, free_address, run_with_input};

/// Writes a configuration; `settings` are whole sections.
fn configure(folder: &Path, settings: &str) -> PathBuf {
    let path = folder.join("agent.toml");
    let state = folder.join("state");
    let text = format!(
        "model = \"hdfs-v1\"\nnode = \"node1\"\nzone = \"UTC\"\nstate_dir = {state:?}\ncommit_interval_ms = 50\n\
         [limits]\nidle_priority = false\ncpu_percent_max = 0\nio_pressure_percent_max = 0\n\
         [sessions]\nidle_timeout_s = 1\n{settings}"
    );
    fs::write(&path, text).unwrap();
    path
}

fn start(configuration: &Path) -> Process {
    let arguments = ["run".as_ref(), "--config".as_ref(), configuration.as_os_str()];
    let mut agent = Process::start("the agent", binary("blocksift-agent").as_os_str(), arguments).unwrap();
    agent.wait_for_line("agent started", PATIENCE).unwrap();
    agent
}

/// The flags that NDJSON comes to: the last report of a session counts.
fn flags(ndjson: &str) -> Flags {
    let mut flags = Flags::new();
    for line in ndjson.lines() {
        let report: Value = serde_json::from_str(line).unwrap();
        let (block, score) = block_and_score(&report);
        if report["flagged"] == true {
            flags.insert(block, score)
        } else {
            flags.remove(&block)
        };
    }
    flags
}

#[test]
fn standard_input_to_standard_output_ends_when_all_is_delivered() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, batch(51, 300).log).unwrap();
    let detected = detect(&[&log]);
    let settings = "[receive]\nstdin = true\n[ship]\nto = \"stdout\"\n[logs]\npoll_interval_ms = 20\n";
    let configuration = configure(folder.path(), settings);
    let arguments = ["run".as_ref(), "--config".as_ref(), configuration.as_os_str()];
    let input = fs::File::open(&log).unwrap();
    let said = run_with_input("blocksift-agent", arguments, Stdio::from(input));
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(flags(&said.stdout), detected.flags());
    let report: Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
    assert!(report["events"][0]["line"].is_string(), "{report}");

    // Run again on nothing: it remembers what it delivered.
    let said = run_with_input("blocksift-agent", arguments, Stdio::null());
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{}", said.stderr);
}

#[test]
fn a_shipper_is_told_that_lines_are_taken_and_their_reports_go_to_a_file() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    let batch = batch(52, 300);
    fs::write(&log, &batch.log).unwrap();
    let detected = detect(&[&log]);
    let address = free_address();
    let reports = folder.path().join("reports.ndjson");
    let to = format!("file:{}", reports.display());
    let settings =
        format!("[receive]\nforward = \"{address}\"\n[ship]\nto = {to:?}\n[logs]\npoll_interval_ms = 20\n");
    let configuration = configure(folder.path(), &settings);
    let text = String::from_utf8(batch.log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let halves = lines.split_at(lines.len() / 2);

    // Killed after the first half was taken: what was taken is safe.
    let mut agent = start(&configuration);
    agent.wait_for_line("listening for shippers", PATIENCE).unwrap();
    send(address, halves.0, "first");
    agent.kill();
    let mut agent = start(&configuration);
    agent.wait_for_line("listening for shippers", PATIENCE).unwrap();
    send(address, halves.1, "second");
    let read = || fs::read_to_string(&reports).unwrap_or_default();
    if !poll(PATIENCE, || flags(&read()) == detected.flags()) {
        assert_eq!(flags(&read()), detected.flags());
    }
    end(agent);
}

/// Sends lines as one message of Fluent Bit's and waits for its acknowledgement.
fn send(address: SocketAddr, lines: &[&str], chunk: &str) {
    let mut entries = Vec::new();
    for line in lines {
        // [0, {"log": line}]
        entries.extend([0x92, 0x00, 0x81, 0xa3]);
        entries.extend(b"log");
        sized(&mut entries, 0xdb, line.as_bytes());
    }
    // ["hdfs", entries, {"chunk": chunk}]
    let mut message = vec![0x93, 0xa4];
    message.extend(b"hdfs");
    sized(&mut message, 0xc6, &entries);
    message.extend([0x81, 0xa5]);
    message.extend(b"chunk");
    sized(&mut message, 0xdb, chunk.as_bytes());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&message).unwrap();
    let mut answer = vec![0; 10 + chunk.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"\x81\xa3ack") && answer.ends_with(chunk.as_bytes()), "{answer:?}");
}

fn sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}
