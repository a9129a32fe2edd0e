//! The plugin and the agent: `blocksift-agent filter` answers as the module does, and the module runs where the agent
//! runs other people's filters.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use blocksift_tests::simulate::batch;
use serde_json::{Map, Value};
use tempfile::{NamedTempFile, TempDir};

use super::guest::{FUNCTIONS, Guest};
use super::hosts::compiled;
use super::{few, module};
use crate::harness::{Collector, Node, detect, end, run_with_input};

/// Tag of what comes by standard input.
const TAG: &[u8] = b"stdin";
/// Largest difference between two numbers that are equal: the agent's scores are tract's.
const TOLERANCE: f64 = 1e-4;

/// Whether two values are equal, numbers within the tolerance.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            (one.as_f64().unwrap() - other.as_f64().unwrap()).abs() <= TOLERANCE
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|((a, one), (b, other))| a == b && alike(one, other))
        }
        (one, other) => one == other,
    }
}

/// An answer without what leaves with it by the time of its host: reports and verdicts, which are put with the others by
/// id and revision, and how many wait.
fn without_reports(answer: &str, reports: &mut BTreeMap<(String, u64), Value>) -> Value {
    let Ok(mut record) = serde_json::from_str::<Value>(answer) else { return answer.into() };
    let mut found = Vec::new();
    if record["revision"].is_u64() {
        found.push(record.take());
    } else if let Some(own) = record.get_mut("blocksift").and_then(Value::as_object_mut) {
        found.extend(own.remove("report"));
        found.extend(own.remove("verdicts").into_iter().flat_map(|list| list.as_array().unwrap().clone()));
        own.remove("reply");
        if own.is_empty() {
            record.as_object_mut().unwrap().remove("blocksift");
        }
    }
    for report in found {
        let id = (report["id"].as_str().unwrap().to_owned(), report["revision"].as_u64().unwrap());
        assert!(reports.insert(id, report).is_none(), "twice: {answer}");
    }
    // A record that is dropped is answered by an empty one.
    if record.is_null() { Value::Object(Map::new()) } else { record }
}

#[test]
fn the_command_answers_as_the_module_in_all_modes() {
    let Some(path) = module() else { return };
    let records = few();
    let mut file = NamedTempFile::new().unwrap();
    for record in &records {
        file.write_all(&[record.bytes.as_slice(), b"\n"].concat()).unwrap();
    }
    for (mode, name) in FUNCTIONS {
        let mut guest = Guest::new(compiled(&path)).unwrap();
        let arguments =
            ["filter", "--mode", name.strip_prefix("blocksift_").unwrap(), "--answer-each", "--zone", "UTC"];
        let said = run_with_input("blocksift-agent", arguments, Stdio::from(file.reopen().unwrap()));
        assert_eq!(said.code, 0, "{}", said.stderr);
        let (mut expected, mut reports) = (BTreeMap::new(), BTreeMap::new());
        for (number, (record, answer)) in records.iter().zip(said.stdout.split('\n')).enumerate() {
            let taken = guest.take(mode, TAG, record.time, &record.bytes).unwrap();
            let taken = String::from_utf8(taken.unwrap_or_else(|| b"{}".to_vec())).unwrap();
            let is_same =
                alike(&without_reports(&taken, &mut expected), &without_reports(answer, &mut reports));
            assert!(is_same, "{name}, record {number}:\n{taken}\n{answer}");
        }
        assert!(
            expected.len() > 5 && expected.keys().eq(reports.keys()),
            "{name}: {expected:?}\n{reports:?}"
        );
        for (id, report) in &expected {
            assert!(alike(report, &reports[id]), "{name}:\n{report}\n{}", reports[id]);
        }
    }
}

#[test]
fn the_module_runs_as_a_filter_of_the_agent_and_lets_reports_pass() {
    let Some(path) = module() else { return };
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let filters: String = FUNCTIONS
        .iter()
        .map(|(_, name)| format!("[[filter]]\nwasm = {path:?}\nfunction = \"{name}\"\n"))
        .collect();
    node.reconfigure("[ship]", &format!("{filters}[ship]"));
    fs::write(node.log(), batch(61, 300).log).unwrap();
    let expected = detect(&[&node.log()]).flags();
    assert!(expected.len() > 3, "{} flagged", expected.len());
    let agent = node.start_agent();
    collector.wait_for_flags(&expected);
    // A summary that was made behind them.
    collector.wait_for(Node::NAME, "reports_shipped", expected.len() as u64);
    let summary = collector.summary(Node::NAME);
    for count in ["filter_dropped", "filter_trapped", "filter_out_of_fuel", "filter_bad_answers"] {
        assert_eq!(summary[count], 0, "{count} in {summary}");
    }
    end(agent);
    collector.end();
}
