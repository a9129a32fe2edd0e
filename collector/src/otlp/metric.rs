//! One OTLP metric of an agent's summary: the latest value of each `blocksift.<name>` per node.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric, NumberDataPoint};
use serde_json::{Map, Value};

use super::body::Format;
use super::envelope::decode;
use super::report::hex;
use super::value;
use crate::store::{Metrics, TemplateEvents};

/// Bytes of one encoded metric; a larger one is rejected.
const METRIC_BYTES_MAX: usize = 64 * 1024;
/// Names kept per node, and reasons per name; further ones are rejected.
const NAMES_MAX: usize = 64;
/// Bytes of a name or reason.
const NAME_BYTES_MAX: usize = 48;
/// What the name of a summary's metric begins with.
const PREFIX: &str = "blocksift.";
/// Attribute that tells apart the points of one metric, such as why lines were skipped.
const REASON: &str = "reason";
/// Metrics whose points are counts of single templates, and whether the model knows these.
const TEMPLATES: [(&str, bool); 2] = [("template_events", true), ("unknown_template_events", false)];
/// Templates of one summary; an agent lists 80.
const TEMPLATES_MAX: usize = 256;
/// Characters of a template's text that are kept.
const TEXT_CHARS_MAX: usize = 400;

/// Latest values of one node: name, then reason (empty where there is none), then value.
#[derive(Debug, Default)]
pub(super) struct Latest {
    time_ms: i64,
    since_ms: Option<i64>,
    points: u64,
    values: BTreeMap<String, BTreeMap<String, f64>>,
    templates: Vec<TemplateEvents>,
}

impl Latest {
    /// Whether no point was accepted.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Points accepted.
    pub(super) fn points(&self) -> u64 {
        self.points
    }

    /// Counts a point that was kept.
    fn take(&mut self, start_ns: u64, time_ns: u64) {
        self.points += 1;
        self.time_ms = self.time_ms.max(milliseconds(time_ns));
        if start_ns > 0 {
            let start_ms = milliseconds(start_ns);
            self.since_ms = Some(self.since_ms.map_or(start_ms, |since_ms| since_ms.min(start_ms)));
        }
    }

    /// As it is stored: `{"lines_read": 5, "lines_skipped": {"no_head": 1}}`.
    pub(super) fn into_metrics(self) -> Metrics {
        let mut object = Map::new();
        for (name, mut reasons) in self.values {
            let value = match (reasons.len(), reasons.remove("")) {
                (1, Some(number)) => json(number),
                (_, unnamed) => {
                    let named = reasons.into_iter().map(|(reason, number)| (reason, json(number)));
                    Value::Object(
                        named.chain(unnamed.map(|number| ("other".to_owned(), json(number)))).collect(),
                    )
                }
            };
            object.insert(name, value);
        }
        Metrics {
            time_ms: self.time_ms,
            since_ms: self.since_ms.unwrap_or(self.time_ms),
            values: Value::Object(object).to_string(),
            templates: self.templates,
        }
    }
}

/// Whole numbers without a decimal point: they are counts.
fn json(number: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within what i64 and f64 share")]
        return Value::from(number as i64);
    }
    Value::from(number)
}

/// Reads one metric into `latest`; returns how many of its points were rejected, and why.
pub(super) fn read(format: Format, item: &[u8], latest: &mut Latest) -> (u64, &'static str) {
    if item.len() > METRIC_BYTES_MAX {
        return (1, "a metric is larger than 65536 bytes");
    }
    let Ok(metric) = decode::<Metric>(format, item) else { return (1, "not a decodable metric") };
    let (points, histograms, other_points) = match metric.data {
        Some(Data::Gauge(gauge)) => (gauge.data_points, Vec::new(), 0),
        Some(Data::Sum(sum)) => (sum.data_points, Vec::new(), 0),
        Some(Data::Histogram(histogram)) => (Vec::new(), histogram.data_points, 0),
        Some(Data::ExponentialHistogram(histogram)) => (Vec::new(), Vec::new(), histogram.data_points.len()),
        Some(Data::Summary(summary)) => (Vec::new(), Vec::new(), summary.data_points.len()),
        None => (Vec::new(), Vec::new(), 0),
    };
    let Some(name) = metric.name.strip_prefix(PREFIX).filter(|name| is_word(name)) else {
        return (
            count(points.len() + histograms.len() + other_points),
            "not a metric of blocksift (its name is not `blocksift.<word>`)",
        );
    };
    let mut rejected = count(other_points);
    for point in &points {
        if !keep(name, point, latest) {
            rejected += 1;
        }
    }
    for histogram in &histograms {
        if !keep_histogram(name, histogram, latest) {
            rejected += 1;
        }
    }
    (rejected, "not a finite number of a gauge or sum, nor a histogram with bounds, or too many names")
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn keep(name: &str, point: &NumberDataPoint, latest: &mut Latest) -> bool {
    let number = match point.value {
        #[expect(clippy::cast_precision_loss, reason = "shown, not added up; exact to 2^53")]
        Some(Number::AsInt(number)) => number as f64,
        Some(Number::AsDouble(number)) => number,
        None => return false,
    };
    let attribute = point.attributes.iter().find(|attribute| attribute.key == REASON);
    let reason = attribute.and_then(|attribute| value::text(attribute.value.as_ref())).unwrap_or_default();
    if !put(name, reason, number, latest) {
        return false;
    }
    latest.take(point.start_time_unix_nano, point.time_unix_nano);
    if let Some((_, known)) = TEMPLATES.iter().find(|(of, _)| *of == name)
        && latest.templates.len() < TEMPLATES_MAX
    {
        latest.templates.extend(template(point, *known));
    }
    true
}

/// The count of one template; nothing for the rest, which has no id.
fn template(point: &NumberDataPoint, known: bool) -> Option<TemplateEvents> {
    let attribute = |key: &str| {
        let found = point.attributes.iter().find(|attribute| attribute.key == key);
        found.and_then(|attribute| value::text(attribute.value.as_ref()))
    };
    let Some(Number::AsInt(events)) = point.value else { return None };
    Some(TemplateEvents {
        template: hex(attribute("template")?)?,
        text: attribute("text").unwrap_or_default().chars().take(TEXT_CHARS_MAX).collect(),
        known,
        since_ms: milliseconds(point.start_time_unix_nano),
        events: events.max(0),
    })
}

fn milliseconds(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX)
}

/// A histogram's counts by their upper bounds, such as `{"0.5": 3, "inf": 0}`.
fn keep_histogram(name: &str, point: &HistogramDataPoint, latest: &mut Latest) -> bool {
    let (counts, bounds) = (&point.bucket_counts, &point.explicit_bounds);
    if counts.len() != bounds.len() + 1 || counts.len() > NAMES_MAX {
        return false;
    }
    for (at, bucket) in counts.iter().enumerate() {
        let bound = bounds.get(at).map_or_else(|| "inf".to_owned(), f64::to_string);
        #[expect(clippy::cast_precision_loss, reason = "shown, not added up; exact to 2^53")]
        if !put(name, &bound, *bucket as f64, latest) {
            return false;
        }
    }
    latest.take(point.start_time_unix_nano, point.time_unix_nano);
    true
}

/// Adds a number to those of a name and reason, if there is room for them.
fn put(name: &str, reason: &str, number: f64, latest: &mut Latest) -> bool {
    if !number.is_finite() || !(reason.is_empty() || is_word(reason)) {
        return false;
    }
    if latest.values.len() >= NAMES_MAX && !latest.values.contains_key(name) {
        return false;
    }
    let reasons = latest.values.entry(name.to_owned()).or_default();
    if reasons.len() >= NAMES_MAX && !reasons.contains_key(reason) {
        return false;
    }
    // Points that other attributes tell apart, such as one per file, add up to the node's value.
    *reasons.entry(reason.to_owned()).or_default() += number;
    true
}

/// Whether a name can become a key of the JSON API: lower case letters, digits, underscores and dots.
fn is_word(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'.';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{Gauge, Histogram, HistogramDataPoint};
    use prost::Message;

    use super::super::tests::{metric, point};
    use super::*;

    fn feed(metric: &Metric, latest: &mut Latest) -> u64 {
        read(Format::Protobuf, &metric.encode_to_vec(), latest).0
    }

    #[test]
    fn a_summary_becomes_one_object() {
        let mut latest = Latest::default();
        assert_eq!(feed(&metric("blocksift.lines_read", vec![point(5, None)]), &mut latest), 0);
        let skipped = metric(
            "blocksift.lines_skipped",
            vec![point(1, Some("no_head")), point(2, Some("beyond_record"))],
        );
        assert_eq!(feed(&skipped, &mut latest), 0);
        assert_eq!(
            feed(&metric("blocksift.lag_bytes", vec![point(3, None), point(4, None)]), &mut latest),
            0
        );
        assert_eq!(latest.points(), 5);
        let metrics = latest.into_metrics();
        assert_eq!(metrics.time_ms, 1_700_000_000_000);
        assert_eq!(
            metrics.values,
            r#"{"lag_bytes":7,"lines_read":5,"lines_skipped":{"beyond_record":2,"no_head":1}}"#
        );
    }

    #[test]
    fn what_is_not_a_summary_is_rejected() {
        let mut latest = Latest::default();
        assert_eq!(feed(&metric("system.cpu.time", vec![point(5, None), point(6, None)]), &mut latest), 2);
        assert_eq!(feed(&metric("blocksift.<script>", vec![point(5, None)]), &mut latest), 1);
        assert_eq!(feed(&metric("blocksift.a", vec![point(5, Some("/etc/passwd"))]), &mut latest), 1);
        let nan = NumberDataPoint { value: Some(Number::AsDouble(f64::NAN)), ..NumberDataPoint::default() };
        let data = Some(Data::Gauge(Gauge { data_points: vec![nan] }));
        assert_eq!(
            feed(&Metric { name: "blocksift.a".to_owned(), data, ..Metric::default() }, &mut latest),
            1
        );
        let histogram =
            Histogram { data_points: vec![HistogramDataPoint::default()], ..Histogram::default() };
        let data = Some(Data::Histogram(histogram));
        assert_eq!(
            feed(&Metric { name: "blocksift.a".to_owned(), data, ..Metric::default() }, &mut latest),
            1
        );
        assert_eq!(read(Format::Protobuf, b"\xff", &mut latest).0, 1);
        assert!(latest.is_empty());
    }

    #[test]
    fn a_histogram_becomes_counts_by_bound() {
        let mut latest = Latest::default();
        let mut feed_histogram = |explicit_bounds: Vec<f64>, bucket_counts: Vec<u64>| {
            let point =
                HistogramDataPoint { explicit_bounds, bucket_counts, ..HistogramDataPoint::default() };
            let data = Some(Data::Histogram(Histogram { data_points: vec![point], ..Histogram::default() }));
            feed(&Metric { name: "blocksift.scores".to_owned(), data, ..Metric::default() }, &mut latest)
        };
        assert_eq!(feed_histogram(vec![0.001, 1.0], vec![7, 2, 0]), 0);
        for (bounds, counts) in [
            (vec![0.5], vec![1]),
            (vec![f64::NAN], vec![1, 1]),
            (vec![-1.0], vec![1, 1]),
            (vec![0.5; 100], vec![1; 101]),
        ] {
            assert_eq!(feed_histogram(bounds, counts), 1);
        }
        assert_eq!(latest.into_metrics().values, r#"{"scores":{"0.001":7,"1":2,"inf":0}}"#);
    }

    #[test]
    fn templates_are_counted_by_themselves_but_for_the_rest() {
        let mut latest = Latest::default();
        let named = |template: &str, events| {
            let mut point = point(events, None);
            point.start_time_unix_nano = 5_000_000;
            for (key, text) in [("template", template), ("text", "a <blk>")] {
                let mut attribute = super::super::tests::point(0, Some(text)).attributes.remove(0);
                attribute.key = key.to_owned();
                point.attributes.push(attribute);
            }
            point
        };
        let points = vec![named("00000000000000ff", 7), named("other", 3)];
        assert_eq!(feed(&metric("blocksift.unknown_template_events", points), &mut latest), 0);
        let metrics = latest.into_metrics();
        let expected = TemplateEvents {
            template: 255,
            text: "a <blk>".to_owned(),
            known: false,
            since_ms: 5,
            events: 7,
        };
        assert_eq!((metrics.templates, metrics.since_ms), (vec![expected], 5));
        assert_eq!(metrics.values, r#"{"unknown_template_events":10}"#);
    }

    #[test]
    fn names_are_bounded() {
        let mut latest = Latest::default();
        let rejected: u64 = (0..100)
            .map(|i| feed(&metric(&format!("blocksift.m{i}"), vec![point(1, None)]), &mut latest))
            .sum();
        assert_eq!(rejected, 36);
        let points = (0..100).map(|i| point(1, Some(&format!("r{i}")))).collect();
        assert_eq!(feed(&metric("blocksift.m0", points), &mut latest), 37);
    }
}
