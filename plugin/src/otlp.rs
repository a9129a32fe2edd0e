//! Batches of log records in OTLP's binary form through a filter. What the filter does not change stays byte for byte as
//! it came: of a record only what the filter looks at is decoded.
//!
//! A record that passes with something added gets an attribute `blocksift`; one that leaves in place of another has it as its
//! body, as Fluent Bit sends the plugin's records too. Resources and scopes that no record is left of leave with them.
//!
//! What a batch takes of memory is bounded before any of it is taken: hosts have no way to hear of more.

mod message;
#[cfg(test)]
mod tests;
mod wire;

use blocksift_detector::Model;
use blocksift_detector::json::{Members, Value as Raw};
use prost::Message;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::filter::{Answer, Filter, Mode};
use crate::record::{OWN, Time};
use crate::settings::Settings;
use message::{AnyValue, KeyValue, LogRecord, Resource};
use wire::{append_message, append_written, fields};

/// Numbers of fields in the messages around a record.
const RESOURCE_LOGS: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPE_LOGS: u32 = 2;
const LOG_RECORDS: u32 = 2;
const ATTRIBUTES: u32 = 6;
/// Bytes of a record that is looked at; larger ones pass unread.
const RECORD_BYTES_MAX: usize = 1_024 * 1_024;
/// Bytes by which a batch may grow; what waits beyond it leaves with the next one.
const ADDED_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// Room for one report more.
const REPORT_BYTES_MAX: usize = 3 * 1_024 * 1_024;
/// Attributes of records by the member of the filter's record that they become.
const RECORD_ATTRIBUTES: [(&str, &str); 3] =
    [("log.file.path", "path"), ("log.file.name", "file"), ("log.iostream", "stream")];
/// Likewise where a record was taken apart by a parser.
const PARSED_ATTRIBUTES: [(&str, &str); 4] = [
    ("logger", "logger"),
    ("thread", "thread"),
    ("thread.name", "thread"),
    ("exception.stacktrace", "stack_trace"),
];
/// Attributes of resources that name the node, best first.
const NODE_ATTRIBUTES: [&str; 2] = ["k8s.node.name", "host.name"];

/// A filter of batches.
#[derive(Debug)]
pub struct Logs {
    filter: Filter,
    mode: Mode,
    body: Body,
}

/// Why nothing of a batch was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its bytes are no logs.
    #[error("the batch is not in OTLP's binary form")]
    Malformed,
    /// There is not as much memory as it may take.
    #[error("there is no memory for the batch; lower the bounds in `settings`, or send smaller batches")]
    NoMemory,
}

/// How such a filter is configured: as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    mode: ModeName,
    body: Body,
    settings: Settings,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ModeName {
    #[default]
    Flagged,
    Annotate,
    Shadow,
}

/// What the text of a record's body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    /// A line of the log as it was written.
    #[default]
    Line,
    /// The message alone; its level is the record's severity.
    Message,
}

/// What a resource says of its records.
#[derive(Debug, Default)]
struct Source {
    node: Option<Value>,
}

impl Logs {
    /// A filter that has seen nothing. `config` is a JSON object with `mode`, `body` and `settings`, each optional, or
    /// `null`.
    ///
    /// # Errors
    /// What is wrong with the configuration or the model.
    pub fn new(model: &[u8], config: &[u8]) -> Result<Self, String> {
        let config: Option<Config> = serde_json::from_slice(config)
            .map_err(|error| format!("plugin_config cannot be used: {error}"))?;
        let Config { mode, body, settings } = config.unwrap_or_default();
        let mode = match mode {
            ModeName::Flagged => Mode::Flagged,
            ModeName::Annotate => Mode::Annotate,
            ModeName::Shadow => Mode::Shadow,
        };
        let model = Model::from_onnx_table(model).map_err(|error| error.to_string())?;
        let filter = Filter::new(mode, model, settings)
            .map_err(|problems| format!("plugin_config cannot be used: {}", problems.join("; ")))?;
        Ok(Self { filter, mode, body })
    }

    /// Takes a batch and writes what becomes of it.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn take(&mut self, batch: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        out.clear();
        check(batch)?;
        let bytes_max = batch.len() + ADDED_BYTES_MAX;
        out.try_reserve_exact(bytes_max + REPORT_BYTES_MAX).map_err(|_| Refused::NoMemory)?;
        each(batch, RESOURCE_LOGS, out, &mut |resource_logs, out| {
            let source = source(resource_logs);
            each(resource_logs, SCOPE_LOGS, out, &mut |scope_logs, out| {
                each(scope_logs, LOG_RECORDS, out, &mut |record, out| {
                    self.filter.hold(out.len() > bytes_max);
                    self.record(record, &source, out)
                })
            })
        })
        .map(drop)
    }

    /// Writes what becomes of a record; `false` if nothing does.
    fn record(&mut self, bytes: &[u8], source: &Source, out: &mut Vec<u8>) -> Result<bool, Refused> {
        // What cannot be read is no record to the filter, which counts it and lets it pass.
        let looked_at = if bytes.len() > RECORD_BYTES_MAX { b"" } else { bytes };
        let record = LogRecord::decode(looked_at).unwrap_or_default();
        let time = match (record.time_unix_nano, record.observed_time_unix_nano) {
            (0, observed) => Time::Came(milliseconds(observed)),
            (written, _) => Time::Written(milliseconds(written)),
        };
        let (json, tag) = self.members(&record, source);
        match self.filter.take(tag.as_bytes(), time, &json) {
            Answer::Dropped => return Ok(false),
            Answer::Unchanged => out.extend_from_slice(bytes),
            Answer::Record(answer) if self.mode == Mode::Flagged => {
                let body = serde_json::from_slice(answer).unwrap_or_default();
                let replaced = LogRecord { body: Some(AnyValue::of(body)), attributes: Vec::new(), ..record };
                out.extend_from_slice(&replaced.encode_to_vec());
            }
            Answer::Record(answer) => {
                out.extend_from_slice(bytes);
                if let Some(added) = own(answer) {
                    let attribute = KeyValue { key: OWN.to_owned(), value: Some(AnyValue::of(added)) };
                    append_message(ATTRIBUTES, &attribute.encode_to_vec(), out);
                }
            }
        }
        Ok(true)
    }

    /// A record as the filter reads it, and its tag.
    fn members<'a>(&self, record: &'a LogRecord, source: &Source) -> (Vec<u8>, &'a str) {
        let mut members = match record.body.as_ref().map(AnyValue::to_json) {
            Some(Value::Object(members)) => members,
            Some(text @ Value::String(_)) => {
                let name = if self.body == Body::Line { "log" } else { "message" };
                Map::from_iter([(name.to_owned(), text)])
            }
            Some(_) | None => Map::new(),
        };
        let mut tag = "";
        // Beside other members it would be no control record.
        if !(members.len() == 1 && members.contains_key(OWN)) {
            let mut attributes = RECORD_ATTRIBUTES.to_vec();
            if self.body == Body::Message {
                members.insert("level".to_owned(), record.severity_text.clone().into());
                attributes.extend(PARSED_ATTRIBUTES);
            }
            for (attribute, member) in attributes {
                if let Some(text) = text(&record.attributes, attribute) {
                    tag = if tag.is_empty() { text } else { tag };
                    members.insert(member.to_owned(), text.into());
                }
            }
            if let Some(node) = &source.node {
                members.insert("hostname".to_owned(), node.clone());
            }
        }
        (serde_json::to_vec(&members).unwrap_or_default(), tag)
    }
}

/// Whether all messages around the records are sound: a batch is taken as a whole or not at all.
fn check(batch: &[u8]) -> Result<(), Refused> {
    for resource_logs in messages(batch, RESOURCE_LOGS) {
        for scope_logs in messages(resource_logs?, SCOPE_LOGS) {
            for record in messages(scope_logs?, LOG_RECORDS) {
                record?;
            }
        }
    }
    Ok(())
}

/// The messages in the fields with a number.
fn messages(bytes: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Refused>> {
    fields(bytes).filter_map(move |field| match field {
        Ok(field) if field.number == number => field.message.map(Ok),
        Ok(_) => None,
        Err(refused) => Some(Err(refused)),
    })
}

/// Writes what becomes of a message; `false` if nothing does.
type Rewrite<'a> = dyn FnMut(&[u8], &mut Vec<u8>) -> Result<bool, Refused> + 'a;

/// Copies a message but for the messages in the fields with a number, which `inner` writes anew, or leaves out where it
/// says `false`. Returns whether anything is left, for a message that had such fields.
fn each(bytes: &[u8], number: u32, out: &mut Vec<u8>, inner: &mut Rewrite<'_>) -> Result<bool, Refused> {
    let (mut met, mut left) = (false, false);
    for field in fields(bytes) {
        let field = field?;
        match field.message.filter(|_| field.number == number) {
            Some(message) => {
                met = true;
                left |= append_written(number, out, |out| inner(message, out))?;
            }
            None => out.extend_from_slice(field.whole),
        }
    }
    Ok(left || !met)
}

fn source(resource_logs: &[u8]) -> Source {
    let resource =
        messages(resource_logs, RESOURCE).find_map(|resource| Resource::decode(resource.ok()?).ok());
    let attributes = resource.unwrap_or_default().attributes;
    let node = NODE_ATTRIBUTES.iter().find_map(|name| text(&attributes, name));
    Source { node: node.map(Value::from) }
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.text()
}

/// The value of our member in a record.
fn own(record: &[u8]) -> Option<Value> {
    let value =
        Members::of(record).filter(|(key, _)| *key == OWN.as_bytes()).map(|(_, value)| value).last()?;
    match value {
        Raw::Object(object) => serde_json::from_slice(object).ok(),
        _ => None,
    }
}

fn milliseconds(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX)
}
