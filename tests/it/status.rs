//! What a running agent says about itself over HTTP.

use std::fs;

use blocksift_tests::http;
use blocksift_tests::process::poll;
use blocksift_tests::simulate::batch;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Collector, Node, PATIENCE, count, detect, end};

#[test]
fn an_agent_says_how_it_is_doing() {
    let batch = batch(61, 200);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    fs::write(node.log(), &batch.log).unwrap();
    let detected = detect(&[&node.log()]);
    let agent = node.start_agent();
    let judged = || {
        let status = node.status();
        status["sessions"]["flagged"] == detected.count("sessions_flagged")
            && status["ledger"]["lines_read"] == detected.count("lines_read")
            && status["spool"]["reports"] == 0
    };
    assert!(poll(PATIENCE, judged), "{}", node.status());

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
    assert!((1..=20).contains(&reports.len()));
    assert!(reports.iter().all(|report| report["block"].as_str().unwrap().starts_with("blk_")));

    // Scores and templates are told a second later at most.
    let scored = count(&status["sessions"], "scored");
    let bins = || node.status()["scores"]["histogram"].as_array().cloned().unwrap_or_default();
    assert!(poll(PATIENCE, || bins().iter().map(|bin| count(bin, "count")).sum::<u64>() == scored));

    for (path, wanted) in [
        ("/healthz", "feed"),
        ("/readyz", "collector"),
        ("/metrics", "# TYPE blocksift_agent_lines_read_total counter"),
    ] {
        let answer = http::get_unix(&node.socket(), path).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.text().contains(wanted), "{}", answer.text());
    }
    assert_eq!(http::get_unix(&node.socket(), "/nothing").unwrap().status, 404);

    // The collector has the same.
    let at_collector = || {
        let summary = collector.summary(Node::NAME);
        let bins = summary["scores"].as_object().cloned().unwrap_or_default();
        (bins.values().filter_map(Value::as_u64).sum::<u64>(), summary)
    };
    assert!(poll(PATIENCE, || at_collector().0 == scored), "{:?}", at_collector());
    let summary = at_collector().1;
    assert!(count(&summary, "template_events") > 0 && summary["lag_ms"] == 0, "{summary}");
    end(agent);
    assert!(!node.socket().exists());
    collector.end();
}
