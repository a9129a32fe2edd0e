//! Reports reach the collector once, also when it was away or gets them twice.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use blocksift_tests::http;
use blocksift_tests::simulate::batch;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Collector, Node, PATIENCE, assert_adds_up, cut, detect, end, free_address};

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
pub(crate) fn logs_request(reports: &[Value]) -> Value {
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

#[test]
fn a_collector_that_is_down_for_longer_than_the_spool_gets_everything_once() {
    let batch = batch(43, 400);
    let folder = TempDir::new().unwrap();
    let address = free_address();
    let node = Node::new(address, "");
    append(&node.configuration(), b"spool_reports_max = 3\nbatch_reports_max = 2\n");
    let halves = cut(&batch.log, 2);
    append(&node.log(), halves[0]);
    let mut agent = node.start_agent();
    agent.wait_for_line("spool is full", PATIENCE).unwrap();
    // What is written now stays in the log until there is room, over a crash too.
    append(&node.log(), halves[1]);
    agent.kill();
    let mut agent = node.start_agent();
    agent.wait_for_line("spool is full", PATIENCE).unwrap();

    let detected = detect(&[&node.log()]);
    assert!(detected.reports.len() > 3, "{} flags fill no spool", detected.reports.len());
    let collector = Collector::start_on(folder.path(), address);
    agent.wait_for_line("spool has room", PATIENCE).unwrap();
    collector.wait_for(Node::NAME, "lines_read", detected.count("lines_read"));
    collector.wait_for_flags(&detected.flags());
    assert_adds_up(&collector.summary(Node::NAME));
    end(agent);
    collector.end();
}

#[test]
fn a_collector_that_answers_garbage_loses_nothing() {
    let batch = batch(44, 200);
    let folder = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = channel();
    let garbage = thread::spawn(move || answer_garbage(&listener, &stopped));
    let node = Node::new(address, "");
    fs::write(node.log(), &batch.log).unwrap();
    let detected = detect(&[&node.log()]);
    let mut agent = node.start_agent();
    let told = agent.wait_for_line("reports are not taken", PATIENCE).unwrap();
    assert!(told.contains("the answer is text/html"), "{told}");
    drop(stop);
    // So that it looks whether it should stop.
    drop(TcpStream::connect(address));
    garbage.join().unwrap();
    let collector = Collector::start_on(folder.path(), address);
    collector.wait_for_flags(&detected.flags());
    let told = agent.output().matches("reports are not taken").count();
    assert!(told <= 3, "told {told} times");
    end(agent);
    collector.end();
}

/// What a captive portal answers, to one request after the other.
fn answer_garbage(listener: &TcpListener, stopped: &Receiver<()>) {
    for stream in listener.incoming() {
        if matches!(stopped.try_recv(), Err(TryRecvError::Disconnected)) {
            return;
        }
        let mut stream = stream.unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 9\r\nconnection: close\r\n\r\nlog in\r\n.";
        // The agent's request is read so that closing does not reset the connection before it has the answer.
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        drop(read_request(&mut stream));
        drop(stream.write_all(answer.as_bytes()));
    }
}

fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length])
}

fn append(path: &Path, bytes: &[u8]) {
    fs::File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}
