//! Sessions of nodes: the records of a window of time that name no block. Their labels follow from the faults alone:
//!
//! 1. **Abnormal**: the window and a fault that was done to this node overlap. Faults that are done to files or clients
//!    are none of the node.
//! 2. Left out: windows until [`SETTLE_MS`] after any fault, on whichever node, and those of the node's first
//!    [`START_MS`], since a start says the same as the restart after a fault.
//! 3. **Normal**: all others.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use blocksift_detector::Report;
use serde::Deserialize;

use super::time_ms;
use crate::input::{Session, Sessions};

/// Name of the faults' file.
const FAULTS: &str = "faults.ndjson";
/// How long the cluster needs after a fault until its last effect is in the logs.
const SETTLE_MS: i64 = 5_000;
/// From a node's first record on.
const START_MS: i64 = 30_000;
/// Kinds that are done to files or clients.
const OF_NO_NODE: [&str; 5] =
    ["delete_block", "corrupt_block", "corrupt_meta", "kill_client", "recover_lease"];

/// A fault, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Fault {
    kind: String,
    node: String,
    begin_ms: i64,
    end_ms: i64,
}

/// The faults of a run.
///
/// # Errors
/// If the file is missing or not usable.
pub(super) fn faults(folder: &Path) -> Result<Vec<Fault>> {
    let path = folder.join(FAULTS);
    let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let list: Result<Vec<Fault>, _> = text.lines().map(serde_json::from_str).collect();
    list.with_context(|| format!("{} is not usable", path.display()))
}

/// Adds the sessions of a node that are of no block.
pub(super) fn add(sessions: &mut Sessions, run: &str, node: &str, reports: &[Report], faults: &[Fault]) {
    let begin = reports.iter().map(|report| time_ms(&report.start)).min().unwrap_or(0);
    for report in reports.iter().filter(|report| report.block.is_empty()) {
        let (start_ms, end_ms) = (time_ms(&report.start), time_ms(&report.end));
        let Some(kind) = label(node, start_ms, end_ms, begin, faults) else { continue };
        sessions.add(Session {
            block: format!("{run}/{node}/{start_ms}"),
            // A session of its own, not what a node saw of one.
            node: None,
            abnormal: kind.is_some(),
            kind: kind.unwrap_or_default().to_owned(),
            natural: true,
            count: 1,
            time_ms: Some(start_ms),
            tokens: report.events.iter().map(|event| event.token).collect(),
        });
    }
}

/// The kind of fault, `Some(None)` if there was none, and nothing if nobody can say.
fn label<'a>(
    node: &str,
    start_ms: i64,
    end_ms: i64,
    begin_ms: i64,
    faults: &'a [Fault],
) -> Option<Option<&'a str>> {
    let meets =
        |fault: &&Fault, settle_ms: i64| start_ms <= fault.end_ms + settle_ms && end_ms >= fault.begin_ms;
    let own = |fault: &&Fault| fault.node == node && !OF_NO_NODE.contains(&fault.kind.as_str());
    if let Some(fault) = faults.iter().find(|fault| own(fault) && meets(fault, 0)) {
        return Some(Some(&fault.kind));
    }
    let doubt = faults.iter().any(|fault| meets(&fault, SETTLE_MS)) || start_ms < begin_ms + START_MS;
    if doubt { None } else { Some(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(node: &str, start_ms: i64, end_ms: i64) -> Option<Option<String>> {
        let fault = |kind: &str, begin_ms| Fault {
            kind: kind.to_owned(),
            node: "dn1".to_owned(),
            begin_ms,
            end_ms: begin_ms + 10_000,
        };
        let faults = [fault("hang_datanode", 100_000), fault("corrupt_block", 200_000)];
        label(node, start_ms, end_ms, 0, &faults).map(|kind| kind.map(str::to_owned))
    }

    #[test]
    fn a_window_is_abnormal_where_a_fault_was_done_to_its_node() {
        let hung = Some(Some("hang_datanode".to_owned()));
        assert_eq!(found("dn1", 99_000, 100_000), hung);
        assert_eq!(found("dn1", 110_000, 119_000), hung);
        assert_eq!(found("dn1", 110_001, 119_000), None);
        assert_eq!(found("dn2", 99_000, 100_000), None);
        assert_eq!(found("dn1", 200_000, 201_000), None);
    }

    #[test]
    fn windows_far_from_faults_are_normal_but_for_the_nodes_start() {
        assert_eq!(found("dn1", 50_000, 59_000), Some(None));
        assert_eq!(found("dn2", 115_001, 119_000), Some(None));
        assert_eq!(found("dn2", 29_999, 31_000), None);
    }
}
