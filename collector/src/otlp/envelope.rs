//! The outer layers of an OTLP request, which logs and metrics share: resources, scopes, and in them the records.
//! They are cut out without being decoded, so that the number of records is checked before any memory is spent on
//! them: an empty log record is two bytes on the wire and some hundred in memory.

use std::borrow::Cow;

use prost::Message;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::body::Format;
use super::reply::Refusal;
use super::wire::{Broken, Fields, Held, put};

/// Resources, scopes and records of a request together; beyond it the request is refused with 413.
const ITEMS_MAX: usize = 50_000;
/// Attributes of a record or resource that are looked at.
pub(super) const ATTRIBUTES_MAX: usize = 64;
/// Wire tags. Logs and metrics number these fields alike.
const GROUPS_TAG: u32 = 1;
const RESOURCE_TAG: u32 = 1;
const SCOPES_TAG: u32 = 2;
const ITEMS_TAG: u32 = 2;

/// Records of one resource, not decoded yet.
#[derive(Debug, Default)]
pub(super) struct Group<'a> {
    /// A `Resource`.
    pub(super) resource: Option<&'a [u8]>,
    /// Each a `LogRecord` or a `Metric`.
    pub(super) items: Vec<&'a [u8]>,
}

/// Decodes one message that was cut out.
///
/// # Errors
/// A message of another shape; there is nothing more to say about it that is not the sender's content.
pub(super) fn decode<T: Message + Default + DeserializeOwned>(
    format: Format,
    bytes: &[u8],
) -> Result<T, Undecodable> {
    match format {
        Format::Protobuf => T::decode(bytes).map_err(|_| Undecodable),
        Format::Json => {
            let mut value = serde_json::from_slice(bytes).map_err(|_| Undecodable)?;
            fill_lists(&mut value);
            serde_json::from_value(value).map_err(|_| Undecodable)
        }
    }
}

/// See [`decode`].
#[derive(Debug)]
pub(super) struct Undecodable;

/// One message that was cut out, as protobuf.
///
/// # Errors
/// As [`decode`].
pub(super) fn to_protobuf<T: Message + Default + DeserializeOwned>(
    format: Format,
    bytes: &[u8],
) -> Result<Cow<'_, [u8]>, Undecodable> {
    match format {
        Format::Protobuf => Ok(Cow::Borrowed(bytes)),
        Format::Json => Ok(Cow::Owned(decode::<T>(format, bytes)?.encode_to_vec())),
    }
}

/// A request in protobuf of one resource and its items, each in protobuf; what [`groups`] cuts.
pub(super) fn request(resource: Option<&[u8]>, items: &[Cow<'_, [u8]>]) -> Vec<u8> {
    let (mut scope, mut group, mut request) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        put(ITEMS_TAG, item, &mut scope);
    }
    if let Some(resource) = resource {
        put(RESOURCE_TAG, resource, &mut group);
    }
    put(SCOPES_TAG, &scope, &mut group);
    put(GROUPS_TAG, &group, &mut request);
    request
}

/// Writes out lists that a sender left out because they are empty: proto3 JSON allows it, the decoder does not.
/// The parser has bounded the depth.
fn fill_lists(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(fill_lists),
        Value::Object(fields) => {
            for (name, field) in fields {
                if let (true, Some(list)) =
                    (name == "arrayValue" || name == "kvlistValue", field.as_object_mut())
                {
                    list.entry("values").or_insert_with(|| Value::Array(Vec::new()));
                }
                fill_lists(field);
            }
        }
        _ => {}
    }
}

/// Cuts a request into its records. Whether they are log records or metrics only [`decode`] can tell.
///
/// # Errors
/// [`Refusal::Malformed`] and [`Refusal::TooMany`].
pub(super) fn groups(format: Format, body: &[u8]) -> Result<Vec<Group<'_>>, Refusal> {
    let mut budget = Budget(ITEMS_MAX);
    match format {
        Format::Protobuf => protobuf_groups(body, &mut budget),
        Format::Json => json_groups(body, &mut budget),
    }
}

/// Items that may still come.
struct Budget(usize);

impl Budget {
    fn spend(&mut self) -> Result<(), Refusal> {
        self.0 = self.0.checked_sub(1).ok_or(Refusal::TooMany { items_max: ITEMS_MAX })?;
        Ok(())
    }
}

fn protobuf_groups<'a>(body: &'a [u8], budget: &mut Budget) -> Result<Vec<Group<'a>>, Refusal> {
    let mut groups = Vec::new();
    for message in messages(body) {
        let (GROUPS_TAG, bytes) = message? else { continue };
        budget.spend()?;
        let mut group = Group::default();
        for message in messages(bytes) {
            match message? {
                (RESOURCE_TAG, bytes) => group.resource = Some(bytes),
                (SCOPES_TAG, bytes) => {
                    budget.spend()?;
                    for message in messages(bytes) {
                        let (ITEMS_TAG, item) = message? else { continue };
                        budget.spend()?;
                        group.items.push(item);
                    }
                }
                _ => {}
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// The length-delimited fields of a message; the others are skipped.
fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8]), Refusal>> {
    Fields(bytes).filter_map(|field| match field {
        Ok((tag, Held::Bytes(bytes))) => Some(Ok((u32::try_from(tag).ok()?, bytes))),
        Ok(_) => None,
        Err(Broken) => Some(Err(Refusal::Malformed)),
    })
}

fn json_groups<'a>(body: &'a [u8], budget: &mut Budget) -> Result<Vec<Group<'a>>, Refusal> {
    let request: JsonRequest<'_> = json(body)?;
    let mut groups = Vec::new();
    for raw in request.groups.unwrap_or_default() {
        budget.spend()?;
        let json_group: JsonGroup<'_> = json(raw.get().as_bytes())?;
        let resource = json_group.resource.map(|raw| raw.get().as_bytes());
        let mut group = Group { resource, items: Vec::new() };
        for raw in json_group.scopes.unwrap_or_default() {
            budget.spend()?;
            let scope: JsonScope<'_> = json(raw.get().as_bytes())?;
            for raw in scope.items.unwrap_or_default() {
                budget.spend()?;
                group.items.push(raw.get().as_bytes());
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// serde would take a list for a structure too.
fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Refusal> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::Malformed);
    }
    serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed)
}

#[derive(Deserialize)]
struct JsonRequest<'a> {
    #[serde(borrow, default, rename = "resourceLogs", alias = "resourceMetrics")]
    groups: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct JsonGroup<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "scopeLogs", alias = "scopeMetrics")]
    scopes: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct JsonScope<'a> {
    #[serde(borrow, default, rename = "logRecords", alias = "metrics")]
    items: Option<Vec<&'a RawValue>>,
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;

    use super::*;

    fn request(records: usize) -> ExportLogsServiceRequest {
        let log_records = vec![LogRecord { event_name: "x".to_owned(), ..LogRecord::default() }; records];
        let scope_logs = vec![ScopeLogs { log_records, schema_url: "s".to_owned(), ..ScopeLogs::default() }];
        let resource = Some(Resource { dropped_attributes_count: 7, ..Resource::default() });
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { resource, scope_logs, schema_url: "s".to_owned() }],
        }
    }

    #[test]
    fn both_formats_are_cut_alike() {
        let request = request(3);
        let protobuf = request.encode_to_vec();
        let json = serde_json::to_vec(&request).unwrap();
        for (format, body) in [(Format::Protobuf, protobuf), (Format::Json, json)] {
            let groups = groups(format, &body).unwrap();
            assert_eq!((groups.len(), groups[0].items.len()), (1, 3), "{format:?}");
            let resource: Resource = decode(format, groups[0].resource.unwrap()).unwrap();
            assert_eq!(resource.dropped_attributes_count, 7);
            let record: LogRecord = decode(format, groups[0].items[2]).unwrap();
            assert_eq!(record.event_name, "x");
        }
    }

    #[test]
    fn too_many_records_are_refused_before_any_is_decoded() {
        let body = request(ITEMS_MAX).encode_to_vec();
        assert!(matches!(groups(Format::Protobuf, &body), Err(Refusal::TooMany { .. })));
        let body = format!(r#"{{"resourceLogs":[{}{{}}]}}"#, "{},".repeat(ITEMS_MAX));
        assert!(matches!(groups(Format::Json, body.as_bytes()), Err(Refusal::TooMany { .. })));
    }

    #[test]
    fn garbage_is_malformed_and_never_panics() {
        for body in [&b"\xff\xff\xff"[..], b"\x0a\x7f", b"\x0b", b"not otlp", b"\x09\x01"] {
            assert!(matches!(groups(Format::Protobuf, body), Err(Refusal::Malformed)), "{body:?}");
        }
        for body in
            [&b""[..], b"[]", b"null", b"{\"resourceLogs\":3}", b"{\"resourceLogs\":[null]}", b"{} {}"]
        {
            assert!(matches!(groups(Format::Json, body), Err(Refusal::Malformed)), "{body:?}");
        }
        let valid = request(2).encode_to_vec();
        for cut in 0..valid.len() {
            let _whether_it_parses = groups(Format::Protobuf, &valid[..cut]).is_ok();
        }
        assert!(groups(Format::Protobuf, b"").unwrap().is_empty());
        assert!(groups(Format::Json, b"{\"resourceLogs\":null}").unwrap().is_empty());
    }

    #[test]
    fn a_list_left_out_of_json_is_empty() {
        let json = br#"{"body":{"arrayValue":{}},"attributes":[{"key":"k","value":{"kvlistValue":{}}},{"key":"n"}]}"#;
        let record: LogRecord = decode(Format::Json, json).unwrap();
        assert_eq!(record.attributes.len(), 2);
        assert!(record.body.unwrap().value.is_some());
    }

    #[test]
    fn deep_nesting_is_undecodable_not_a_stack_overflow() {
        let json = format!(
            r#"{{"body":{}{}"#,
            r#"{"arrayValue":{"values":["#.repeat(100_000),
            "]}}".repeat(100_000)
        );
        assert!(decode::<LogRecord>(Format::Json, json.as_bytes()).is_err());
    }
}
