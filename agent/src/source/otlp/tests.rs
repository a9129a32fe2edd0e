//! Tests of the receiver with the agent's own HTTP client.

use std::io::Write;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use serde_json::json;

use super::*;
use crate::source::tests::Scene;

async fn scene(journal_bytes_max: u64) -> Scene {
    Scene::new(journal_bytes_max, receive).await
}

async fn post(scene: &Scene, path: &str, kind: &str, encoding: &str, body: Vec<u8>) -> reqwest::Response {
    // Fails if another test was first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{}{path}", scene.address));
    let request = request.header("content-type", kind).header("content-encoding", encoding);
    request.body(body).send().await.unwrap()
}

fn string(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) })
}

fn record(file: &str, body: Option<AnyValue>) -> LogRecord {
    let attributes = vec![KeyValue { key: lines_key(), value: string(file), ..KeyValue::default() }];
    LogRecord { attributes, body, ..LogRecord::default() }
}

fn lines_key() -> String {
    "log.file.path".to_owned()
}

fn request(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

#[tokio::test]
async fn bodies_become_lines_by_file_in_every_encoding() {
    let fields = vec![KeyValue { key: "message".to_owned(), value: string("hm"), ..KeyValue::default() }];
    let map = Some(AnyValue { value: Some(Any::KvlistValue(KeyValueList { values: fields })) });
    let records =
        vec![record("a", string("one")), record("b", string("two\n")), record("a", map), record("a", None)];
    let body = request(records).encode_to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).unwrap();
    let encodings = [
        ("identity", body.clone()),
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(body.as_slice(), 0).unwrap()),
    ];
    for (encoding, body) in encodings {
        let scene = scene(1 << 20).await;
        let answer = post(&scene, "/v1/logs", PROTOBUF, encoding, body).await;
        assert_eq!(answer.status(), 200, "{encoding}");
        assert_eq!(scene.received(), ["one\n{\"message\":\"hm\"}\n", "two\n"]);
    }
    let scene = scene(1 << 20).await;
    let records = json!([{ "body": { "stringValue": "three" } }]);
    let json = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] });
    let answer =
        post(&scene, "/v1/logs", "application/json; charset=utf-8", "identity", json.to_string().into())
            .await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "{}"));
    assert_eq!(scene.received(), ["three\n"]);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_the_status_that_says_why() {
    let scene = scene(1_000).await;
    let lines = |count: usize| request(vec![record("a", string(&"x".repeat(count)))]).encode_to_vec();
    let bomb = zstd::encode_all(vec![0; BODY_BYTES_MAX + 1].as_slice(), 0).unwrap();
    for (path, kind, encoding, body, status) in [
        ("/v1/logs", PROTOBUF, "identity", lines(900), 200),
        ("/v1/logs", PROTOBUF, "identity", lines(900), 503),
        ("/v1/logs", PROTOBUF, "identity", lines(2_000), 413),
        ("/v1/logs", PROTOBUF, "zstd", bomb, 413),
        ("/v1/logs", PROTOBUF, "identity", vec![0; BODY_BYTES_MAX + 1], 413),
        ("/v1/logs", PROTOBUF, "identity", b"\xff\xff".to_vec(), 400),
        ("/v1/logs", JSON, "identity", b"<html>".to_vec(), 400),
        ("/v1/logs", "text/plain", "identity", lines(1), 415),
        ("/v1/logs", PROTOBUF, "br", lines(1), 415),
        ("/v1/traces", PROTOBUF, "identity", lines(1), 404),
    ] {
        let answer = post(&scene, path, kind, encoding, body).await;
        assert_eq!(answer.status(), status, "{path} {kind} {encoding}");
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
    }
    assert_eq!(scene.received().concat().len(), 901);
}
