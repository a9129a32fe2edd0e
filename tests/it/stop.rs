//! How a running agent ends.

use std::fs;
use std::time::{Duration, Instant};

use blocksift_tests::process::{Signal, poll};
use blocksift_tests::simulate::batch;

use crate::harness::{Node, PATIENCE, end, free_address};

/// A node with reports that nobody takes, and its agent.
fn with_reports(stop_timeout_s: u64) -> (Node, blocksift_tests::process::Process) {
    let node = Node::new(free_address(), "");
    node.reconfigure("[ship]\n", &format!("[ship]\nstop_timeout_s = {stop_timeout_s}\n"));
    fs::write(node.log(), batch(81, 200).log).unwrap();
    let agent = node.start_agent();
    let spooled = || node.status()["spool"]["reports"].as_u64() > Some(0);
    assert!(poll(PATIENCE, spooled), "{}", node.status());
    (node, agent)
}

#[test]
fn a_dead_collector_does_not_keep_an_agent_beyond_its_time() {
    let (_node, mut agent) = with_reports(1);
    let asked = Instant::now();
    assert!(agent.end(PATIENCE).unwrap().success());
    assert!(asked.elapsed() >= Duration::from_secs(1), "it did not try");
}

#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() {
    let (node, mut agent) = with_reports(300);
    let spooled = node.status()["spool"]["reports"].clone();
    agent.signal(Signal::TERM).unwrap();
    agent.wait_for_line("stopping", PATIENCE).unwrap();
    assert!(agent.running());
    agent.signal(Signal::TERM).unwrap();
    assert!(agent.wait(PATIENCE).unwrap().unwrap().success());
    let agent = node.start_agent();
    let same = || node.status()["spool"]["reports"].as_u64() >= spooled.as_u64();
    assert!(poll(PATIENCE, same), "{spooled} {}", node.status());
    node.reconfigure("stop_timeout_s = 300", "stop_timeout_s = 0");
    agent.signal(Signal::HUP).unwrap();
    assert!(poll(PATIENCE, || node.status()["reloads"]["taken"] == 1), "{}", node.status());
    end(agent);
}
