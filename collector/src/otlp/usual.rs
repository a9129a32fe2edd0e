//! A report out of a log record as agents write it, without a copy of its texts. A record that is different in any way, be it
//! damaged or from another program, is none of this file's: [`super::report`] reads it by way of the whole OTLP schema and
//! says what is wrong with it. What is read here comes out there alike, which a test over damaged records makes sure of.

use super::report::{EVENT_NAME, EVENTS_MAX, PREFIX};
use super::wire::{Fields, Held};
use crate::report::{Event, Report};

/// An `AnyValue`.
#[derive(Clone, Copy)]
enum Any<'a> {
    Nothing,
    Text(&'a str),
    Flag(bool),
    Int(i64),
    Double(f64),
    /// An `ArrayValue`.
    List(&'a [u8]),
    /// A `KeyValueList`.
    Fields(&'a [u8]),
}

/// Reads a `LogRecord`.
pub(super) fn read(record: &[u8]) -> Option<Report<'_>> {
    let (mut name, mut body) = (None, None);
    let mut fields = ReportFields::default();
    for field in Fields(record) {
        match field.ok()? {
            (1 | 11, Held::Fixed64(_)) | (2 | 7, Held::Varint(_)) | (8, Held::Fixed32(_)) => {}
            (3, Held::Bytes(severity)) => drop(text(severity)?),
            (5, Held::Bytes(value)) => once(&mut body, value)?,
            (6, Held::Bytes(attribute)) => {
                let (key, value) = key_value(attribute)?;
                fields.set(key.strip_prefix(PREFIX)?, value)?;
            }
            (12, Held::Bytes(event_name)) => once(&mut name, text(event_name)?)?,
            _ => return None,
        }
    }
    let events = match body.map_or(Some(Any::Nothing), any)? {
        Any::List(list) => events(list)?,
        _ => return None,
    };
    if name == Some(EVENT_NAME) { fields.report(events) } else { None }
}

fn events(list: &[u8]) -> Option<Vec<Event<'_>>> {
    let count = Fields(list).count();
    if count > EVENTS_MAX {
        return None;
    }
    let mut events = Vec::with_capacity(count);
    for value in values(list) {
        let Any::Fields(pairs) = value? else { return None };
        let mut fields = EventFields::default();
        for pair in values_of_pairs(pairs) {
            let (key, value) = pair?;
            fields.set(key, value)?;
        }
        events.push(fields.event()?);
    }
    Some(events)
}

/// The values of an `ArrayValue`.
fn values(list: &[u8]) -> impl Iterator<Item = Option<Any<'_>>> {
    Fields(list).map(|field| match field {
        Ok((1, Held::Bytes(value))) => any(value),
        _ => None,
    })
}

/// The pairs of a `KeyValueList`.
fn values_of_pairs(list: &[u8]) -> impl Iterator<Item = Option<(&str, Any<'_>)>> {
    Fields(list).map(|field| match field {
        Ok((1, Held::Bytes(pair))) => key_value(pair),
        _ => None,
    })
}

fn key_value(pair: &[u8]) -> Option<(&str, Any<'_>)> {
    let (mut key, mut value) = (None, None);
    for field in Fields(pair) {
        match field.ok()? {
            (1, Held::Bytes(bytes)) => once(&mut key, text(bytes)?)?,
            (2, Held::Bytes(bytes)) => once(&mut value, any(bytes)?)?,
            _ => return None,
        }
    }
    Some((key?, value.unwrap_or(Any::Nothing)))
}

fn any(value: &[u8]) -> Option<Any<'_>> {
    let mut fields = Fields(value);
    let any = match fields.next() {
        None => Any::Nothing,
        Some(Ok((1, Held::Bytes(bytes)))) => Any::Text(text(bytes)?),
        Some(Ok((2, Held::Varint(flag)))) => Any::Flag(flag != 0),
        Some(Ok((3, Held::Varint(number)))) => Any::Int(number.cast_signed()),
        Some(Ok((4, Held::Fixed64(bytes)))) => Any::Double(f64::from_le_bytes(bytes)),
        Some(Ok((5, Held::Bytes(list)))) => Any::List(list),
        Some(Ok((6, Held::Bytes(list)))) => Any::Fields(list),
        Some(_) => return None,
    };
    fields.next().is_none().then_some(any)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What was there already is no usual record.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

impl<'a> Any<'a> {
    fn text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn flag(self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(flag) } else { None }
    }

    fn count(self) -> Option<u64> {
        if let Self::Int(number) = self { u64::try_from(number).ok() } else { None }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a report has single precision, as serde would read it"
    )]
    fn share(self) -> Option<f32> {
        if let Self::Double(number) = self { number.is_finite().then_some(number as f32) } else { None }
    }

    fn texts(self) -> Option<Vec<&'a str>> {
        let Self::List(list) = self else { return None };
        values(list).map(|value| value?.text()).collect()
    }
}

/// Fields of a report that have come.
#[derive(Default)]
struct ReportFields<'a> {
    id: Option<&'a str>,
    revision: Option<u64>,
    node: Option<&'a str>,
    block: Option<&'a str>,
    pool: Option<&'a str>,
    flagged: Option<bool>,
    score: Option<f32>,
    threshold: Option<f32>,
    model: Option<&'a str>,
    reasons: Option<Vec<&'a str>>,
    start: Option<&'a str>,
    end: Option<&'a str>,
    events_dropped: Option<u64>,
}

impl<'a> ReportFields<'a> {
    fn set(&mut self, name: &str, value: Any<'a>) -> Option<()> {
        match name {
            "id" => once(&mut self.id, value.text()?),
            "revision" => once(&mut self.revision, value.count()?),
            "node" => once(&mut self.node, value.text()?),
            "block" => once(&mut self.block, value.text()?),
            "pool" => once(&mut self.pool, value.text()?),
            "flagged" => once(&mut self.flagged, value.flag()?),
            "score" => once(&mut self.score, value.share()?),
            "threshold" => once(&mut self.threshold, value.share()?),
            "model" => once(&mut self.model, value.text()?),
            "reasons" => once(&mut self.reasons, value.texts()?),
            "start" => once(&mut self.start, value.text()?),
            "end" => once(&mut self.end, value.text()?),
            "events_dropped" => once(&mut self.events_dropped, value.count()?),
            _ => None,
        }
    }

    fn report(self, events: Vec<Event<'a>>) -> Option<Report<'a>> {
        Some(Report {
            id: self.id?,
            revision: self.revision?,
            node: self.node?,
            block: self.block?,
            pool: self.pool?,
            flagged: self.flagged?,
            score: self.score?,
            threshold: self.threshold?,
            model: self.model?,
            reasons: self.reasons?,
            start: self.start?,
            end: self.end?,
            events,
            events_dropped: self.events_dropped.unwrap_or(0),
        })
    }
}

/// Fields of an event that have come.
#[derive(Default)]
struct EventFields<'a> {
    time: Option<&'a str>,
    template: Option<&'a str>,
    text: Option<&'a str>,
    level: Option<&'a str>,
    logger: Option<&'a str>,
    exception: Option<&'a str>,
    frame: Option<&'a str>,
    contribution: Option<f32>,
    file: Option<&'a str>,
    offset: Option<u64>,
    line: Option<Option<&'a str>>,
}

impl<'a> EventFields<'a> {
    fn set(&mut self, name: &str, value: Any<'a>) -> Option<()> {
        match name {
            "time" => once(&mut self.time, value.text()?),
            "template" => once(&mut self.template, value.text()?),
            "text" => once(&mut self.text, value.text()?),
            "level" => once(&mut self.level, value.text()?),
            "logger" => once(&mut self.logger, value.text()?),
            "exception" => once(&mut self.exception, value.text()?),
            "frame" => once(&mut self.frame, value.text()?),
            "contribution" => once(&mut self.contribution, value.share()?),
            "file" => once(&mut self.file, value.text()?),
            "offset" => once(&mut self.offset, value.count()?),
            "line" => match value {
                Any::Nothing => once(&mut self.line, None),
                value => once(&mut self.line, Some(value.text()?)),
            },
            _ => None,
        }
    }

    fn event(self) -> Option<Event<'a>> {
        Some(Event {
            time: self.time?,
            template: self.template?,
            text: self.text?,
            level: self.level?,
            logger: self.logger?,
            exception: self.exception.unwrap_or_default(),
            frame: self.frame.unwrap_or_default(),
            contribution: self.contribution?,
            file: self.file?,
            offset: self.offset?,
            line: self.line.flatten(),
        })
    }
}
