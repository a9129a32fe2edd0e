//! TOML text → raw values, with every problem of names and types rather than the first one alone.
//!
//! serde stops at the first error. So the key that it stopped at is noted, taken out, and the rest is tried again.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::problem::{Problem, nearest};

/// Reads what can be read of `text`, and says what could not.
pub(crate) fn parse<T: DeserializeOwned + Default>(text: &str) -> (T, Vec<Problem>) {
    let (mut root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().map(|error| Problem::new(error.span(), error.message(), "")).collect();
        return (T::default(), problems);
    }
    let mut problems = Vec::new();
    loop {
        let error = match T::deserialize(Deserializer::from(root.clone())) {
            Ok(raw) => return (raw, problems),
            Err(error) => error,
        };
        let (what, fix) = explain(error.message(), text, error.span());
        problems.push(Problem::new(error.span(), what, fix));
        if !error.span().is_some_and(|span| remove(root.get_mut(), &span)) {
            return (T::default(), problems);
        }
    }
}

/// Takes out the entry whose key or value is at `span`, or whose list has it; `false` if there is none.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let name = table.iter().find_map(|(key, value)| {
        let whole = value.span();
        let in_list = value.get_ref().is_array() && whole.start <= span.start && span.end <= whole.end;
        (key.span() == *span || whole == *span || in_list).then(|| key.get_ref().to_string())
    });
    if let Some(name) = name {
        return table.remove(name.as_str()).is_some();
    }
    table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => remove(inner, span),
        DeValue::Array(items) => items.iter_mut().any(|item| match item.get_mut() {
            DeValue::Table(inner) => remove(inner, span),
            _ => false,
        }),
        _ => false,
    })
}

/// serde's words in ours, and what to do.
fn explain(message: &str, text: &str, span: Option<Range<usize>>) -> (String, String) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(name) = quoted.next()
    {
        let known: Vec<&str> = quoted.collect();
        return (format!("unknown key `{name}`"), suggest(name, &known));
    }
    if message.starts_with("unknown variant")
        && let Some(name) = quoted.next()
    {
        let known: Vec<&str> = quoted.collect();
        return (format!("unknown value \"{name}\""), format!("use one of {}", known.join(", ")));
    }
    let key = span.and_then(|span| key_before(text, span.start)).unwrap_or_default();
    (message.to_owned(), type_hint(key).to_owned())
}

fn suggest(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => match SECTIONS.iter().find(|(_, keys)| keys.contains(&name)) {
            Some((section, _)) => format!("it belongs under {section}"),
            None => format!("known here: {}", known.join(", ")),
        },
    }
}

/// Keys that are easily written in the wrong section.
const SECTIONS: [(&str, &[&str]); 9] = [
    ("[receive]", &["stdin", "forward", "otlp"]),
    ("[logs]", &["paths", "exclude", "backfill", "layout", "poll_interval_ms", "files_max"]),
    (
        "[sessions]",
        &[
            "idle_timeout_s",
            "forget_after_s",
            "sessions_max",
            "sessions_bytes_max",
            "events_max",
            "reorder_s",
        ],
    ),
    (
        "[ship]",
        &[
            "to",
            "endpoint",
            "compression",
            "tls_ca",
            "tls_certificate",
            "tls_key",
            "token_file",
            "token_env",
            "timeout_s",
            "summary_interval_s",
            "spool_reports_max",
            "spool_bytes_max",
        ],
    ),
    ("[status]", &["listen"]),
    ("[wanted]", &["answer", "addresses"]),
    ("[limits]", &["memory_bytes_max", "cpu_percent_max", "idle_priority", "io_pressure_percent_max"]),
    ("[redact]", &["enabled", "key_file", "key_env", "patterns"]),
    ("[[filter]]", &["wasm", "function", "fuel_max"]),
];

/// The key of the `key = value` whose value starts at `start`.
fn key_before(text: &str, start: usize) -> Option<&str> {
    let line = text.get(..start)?.lines().next_back()?;
    Some(line.trim_end().strip_suffix('=')?.trim())
}

/// What a value must look like, by the unit at the end of its key.
fn type_hint(key: &str) -> &'static str {
    match key.rsplit('_').next() {
        Some("ms") => "write a whole number of milliseconds, without quotes",
        Some("s") => "write a whole number of seconds, without quotes",
        Some("max") => "write a whole number, without quotes",
        Some("paths" | "exclude") => "write a list of strings: [\"/var/log/hadoop/*.log*\"]",
        Some("start" | "flag") => "write true or false, without quotes",
        _ => "",
    }
}
