//! What was done to the cluster, and from it what a block is labelled. The rules, in this order; a fault's window is from
//! its begin to [`SETTLE_MS`] after its end:
//!
//! 1. A block that a fault touched, and that some node's log names at or after its begin, is **abnormal**. So is a block
//!    that a client complained of (WARN or worse in the client's own log, which no node has) within a fault's window.
//! 2. **Borderline**, left out of all scores: a block that a fault touched of which no log says anything afterwards, or
//!    nothing but that it was allocated (no node got it, which looks the same as a file that is still open); one
//!    that it may have touched (`beside`) of which a log says something in its window; one of which a client
//!    complained outside of every window; and one that a client could not read since it reached no node, for then there
//!    is no node to tell of it.
//! 3. All others are **normal**.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plan::Kind;

/// How long the cluster needs after a fault until its last effect is in the logs.
pub const SETTLE_MS: i64 = 5_000;

/// One fault that was injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What was done.
    pub kind: Kind,
    /// To which node.
    pub node: String,
    /// Milliseconds since 1970 in UTC.
    pub begin_ms: i64,
    /// When the cluster was whole again.
    pub end_ms: i64,
    /// Blocks that it touched for certain.
    pub blocks: Vec<i64>,
    /// Blocks that it may have touched.
    pub beside: Vec<i64>,
}

impl Fault {
    /// One that begins now and has touched nothing yet.
    #[must_use]
    pub fn new(kind: Kind, node: &str) -> Self {
        let now = super::now_ms();
        Self {
            kind,
            node: node.to_owned(),
            begin_ms: now,
            end_ms: now,
            blocks: Vec::new(),
            beside: Vec::new(),
        }
    }

    fn has(&self, at_ms: i64) -> bool {
        (self.begin_ms..=self.end_ms + SETTLE_MS).contains(&at_ms)
    }
}

/// What a client said of a block at WARN or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Milliseconds since 1970 in UTC.
    pub at_ms: i64,
    /// Of what.
    pub block: i64,
    /// Whether the client had reached the node that it complains of.
    pub reached: bool,
}

/// What is true of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// No fault had to do with it.
    Normal,
    /// This fault touched it; the first one, if several did.
    Abnormal(Kind),
    /// Nobody can say.
    Borderline,
}

impl Label {
    /// As it is written in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Abnormal(_) => "Anomaly",
            Self::Borderline => "Borderline",
        }
    }
}

/// The label of each block in `lines`, which has the times of the lines that name it, over all nodes.
#[must_use]
pub fn labels(
    lines: &BTreeMap<i64, Vec<i64>>,
    faults: &[Fault],
    complaints: &[Complaint],
) -> BTreeMap<i64, Label> {
    let mut complained: BTreeMap<i64, Vec<Complaint>> = BTreeMap::new();
    for complaint in complaints {
        complained.entry(complaint.block).or_default().push(*complaint);
    }
    let label = |(&block, times): (&i64, &Vec<i64>)| {
        let complaints = complained.get(&block).map_or(&[][..], Vec::as_slice);
        (block, label(block, times, faults, complaints))
    };
    lines.iter().map(label).collect()
}

fn label(block: i64, times: &[i64], faults: &[Fault], complaints: &[Complaint]) -> Label {
    let mut doubt = !complaints.is_empty();
    // The first line is the NameNode's, that allocates it.
    let is_told = times.len() > 1;
    for fault in faults {
        let touched = fault.blocks.contains(&block);
        let told = times.iter().any(|&at_ms| at_ms >= fault.begin_ms);
        let tells = |complaint: &Complaint| complaint.reached && fault.has(complaint.at_ms);
        if is_told && ((touched && told) || complaints.iter().any(tells)) {
            return Label::Abnormal(fault.kind);
        }
        let beside = fault.beside.contains(&block) && times.iter().any(|&at_ms| fault.has(at_ms));
        doubt |= touched || beside;
    }
    if doubt { Label::Borderline } else { Label::Normal }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: i64 = 100_000;
    const END: i64 = 120_000;

    fn faults() -> [Fault; 1] {
        let fault = Fault::new(Kind::KillDatanode, "dn1");
        [Fault { begin_ms: FAULT, end_ms: END, blocks: vec![1, 2], beside: vec![3, 4], ..fault }]
    }

    fn found(block: i64, times: &[i64], complaints: &[(i64, i64)]) -> Label {
        let complaint = |&(at_ms, block): &(i64, i64)| Complaint { at_ms, block, reached: true };
        let complaints: Vec<Complaint> = complaints.iter().map(complaint).collect();
        let lines = BTreeMap::from([(block, times.to_vec())]);
        *labels(&lines, &faults(), &complaints).get(&block).unwrap()
    }

    #[test]
    fn a_touched_block_is_abnormal_if_a_log_says_anything_afterwards() {
        assert_eq!(found(1, &[10, FAULT + 1], &[]), Label::Abnormal(Kind::KillDatanode));
        assert_eq!(found(2, &[10, FAULT - 1], &[]), Label::Borderline);
    }

    #[test]
    fn a_block_beside_is_borderline_within_the_window_alone() {
        assert_eq!(found(3, &[END + SETTLE_MS], &[]), Label::Borderline);
        assert_eq!(found(3, &[FAULT - 1, END + SETTLE_MS + 1], &[]), Label::Normal);
    }

    #[test]
    fn a_complaint_counts_in_the_window_and_is_doubt_outside() {
        assert_eq!(found(9, &[FAULT, FAULT], &[(FAULT + 5, 9)]), Label::Abnormal(Kind::KillDatanode));
        assert_eq!(found(9, &[FAULT], &[(FAULT + 5, 9)]), Label::Borderline);
        assert_eq!(found(9, &[FAULT, FAULT], &[(END + SETTLE_MS + 1, 9)]), Label::Borderline);
        assert_eq!(found(9, &[FAULT], &[(FAULT + 5, 8)]), Label::Normal);
        let unreached = [Complaint { at_ms: FAULT + 5, block: 9, reached: false }];
        let lines = BTreeMap::from([(9, vec![FAULT, FAULT])]);
        assert_eq!(labels(&lines, &faults(), &unreached).get(&9), Some(&Label::Borderline));
    }
}
