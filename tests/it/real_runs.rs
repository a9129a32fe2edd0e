//! The model of Hadoop 3 on committed runs that it never saw, one of them of a version that it never saw: each node's log is judged by itself, and a block is flagged
//! if any node's part is, as the collector joins them. Nobody names the model: the logs choose it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use blocksift_tests::hdfs::logs::{LABELS, unpack};

use crate::harness::detect;

/// Runs with seeds that the model was not trained on.
const RUNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/hadoop3");

#[test]
fn faults_of_a_real_cluster_are_flagged_and_healthy_blocks_are_not() {
    // Of 14 kinds; DataNodes that are slow and no more leave nothing in the logs.
    judge(&Path::new(RUNS).join("11"), 0.95, 13);
}

#[test]
fn so_are_those_of_a_version_that_the_model_never_saw() {
    // Of 13 kinds; logs of Hadoop 2.10 say nothing of damaged checksums.
    judge(&Path::new(RUNS).join("41"), 0.9, 11);
}

fn judge(run: &Path, f1_min: f64, kinds_caught_min: usize) {
    let mut flagged = BTreeSet::new();
    for node in ["namenode", "dn1", "dn2", "dn3", "dn4"] {
        let detected = detect(&[&run.join(format!("{node}.log.zst"))]);
        for report in &detected.reports {
            let model = report["model"].as_str().unwrap();
            assert!(model.starts_with("hadoop3-"), "{model}");
        }
        flagged.extend(detected.flags().into_keys());
    }
    let labels = unpack(&run.join(LABELS)).unwrap();
    let (mut healthy, mut false_flags) = (0, 0);
    let mut kinds: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for row in labels.lines().skip(1) {
        let [block, label, kind] = row.split(',').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let is_flagged = flagged.contains(block);
        match label {
            "Normal" => {
                healthy += 1;
                false_flags += u32::from(is_flagged);
            }
            "Anomaly" => {
                let (found, all) = kinds.entry(kind).or_default();
                *found += u32::from(is_flagged);
                *all += 1;
            }
            _ => {}
        }
    }
    let (found, all) = kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
    let f1 = f64::from(2 * found) / f64::from(all + found + false_flags);
    let caught = kinds.values().filter(|(found, all)| found * 2 > *all).count();
    eprintln!("F1 {f1:.4}, {false_flags} of {healthy} healthy blocks flagged, found by kind: {kinds:?}");
    assert!(f1 >= f1_min && caught >= kinds_caught_min && false_flags * 1_000 <= healthy);
}
