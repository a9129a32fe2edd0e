//! Heads of JSON lines: log4j2's `JsonLayout` (`instant` or `timeMillis`, `loggerName`), ECS (`@timestamp`,
//! `log.level`, `log.logger`) and Hadoop's `Log4Json` (`time`, `name`).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::text::log4j_time;
use super::{Head, Level};
use crate::time::Zone;

pub(super) fn parse<'a>(line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let object: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let level = text(&object, &["level", "log.level"]).or_else(|| nested(&object, "log", "level"))?;
    let level = Level::parse(level.to_ascii_uppercase().as_bytes())?;
    let logger = text(&object, &["loggerName", "log.logger", "logger", "name"])
        .or_else(|| nested(&object, "log", "logger"))
        .unwrap_or("json");
    let message = text(&object, &["message", "msg"])?.trim_end();
    let time_ms = time(&object, zone)?;
    Some(Head {
        time_ms,
        level,
        logger: Cow::Owned(logger.as_bytes().to_vec()),
        message: Cow::Owned(message.as_bytes().to_vec()),
    })
}

fn text<'o>(object: &'o Map<String, Value>, names: &[&str]) -> Option<&'o str> {
    names.iter().find_map(|name| object.get(*name)?.as_str())
}

fn nested<'o>(object: &'o Map<String, Value>, outer: &str, inner: &str) -> Option<&'o str> {
    object.get(outer)?.get(inner)?.as_str()
}

fn time(object: &Map<String, Value>, zone: &mut Zone) -> Option<i64> {
    if let Some(instant) = object.get("instant") {
        let seconds = instant.get("epochSecond")?.as_i64()?;
        let nanos = instant.get("nanoOfSecond").and_then(Value::as_i64).unwrap_or(0);
        return seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000);
    }
    let value =
        ["@timestamp", "timeMillis", "time", "timestamp"].iter().find_map(|name| object.get(*name))?;
    match value {
        Value::Number(ms) => ms.as_i64(),
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(timestamp) => Some(timestamp.as_millisecond()),
            Err(_) => Some(log4j_time(text.as_bytes(), zone)?.0),
        },
        _ => None,
    }
}
