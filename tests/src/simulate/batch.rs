//! A whole simulation written at once, with what is true of it.

use std::collections::HashMap;
use std::io::{self, Write};

use super::{Dialect, Event, Fault, LineWriter, NodeId, Plan, Simulation};

/// What is true of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Id of the block.
    pub block: i64,
    /// What goes wrong with it; `None` for a healthy block.
    pub fault: Option<Fault>,
    /// Keys of its events, in the order of the log.
    pub keys: Vec<u32>,
}

/// A merged log and what is true of it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The log of all nodes, in order of time.
    pub log: Vec<u8>,
    /// Lines and bytes of the log.
    pub written: LineWriter,
    /// One label per block, in the order in which the blocks first occur.
    pub labels: Vec<Label>,
}

impl Batch {
    /// The labels as `model-export evaluate` reads them: `block_id,label,source,natural,n_events,events`.
    #[must_use]
    pub fn sessions_csv(&self) -> String {
        let mut csv = String::from("block_id,label,source,natural,n_events,events\n");
        for label in &self.labels {
            let keys: Vec<String> = label.keys.iter().map(u32::to_string).collect();
            let (block, abnormal) = (label.block, u8::from(label.fault.is_some()));
            csv += &format!("blk_{block},{abnormal},simulated,1,{},{}\n", keys.len(), keys.join(" "));
        }
        csv
    }
}

/// The merged log of `blocks` blocks that live as those of HDFS_v1 do, and its labels.
#[must_use]
pub fn batch(seed: u64, blocks: u64) -> Batch {
    batch_with(Plan::archive(seed, blocks), |_| true)
}

/// The log of the nodes for which `wanted` holds, and the labels as far as those nodes' lines go.
#[must_use]
pub fn batch_with(plan: Plan, wanted: impl Fn(NodeId) -> bool) -> Batch {
    let mut simulation = Simulation::new(plan);
    let mut batch = Batch { log: Vec::new(), written: LineWriter::new(plan.dialect), labels: Vec::new() };
    let mut places: HashMap<i64, usize> = HashMap::new();
    for event in simulation.by_ref() {
        if !wanted(event.node) {
            continue;
        }
        // Writing to memory fails only for times that the plan cannot hold.
        if batch.written.write(&event, &mut batch.log).is_ok() {
            note(&event, &mut places, &mut batch.labels);
        }
    }
    let faults: HashMap<i64, Fault> = simulation.faults().iter().map(|fault| (fault.block, *fault)).collect();
    for label in &mut batch.labels {
        label.fault = faults.get(&label.block).copied();
    }
    batch
}

/// Writes at least `bytes` bytes of merged log to `out` and keeps nothing of it: for benchmarks on large logs.
pub fn write_at_least(
    bytes: u64,
    dialect: Dialect,
    seed: u64,
    out: &mut impl Write,
) -> io::Result<LineWriter> {
    let mut simulation = Simulation::new(Plan { blocks_max: None, ..Plan::archive_of(dialect, seed, 0) });
    let mut written = LineWriter::new(dialect);
    for event in simulation.by_ref() {
        written.write(&event, out)?;
        if written.bytes >= bytes {
            break;
        }
    }
    Ok(written)
}

fn note(event: &Event, places: &mut HashMap<i64, usize>, labels: &mut Vec<Label>) {
    let Some(key) = event.kind.key() else {
        return;
    };
    let place = *places.entry(event.block).or_insert_with(|| {
        labels.push(Label { block: event.block, fault: None, keys: Vec::new() });
        labels.len() - 1
    });
    if let Some(label) = labels.get_mut(place) {
        label.keys.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Cluster, FaultKind};

    #[test]
    fn labels_and_lines_agree() {
        for dialect in Dialect::ALL {
            check(dialect, &batch_with(Plan::archive_of(dialect, 11, 1_000), |_| true));
        }
    }

    fn check(dialect: Dialect, batch: &Batch) {
        assert_eq!(batch.labels.len(), 1_000);
        let lines = batch.log.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert_eq!((lines, batch.log.len() as u64), (batch.written.lines, batch.written.bytes));
        let faults = batch.labels.iter().filter(|label| label.fault.is_some()).count();
        assert!((15..60).contains(&faults), "{faults}");
        for kind in FaultKind::all(dialect) {
            assert!(
                batch.labels.iter().any(|label| label.fault.is_some_and(|fault| fault.kind == kind)),
                "{kind}"
            );
        }
        assert_eq!(batch.sessions_csv().lines().count(), 1_001);
    }

    #[test]
    fn one_node_logs_only_its_own_lines() {
        let name_node = batch_with(Plan::archive(11, 50), |node| node == Cluster::NAME_NODE);
        assert!(name_node.labels.iter().flat_map(|label| &label.keys).all(|key| (22..=29).contains(key)));
    }

    #[test]
    fn a_large_log_is_written_without_keeping_it() {
        for dialect in Dialect::ALL {
            let written = write_at_least(100_000, dialect, 1, &mut io::sink()).unwrap();
            assert!(written.bytes >= 100_000 && written.bytes < 102_000);
        }
    }
}
