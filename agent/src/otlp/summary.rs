//! What a summary says beyond totals, as OTLP metrics: events by template, scores, drift.
//!
//! Sums and the histogram are cumulative, each from the start time that its points carry; see [`crate::summary`] for what
//! that means for a template that comes onto the list later, or leaves it.

use blocksift_detector::tally::SCORE_BOUNDS;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
};

use super::{attribute, metric, point};
use crate::summary::{Details, Templates};

/// Stands for all templates that are not counted by themselves, where others have their id.
const REST: &str = "other";

pub(super) fn metrics(details: &Details, now_ns: u64) -> Vec<Metric> {
    let mut metrics = vec![
        templates("template_events", &details.known, details.since_ms, now_ns),
        templates("unknown_template_events", &details.unknown, details.since_ms, now_ns),
        scores(details, now_ns),
    ];
    let drift = [
        ("events_unknown_share", details.drift.events_unknown_share),
        ("score_shift", details.drift.score_shift),
    ];
    for (name, value) in drift {
        if let Some(value) = value {
            let value = Some(Number::AsDouble(value));
            let start_time_unix_nano = nanos(details.since_ms);
            let point = NumberDataPoint {
                start_time_unix_nano,
                time_unix_nano: now_ns,
                value,
                ..NumberDataPoint::default()
            };
            metrics.push(metric(name, false, vec![point]));
        }
    }
    metrics
}

fn templates(name: &str, templates: &Templates, since_ms: i64, now_ns: u64) -> Metric {
    let mut points = Vec::with_capacity(templates.list.len() + 1);
    for template in &templates.list {
        let mut point = point(template.events, None, nanos(template.since_ms), now_ns);
        point.attributes = vec![
            attribute("template", Any::StringValue(template.template.clone())),
            attribute("text", Any::StringValue(template.text.clone())),
        ];
        points.push(point);
    }
    let mut rest = point(templates.rest, None, nanos(since_ms), now_ns);
    rest.attributes = vec![attribute("template", Any::StringValue(REST.to_owned()))];
    points.push(rest);
    metric(name, true, points)
}

fn scores(details: &Details, now_ns: u64) -> Metric {
    // The last bucket is for what is above all bounds, as no score is.
    let bucket_counts = details.scores.by_bound.into_iter().chain([0]).collect();
    let point = HistogramDataPoint {
        start_time_unix_nano: nanos(details.since_ms),
        time_unix_nano: now_ns,
        count: details.scores.total(),
        sum: Some(details.scores.sum),
        bucket_counts,
        explicit_bounds: SCORE_BOUNDS.map(decimal).to_vec(),
        ..HistogramDataPoint::default()
    };
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = Some(Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality }));
    Metric { name: "blocksift.scores".to_owned(), data, ..Metric::default() }
}

/// A bound as it was written, rather than as the nearest float32.
fn decimal(bound: f32) -> f64 {
    (f64::from(bound) * 1e6).round() / 1e6
}

fn nanos(time_ms: i64) -> u64 {
    u64::try_from(time_ms).unwrap_or(0).saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Drift, TemplateEvents};

    #[test]
    fn a_listed_template_has_its_own_start_and_the_rest_adds_up() {
        let template = TemplateEvents {
            template: "00ff".to_owned(),
            text: "a <blk>".to_owned(),
            since_ms: 5,
            events: 7,
        };
        let unknown = Templates { list: vec![template], rest: 3 };
        let drift = Drift { events_unknown_share: Some(0.25), score_shift: None };
        let details = Details { since_ms: 2, unknown, drift, ..Details::default() };
        let metrics = metrics(&details, 9_000_000);
        let find = |name: &str| {
            metrics.iter().find(|metric| metric.name == name).and_then(|metric| metric.data.clone())
        };
        let Some(Data::Sum(sum)) = find("blocksift.unknown_template_events") else { panic!("not a sum") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        let points: Vec<_> = sum
            .data_points
            .iter()
            .map(|point| (point.start_time_unix_nano, point.value, point.attributes.len()))
            .collect();
        assert_eq!(points, [(5_000_000, Some(Number::AsInt(7)), 2), (2_000_000, Some(Number::AsInt(3)), 1)]);
        let Some(Data::Gauge(share)) = find("blocksift.events_unknown_share") else { panic!("not a gauge") };
        assert_eq!(share.data_points[0].value, Some(Number::AsDouble(0.25)));
        assert!(find("blocksift.score_shift").is_none(), "too few scores to say");
        let Some(Data::Histogram(scores)) = find("blocksift.scores") else { panic!("not a histogram") };
        let point = &scores.data_points[0];
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.explicit_bounds[..2], [0.001, 0.01]);
    }
}
