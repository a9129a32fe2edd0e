//! `blocksift-agent replay`: old logs arrive with their original times, once, however often they are replayed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use blocksift_tests::http;
use blocksift_tests::simulate::batch;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Collector, Node, Said, cut, detect, free_address, run};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A log in a compressed and a plain file, not in the order of their times.
fn logs(folder: &Path, log: &[u8]) -> [PathBuf; 2] {
    let parts = cut(log, 2);
    let paths = [folder.join("hdfs.log"), folder.join("hdfs.log.1.gz")];
    fs::write(&paths[0], parts[1]).unwrap();
    fs::write(&paths[1], gzip(parts[0])).unwrap();
    paths
}

fn replay(endpoint: &str, logs: &[PathBuf]) -> Said {
    let mut arguments =
        vec!["replay", "--zone", "UTC", "--node", "old1", "--give-up-after-s", "1", "--endpoint", endpoint];
    arguments.extend(logs.iter().map(|log| log.to_str().unwrap()));
    run("blocksift-agent", arguments)
}

/// Every session in full.
fn stored(collector: &Collector) -> Vec<Value> {
    let sessions = collector.sessions();
    let full = |session: &Value| {
        let id = session["id"].as_str().unwrap();
        http::get_json(collector.address, &format!("/api/sessions/{id}")).unwrap()
    };
    let mut all: Vec<Value> = sessions.iter().map(full).collect();
    all.sort_by_key(|session| session["block"].as_str().unwrap().to_owned());
    all
}

/// With numbers of single precision, which JSON and OTLP write with different digits.
fn single(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => (number.as_f64().unwrap() as f32).to_string().into(),
        Value::Array(items) => items.iter().map(single).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), single(value))).collect(),
        other => other.clone(),
    }
}

fn count(collector: &Collector, name: &str) -> u64 {
    http::get_json(collector.address, "/healthz").unwrap()["ingest"][name].as_u64().unwrap()
}

#[test]
fn what_is_replayed_twice_is_stored_once_as_detect_reports_it() {
    let folder = TempDir::new().unwrap();
    let paths = logs(folder.path(), &batch(61, 300).log);
    let detected = detect(&[&paths[0], &paths[1]]);
    assert!(detected.reports.len() > 3);
    let collector = Collector::start(folder.path());
    let endpoint = format!("http://{}", collector.address);
    let said = replay(&endpoint, &paths);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("reports refused") && said.stderr.contains("log times"), "{}", said.stderr);

    let first = stored(&collector);
    let mut expected = detected.reports;
    expected.sort_by_key(|report| report["block"].as_str().unwrap().to_owned());
    assert_eq!(first.len(), expected.len());
    for (stored, expected) in first.iter().zip(&expected) {
        // All but the node and so the id, in which the node's name is.
        for field in ["block", "score", "start", "end", "reasons", "revision", "events"] {
            assert_eq!(single(&stored[field]), single(&expected[field]), "{field} of {}", expected["block"]);
        }
    }

    let reports = count(&collector, "reports_stored_total");
    assert_eq!(count(&collector, "reports_duplicate_total"), 0);
    // In another order of files, too.
    let said = replay(&endpoint, &[paths[1].clone(), paths[0].clone()]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(count(&collector, "reports_stored_total"), reports);
    assert_eq!(count(&collector, "reports_duplicate_total"), reports);
    assert_eq!(stored(&collector), first);
    collector.end();
}

#[test]
fn a_replay_leaves_the_state_of_the_agent_alone() {
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    fs::write(node.log(), batch(62, 100).log).unwrap();
    let configuration = node.configuration();
    let said = run("blocksift-agent", ["replay".as_ref(), "--config".as_ref(), configuration.as_os_str()]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(collector.flags(), detect(&[&node.log()]).flags());
    assert!(!configuration.with_file_name("state").exists());
    collector.end();
}

#[test]
fn a_collector_that_is_away_is_told_after_a_while() {
    let folder = TempDir::new().unwrap();
    let paths = logs(folder.path(), &batch(63, 100).log);
    let said = replay(&format!("http://{}", free_address()), &paths);
    assert_eq!(said.code, 2);
    assert!(
        said.stderr.contains("has taken nothing") && said.stderr.contains("run it again"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_log_that_cannot_be_read_is_named_and_the_others_are_replayed() {
    let folder = TempDir::new().unwrap();
    let mut paths = logs(folder.path(), &batch(64, 100).log).to_vec();
    let whole = fs::read(&paths[1]).unwrap();
    fs::write(&paths[1], &whole[..whole.len() / 2]).unwrap();
    paths.push(folder.path().join("absent.log"));
    let collector = Collector::start(folder.path());
    let said = replay(&format!("http://{}", collector.address), &paths);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("absent.log") && said.stderr.contains("hdfs.log.1.gz"), "{}", said.stderr);
    assert!(!collector.sessions().is_empty());
    collector.end();
}
