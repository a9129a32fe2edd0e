//! Reports reach the collector once, also when it was away or gets them twice.

use std::fs;

use blocksift_tests::http;
use blocksift_tests::simulate::batch;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Collector, Node, PATIENCE, detect, end, free_address};

#[test]
fn what_was_flagged_while_the_collector_was_down_arrives_when_it_is_up() {
    let batch = batch(41, 300);
    let folder = TempDir::new().unwrap();
    let address = free_address();
    let node = Node::new(address, "");
    fs::write(node.log(), &batch.log).unwrap();
    let detected = detect(&[&node.log()]);
    assert!(!detected.reports.is_empty());

    // Nobody listens: the reports wait in the agent's spool, over a restart of the agent too.
    let mut agent = node.start_agent();
    agent.wait_for_line("reports are not taken", PATIENCE).unwrap();
    end(agent);
    let agent = node.start_agent();
    let collector = Collector::start_on(folder.path(), address);
    collector.wait_for_flags(&detected.flags());
    collector.wait_for(Node::NAME, "sessions_scored", 300);

    // Down and up again: what it had is still there, and nothing comes twice.
    collector.end();
    let collector = Collector::start_on(folder.path(), address);
    let before = collector.summary(Node::NAME);
    collector.wait_for(Node::NAME, "reports_shipped", before["reports_shipped"].as_u64().unwrap_or(0));
    assert_eq!(collector.flags(), detected.flags());
    assert_eq!(collector.sessions().len(), detected.reports.len());
    end(agent);
    collector.end();
}

#[test]
fn a_report_that_is_delivered_twice_is_stored_once() {
    let batch = batch(42, 200);
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, &batch.log).unwrap();
    let detected = detect(&[&log]);
    let collector = Collector::start(folder.path());
    let request = logs_request(&detected.reports).to_string();
    for _ in 0..3 {
        let json = [("Content-Type", "application/json")];
        let answer = http::post(collector.address, "/v1/logs", &json, request.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let rejected = &answer["partialSuccess"]["rejectedLogRecords"];
        assert!(rejected.is_null() || rejected == 0 || rejected == "0", "{answer}");
    }
    assert_eq!(collector.flags(), detected.flags());
    assert_eq!(collector.sessions().len(), detected.reports.len());
    let id = detected.reports[0]["id"].as_str().unwrap();
    let session = http::get_json(collector.address, &format!("/api/sessions/{id}")).unwrap();
    assert_eq!(session["revisions"].as_array().unwrap().len(), 1);
    assert_eq!(session["events"], detected.reports[0]["events"]);
    collector.end();
}

/// Reports as OTLP/HTTP JSON, as any other sender of OTLP would write them.
fn logs_request(reports: &[Value]) -> Value {
    let records: Vec<Value> = reports.iter().map(log_record).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": { "stringValue": "blocksift-agent" } },
            { "key": "host.name", "value": { "stringValue": reports[0]["node"] } },
        ] },
        "scopeLogs": [{ "scope": { "name": "blocksift" }, "logRecords": records }],
    }] })
}

fn log_record(report: &Value) -> Value {
    let fields = report.as_object().unwrap().iter().filter(|(name, _)| *name != "events");
    let attributes: Vec<Value> = fields
        .map(|(name, value)| json!({ "key": format!("blocksift.{name}"), "value": any_value(value) }))
        .collect();
    json!({ "eventName": "blocksift.session", "attributes": attributes, "body": any_value(&report["events"]) })
}

fn any_value(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        // The JSON of protobuf writes 64-bit integers as strings.
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(items) => {
            json!({ "arrayValue": { "values": items.iter().map(any_value).collect::<Vec<_>>() } })
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| json!({ "key": name, "value": any_value(value) }));
            json!({ "kvlistValue": { "values": fields.collect::<Vec<_>>() } })
        }
    }
}
