//! Kafka between a front and the collectors that store, with a real broker, which `cargo xtask test kafka` starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blocksift_kafka::{Cluster, Outgoing, Writer};
use tempfile::TempDir;

use super::kill::{ids, request, send_until_gone};
use super::*;

/// Longer than a member may be silent before others get its partitions.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of each of the two topics.
const PARTITIONS: u64 = 4;

/// The broker, unless there is none.
fn broker() -> Option<String> {
    let broker = std::env::var("BLOCKSIFT_KAFKA").ok();
    if broker.is_none() {
        eprintln!("skipped: BLOCKSIFT_KAFKA names no broker; `cargo xtask test kafka` starts one");
    }
    broker
}

/// Writes a configuration with topics of the test's own.
fn configure(directory: &Path, broker: &str, test: &str, more: &str) {
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[kafka]\nbrokers = [\"{broker}\"]\nlogs_topic = \"{test}_logs\"\n\
         metrics_topic = \"{test}_metrics\"\ngroup = \"{test}\"\n{more}\n"
    );
    std::fs::write(directory.join("collector.toml"), text).unwrap();
}

fn make_topics(directory: &Path) {
    let partitions = PARTITIONS.to_string();
    let arguments = ["topics", "--config", "collector.toml", "--partitions", &partitions, "--replicas", "1"];
    let made = command(directory, &arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A folder for a front that stores, too, with its topics made.
fn prepared(broker: &str, test: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), broker, test, "front = true\nstore = true");
    make_topics(directory.path());
    directory
}

fn start(directory: &Path) -> Collector {
    Collector::start_with(directory, &["--config", "collector.toml"])
}

fn metric(collector: &Collector, name: &str) -> u64 {
    let metrics = collector.request("GET /metrics", "");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("blocksift_collector_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wait_for_shares(collectors: &[&Collector]) {
    wait("every member has its share of the partitions", || {
        let shares: Vec<u64> =
            collectors.iter().map(|collector| metric(collector, "kafka_partitions")).collect();
        shares.iter().all(|&share| share > 0) && shares.iter().sum::<u64>() == 2 * PARTITIONS
    });
}

fn wait_for_ids(collectors: &[&Collector], wanted: &BTreeSet<u64>) {
    wait("every report is stored", || {
        let stored: BTreeSet<String> = collectors.iter().flat_map(|collector| ids(collector)).collect();
        wanted.iter().all(|id| stored.contains(&format!("{id:016x}")))
    });
}

fn send(front: &Collector, range: std::ops::Range<u64>) -> BTreeSet<u64> {
    for id in range.clone() {
        let answer = front.request("POST /v1/logs", &request(id));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{}"), "{answer}");
    }
    range.collect()
}

/// The collector that has each block; panics if two have one.
fn owners(collectors: &[&Collector], blocks: std::ops::Range<u64>) -> BTreeMap<u64, usize> {
    let mut owners = BTreeMap::new();
    for (number, collector) in collectors.iter().enumerate() {
        for block in blocks.clone() {
            let has =
                collector.request(&format!("GET /api/incidents/blk_{block}"), "").starts_with("HTTP/1.1 200");
            assert!(!has || owners.insert(block, number).is_none(), "blk_{block} is at two collectors");
        }
    }
    owners
}

#[test]
fn a_group_shares_the_blocks_and_takes_over_from_a_member_that_was_killed() {
    let Some(broker) = broker() else { return };
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    configure(one.path(), &broker, "group", "front = true\nstore = true");
    configure(other.path(), &broker, "group", "store = true");
    make_topics(one.path());
    let front = start(one.path());
    let mut sent = send(&front, 0..30);
    wait_for_ids(&[&front], &sent);

    let second = start(other.path());
    wait_for_shares(&[&front, &second]);
    // Three reports are of one block; blocks of these were not seen before.
    sent.extend(send(&front, 300..600));
    wait_for_ids(&[&front, &second], &sent);
    let owners = owners(&[&front, &second], 100..200);
    assert_eq!(owners.len(), 100);
    assert_eq!(owners.values().collect::<BTreeSet<_>>().len(), 2, "both store some");
    assert_eq!(metric(&front, "kafka_messages_written_total"), 330);

    second.signal("-KILL");
    sent.extend(send(&front, 600..700));
    wait_for_ids(&[&front], &(600..700).collect());
    assert_eq!(metric(&front, "kafka_partitions"), 2 * PARTITIONS);
    drop(second);
    let second = start(other.path());
    wait_for_shares(&[&front, &second]);
    wait_for_ids(&[&front, &second], &sent);
    // Who leaves in order leaves its share at once.
    assert_eq!(second.end("-TERM").0, Some(0));
    wait("the front has all partitions again", || metric(&front, "kafka_partitions") == 2 * PARTITIONS);
    assert_eq!(front.end("-TERM").0, Some(0));
}

#[test]
fn what_a_killed_front_has_acknowledged_is_stored_once() {
    let Some(broker) = broker() else { return };
    let directory = prepared(&broker, "kill");
    let (acknowledged, next) = (Mutex::new(BTreeSet::new()), AtomicU64::new(1));
    for target in [3, 100] {
        send_until_gone(&start(directory.path()), &next, &acknowledged, target);
    }
    let collector = start(directory.path());
    wait_for_ids(&[&collector], &acknowledged.lock().unwrap());
    // What was sent and not acknowledged is sent again, and is there once whether it was written or not.
    let all = send(&collector, 1..next.load(Ordering::Relaxed));
    wait_for_ids(&[&collector], &all);
    wait("nothing is left to be read", || metric(&collector, "kafka_lag_messages") == 0);
    assert_eq!(ids(&collector).len(), all.len());
    assert_eq!(collector.end("-TERM").0, Some(0));
}

#[test]
fn a_front_that_stores_nothing_shows_what_the_others_have_stored() {
    let Some(broker) = broker() else { return };
    let Ok(server) = std::env::var("BLOCKSIFT_POSTGRES") else {
        eprintln!("skipped: BLOCKSIFT_POSTGRES names no PostgreSQL; `cargo xtask test kafka` starts one");
        return;
    };
    let arguments = ["--config", "collector.toml", "--database", &server];
    let parts = ["front = true", "store = true"].map(|part| {
        let directory = tempfile::tempdir().unwrap();
        configure(directory.path(), &broker, "parts", part);
        directory
    });
    let (_, error) = refused(parts[0].path(), &["--config", "collector.toml"]);
    assert!(error.contains("to their PostgreSQL"), "{error}");
    make_topics(parts[1].path());
    let [front, store] =
        parts.each_ref().map(|directory| Collector::start_with(directory.path(), &arguments));
    wait_for_ids(&[&front], &send(&front, 1..31));
    assert_eq!(metric(&front, "kafka_messages_read_total"), 0);
    wait("all are counted", || metric(&store, "kafka_messages_read_total") == 30);
    let rejected = front.request("POST /v1/logs", &request(1).replace("blk_0", "nonsense"));
    assert!(rejected.contains("`block` is neither empty"), "{rejected}");
    let counted = [&front, &store].map(|collector| metric(collector, "records_rejected_total"));
    assert_eq!(counted, [1, 0], "where its sender is told");
    assert_eq!((front.end("-TERM").0, store.end("-TERM").0), (Some(0), Some(0)));
}

#[test]
fn topics_that_are_not_there_are_told_and_used_as_soon_as_they_are() {
    let Some(broker) = broker() else { return };
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), &broker, "late", "front = true\nstore = true");
    let collector = start(directory.path());
    assert!(collector.request("POST /v1/logs", &request(1)).starts_with("HTTP/1.1 503"));
    wait("front and group have failed", || metric(&collector, "kafka_failures_total") >= 2);
    make_topics(directory.path());
    wait_for_ids(&[&collector], &send(&collector, 1..4));
    let (code, _, err) = collector.end("-TERM");
    assert_eq!(code, Some(0));
    for part in ["not written", "nothing is read"] {
        let told = err.lines().find(|line| line.contains(part)).unwrap();
        assert!(
            told.contains("there is no topic `late_logs`; `blocksift-collector topics` makes it"),
            "{told}"
        );
    }
}

#[test]
fn what_is_no_request_is_counted_and_holds_up_nothing() {
    let Some(broker) = broker() else { return };
    let directory = prepared(&broker, "garbage");
    let writer = Writer::new(Cluster { brokers: vec![broker], tls: None, login: None });
    let garbage = ["\u{1}secret", "", "{}"].map(|text| Outgoing { key: "blk_1".into(), value: text.into() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(writer.write("garbage_logs", garbage.to_vec())).unwrap();
    runtime.block_on(writer.close());
    let collector = start(directory.path());
    wait_for_ids(&[&collector], &send(&collector, 1..4));
    wait("all garbage is read", || metric(&collector, "kafka_messages_read_total") == 6);
    assert_eq!(metric(&collector, "kafka_messages_undecodable_total"), 2, "an empty request is one");
    let (code, _, err) = collector.end("-TERM");
    assert_eq!(code, Some(0));
    assert!(err.contains("it stays in Kafka") && !err.contains("secret"), "{err}");
}

/// A line of 4 KiB that cannot be packed well.
fn long_line(number: u64) -> String {
    let mut state = number;
    (0..256)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{state:016x}")
        })
        .collect()
}

fn long_event(number: u64) -> String {
    let line = long_line(number);
    let texts = [
        ("time", "2026-01-01T00:00:00Z"),
        ("template", "00000000deadbeef"),
        ("text", "Receiving <blk>"),
        ("level", "INFO"),
        ("logger", "dfs.DataNode"),
        ("exception", ""),
        ("frame", ""),
        ("file", "datanode.log"),
        ("line", &line),
    ];
    let mut fields =
        texts.map(|(key, text)| format!(r#"{{"key":"{key}","value":{{"stringValue":"{text}"}}}}"#)).join(",");
    fields +=
        r#",{"key":"contribution","value":{"doubleValue":0.5}},{"key":"offset","value":{"intValue":"7"}}"#;
    format!(r#"{{"kvlistValue":{{"values":[{fields}]}}}}"#)
}

#[test]
fn a_report_of_the_largest_size_gets_through() {
    let Some(broker) = broker() else { return };
    let directory = prepared(&broker, "large");
    let collector = start(directory.path());
    let events: Vec<String> = (0..1_024).map(long_event).collect();
    let values = format!(r#""body":{{"arrayValue":{{"values":[{}]}}}}"#, events.join(","));
    let large = request(9).replace(r#""body":{"arrayValue":{}}"#, &values);
    assert!(large.len() > 4 * 1024 * 1024);
    let answer = collector.request("POST /v1/logs", &large);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{}"), "{answer}");
    wait_for_ids(&[&collector], &BTreeSet::from([9]));
    let session = collector.request("GET /api/sessions/0000000000000009", "");
    assert!(session.matches("\"offset\":7").count() == 1_024 && session.contains(&long_line(1_023)));
    assert_eq!(collector.end("-TERM").0, Some(0));
}

#[test]
fn brokers_with_tls_and_a_password_are_used() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(broker), Some(ca), Some(password)) = (
        variable("BLOCKSIFT_KAFKA_TLS"),
        variable("BLOCKSIFT_KAFKA_CA"),
        variable("BLOCKSIFT_KAFKA_PASSWORD"),
    ) else {
        eprintln!("skipped: BLOCKSIFT_KAFKA_TLS names no broker; `cargo xtask test kafka` starts one");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let secure = format!(
        "front = true\nstore = true\ntls = true\nca = \"{ca}\"\nuser = \"blocksift\"\npassword_file = \"{password}\""
    );
    configure(directory.path(), &broker, "secure", &secure);
    make_topics(directory.path());
    let collector = start(directory.path());
    wait_for_ids(&[&collector], &send(&collector, 1..4));
    assert_eq!(collector.end("-TERM").0, Some(0));

    // Of another authority: refused, and told.
    let (code, error) = {
        configure(directory.path(), &broker, "secure", &secure.replace(&format!("ca = \"{ca}\"\n"), ""));
        refused(directory.path(), &["topics", "--config", "collector.toml"])
    };
    assert_eq!(code, Some(1));
    assert!(error.contains(&broker), "{error}");
}

#[test]
fn a_front_whose_brokers_are_away_acknowledges_nothing_and_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens at a port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    configure(directory.path(), &format!("127.0.0.1:{port}"), "away", "front = true\nstore = true");
    let collector = start(directory.path());
    let answer = collector.request("POST /v1/logs", ACCEPTED);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("Kafka cannot take this now"), "{answer}");
    wait("failures are counted", || metric(&collector, "kafka_failures_total") >= 2);
    assert_eq!(metric(&collector, "kafka_partitions"), 0);
    let (code, _, err) = collector.end("-TERM");
    assert_eq!(code, Some(0));
    assert!(err.contains(&format!("127.0.0.1:{port}")), "{err}");
}
