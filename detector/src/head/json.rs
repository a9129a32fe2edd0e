//! Heads of JSON lines: log4j2's `JsonLayout` and `JsonTemplateLayout` (ECS with dotted or nested names, Logstash,
//! GELF, Google Cloud) and Hadoop's `Log4Json`. Of members with the same meaning the most exact counts, of members
//! with the same name the last. Text without escapes is borrowed from the line; the rest is unescaped into a buffer.

use super::{Head, Level, stamp};
use crate::json::{Items, Members, Quoted, Value};
use crate::time::Zone;

/// Causes of an exception that are followed; log4j2 writes each inside the one that it caused.
const CAUSES_MAX: usize = 16;

/// A member and how exact it is, 0 being the most.
type Ranked<'a> = Option<(u8, Value<'a>)>;

/// What a line says, as it stands there.
#[derive(Default)]
struct Fields<'a> {
    time: Ranked<'a>,
    level: Ranked<'a>,
    logger: Ranked<'a>,
    thread: Ranked<'a>,
    message: Ranked<'a>,
    trace: Ranked<'a>,
    error_type: Ranked<'a>,
    error_message: Ranked<'a>,
}

/// The head of `line`, with `time_ms` where the line itself has no time. What has escapes is written to `scratch`.
pub(super) fn parse<'a>(
    line: &'a [u8],
    time_ms: impl FnOnce(&mut Zone) -> Option<i64>,
    zone: &mut Zone,
    scratch: &'a mut Vec<u8>,
) -> Option<Head<'a>> {
    let mut fields = Fields::default();
    for (key, value) in Members::of(line) {
        fields.take(key, value);
    }
    let (_, level_value) = fields.level?;
    let level = level(level_value)?;
    let (_, message) = fields.message?;
    let time_ms = match fields.time {
        Some((_, value)) => time(value, zone)?,
        None => time_ms(zone)?,
    };
    scratch.clear();
    let message = Part::of(message, scratch);
    let logger = fields.logger.map_or(Part::EMPTY, |(_, value)| Part::of(value, scratch));
    let thread = fields.thread.map_or(Part::EMPTY, |(_, value)| Part::of(value, scratch));
    let trace = fields.trace(scratch);
    let scratch = &*scratch;
    Some(Head {
        time_ms,
        level,
        logger: logger.text(scratch),
        thread: thread.text(scratch),
        message: message.text(scratch).trim_ascii_end(),
        trace: trace.text(scratch).trim_ascii_end(),
    })
}

impl<'a> Fields<'a> {
    fn take(&mut self, key: &[u8], value: Value<'a>) {
        match key {
            b"instant" | b"timeMillis" | b"@timestamp" => keep(&mut self.time, 0, value),
            b"time" => keep(&mut self.time, 1, value),
            b"timestamp" => keep(&mut self.time, 2, value),
            b"date" => keep(&mut self.time, 3, value),
            b"level" | b"log.level" | b"severity" => keep(&mut self.level, 0, value),
            b"loggerName" | b"log.logger" | b"logger_name" => keep(&mut self.logger, 0, value),
            b"logger" | b"_logger" => keep(&mut self.logger, 1, value),
            b"name" => keep(&mut self.logger, 2, value),
            b"thread" | b"process.thread.name" | b"thread_name" | b"_thread" => {
                keep(&mut self.thread, 0, value);
            }
            b"message" => keep(&mut self.message, 0, value),
            b"msg" => keep(&mut self.message, 1, value),
            b"short_message" => keep(&mut self.message, 2, value),
            b"error.stack_trace" | b"stack_trace" | b"stack" | b"thrown" | b"exception" | b"_exception" => {
                keep(&mut self.trace, 0, value);
            }
            b"full_message" => keep(&mut self.trace, 1, value),
            b"error.type" => keep(&mut self.error_type, 0, value),
            b"error.message" => keep(&mut self.error_message, 0, value),
            b"log" => self.take_nested(value, &[(b"level", b"log.level"), (b"logger", b"log.logger")]),
            b"error" => self.take_nested(value, &ECS_ERROR),
            b"process" => {
                if let Some(thread) = member(value, b"thread").and_then(|thread| member(thread, b"name")) {
                    keep(&mut self.thread, 0, thread);
                }
            }
            _ => {}
        }
    }

    /// Takes the members of an object under their dotted names.
    fn take_nested(&mut self, value: Value<'a>, names: &[(&[u8], &[u8])]) {
        let Value::Object(raw) = value else { return };
        for (key, value) in Members::of(raw) {
            if let Some((_, dotted)) = names.iter().find(|(name, _)| *name == key) {
                self.take(dotted, value);
            }
        }
    }

    /// Writes the stack trace to `scratch`, in the form in which Java prints it.
    fn trace(&self, scratch: &mut Vec<u8>) -> Part<'a> {
        match (self.trace, self.error_type) {
            (Some((_, value @ Value::Text(_))), _) => Part::of(value, scratch),
            (Some((_, Value::Array(raw))), _) => Part::written(scratch, |out| append_frames(raw, out)),
            (Some((_, Value::Object(raw))), _) => Part::written(scratch, |out| append_throwable(raw, out)),
            (_, Some((_, class))) => Part::written(scratch, |out| {
                append_class(Some(class), self.error_message.map(|(_, message)| message), out);
            }),
            _ => Part::EMPTY,
        }
    }
}

const ECS_ERROR: [(&[u8], &[u8]); 3] =
    [(b"stack_trace", b"error.stack_trace"), (b"type", b"error.type"), (b"message", b"error.message")];

fn keep<'a>(slot: &mut Ranked<'a>, rank: u8, value: Value<'a>) {
    if value != Value::Word(b"null") && slot.is_none_or(|(its, _)| rank <= its) {
        *slot = Some((rank, value));
    }
}

/// The last member with that name.
fn member<'a>(value: Value<'a>, name: &[u8]) -> Option<Value<'a>> {
    let Value::Object(raw) = value else { return None };
    Members::of(raw).filter(|(key, _)| *key == name).last().map(|(_, value)| value)
}

/// A level's name in any case, or GELF's number.
fn level(value: Value<'_>) -> Option<Level> {
    match value {
        Value::Text(Quoted { raw, .. }) => Level::parse_any_case(raw),
        Value::Word(b"0" | b"1" | b"2") => Some(Level::Fatal),
        Value::Word(b"3") => Some(Level::Error),
        Value::Word(b"4") => Some(Level::Warn),
        Value::Word(b"5" | b"6") => Some(Level::Info),
        Value::Word(b"7") => Some(Level::Debug),
        _ => None,
    }
}

/// Whole numbers are milliseconds, numbers with a fraction seconds, as the layouts write them.
fn time(value: Value<'_>, zone: &mut Zone) -> Option<i64> {
    match value {
        Value::Object(_) => {
            let seconds = number(member(value, b"epochSecond")?)?;
            let nanos = member(value, b"nanoOfSecond").and_then(number).unwrap_or(0);
            seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000)
        }
        Value::Word(word) => match memchr::memchr(b'.', word) {
            None => number(value),
            Some(point) => {
                let seconds = number(Value::Word(word.get(..point)?))?;
                let (ms, rest) = stamp::fraction(word.get(point + 1..)?)?;
                let whole = rest.iter().all(u8::is_ascii_digit);
                whole.then(|| seconds.checked_mul(1_000)?.checked_add(i64::from(ms))).flatten()
            }
        },
        Value::Text(text) => stamp::iso_whole(text.raw, zone),
        Value::Array(_) => None,
    }
}

fn number(value: Value<'_>) -> Option<i64> {
    let Value::Word(word) = value else { return None };
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A text that stands in the line or in a range of the scratch buffer.
#[derive(Clone, Copy)]
enum Part<'a> {
    Line(&'a [u8]),
    Scratch { start: usize, end: usize },
}

impl<'a> Part<'a> {
    const EMPTY: Self = Self::Line(b"");

    /// The text of `value`, or its JSON if it is no text.
    fn of(value: Value<'a>, scratch: &mut Vec<u8>) -> Self {
        match value {
            Value::Text(text) if text.escaped => Self::written(scratch, |out| text.append_to(out)),
            Value::Text(Quoted { raw, .. }) | Value::Word(raw) | Value::Object(raw) | Value::Array(raw) => {
                Self::Line(raw)
            }
        }
    }

    fn written(scratch: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let start = scratch.len();
        write(scratch);
        Self::Scratch { start, end: scratch.len() }
    }

    fn text<'s>(self, scratch: &'s [u8]) -> &'s [u8]
    where
        'a: 's,
    {
        match self {
            Self::Line(text) => text,
            Self::Scratch { start, end } => scratch.get(start..end).unwrap_or_default(),
        }
    }
}

/// Appends a throwable that is an object: log4j2's `thrown` with its causes, or Logstash's `exception`.
fn append_throwable(raw: &[u8], out: &mut Vec<u8>) {
    let mut throwable = Some(raw);
    for _ in 0..CAUSES_MAX {
        let Some(raw) = throwable.take() else { return };
        let (mut class, mut message, mut trace) = (None, None, None);
        for (key, value) in Members::of(raw) {
            match key {
                b"name" | b"exception_class" | b"class" => class = Some(value),
                b"message" | b"exception_message" => message = Some(value),
                b"extendedStackTrace" | b"stacktrace" | b"stackTrace" => trace = Some(value),
                b"cause" => {
                    throwable = if let Value::Object(raw) = value { Some(raw) } else { None };
                }
                _ => {}
            }
        }
        match trace {
            // Such a text starts with the class and goes on to the last cause.
            Some(Value::Text(text)) => return text.append_to(out),
            Some(Value::Array(frames)) => {
                append_class(class, message, out);
                append_frames(frames, out);
            }
            _ => append_class(class, message, out),
        }
        if throwable.is_some() {
            out.extend_from_slice(b"Caused by: ");
        }
    }
}

/// Appends `class: message` and a line end; nothing without a class.
fn append_class(class: Option<Value<'_>>, message: Option<Value<'_>>, out: &mut Vec<u8>) {
    let Some(Value::Text(class)) = class else { return };
    class.append_to(out);
    if let Some(Value::Text(message)) = message {
        out.extend_from_slice(b": ");
        message.append_to(out);
    }
    out.push(b'\n');
}

/// Appends one line for each item: a line of text as it is, an object as a frame.
fn append_frames(raw: &[u8], out: &mut Vec<u8>) {
    for item in Items::of(raw) {
        match item {
            Value::Text(text) => text.append_to(out),
            Value::Object(_) => {
                let mut text = |before: &[u8], name: &[u8]| {
                    out.extend_from_slice(before);
                    match member(item, name) {
                        Some(Value::Text(text)) => text.append_to(out),
                        Some(Value::Word(word)) => out.extend_from_slice(word),
                        _ => {}
                    }
                };
                text(b"\tat ", b"class");
                text(b".", b"method");
                text(b"(", b"file");
                text(b":", b"line");
                out.push(b')');
            }
            _ => continue,
        }
        out.push(b'\n');
    }
}
