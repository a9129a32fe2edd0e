//! One OTLP log record as one [`Report`], checked and bounded, ready to be stored.
//!
//! The mapping is the agent's, backwards: attribute `blocksift.<field>` is a field of the report, the body holds its
//! events. Or the body is the report as a whole: that is how Fluent Bit sends the records of the plugin. A field that is missing, of another type or out of bounds rejects the whole report with a reason; reasons
//! never quote the record.

use blocksift_detector::Report;
use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde::Deserialize;
use thiserror::Error;

use super::body::Format;
use super::envelope::{ATTRIBUTES_MAX, decode};
use super::usual;
use super::value::{self, Reader};
use crate::store::{Row, pack_report};
use crate::{culprit, named, report as borrowed};

/// Bytes of one encoded report; a larger one is rejected. 1,024 events with a line of 4 KiB each fit.
const REPORT_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Events of one report; of more, the middle ones are dropped and counted. Four times what the detector keeps.
pub(super) const EVENTS_MAX: usize = 4_096;
/// Reasons of one report; more are rejected.
const REASONS_MAX: usize = 16;
/// Bytes of a name: node, pool, model, reason.
const NAME_BYTES_MAX: usize = 255;
/// `event_name` of a report's log record.
pub(super) const EVENT_NAME: &str = "blocksift.session";
/// Reason of what serde cannot write.
const UNWRITABLE: &str = "cannot be written as JSON";
/// What the attribute of a report's field begins with.
pub(super) const PREFIX: &str = "blocksift.";

/// Why a log record is not a report that can be stored.
#[derive(Debug, Error)]
pub(crate) enum Reject {
    #[error("larger than {REPORT_BYTES_MAX} bytes, the limit of one report")]
    TooLarge,
    #[error("not a decodable log record")]
    Undecodable,
    #[error("not a blocksift report (no event_name `{EVENT_NAME}` and no attribute `{PREFIX}id`)")]
    Foreign,
    #[error("more than {ATTRIBUTES_MAX} attributes")]
    Attributes,
    #[error("{0}")]
    Shape(String),
    #[error("`{0}` {1}")]
    Field(&'static str, &'static str),
}

/// Reads one log record.
///
/// # Errors
/// [`Reject`], which counts it under a reason.
pub(super) fn read(format: Format, item: &[u8]) -> Result<Row, Reject> {
    with(format, item, check)
}

/// Reads one log record as [`read`] does, but for its body: what it would be stored as, and not the report.
///
/// # Errors
/// As [`read`].
pub(super) fn read_columns(format: Format, item: &[u8]) -> Result<Row, Reject> {
    with(format, item, columns)
}

/// What `of` makes of the report in a record.
fn with<T>(
    format: Format,
    item: &[u8],
    of: impl FnOnce(&borrowed::Report<'_>) -> Result<T, Reject>,
) -> Result<T, Reject> {
    if item.len() > REPORT_BYTES_MAX {
        return Err(Reject::TooLarge);
    }
    if matches!(format, Format::Protobuf)
        && let Some(report) = usual::read(item)
    {
        return of(&report);
    }
    let mut report = any_report(format, item)?;
    bound_events(&mut report);
    of(&(&report).into())
}

/// The report of a record in whatever shape OTLP allows.
pub(super) fn any_report(format: Format, item: &[u8]) -> Result<Report, Reject> {
    let record: LogRecord = decode(format, item).map_err(|_| Reject::Undecodable)?;
    report(record)
}

fn report(record: LogRecord) -> Result<Report, Reject> {
    if record.attributes.len() > ATTRIBUTES_MAX {
        return Err(Reject::Attributes);
    }
    let body = record.body;
    let mut fields: Vec<(String, Reader)> = Vec::new();
    for attribute in record.attributes {
        if let Some(field) = attribute.key.strip_prefix(PREFIX) {
            fields.push((field.to_owned(), Reader(attribute.value)));
        }
    }
    let names = |name: &str| fields.iter().any(|(field, _)| field == name);
    if record.event_name == EVENT_NAME || names("id") {
        fields.push(("events".to_owned(), Reader(body)));
    } else if is_whole(body.as_ref()) {
        return Report::deserialize(Reader(body)).map_err(|error| shape(&error));
    } else {
        return Err(Reject::Foreign);
    }
    Report::deserialize(value::reader_of_fields(fields.into_iter())).map_err(|error| shape(&error))
}

/// Whether a body looks like a report as a whole.
fn is_whole(body: Option<&AnyValue>) -> bool {
    let fields = value::fields(body).unwrap_or_default();
    ["id", "events"].iter().all(|name| fields.iter().any(|field| field.key == *name))
}

/// Head and tail stay, as in the detector.
fn bound_events(report: &mut Report) {
    let dropped = report.events.len().saturating_sub(EVENTS_MAX);
    if dropped > 0 {
        report.events.drain(EVENTS_MAX / 2..EVENTS_MAX / 2 + dropped);
        report.events_dropped =
            report.events_dropped.saturating_add(u64::try_from(dropped).unwrap_or(u64::MAX));
    }
}

/// Only messages that name a field of the report are passed on: the others quote values.
fn shape(error: &serde::de::value::Error) -> Reject {
    let message = error.to_string();
    if message.starts_with("missing field") || message.starts_with("duplicate field") {
        Reject::Shape(format!("not a whole report: {message}"))
    } else {
        Reject::Shape("a field of the report has the wrong type".to_owned())
    }
}

/// A report as a row, if every field is what it has to be.
///
/// # Errors
/// [`Reject`].
pub(crate) fn check(report: &borrowed::Report<'_>) -> Result<Row, Reject> {
    let row = columns(report)?;
    let body = pack_report(report).map_err(|_| Reject::Shape(UNWRITABLE.to_owned()))?;
    Ok(Row { body, ..row })
}

/// As [`check`], with an empty body.
fn columns(report: &borrowed::Report<'_>) -> Result<Row, Reject> {
    let name = |field, text: &str, bytes_min| {
        if is_name(text, bytes_min) {
            Ok(())
        } else {
            Err(Reject::Field(field, "is not a name of at most 255 bytes"))
        }
    };
    let id = hex(report.id).ok_or(Reject::Field("id", "is not 16 hexadecimal digits"))?;
    name("node", report.node, 1)?;
    name("pool", report.pool, 0)?;
    name("model", report.model, 0)?;
    for reason in &report.reasons {
        name("reasons", reason, 1)?;
    }
    if report.reasons.len() > REASONS_MAX {
        return Err(Reject::Field("reasons", "has more than 16 entries"));
    }
    let block = block(report.block).ok_or(Reject::Field("block", "is neither empty nor `blk_<id>`"))?;
    // A number that is not finite would be stored as `null`, which no reader takes for a contribution.
    if !report.events.iter().all(|event| (-1.0..=1.0).contains(&event.contribution)) {
        return Err(Reject::Field("contribution", "is not in -1..=1"));
    }
    let share = |field, number: f32| {
        if !(0.0..=1.0).contains(&number) {
            return Err(Reject::Field(field, "is not in 0..=1"));
        }
        // By way of its shortest text, so that 0.9 is stored as 0.9 and found by `min_score=0.9`.
        Ok(number.to_string().parse().unwrap_or_else(|_| f64::from(number)))
    };
    Ok(Row {
        id,
        revision: i64::try_from(report.revision).map_err(|_| Reject::Field("revision", "is too large"))?,
        node: report.node.to_owned(),
        block,
        pool: report.pool.to_owned(),
        flagged: report.flagged,
        score: share("score", report.score)?,
        threshold: share("threshold", report.threshold)?,
        model: report.model.to_owned(),
        reasons: encode(&report.reasons)?,
        start_ms: time_ms("start", report.start)?,
        end_ms: time_ms("end", report.end)?,
        events: i64::try_from(report.events.len())
            .unwrap_or(i64::MAX)
            .saturating_add_unsigned(report.events_dropped),
        culprits: culprit::of(report),
        named: named::of(report),
        body: Vec::new(),
    })
}

fn encode(value: &impl serde::Serialize) -> Result<String, Reject> {
    serde_json::to_string(value).map_err(|_| Reject::Shape(UNWRITABLE.to_owned()))
}

fn time_ms(field: &'static str, text: &str) -> Result<i64, Reject> {
    let time: Timestamp = text.parse().map_err(|_| Reject::Field(field, "is not a time as in RFC 3339"))?;
    Ok(time.as_millisecond())
}

/// Whether a text can stand for a node, model or the like: `bytes_min..=255` bytes, no control characters.
pub(crate) fn is_name(text: &str, bytes_min: usize) -> bool {
    (bytes_min..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The number that 16 hexadecimal digits stand for.
pub(crate) fn hex(text: &str) -> Option<i64> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok()?;
    digits.then_some(number.cast_signed())
}

/// The block's id, none where the text is empty; nothing where the text is neither.
fn block(text: &str) -> Option<Option<i64>> {
    if text.is_empty() {
        return Some(None);
    }
    let id = text.strip_prefix("blk_")?.parse::<i64>().ok()?;
    (text == format!("blk_{id}")).then_some(Some(id))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{any_value, report as sample, to_record};
    use super::*;

    fn row(change: impl FnOnce(&mut Report)) -> Result<Row, Reject> {
        let mut report = sample();
        change(&mut report);
        check(&(&report).into())
    }

    #[test]
    fn a_record_gives_its_report_back() {
        let sent = sample();
        let received = report(to_record(&sent)).unwrap();
        assert_eq!(received, sent);
        let row = check(&(&received).into()).unwrap();
        let body = crate::store::unpack(&row.body).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&body).unwrap(), sent);
        assert_eq!(row.id, 0x0123_4567_89ab_cdef);
        assert_eq!((row.events, row.flagged, row.end_ms), (2, true, 1_226_262_918_000));
    }

    #[test]
    fn a_body_may_be_the_whole_report() {
        let sent = sample();
        let record =
            LogRecord { body: any_value(serde_json::to_value(&sent).unwrap()), ..LogRecord::default() };
        assert_eq!(report(record).unwrap(), sent);
        let other = LogRecord { body: any_value(serde_json::json!({ "id": "x" })), ..LogRecord::default() };
        assert!(matches!(report(other), Err(Reject::Foreign)));
    }

    #[test]
    fn other_attributes_are_ignored_and_other_records_rejected() {
        let mut record = to_record(&sample());
        for name in ["http.route", "blocksift.future_field"] {
            let mut other = record.attributes[0].clone();
            other.key = name.to_owned();
            record.attributes.push(other);
        }
        assert_eq!(report(record).unwrap(), sample());
        let foreign = LogRecord { event_name: "exception".to_owned(), ..LogRecord::default() };
        assert!(matches!(report(foreign), Err(Reject::Foreign)));
    }

    #[test]
    fn reasons_name_the_field_and_never_the_content() {
        let mut record = to_record(&sample());
        record.attributes.retain(|attribute| attribute.key != "blocksift.node");
        assert_eq!(report(record).unwrap_err().to_string(), "not a whole report: missing field `node`");
        let mut record = to_record(&sample());
        for attribute in &mut record.attributes {
            if attribute.key == "blocksift.revision" {
                attribute.value = record_text("secret content");
            }
        }
        let reason = report(record).unwrap_err().to_string();
        assert_eq!(reason, "a field of the report has the wrong type");
    }

    fn record_text(text: &str) -> Option<AnyValue> {
        use opentelemetry_proto::tonic::common::v1::any_value::Value;
        Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) })
    }

    #[test]
    fn fields_out_of_bounds_are_rejected() {
        assert!(row(|_| {}).is_ok());
        assert!(row(|report| report.block = "blk_-1".to_owned()).is_ok());
        assert!(row(|report| report.block = String::new()).is_ok());
        for block in ["../../etc/passwd", "blk_", "blk_+1", "blk_01", "blk_99999999999999999999"] {
            assert!(row(|report| report.block = block.to_owned()).is_err(), "{block}");
        }
        assert!(row(|report| report.id = "short".to_owned()).is_err());
        assert!(row(|report| report.id = "0123456789abcdeg".to_owned()).is_err());
        assert!(row(|report| report.node = "a\nb".to_owned()).is_err());
        assert!(row(|report| report.node = "n".repeat(256)).is_err());
        assert!(row(|report| report.score = f32::NAN).is_err());
        assert!(row(|report| report.score = 1.5).is_err());
        for contribution in [f32::NAN, f32::INFINITY, -1.5] {
            assert!(row(|report| report.events[0].contribution = contribution).is_err());
        }
        assert!(row(|report| report.end = "yesterday".to_owned()).is_err());
        assert!(row(|report| report.reasons = vec!["score".to_owned(); 17]).is_err());
        assert!(row(|report| report.revision = u64::MAX).is_err());
    }

    #[test]
    fn the_middle_of_a_very_long_session_is_dropped_and_counted() {
        let mut long = sample();
        long.events = vec![long.events[0].clone(); EVENTS_MAX + 3];
        long.events[0].offset = 1;
        long.events[EVENTS_MAX + 2].offset = 2;
        long.events_dropped = 10;
        bound_events(&mut long);
        assert_eq!((long.events.len(), long.events_dropped), (EVENTS_MAX, 13));
        assert_eq!((long.events[0].offset, long.events[EVENTS_MAX - 1].offset), (1, 2));
    }
}
