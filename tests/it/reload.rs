//! A running agent takes a new configuration and model, or refuses them and goes on.

use std::fs::{self, File};
use std::io::Write;

use blocksift_tests::process::{Process, Signal, poll};
use blocksift_tests::simulate::batch;
use tempfile::TempDir;

use crate::harness::{Collector, Node, PATIENCE, detect, end, free_address};

/// The model in the agent, as a file.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/hdfs-v1.onnx");

fn append(node: &Node, bytes: &[u8]) {
    let mut log = File::options().append(true).create(true).open(node.log()).unwrap();
    log.write_all(bytes).unwrap();
}

fn reloads(node: &Node, name: &str) -> u64 {
    node.status()["reloads"][name].as_u64().unwrap_or(0)
}

fn reload(agent: &Process, node: &Node) {
    let before = reloads(node, "taken");
    agent.signal(Signal::HUP).unwrap();
    assert!(poll(PATIENCE, || reloads(node, "taken") > before), "{}", node.status());
}

#[test]
fn reloads_in_the_midst_of_lines_change_nothing_of_what_is_reported() {
    let batch = batch(71, 300);
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, &batch.log).unwrap();
    let detected = detect(&[&log]);
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    node.reconfigure("", "reload_interval_s = 0\n");
    let agent = node.start_agent();

    let settings = ["batch_reports_max = 7", "batch_reports_max = 8", "batch_reports_max = 9"];
    let mut last = "batch_reports_max = 100";
    node.reconfigure("[ship]\n", &format!("[ship]\n{last}\n"));
    // Pieces that end anywhere.
    let pieces: Vec<&[u8]> = batch.log.chunks(batch.log.len() / 4 + 1).collect();
    for (piece, setting) in pieces.iter().zip(settings.iter().chain(["batch_reports_max = 10"].iter())) {
        append(&node, piece);
        node.reconfigure(last, setting);
        last = *setting;
        if *setting == settings[1] {
            // Another file, the same model: sessions go on with it.
            let model = folder.path().join("model.onnx");
            fs::copy(MODEL, &model).unwrap();
            node.reconfigure("", &format!("model = {model:?}\n"));
        }
        reload(&agent, &node);
    }
    collector.wait_for(Node::NAME, "lines_read", detected.count("lines_read"));
    collector.wait_for_flags(&detected.flags());
    assert_eq!(node.status()["ledger"]["lines_read"], detected.count("lines_read"));
    assert_eq!(node.status()["ledger"]["lines_in_sessions"], detected.count("lines_in_sessions"));
    end(agent);
    collector.end();
}

#[test]
fn a_bad_configuration_is_refused_and_the_old_one_goes_on() {
    let batch = batch(72, 50);
    let node = Node::new(free_address(), "");
    node.reconfigure("", "reload_interval_s = 1\n");
    let mut agent = node.start_agent();
    node.reconfigure("idle_timeout_s", "idle_timout_s");
    // By itself, as the file changed.
    assert!(poll(PATIENCE, || reloads(&node, "refused") == 1), "{}", node.status());
    agent.wait_for_line("did you mean `idle_timeout_s`?", PATIENCE).unwrap();
    assert!(agent.output().contains("agent.toml:10:1: "), "{}", agent.output());
    fs::write(node.log(), &batch.log).unwrap();
    assert!(poll(PATIENCE, || node.status()["ledger"]["lines_read"].as_u64() > Some(0)), "{}", node.status());

    node.reconfigure("idle_timout_s", "idle_timeout_s");
    assert!(poll(PATIENCE, || reloads(&node, "taken") == 1), "{}", node.status());
    assert_eq!(
        (reloads(&node, "refused"), &node.status()["reloads"]["failure"]),
        (1, &serde_json::Value::Null)
    );
    node.reconfigure(&format!("node = \"{}\"", Node::NAME), "node = \"another\"");
    agent.wait_for_line("`node` cannot change", PATIENCE).unwrap();
    assert_eq!(node.status()["node"], Node::NAME);
    end(agent);
}
