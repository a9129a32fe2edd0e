//! A NameNode and two DataNodes, each with an agent that sees its own log alone, and one collector that knows of all.

use std::collections::HashSet;
use std::fs;

use blocksift_tests::process::poll;
use blocksift_tests::simulate::{Batch, Cluster, Fault, Plan, batch_with};
use tempfile::TempDir;

use crate::harness::{Collector, Node, PATIENCE, end};

#[test]
fn faults_are_flagged_by_some_node_and_healthy_blocks_by_none() {
    let plan = Plan { faults_per_1000: 60, ..Plan::archive(61, 500) };
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let mut running = Vec::new();
    for id in Cluster::WATCHED {
        let batch = batch_with(plan, |writer| writer == id);
        let node = Node::named(id.name(), collector.address, "");
        fs::write(node.log(), &batch.log).unwrap();
        let agent = node.start_agent();
        running.push((id, batch, node, agent));
    }
    let faults: HashSet<String> = running.iter().flat_map(|(_, batch, ..)| faults(batch)).collect();
    assert!(faults.len() > 10);
    for (id, batch, ..) in &running {
        collector.wait_for(id.name(), "lines_read", batch.written.lines);
        collector.wait_for(id.name(), "sessions_scored", batch.labels.len() as u64);
        let summary = collector.summary(id.name());
        assert_eq!(summary["lines_in_sessions"], batch.written.lines_in_sessions);
    }
    let caught = || {
        let flags: HashSet<String> = collector.flags().into_keys().collect();
        let false_flags = flags.difference(&faults).count();
        (flags.intersection(&faults).count(), false_flags)
    };
    assert!(poll(PATIENCE, || caught().0 * 10 >= faults.len() * 9), "{:?} of {}", caught(), faults.len());
    assert!(caught().1 * 50 <= 500, "{} false flags", caught().1);
    for (.., agent) in running {
        end(agent);
    }
    collector.end();
}

fn faults(batch: &Batch) -> Vec<String> {
    let faulty = batch.labels.iter().filter_map(|label| label.fault);
    faulty.map(|Fault { block, .. }| format!("blk_{block}")).collect()
}
