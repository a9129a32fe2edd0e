//! The collector asks the nodes that a flagged session names for their part, and scores all parts together.

use std::fs;

use blocksift_tests::http;
use blocksift_tests::process::poll;
use blocksift_tests::simulate::batch;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Collector, Node, PATIENCE, detect, end};

/// An address in the lines of a report.
fn named_address(report: &Value) -> Option<String> {
    let mut lines = report["events"].as_array()?.iter().filter_map(|event| event["line"].as_str());
    lines.find_map(|line| {
        let rest = line.split_once("src: /")?.1;
        Some(rest[..rest.find(':')?].to_owned())
    })
}

/// The one block that a line names.
fn only_block(line: &str) -> Option<&str> {
    let at = line.find("blk_").filter(|_| line.matches("blk_").count() == 1)?;
    let rest = &line[at..];
    Some(&rest[..rest[4..].find(|c: char| c != '-' && !c.is_ascii_digit()).map_or(rest.len(), |end| end + 4)])
}

#[test]
fn a_node_that_a_flagged_session_names_gives_its_part_and_all_parts_are_scored_together() {
    let batch = batch(47, 80);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let flagging = Node::named("dn1", collector.address, "");
    fs::write(flagging.log(), &batch.log).unwrap();
    let detected = detect(&[&flagging.log()]);
    let flags = detected.flags();
    let (block, address) = detected
        .reports
        .iter()
        .find_map(|report| Some((report["block"].as_str()?.to_owned(), named_address(report)?)))
        .unwrap();

    // The other node has the block too, in lines that are as those of a normal one.
    let text = String::from_utf8(batch.log.clone()).unwrap();
    let normal = text.lines().filter_map(only_block).find(|other| !flags.contains_key(*other)).unwrap();
    let its_lines = text.lines().filter(|line| only_block(line) == Some(normal));
    let part: String = its_lines.map(|line| line.replace(normal, &block) + "\n").collect();
    // No silence within the block is long enough for its agent to have scored it by itself.
    let named = Node::with_idle_timeout(collector.address, 86_400);
    named.reconfigure("[limits]", &format!("[wanted]\naddresses = [\"{address}\"]\n[limits]"));
    fs::write(named.log(), part).unwrap();
    let mut remembering = named.start_agent();
    collector.wait_for(Node::NAME, "sessions_open", 1);

    let agent = flagging.start_agent();
    let incident = || {
        let answer = http::get_json(collector.address, &format!("/api/incidents/{block}")).ok()?;
        Some(answer["incidents"][0].clone())
    };
    let joined = || incident().is_some_and(|incident| incident["nodes"] == 2);
    assert!(poll(PATIENCE, joined), "{:?}\n{}", incident(), remembering.output());
    let incident = incident().unwrap();
    let sessions = incident["sessions"].as_array().unwrap();
    let of = |node: &str| sessions.iter().find(|session| session["node"] == node).unwrap();
    assert_eq!(
        (of(Node::NAME)["flagged"].clone(), of(Node::NAME)["reasons"][0].clone()),
        (false.into(), "asked".into())
    );
    assert_eq!(of("dn1")["flagged"], true);
    let events: u64 = sessions.iter().map(|session| session["events"].as_u64().unwrap()).sum();
    assert_eq!(incident["joint"]["events"], events);
    assert_eq!(incident["joint"]["model"], of("dn1")["model"]);
    assert_eq!(incident["nodes_asked"], serde_json::json!([]));

    // Where there is one part, the joint score is that of the agent, whichever revision has arrived.
    for session in collector.sessions().iter().filter(|session| session["block"] != block.as_str()) {
        let path = format!("/api/incidents/{}", session["block"].as_str().unwrap());
        let incident = &http::get_json(collector.address, &path).unwrap()["incidents"][0];
        let (joint, alone) = (&incident["joint"]["score"], &incident["sessions"][0]["score"]);
        let difference = joint.as_f64().unwrap() - alone.as_f64().unwrap();
        assert!(difference.abs() < 1e-3, "{joint} and {alone}");
    }
    end(agent);
    end(remembering);
    collector.end();
}
