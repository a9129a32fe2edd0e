//! Reports and metrics as an agent encodes them, for the tests of this crate, and tests over whole requests.

use blocksift_detector::settings::FileId;
use blocksift_detector::{Event, Report};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use serde_json::Value;

use super::body::Format;
use super::{read_logs, read_metrics};
use crate::access::agents::Nodes;

pub(crate) fn report() -> Report {
    let event = |time: &str, contribution, line: Option<&str>| Event {
        time: time.to_owned(),
        template: "00000000deadbeef".to_owned(),
        text: "Receiving block <blk> src: <node> dest: <node>".to_owned(),
        level: "INFO".to_owned(),
        logger: "dfs.DataNode$DataXceiver".to_owned(),
        exception: String::new(),
        frame: String::new(),
        contribution,
        file: "/var/log/hadoop/datanode.log".to_owned(),
        offset: 4_242,
        line: line.map(str::to_owned),
        file_id: FileId::default(),
        bytes: 0,
        token: blocksift_detector::token::Token::PAD,
    };
    Report {
        id: "0123456789abcdef".to_owned(),
        revision: 2,
        node: "dn1".to_owned(),
        block: "blk_-1608999687919862906".to_owned(),
        pool: "BP-1-10.0.0.1-2".to_owned(),
        flagged: true,
        score: 0.9,
        threshold: 0.5,
        model: "hdfs-v1-0123456789ab".to_owned(),
        reasons: vec!["score".to_owned()],
        start: "2008-11-09T20:35:18Z".to_owned(),
        end: "2008-11-09T20:35:18Z".to_owned(),
        events: vec![
            event(
                "2008-11-09T20:35:18Z",
                0.25,
                Some("081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving"),
            ),
            event("2008-11-09T20:35:18Z", -0.5, None),
        ],
        events_dropped: 0,
    }
}

pub(crate) fn any_value(value: Value) -> Option<AnyValue> {
    let value = match value {
        Value::Null => None,
        Value::Bool(flag) => Some(Any::BoolValue(flag)),
        Value::Number(number) => Some(match number.as_i64() {
            Some(number) => Any::IntValue(number),
            None => Any::DoubleValue(number.as_f64().unwrap()),
        }),
        Value::String(text) => Some(Any::StringValue(text)),
        Value::Array(list) => {
            let values = list.into_iter().filter_map(any_value).collect();
            Some(Any::ArrayValue(ArrayValue { values }))
        }
        Value::Object(fields) => {
            let values = fields.into_iter().map(|(key, value)| attribute(&key, value)).collect();
            Some(Any::KvlistValue(KeyValueList { values }))
        }
    };
    Some(AnyValue { value })
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: any_value(value), ..KeyValue::default() }
}

pub(crate) fn to_record(report: &Report) -> LogRecord {
    let Value::Object(mut fields) = serde_json::to_value(report).unwrap() else { unreachable!() };
    let body = any_value(fields.remove("events").unwrap());
    let attributes =
        fields.into_iter().map(|(name, value)| attribute(&format!("blocksift.{name}"), value)).collect();
    LogRecord { event_name: "blocksift.session".to_owned(), body, attributes, ..LogRecord::default() }
}

fn resource(node: &str) -> Option<Resource> {
    let pairs = [
        ("service.name", "blocksift-agent"),
        ("service.version", "0.1.0"),
        ("host.name", node),
        ("blocksift.model", "hdfs-v1-0123456789ab"),
    ];
    let attributes = pairs.into_iter().map(|(key, value)| attribute(key, Value::from(value))).collect();
    Some(Resource { attributes, ..Resource::default() })
}

pub(crate) fn logs_request(node: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource(node), scope_logs, ..ResourceLogs::default() }],
    }
}

pub(crate) fn metrics_request(node: &str, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(node),
            scope_metrics,
            ..ResourceMetrics::default()
        }],
    }
}

pub(crate) fn point(value: i64, reason: Option<&str>) -> NumberDataPoint {
    NumberDataPoint {
        attributes: reason.map(|reason| attribute("reason", Value::from(reason))).into_iter().collect(),
        time_unix_nano: 1_700_000_000_000_000_000,
        value: Some(Number::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

pub(crate) fn metric(name: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    let data = if name.ends_with("lag_bytes") {
        Data::Gauge(Gauge { data_points })
    } else {
        Data::Sum(Sum { data_points, aggregation_temporality: 2, is_monotonic: true })
    };
    Metric { name: name.to_owned(), data: Some(data), ..Metric::default() }
}

#[test]
fn both_formats_give_the_same_batch() {
    let taken_back = Report { flagged: false, reasons: Vec::new(), events: Vec::new(), ..report() };
    let request = logs_request("dn1", vec![to_record(&report()), to_record(&taken_back)]);
    let protobuf = read_logs(Format::Protobuf, &request.encode_to_vec(), &Nodes::Any).unwrap();
    let json = read_logs(Format::Json, &serde_json::to_vec(&request).unwrap(), &Nodes::Any).unwrap();
    assert_eq!(protobuf.rejected.message(), "");
    assert_eq!(json.rejected.message(), "");
    assert_eq!(protobuf.batch.rows.len(), 2);
    assert_eq!(protobuf.batch.rows, json.batch.rows);
    assert_eq!(protobuf.batch.nodes, json.batch.nodes);
    assert_eq!(protobuf.batch.nodes[0].agent_version, "0.1.0");
}

#[test]
fn good_records_are_kept_beside_bad_ones() {
    let foreign = LogRecord { event_name: "x".to_owned(), ..LogRecord::default() };
    let bad = to_record(&Report { id: "../../x".to_owned(), ..report() });
    let request = logs_request("dn1", vec![foreign.clone(), to_record(&report()), bad, foreign]);
    let read = read_logs(Format::Protobuf, &request.encode_to_vec(), &Nodes::Any).unwrap();
    assert_eq!((read.batch.rows.len(), read.rejected.total()), (1, 3));
    let message = read.rejected.message();
    assert!(message.contains("2: not a blocksift report"), "{message}");
    assert!(message.contains("1: `id` is not 16 hexadecimal digits"), "{message}");
}

#[test]
fn other_peoples_logs_make_no_node() {
    let request = logs_request("db1", vec![LogRecord { event_name: "x".to_owned(), ..LogRecord::default() }]);
    let read = read_logs(Format::Protobuf, &request.encode_to_vec(), &Nodes::Any).unwrap();
    assert!(read.batch.nodes.is_empty());
}

#[test]
fn metrics_need_a_node() {
    let mut request = metrics_request("dn1", vec![metric("blocksift.lines_read", vec![point(5, None)])]);
    let read = read_metrics(Format::Protobuf, &request.encode_to_vec(), &Nodes::Any).unwrap();
    assert_eq!(read.batch.nodes[0].metrics.as_ref().unwrap().values, r#"{"lines_read":5}"#);
    let json = read_metrics(Format::Json, &serde_json::to_vec(&request).unwrap(), &Nodes::Any).unwrap();
    assert_eq!(json.batch.nodes, read.batch.nodes);

    request.resource_metrics[0].resource = None;
    let read = read_metrics(Format::Protobuf, &request.encode_to_vec(), &Nodes::Any).unwrap();
    assert!(read.batch.nodes.is_empty());
    assert_eq!(read.rejected.message(), "1: the resource has no `host.name` to tell the node by");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..300)) {
        for format in [Format::Protobuf, Format::Json] {
            let _whether_they_are_read = (read_logs(format, &body, &Nodes::Any).is_ok(), read_metrics(format, &body, &Nodes::Any).is_ok());
        }
    }

    /// What is read without a copy comes out as by way of the whole schema, whatever is damaged.
    #[test]
    fn the_short_way_and_the_long_way_agree(at in any::<Index>(), byte in any::<u8>(), cut in any::<Index>()) {
        let whole = to_record(&report()).encode_to_vec();
        let mut damaged = whole.clone();
        damaged[at.index(whole.len())] = byte;
        for record in [&whole, &damaged, &damaged[..cut.index(whole.len())].to_vec()] {
            let Some(short) = super::usual::read(record) else { continue };
            let long = super::report::any_report(Format::Protobuf, record).unwrap();
            prop_assert_eq!(&short, &(&long).into());
        }
        prop_assert!(super::usual::read(&whole).is_some());
    }

    #[test]
    fn a_damaged_request_is_read_or_refused(at in any::<Index>(), byte in any::<u8>(), json in any::<bool>()) {
        let request = logs_request("dn1", vec![to_record(&report()), to_record(&report())]);
        let (format, mut body) = match json {
            true => (Format::Json, serde_json::to_vec(&request).unwrap()),
            false => (Format::Protobuf, request.encode_to_vec()),
        };
        let length = body.len();
        body[at.index(length)] = byte;
        if let Ok(read) = read_logs(format, &body, &Nodes::Any) {
            for row in read.batch.rows {
                prop_assert!(serde_json::from_str::<Report>(&crate::store::unpack(&row.body).unwrap()).is_ok());
                prop_assert!((0.0..=1.0).contains(&row.score));
            }
        }
    }
}
