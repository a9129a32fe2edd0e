//! OTLP's `AnyValue` as JSON and as plain types.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Value};

/// The text of a string value.
pub(super) fn text(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The JSON of a value; no value is null, and so are bytes and numbers that JSON cannot say, which no report has.
/// The decoders bound the depth to about 100.
pub(super) fn json(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BoolValue(flag)) => Value::Bool(flag),
        Some(Any::IntValue(number)) => Value::from(number),
        Some(Any::DoubleValue(number)) => Value::from(number),
        Some(Any::ArrayValue(list)) => list.values.into_iter().map(|value| json(Some(value))).collect(),
        Some(Any::KvlistValue(list)) => Value::Object(object(list.values)),
        Some(Any::BytesValue(_) | Any::StringValueStrindex(_)) | None => Value::Null,
    }
}

fn object(fields: Vec<KeyValue>) -> Map<String, Value> {
    fields.into_iter().map(|field| (field.key, json(field.value))).collect()
}
