//! Batches through the filter, as an OpenTelemetry Collector has them.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;

use super::*;

const MODEL: &[u8] = include_bytes!("../../../models/hdfs-v1.onnx");
const STRANGE: &str = "081109 203518 143 WARN dfs.X: strange thing about blk_7";
const SECOND_NS: u64 = 1_000_000_000;

fn logs(config: &str) -> Logs {
    Logs::new(MODEL, config.as_bytes()).unwrap()
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(text.to_owned())) }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)), ..KeyValue::default() }
}

fn record(body: &str, second: u64) -> LogRecord {
    LogRecord {
        time_unix_nano: (1_700_000_000 + second) * SECOND_NS,
        severity_number: SeverityNumber::Warn.into(),
        body: Some(text(body)),
        attributes: vec![attribute("log.file.path", "/var/log/dn.log")],
        flags: 1,
        trace_id: vec![1; 16],
        ..LogRecord::default()
    }
}

/// A control record: its body is no text.
fn control(json: &str, second: u64) -> LogRecord {
    let body = super::AnyValue::of(serde_json::from_str(json).unwrap());
    let body = AnyValue::decode(body.encode_to_vec().as_slice()).unwrap();
    LogRecord { body: Some(body), ..record("", second) }
}

fn batch(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope = Some(InstrumentationScope { name: "filelog".to_owned(), ..InstrumentationScope::default() });
    let scope_logs = vec![ScopeLogs { scope, log_records, schema_url: "s".to_owned() }];
    let attributes = vec![attribute("host.name", "dn7"), attribute("service.name", "hdfs")];
    let resource = Some(Resource { attributes, dropped_attributes_count: 3, ..Resource::default() });
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource, scope_logs, schema_url: "r".to_owned() }],
    }
}

fn take(logs: &mut Logs, batch: &ExportLogsServiceRequest) -> ExportLogsServiceRequest {
    let mut out = Vec::new();
    logs.take(&batch.encode_to_vec(), &mut out).unwrap();
    ExportLogsServiceRequest::decode(out.as_slice()).unwrap()
}

fn records(batch: &ExportLogsServiceRequest) -> &[LogRecord] {
    batch.resource_logs.first().map_or(&[], |logs| &logs.scope_logs[0].log_records)
}

fn json(value: Option<&AnyValue>) -> Value {
    let value = value.map(AnyValue::encode_to_vec).unwrap_or_default();
    super::AnyValue::decode(value.as_slice()).unwrap().to_json()
}

fn added(record: &LogRecord) -> Value {
    let attribute = record.attributes.iter().find(|attribute| attribute.key == "blocksift");
    json(attribute.and_then(|attribute| attribute.value.as_ref()))
}

#[test]
fn flagged_sessions_leave_as_reports_and_nothing_else_does() {
    let mut logs = logs(r#"{"settings":{"idle_timeout_s":5}}"#);
    assert_eq!(take(&mut logs, &batch(vec![record(STRANGE, 0)])), ExportLogsServiceRequest::default());
    let said = take(&mut logs, &batch(vec![record("081109 203530 143 INFO dfs.X: other", 30)]));
    let [report] = records(&said) else { panic!("{said:?}") };
    let body = json(report.body.as_ref());
    assert_eq!(
        (&body["block"], &body["node"], &body["flagged"]),
        (&"blk_7".into(), &"dn7".into(), &true.into())
    );
    assert_eq!(body["events"][0]["line"], STRANGE);
    assert_eq!(body["events"][0]["file"], "/var/log/dn.log");
    assert_eq!(said.resource_logs[0].resource, batch(Vec::new()).resource_logs[0].resource);
}

#[test]
fn records_that_pass_stay_as_they_are_but_for_what_is_added() {
    let mut logs = logs(r#"{"mode":"annotate","settings":{"idle_timeout_s":5}}"#);
    let given = batch(vec![record(STRANGE, 0), record("no line at all", 1), LogRecord::default()]);
    let mut said = take(&mut logs, &given);
    let annotated = &mut said.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(added(annotated)["block"], "blk_7");
    annotated.attributes.pop();
    // What is no line of Hadoop has a template all the same.
    said.resource_logs[0].scope_logs[0].log_records[1].attributes.truncate(1);
    assert_eq!(said, given);
    let said = take(&mut logs, &batch(vec![record("x", 30)]));
    assert_eq!(added(&records(&said)[0])["verdicts"][0]["block"], "blk_7");
}

#[test]
fn a_parsed_record_is_read_by_its_severity() {
    let mut logs = logs(r#"{"body":"message","settings":{"idle_timeout_s":5}}"#);
    let mut parsed = record("strange thing about blk_7", 0);
    parsed.severity_text = "WARN".to_owned();
    parsed.attributes.push(attribute("logger", "dfs.X"));
    take(&mut logs, &batch(vec![parsed]));
    let said = take(&mut logs, &batch(vec![record("x", 30)]));
    assert_eq!(json(records(&said)[0].body.as_ref())["block"], "blk_7", "{said:?}");
}

#[test]
fn a_body_of_members_is_a_record_and_may_control() {
    let mut logs = logs("null");
    let said = take(&mut logs, &batch(vec![control(r#"{"blocksift":{"configure":{"threshold":2}}}"#, 0)]));
    assert!(json(records(&said)[0].body.as_ref())["blocksift"]["reply"]["refused"].is_object(), "{said:?}");
    take(&mut logs, &batch(vec![control(&format!(r#"{{"log":"{STRANGE}","host":"dn8"}}"#), 0)]));
    let said = take(&mut logs, &batch(vec![control(r#"{"blocksift":{"flush":true}}"#, 1)]));
    assert_eq!(json(records(&said)[0].body.as_ref())["blocksift"]["reply"]["flushed"]["waiting"], 1);
}

#[test]
fn what_cannot_be_used_is_told() {
    for (config, reason) in [
        (r#"{"mode":"quiet"}"#, "quiet"),
        (r#"{"settings":{"threshold":7}}"#, "`threshold` is not in 0..=1"),
        (r#"{"setting":{}}"#, "setting"),
        ("{", "plugin_config cannot be used"),
    ] {
        let error = Logs::new(MODEL, config.as_bytes()).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    let mut out = Vec::new();
    for bytes in [&b"\x0a\x05\x12"[..], b"\x0a\x7f", b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
    {
        assert_eq!(logs("{}").take(bytes, &mut out), Err(Refused::Malformed), "{bytes:?}");
    }
}

#[test]
fn a_record_that_is_too_large_passes_unread() {
    let given = batch(vec![record(&format!("{STRANGE}{}", "x".repeat(RECORD_BYTES_MAX)), 0)]);
    assert_eq!(take(&mut logs("{}"), &given), given);
}

proptest! {
    #[test]
    fn no_bytes_panic_and_shadow_changes_none(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        unknown in any::<u64>(),
    ) {
        let mut logs = logs(r#"{"mode":"shadow"}"#);
        let mut scope = Vec::new();
        bodies.iter().for_each(|body| append_message(LOG_RECORDS, body, &mut scope));
        let mut resource = Vec::new();
        append_message(SCOPE_LOGS, &scope, &mut resource);
        append_message(9, &unknown.to_le_bytes(), &mut resource);
        let mut batch = Vec::new();
        append_message(RESOURCE_LOGS, &resource, &mut batch);
        let mut out = Vec::new();
        prop_assert_eq!(logs.take(&batch, &mut out), Ok(()));
        prop_assert_eq!(&out, &batch);
        for cut in 0..batch.len() {
            let _whether_it_is_taken = logs.take(&batch[..cut], &mut out);
        }
    }
}
