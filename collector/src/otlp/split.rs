//! Requests cut into messages for Kafka: one for each block, so that all reports of a block are in one partition, whoever
//! sent them. A message is an OTLP request in protobuf, with the resource that its records came with.
//!
//! What could not be stored is rejected here, where its sender can be told, and what a sender may not say is left out: who
//! reads a message knows nothing of senders.

use std::borrow::Cow;
use std::collections::BTreeMap;

use blocksift_kafka::Outgoing;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::body::Format;
use super::envelope::{self, Group, to_protobuf};
use super::reply::Refusal;
use super::{NOT_YOURS, Rejected, metric, report, sender};
use crate::access::agents::Nodes;

/// What a request is cut into.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) messages: Vec<Outgoing>,
    /// As [`super::Read::rejected`].
    pub(crate) rejected: Rejected,
}

/// Cuts an unpacked body of `/v1/logs`. Keys are blocks, `blk_<id>`; nodes for sessions without one.
///
/// # Errors
/// As [`super::read_logs`].
pub(crate) fn logs(format: Format, body: &[u8], nodes: &Nodes) -> Result<Split, Refusal> {
    let mut split = Split::default();
    for group in envelope::groups(format, body)? {
        let mut by_key: BTreeMap<String, Vec<Cow<'_, [u8]>>> = BTreeMap::new();
        for item in &group.items {
            let row = match report::read_columns(format, item) {
                Ok(row) if nodes.allows(&row.node) => row,
                Ok(_) => {
                    split.rejected.add(NOT_YOURS, 1);
                    continue;
                }
                Err(reason) => {
                    split.rejected.add(reason.to_string().as_str(), 1);
                    continue;
                }
            };
            let key = row.block.map_or(row.node, |block| format!("blk_{block}"));
            let item = to_protobuf::<LogRecord>(format, item).map_err(|_| Refusal::Malformed)?;
            by_key.entry(key).or_default().push(item);
        }
        // It would be believed of whatever node it names.
        let may_speak = sender(format, &group).node.is_none_or(|node| nodes.allows(&node));
        let resource = if may_speak { resource(format, &group) } else { None };
        for (key, items) in by_key {
            let value = envelope::request(resource.as_deref(), &items);
            split.messages.push(Outgoing { key: key.into(), value: value.into() });
        }
    }
    Ok(split)
}

/// Cuts an unpacked body of `/v1/metrics`. Keys are nodes.
///
/// # Errors
/// As [`super::read_metrics`].
pub(crate) fn metrics(format: Format, body: &[u8], nodes: &Nodes) -> Result<Split, Refusal> {
    let mut split = Split::default();
    for group in envelope::groups(format, body)? {
        let mut latest = metric::Latest::default();
        let mut items = Vec::new();
        for item in &group.items {
            let before = latest.points();
            let (points, reason) = metric::read(format, item, &mut latest);
            split.rejected.add(reason, points);
            if latest.points() > before {
                items.push(to_protobuf::<Metric>(format, item).map_err(|_| Refusal::Malformed)?);
            }
        }
        match sender(format, &group).node {
            Some(node) if !nodes.allows(&node) => split.rejected.add(NOT_YOURS, latest.points()),
            Some(node) if !items.is_empty() => {
                let value = envelope::request(resource(format, &group).as_deref(), &items);
                split.messages.push(Outgoing { key: node.into(), value: value.into() });
            }
            Some(_) => {}
            None => split.rejected.add(super::NO_NODE, latest.points()),
        }
    }
    Ok(split)
}

/// A group's resource as protobuf; nothing where it has none that can be read.
fn resource<'a>(format: Format, group: &Group<'a>) -> Option<Cow<'a, [u8]>> {
    to_protobuf::<Resource>(format, group.resource?).ok()
}

#[cfg(test)]
mod tests {
    use glob::Pattern;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use prost::Message;

    use super::super::tests::{logs_request, metric, metrics_request, point, report as sample, to_record};
    use super::super::{Read, read_logs, read_metrics};
    use super::*;

    fn keys(split: &Split) -> Vec<&str> {
        split.messages.iter().map(|message| std::str::from_utf8(&message.key).unwrap()).collect()
    }

    fn read_again(split: &Split, read: fn(Format, &[u8], &Nodes) -> Result<Read, Refusal>) -> Read {
        let mut all = Read::default();
        for message in &split.messages {
            let part = read(Format::Protobuf, &message.value, &Nodes::Any).unwrap();
            assert_eq!(part.rejected.total(), 0);
            all.batch.rows.extend(part.batch.rows);
            all.batch.nodes.extend(part.batch.nodes);
        }
        all
    }

    fn request(node: &str, reports: &[blocksift_detector::Report]) -> ExportLogsServiceRequest {
        logs_request(node, reports.iter().map(to_record).collect())
    }

    fn of(block: &str, id: u64) -> blocksift_detector::Report {
        blocksift_detector::Report { block: block.to_owned(), id: format!("{id:016x}"), ..sample() }
    }

    #[test]
    fn each_block_is_a_message_and_nothing_is_lost_in_either_format() {
        let request = request("dn1", &[of("blk_2", 1), of("blk_1", 2), of("", 3), of("blk_2", 4)]);
        let whole = read_logs(Format::Protobuf, &request.encode_to_vec(), &Nodes::Any).unwrap();
        for (format, body) in [
            (Format::Protobuf, request.encode_to_vec()),
            (Format::Json, serde_json::to_vec(&request).unwrap()),
        ] {
            let split = logs(format, &body, &Nodes::Any).unwrap();
            assert_eq!(keys(&split), ["blk_1", "blk_2", sample().node.as_str()], "{format:?}");
            let mut again = read_again(&split, read_logs);
            again.batch.rows.sort_by_key(|row| row.id);
            assert_eq!(again.batch.rows, whole.batch.rows);
            assert!(
                again.batch.nodes.iter().all(|seen| *seen == whole.batch.nodes[0]),
                "{:?}",
                again.batch.nodes
            );
        }
    }

    #[test]
    fn what_cannot_be_stored_or_said_is_not_passed_on() {
        let mut request = request("dn9", &[of("blk_1", 1), of("nonsense", 2)]);
        let mine = Nodes::Fitting([Pattern::new(&sample().node).unwrap()].into());
        let split = logs(Format::Protobuf, &request.encode_to_vec(), &mine).unwrap();
        assert_eq!((split.messages.len(), split.rejected.total()), (1, 1));
        let message = ExportLogsServiceRequest::decode(&*split.messages[0].value).unwrap();
        assert!(message.resource_logs[0].resource.is_none(), "the sender may not speak for dn9");
        request.resource_logs[0].scope_logs[0].log_records.truncate(1);
        let others = Nodes::Fitting([Pattern::new("other").unwrap()].into());
        let split = logs(Format::Protobuf, &request.encode_to_vec(), &others).unwrap();
        assert!(split.messages.is_empty() && split.rejected.message().contains(NOT_YOURS));
    }

    #[test]
    fn a_summary_is_one_message_of_its_node() {
        let metrics_of_agent = vec![
            metric("blocksift.lines_read", vec![point(5, None)]),
            metric("foreign", vec![point(1, None)]),
        ];
        let request = metrics_request("dn1", metrics_of_agent);
        let whole = read_metrics(Format::Protobuf, &request.encode_to_vec(), &Nodes::Any).unwrap();
        for (format, body) in [
            (Format::Protobuf, request.encode_to_vec()),
            (Format::Json, serde_json::to_vec(&request).unwrap()),
        ] {
            let split = metrics(format, &body, &Nodes::Any).unwrap();
            assert_eq!(keys(&split), ["dn1"]);
            assert_eq!(read_again(&split, read_metrics).batch.nodes, whole.batch.nodes);
            let nobody = Nodes::Fitting([].into());
            let refused = metrics(format, &body, &nobody).unwrap();
            assert!(refused.messages.is_empty() && refused.rejected.total() > 0);
        }
    }
}
