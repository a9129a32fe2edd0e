//! Tests of the mapping: what is sent reads back as what was meant.

use blocksift_detector::{Event, FileId, Ledger, Report, Skipped};
use prost::Message;
use serde_json::{Map, json};

use super::*;

fn sender() -> Sender {
    Sender { node: "dn1".to_owned(), model: "hdfs-v1-0123456789ab".to_owned(), addresses: Vec::new() }
}

/// A report with everything that a report can have.
pub(crate) fn report() -> Report {
    let event = |line: Option<&str>| Event {
        time: "2008-11-09T20:35:18Z".to_owned(),
        template: "00ff00ff00ff00ff".to_owned(),
        text: "Receiving block <blk>".to_owned(),
        level: "INFO".to_owned(),
        logger: "dfs.DataNode$DataXceiver".to_owned(),
        exception: "java.io.EOFException".to_owned(),
        frame: "a.b.C.read".to_owned(),
        contribution: -0.125,
        file: "/var/log/a.log".to_owned(),
        offset: 1 << 40,
        line: line.map(str::to_owned),
        file_id: FileId(0),
        bytes: 0,
        token: blocksift_detector::token::Token::PAD,
    };
    Report {
        id: "0123456789abcdef".to_owned(),
        revision: 7,
        node: "dn1".to_owned(),
        block: "blk_-1".to_owned(),
        pool: String::new(),
        flagged: true,
        score: 0.987_654_3,
        threshold: 0.5,
        model: "hdfs-v1-0123456789ab".to_owned(),
        reasons: vec!["score".to_owned(), "novel_counts".to_owned()],
        start: "2008-11-09T20:35:18Z".to_owned(),
        end: "2008-11-09T20:35:19.123Z".to_owned(),
        events: vec![event(Some("a line \u{fffd} \"quoted\"")), event(None)],
        events_dropped: 3,
    }
}

fn json_of(value: AnyValue) -> Value {
    match value.value {
        None => Value::Null,
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BoolValue(value)) => Value::Bool(value),
        Some(Any::IntValue(value)) => json!(value),
        Some(Any::DoubleValue(value)) => json!(value),
        Some(Any::ArrayValue(array)) => array.values.into_iter().map(json_of).collect(),
        Some(Any::KvlistValue(list)) => {
            list.values.into_iter().map(|pair| (pair.key, json_of(pair.value.unwrap()))).collect()
        }
        Some(other) => panic!("{other:?} is not used"),
    }
}

#[test]
fn a_report_comes_back_as_it_was() {
    let bytes = logs_request(&sender(), &[report()], 5).unwrap().encode_to_vec();
    let mut request = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();
    let mut logs = request.resource_logs.remove(0);
    let record = logs.scope_logs[0].log_records.remove(0);
    assert_eq!(record.time_unix_nano, 1_226_262_919_123_000_000);
    assert_eq!(record.observed_time_unix_nano, 5);
    assert_eq!((record.severity_number, record.severity_text.as_str()), (13, "WARN"));
    assert_eq!(record.event_name, "blocksift.session");
    let mut fields = Map::new();
    for attribute in record.attributes {
        let field = attribute.key.strip_prefix("blocksift.").unwrap().to_owned();
        fields.insert(field, json_of(attribute.value.unwrap()));
    }
    fields.insert("events".to_owned(), json_of(record.body.unwrap()));
    assert_eq!(serde_json::from_value::<Report>(Value::Object(fields)).unwrap(), report());
    let resource: Vec<_> =
        logs.resource.unwrap().attributes.into_iter().map(|attribute| attribute.key).collect();
    assert_eq!(resource, ["service.name", "service.version", "host.name", "blocksift.model"]);
}

#[test]
fn a_report_that_takes_a_flag_back_is_information() {
    let report = Report { flagged: false, ..report() };
    let request = logs_request(&sender(), &[report], 5).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "INFO"));
}

#[test]
fn a_summary_becomes_metrics() {
    let ledger = Ledger {
        lines_read: 10,
        lines_skipped: Skipped { no_head: 2, beyond_record: 1 },
        ..Ledger::default()
    };
    let totals = Summary { ledger, sessions_open: 4, ..Summary::default() };
    let agent = AgentCounts { lag_bytes: 9, reports_shipped: 3, ..AgentCounts::default() };
    let times = Times { totals_since_ns: 1, started_ns: 2, now_ns: 3 };
    let request = metrics_request(&sender(), &totals, &Details::default(), &agent, times).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap().data.clone().unwrap();
    let Data::Sum(read) = find("blocksift.lines_read") else { panic!("lines_read is a sum") };
    assert!(read.is_monotonic);
    assert_eq!(read.data_points[0].value, Some(Number::AsInt(10)));
    assert_eq!((read.data_points[0].start_time_unix_nano, read.data_points[0].time_unix_nano), (1, 3));
    let Data::Sum(skipped) = find("blocksift.lines_skipped") else { panic!("lines_skipped is a sum") };
    let by_reason: Vec<_> = skipped
        .data_points
        .iter()
        .map(|point| (json_of(point.attributes[0].value.clone().unwrap()), point.value))
        .collect();
    assert!(by_reason.contains(&(json!("no_head"), Some(Number::AsInt(2)))), "{by_reason:?}");
    let Data::Gauge(open) = find("blocksift.sessions_open") else { panic!("sessions_open is a gauge") };
    assert_eq!(open.data_points[0].value, Some(Number::AsInt(4)));
    let Data::Gauge(lag) = find("blocksift.lag_bytes") else { panic!("lag_bytes is a gauge") };
    assert_eq!(lag.data_points[0].value, Some(Number::AsInt(9)));
    let Data::Sum(shipped) = find("blocksift.reports_shipped") else { panic!("reports_shipped is a sum") };
    assert_eq!(shipped.data_points[0].start_time_unix_nano, 2);
}
