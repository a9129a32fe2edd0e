//! Reports and summaries as OTLP requests. The mapping is generic: a report's JSON fields become attributes
//! `blocksift.<field>`, its `events` the body; a summary's fields become metrics of the same names. So what a report
//! or a summary has more one day is carried without a change here.

mod summary;
#[cfg(test)]
pub(crate) mod tests;

use blocksift_detector::Summary;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::filter::{self, unix_nanos};
use crate::limits;
use crate::summary::Details;

/// Fields of a summary that go down as well as up; the others are sums.
const GAUGES: [&str; 2] = ["sessions_open", "sessions_flagged"];

/// Who sends.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// Name of the node.
    pub(crate) node: String,
    /// Name and content hash of the model.
    pub(crate) model: String,
    /// What other nodes' logs may call this one.
    pub(crate) addresses: Vec<String>,
}

impl Sender {
    fn resource(&self) -> Resource {
        let mut attributes = vec![
            attribute("service.name", Any::StringValue("blocksift-agent".to_owned())),
            attribute("service.version", Any::StringValue(env!("CARGO_PKG_VERSION").to_owned())),
            attribute("host.name", Any::StringValue(self.node.clone())),
            attribute("blocksift.model", Any::StringValue(self.model.clone())),
        ];
        if !self.addresses.is_empty() {
            let text = |address: &String| AnyValue { value: Some(Any::StringValue(address.clone())) };
            let values = self.addresses.iter().map(text).collect();
            attributes.push(attribute("host.ip", Any::ArrayValue(ArrayValue { values })));
        }
        Resource { attributes, ..Resource::default() }
    }
}

/// The request for `/v1/logs` that carries `reports`, or what filters made of them, in their order.
///
/// # Errors
/// When a report has no JSON form, which no report of the detector is without.
pub(crate) fn logs_request(
    sender: &Sender,
    reports: &[impl Serialize],
    now_ns: u64,
) -> Result<ExportLogsServiceRequest, serde_json::Error> {
    let log_records = reports.iter().map(|report| log_record(report, now_ns)).collect::<Result<_, _>>()?;
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, schema_url: String::new() }];
    let resource = Some(sender.resource());
    Ok(ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource, scope_logs, schema_url: String::new() }],
    })
}

fn log_record(report: &impl Serialize, now_ns: u64) -> Result<LogRecord, serde_json::Error> {
    let mut body = None;
    let mut attributes = Vec::new();
    let (mut end_ns, mut flagged) = (None, true);
    if let Value::Object(fields) = serde_json::to_value(report)? {
        end_ns = fields.get("end").and_then(Value::as_str).and_then(unix_nanos);
        flagged = fields.get("flagged").and_then(Value::as_bool).unwrap_or(true);
        for (field, value) in fields {
            if field == "events" {
                body = Some(any_value(value));
            } else {
                attributes.push(KeyValue {
                    key: format!("blocksift.{field}"),
                    value: Some(any_value(value)),
                    ..KeyValue::default()
                });
            }
        }
    }
    let severity = if flagged { SeverityNumber::Warn } else { SeverityNumber::Info };
    Ok(LogRecord {
        time_unix_nano: end_ns.unwrap_or(now_ns),
        observed_time_unix_nano: now_ns,
        severity_number: severity.into(),
        severity_text: if flagged { "WARN" } else { "INFO" }.to_owned(),
        body,
        attributes,
        event_name: "blocksift.session".to_owned(),
        ..LogRecord::default()
    })
}

/// Counts of the agent that are not the detector's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentCounts {
    /// Bytes in files that were not read yet.
    pub(crate) lag_bytes: u64,
    /// Age of the oldest line that was not read yet, in milliseconds, at most.
    pub(crate) lag_ms: u64,
    /// Files being followed.
    pub(crate) files: u64,
    /// Files that cannot be opened.
    pub(crate) files_unreadable: u64,
    /// Reports that wait for the collector.
    pub(crate) spool_reports: u64,
    /// The store cannot be written: nothing is read.
    pub(crate) store_failing: bool,
    /// Their bytes.
    pub(crate) spool_bytes: u64,
    /// Bytes of requests that were accepted, since the agent started.
    pub(crate) bytes_shipped: u64,
    /// Reports that were accepted, since the agent started.
    pub(crate) reports_shipped: u64,
    /// Reports that the collector refused for good, since the agent started.
    pub(crate) reports_refused: u64,
    /// Refused reports that are kept.
    pub(crate) dead_letters: u64,
    /// Refused reports that were dropped to make room for others, since the agent started.
    pub(crate) dead_letters_dropped: u64,
    /// What the limits held up.
    pub(crate) limits: limits::Counts,
    /// What filters did.
    pub(crate) filters: filter::Counts,
}

/// Times of a summary, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When the totals were zero.
    pub(crate) totals_since_ns: u64,
    /// When the agent started.
    pub(crate) started_ns: u64,
    /// Now.
    pub(crate) now_ns: u64,
}

/// The request for `/v1/metrics` that carries a summary. Its sums are cumulative: of several summaries the latest says
/// what all of them do, so one that is not taken need not be kept.
///
/// # Errors
/// When the summary has no JSON form, which none is without.
pub(crate) fn metrics_request(
    sender: &Sender,
    totals: &Summary,
    details: &Details,
    agent: &AgentCounts,
    times: Times,
) -> Result<ExportMetricsServiceRequest, serde_json::Error> {
    let mut metrics = Vec::new();
    if let Value::Object(fields) = serde_json::to_value(totals)? {
        for (field, value) in fields {
            let points = points(&value, times.totals_since_ns, times.now_ns);
            metrics.push(metric(&field, !GAUGES.contains(&field.as_str()), points));
        }
    }
    let gauges = [
        ("lag_bytes", agent.lag_bytes),
        ("lag_ms", agent.lag_ms),
        ("files", agent.files),
        ("files_unreadable", agent.files_unreadable),
        ("spool_reports", agent.spool_reports),
        ("store_failing", u64::from(agent.store_failing)),
        ("dead_letters", agent.dead_letters),
        ("spool_bytes", agent.spool_bytes),
        ("memory_resident_bytes", agent.limits.resident_bytes),
    ];
    let sums = [
        ("bytes_shipped", agent.bytes_shipped),
        ("reports_shipped", agent.reports_shipped),
        ("reports_refused", agent.reports_refused),
        ("dead_letters_dropped", agent.dead_letters_dropped),
        ("memory_cuts", agent.limits.memory_cuts),
        ("cpu_rest_ms", agent.limits.cpu_rest_ms),
        ("pressure_pauses", agent.limits.pressure_pauses),
        ("filter_dropped", agent.filters.dropped),
        ("filter_trapped", agent.filters.trapped),
        ("filter_out_of_fuel", agent.filters.out_of_fuel),
        ("filter_bad_answers", agent.filters.bad_answers),
    ];
    for (name, value) in gauges {
        metrics.push(metric(name, false, vec![point(value, None, times.started_ns, times.now_ns)]));
    }
    for (name, value) in sums {
        metrics.push(metric(name, true, vec![point(value, None, times.started_ns, times.now_ns)]));
    }
    metrics.extend(summary::metrics(details, times.now_ns));
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() }];
    let resource = Some(sender.resource());
    Ok(ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, schema_url: String::new() }],
    })
}

/// A count, or counts by reason.
fn points(value: &Value, start_ns: u64, now_ns: u64) -> Vec<NumberDataPoint> {
    match value {
        Value::Object(reasons) => reasons
            .iter()
            .map(|(reason, count)| point(count.as_u64().unwrap_or(0), Some(reason), start_ns, now_ns))
            .collect(),
        count => vec![point(count.as_u64().unwrap_or(0), None, start_ns, now_ns)],
    }
}

fn point(value: u64, reason: Option<&String>, start_ns: u64, now_ns: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: reason
            .map(|reason| attribute("reason", Any::StringValue(reason.clone())))
            .into_iter()
            .collect(),
        start_time_unix_nano: start_ns,
        time_unix_nano: now_ns,
        value: Some(Number::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
        ..NumberDataPoint::default()
    }
}

fn metric(field: &str, sum: bool, data_points: Vec<NumberDataPoint>) -> Metric {
    let data = if sum {
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true })
    } else {
        Data::Gauge(Gauge { data_points })
    };
    Metric { name: format!("blocksift.{field}"), data: Some(data), ..Metric::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "blocksift".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// JSON as OTLP knows it; `null` is a value without one.
fn any_value(value: Value) -> AnyValue {
    let value = match value {
        Value::Null => None,
        Value::Bool(value) => Some(Any::BoolValue(value)),
        Value::Number(number) => Some(match number.as_i64() {
            Some(integer) => Any::IntValue(integer),
            None => Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::String(text) => Some(Any::StringValue(text)),
        Value::Array(values) => {
            Some(Any::ArrayValue(ArrayValue { values: values.into_iter().map(any_value).collect() }))
        }
        Value::Object(fields) => {
            let field = |(key, value)| KeyValue { key, value: Some(any_value(value)), ..KeyValue::default() };
            Some(Any::KvlistValue(KeyValueList { values: fields.into_iter().map(field).collect() }))
        }
    };
    AnyValue { value }
}
