//! What the filter needs of OTLP's messages. Names and field numbers are those of `opentelemetry/proto/logs/v1/logs.proto`
//! and `common/v1/common.proto` in <https://github.com/open-telemetry/opentelemetry-proto>; fields that are not listed
//! are skipped when a message is read.

use serde_json::{Map, Number, Value};

/// A record of a log.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub(super) time_unix_nano: u64,
    #[prost(string, tag = "3")]
    pub(super) severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub(super) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "11")]
    pub(super) observed_time_unix_nano: u64,
}

/// What a log is of.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

/// A value of any kind, or none.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    KeyValues(KeyValueList),
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, prost::Message)]
struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    values: Vec<KeyValue>,
}

impl AnyValue {
    /// JSON as OTLP knows it; `null` is a value without one.
    pub(super) fn of(json: Value) -> Self {
        let value = match json {
            Value::Null => None,
            Value::Bool(value) => Some(Any::Bool(value)),
            Value::Number(number) => Some(match number.as_i64() {
                Some(integer) => Any::Int(integer),
                None => Any::Double(number.as_f64().unwrap_or(f64::NAN)),
            }),
            Value::String(text) => Some(Any::String(text)),
            Value::Array(values) => {
                Some(Any::Array(ArrayValue { values: values.into_iter().map(Self::of).collect() }))
            }
            Value::Object(members) => {
                let member = |(key, value)| KeyValue { key, value: Some(Self::of(value)) };
                Some(Any::KeyValues(KeyValueList { values: members.into_iter().map(member).collect() }))
            }
        };
        Self { value }
    }

    /// As JSON; bytes become text, and what is no number of JSON nothing.
    pub(super) fn to_json(&self) -> Value {
        match &self.value {
            None => Value::Null,
            Some(Any::String(text)) => Value::String(text.clone()),
            Some(Any::Bool(value)) => Value::Bool(*value),
            Some(Any::Int(value)) => Value::Number((*value).into()),
            Some(Any::Double(value)) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Some(Any::Array(array)) => Value::Array(array.values.iter().map(Self::to_json).collect()),
            Some(Any::KeyValues(list)) => {
                Value::Object(list.values.iter().map(KeyValue::to_json).collect::<Map<_, _>>())
            }
            Some(Any::Bytes(bytes)) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Some(Any::String(text)) => Some(text),
            _ => None,
        }
    }
}

impl KeyValue {
    fn to_json(&self) -> (String, Value) {
        (self.key.clone(), self.value.as_ref().map_or(Value::Null, AnyValue::to_json))
    }
}
