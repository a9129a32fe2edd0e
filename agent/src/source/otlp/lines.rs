//! The lines in a request, by the stream that they belong to.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Number, Value};

/// Attribute that says which file a line was read from.
const FILE: &str = "log.file.path";
/// How deeply nested a body may be to become JSON.
const DEPTH_MAX: usize = 16;

/// Whole lines by the name of their stream, each in the order of the request. Records without a body give none.
pub(super) fn of(request: ExportLogsServiceRequest) -> BTreeMap<String, Vec<u8>> {
    let mut streams: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for logs in request.resource_logs {
        let resource = logs.resource.map(|resource| name(&resource.attributes)).unwrap_or_default();
        for record in logs.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            let Some(body) = record.body.and_then(|body| body.value) else { continue };
            let file = record.attributes.iter().find(|attribute| attribute.key == FILE);
            let file = file.map(|file| text(file.value.as_ref())).unwrap_or_default();
            let lines = streams.entry(format!("otlp-{file} {resource}")).or_default();
            push(lines, body);
        }
    }
    streams.retain(|_, lines| !lines.is_empty());
    streams
}

/// What tells resources apart, whatever the order of their attributes; the file first.
fn name(attributes: &[KeyValue]) -> String {
    let mut parts: Vec<(bool, &str, String)> = attributes
        .iter()
        .map(|attribute| (attribute.key != FILE, attribute.key.as_str(), text(attribute.value.as_ref())))
        .collect();
    parts.sort();
    parts.into_iter().map(|(_, key, value)| format!("{key}={value} ")).collect()
}

fn push(lines: &mut Vec<u8>, body: Any) {
    let before = lines.len();
    match body {
        Any::StringValue(text) => lines.extend_from_slice(text.as_bytes()),
        Any::BytesValue(bytes) => lines.extend_from_slice(&bytes),
        other => lines.extend_from_slice(json(Some(other), DEPTH_MAX).to_string().as_bytes()),
    }
    if lines.len() > before && !lines.ends_with(b"\n") {
        lines.push(b'\n');
    }
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.clone()) {
        Some(Any::StringValue(text)) => text,
        other => json(other, DEPTH_MAX).to_string(),
    }
}

fn json(value: Option<Any>, depth: usize) -> Value {
    let Some(value) = value.filter(|_| depth > 0) else { return Value::Null };
    match value {
        Any::StringValue(text) => Value::String(text),
        Any::BoolValue(value) => Value::Bool(value),
        Any::IntValue(value) => Value::Number(value.into()),
        Any::DoubleValue(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
        Any::BytesValue(bytes) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
        Any::ArrayValue(array) => {
            Value::Array(array.values.into_iter().map(|value| json(value.value, depth - 1)).collect())
        }
        Any::KvlistValue(list) => {
            let field =
                |field: KeyValue| (field.key, json(field.value.and_then(|value| value.value), depth - 1));
            Value::Object(list.values.into_iter().map(field).collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}
