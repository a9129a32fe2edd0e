//! What a running agent says about itself over HTTP.

use std::fs;

use blocksift_tests::http;
use blocksift_tests::process::poll;
use blocksift_tests::simulate::batch;
use tempfile::TempDir;

use crate::harness::{Collector, Node, PATIENCE, detect, end};

#[test]
fn an_agent_says_how_it_is_doing() {
    let batch = batch(61, 200);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    fs::write(node.log(), &batch.log).unwrap();
    let detected = detect(&[&node.log()]);
    let agent = node.start_agent();
    let shipped = || node.status()["ship"]["reports_shipped"] == detected.reports.len();
    assert!(poll(PATIENCE, shipped), "{}", node.status());

    let status = node.status();
    assert_eq!(status["node"], Node::NAME);
    assert_eq!(status["ledger"]["lines_read"], detected.count("lines_read"));
    assert_eq!(status["sessions"]["flagged"], detected.count("sessions_flagged"));
    let size = batch.log.len();
    let file = &status["files"]["list"][0];
    assert_eq!(file["path"], node.log().to_str().unwrap());
    assert_eq!((&file["offset"], &file["size"]), (&size.into(), &size.into()));
    assert_eq!(status["spool"]["reports"], 0);
    let reports = status["scores"]["reports"].as_array().unwrap();
    assert_eq!(reports.len(), detected.reports.len().min(20));
    assert!(reports.iter().all(|report| report["block"].as_str().unwrap().starts_with("blk_")));

    assert_eq!(http::get_unix(&node.socket(), "/nothing").unwrap().status, 404);
    end(agent);
    assert!(!node.socket().exists());
    collector.end();
}
