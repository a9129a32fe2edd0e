//! The same lines give the same flagged blocks with the same scores, whichever program reads them.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use blocksift_tests::simulate::{Label, batch};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Collector, Node, detect, end, run};

#[test]
fn detect_and_run_flag_the_same_blocks_with_the_same_scores() {
    let batch = batch(21, 600);
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    fs::write(node.log(), &batch.log).unwrap();
    let detected = detect(&[&node.log()]);
    assert_eq!(detected.code, 1, "{}", detected.stderr);
    assert_eq!(detected.count("lines_read"), batch.written.lines);
    assert_eq!(detected.count("lines_in_sessions"), batch.written.lines_in_sessions);
    assert_eq!(detected.count("bytes_read"), batch.written.bytes);

    let agent = node.start_agent();
    collector.wait_for(Node::NAME, "sessions_scored", 600);
    collector.wait_for(Node::NAME, "lines_read", batch.written.lines);
    collector.wait_for_flags(&detected.flags());
    let summary = collector.summary(Node::NAME);
    for name in ["lines_read", "lines_in_sessions", "lines_without_key", "bytes_read"] {
        assert_eq!(summary[name], detected.summary[name], "{name}");
    }
    end(agent);
    collector.end();
}

#[test]
fn detect_and_evaluate_flag_the_same_blocks_with_the_same_scores() {
    let batch = batch(22, 600);
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, &batch.log).unwrap();
    let flags = detect(&[&log]).flags();
    let name = |label: &Label| format!("blk_{}", label.block);
    assert!(
        !flags.is_empty() && flags.keys().all(|flag| batch.labels.iter().any(|label| name(label) == *flag))
    );

    // Labelled as `detect` flags them, the blocks leave `evaluate` nothing to get wrong.
    let rows: Vec<Row> =
        batch.labels.iter().map(|label| Row { label, abnormal: flags.contains_key(&name(label)) }).collect();
    let all = evaluate(&rows, folder.path());
    let confusion = ["tp", "fp", "tn", "fn"].map(|cell| all[cell].as_f64().unwrap() as usize);
    assert_eq!(confusion, [flags.len(), 0, batch.labels.len() - flags.len(), 0]);

    // Beside one quiet block, the threshold that suits best is the score of the flagged one.
    let quiet = batch.labels.iter().find(|label| !flags.contains_key(&name(label))).unwrap();
    let mut seen = HashSet::new();
    for flagged in batch.labels.iter().filter(|label| flags.contains_key(&name(label))) {
        if seen.insert(&flagged.keys) {
            let rows = [Row { label: flagged, abnormal: true }, Row { label: quiet, abnormal: false }];
            let pair = evaluate(&rows, folder.path());
            assert_eq!(pair["best_threshold"].as_f64().unwrap() as f32, flags[&name(flagged)], "{flagged:?}");
        }
    }
}

/// A block and how it is labelled for `evaluate`.
struct Row<'a> {
    label: &'a Label,
    abnormal: bool,
}

/// The figures of the model that ships over the sessions of these blocks.
fn evaluate(rows: &[Row<'_>], folder: &Path) -> Value {
    let (sessions, sheet) = (folder.join("sessions.csv"), folder.join("sheet.json"));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/hdfs-v1.onnx");
    let mut csv = String::from("block_id,label,source,natural,n_events,events\n");
    for Row { label, abnormal } in rows {
        let keys: Vec<String> = label.keys.iter().map(u32::to_string).collect();
        let (block, abnormal) = (label.block, u8::from(*abnormal));
        csv += &format!("blk_{block},{abnormal},simulated,0,{},{}\n", keys.len(), keys.join(" "));
    }
    fs::write(&sessions, csv).unwrap();
    let said = run(
        "model-export",
        [
            "evaluate".as_ref(),
            "--model".as_ref(),
            model.as_os_str(),
            "--sessions".as_ref(),
            sessions.as_os_str(),
            "--json".as_ref(),
            sheet.as_os_str(),
        ],
    );
    assert_eq!(said.code, 0, "{}", said.stderr);
    let sheet: Value = serde_json::from_str(&fs::read_to_string(sheet).unwrap()).unwrap();
    sheet["int8"]["all"].clone()
}

/// The simulator's faults are what its healthy blocks are not, so a model that is any good tells them apart.
#[test]
fn faults_are_flagged_and_healthy_blocks_are_not() {
    let batch = batch(23, 2_000);
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, &batch.log).unwrap();
    let flags = detect(&[&log]).flags();
    let faulty = batch.labels.iter().filter(|label| label.fault.is_some());
    let missed: Vec<_> =
        faulty.clone().filter(|label| !flags.contains_key(&format!("blk_{}", label.block))).collect();
    assert!(missed.len() * 10 <= faulty.clone().count(), "missed: {missed:?}");
    let caught = faulty.count() - missed.len();
    let false_flags = flags.len() - caught;
    assert!(false_flags * 100 <= batch.labels.len(), "{false_flags} false flags");
}
