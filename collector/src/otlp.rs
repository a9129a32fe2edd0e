//! OTLP/HTTP request bodies: from bytes on the wire to checked [`Row`]s and [`Sighting`]s.
//!
//! The files follow the path of a request: [`body`] unpacks it, [`envelope`] cuts it into its records, [`report`]
//! and [`metric`] read one record each, [`reply`] answers; [`split`] makes messages for Kafka of a request instead. A record
//! is decoded alone and dropped before the next one, so a request never costs much more memory than its own bytes. Storing is
//! [`crate::ingest`]'s.
//!
//! Every byte is hostile: all limits are constants beside their user, and nothing of a record is logged.

pub(crate) mod body;
mod envelope;
mod metric;
pub(crate) mod reply;
pub(crate) mod report;
pub(crate) mod split;
#[cfg(test)]
pub(crate) mod tests;
mod usual;
mod value;
mod wire;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::access::agents::Nodes;
use crate::store::{Batch, Sighting};
use body::Format;
use envelope::{Group, decode};
use reply::Refusal;

/// Reason of a record about a node that its sender may not speak for.
const NOT_YOURS: &str = "this token or certificate may not speak for the node";
/// Reason of a summary of nobody.
const NO_NODE: &str = "the resource has no `host.name` to tell the node by";
/// Addresses of one node that are looked at.
const ADDRESSES_MAX: usize = 16;
/// Distinct reasons that a reply spells out; further ones are counted as "other".
const REASONS_MAX: usize = 8;

/// What a request holds: what can be stored, and why the rest cannot.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// To be stored in one transaction.
    pub(crate) batch: Batch,
    /// Log records or data points that cannot be stored.
    pub(crate) rejected: Rejected,
}

/// Rejected log records or data points, counted by reason.
#[derive(Debug, Default)]
pub(crate) struct Rejected(BTreeMap<String, u64>);

impl Rejected {
    fn add(&mut self, reason: &str, count: u64) {
        if count == 0 {
            return;
        }
        let full = self.0.len() >= REASONS_MAX && !self.0.contains_key(reason);
        *self.0.entry(if full { "other reasons" } else { reason }.to_owned()).or_default() += count;
    }

    /// Adds those of another request.
    pub(crate) fn merge(&mut self, other: Self) {
        for (reason, count) in other.0 {
            self.add(&reason, count);
        }
    }

    /// All rejected ones.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Counts and reasons in words; empty where nothing was rejected.
    pub(crate) fn message(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        parts.join("; ")
    }
}

/// Reads an unpacked body of `/v1/logs`.
///
/// # Errors
/// [`Refusal::Malformed`] if the body is no request at all, [`Refusal::TooMany`] if it holds too many records.
/// A record that is not a report is counted in [`Read::rejected`] instead.
pub(crate) fn read_logs(format: Format, body: &[u8], nodes: &Nodes) -> Result<Read, Refusal> {
    let mut read = Read::default();
    for group in envelope::groups(format, body)? {
        let sender = sender(format, &group);
        let mut seen = None;
        for item in &group.items {
            match report::read(format, item) {
                Ok(row) if !nodes.allows(&row.node) => read.rejected.add(NOT_YOURS, 1),
                Ok(row) => {
                    seen.get_or_insert_with(|| row.node.clone());
                    read.batch.rows.push(row);
                }
                Err(reason) => read.rejected.add(reason.to_string().as_str(), 1),
            }
        }
        // Somebody else's logs do not make a node; a stored report does, even where its resource names none.
        if let Some(node) = seen {
            let node = sender.node.filter(|node| nodes.allows(node)).unwrap_or(node);
            read.batch.nodes.push(Sighting { node, ..sender.sighting });
        }
    }
    Ok(read)
}

/// Reads an unpacked body of `/v1/metrics`. Rejected are data points, not metrics.
///
/// # Errors
/// As [`read_logs`].
pub(crate) fn read_metrics(format: Format, body: &[u8], nodes: &Nodes) -> Result<Read, Refusal> {
    let mut read = Read::default();
    for group in envelope::groups(format, body)? {
        let sender = sender(format, &group);
        let mut latest = metric::Latest::default();
        for item in &group.items {
            let (points, reason) = metric::read(format, item, &mut latest);
            read.rejected.add(reason, points);
        }
        match sender.node {
            Some(node) if !nodes.allows(&node) => read.rejected.add(NOT_YOURS, latest.points()),
            Some(node) if !latest.is_empty() => {
                let metrics = Some(latest.into_metrics());
                read.batch.nodes.push(Sighting { node, metrics, ..sender.sighting });
            }
            Some(_) => {}
            None => read.rejected.add(NO_NODE, latest.points()),
        }
    }
    Ok(read)
}

/// Addresses of a node; those that are out of bounds are left out.
fn addresses(value: Option<&AnyValue>) -> Vec<String> {
    let texts = value::list(value).unwrap_or_default().iter().filter_map(|value| value::text(Some(value)));
    texts.filter(|text| report::is_name(text, 1)).take(ADDRESSES_MAX).map(str::to_ascii_lowercase).collect()
}

/// What the resource attributes say about who sent a group.
struct Sender {
    node: Option<String>,
    sighting: Sighting,
}

/// Attributes that are missing, of another type, or out of bounds count as not said.
fn sender(format: Format, group: &Group<'_>) -> Sender {
    let resource =
        group.resource.and_then(|bytes| decode::<Resource>(format, bytes).ok()).unwrap_or_default();
    let mut sender = Sender { node: None, sighting: Sighting::default() };
    for attribute in resource.attributes.iter().take(envelope::ATTRIBUTES_MAX) {
        if attribute.key == "host.ip" {
            sender.sighting.addresses = addresses(attribute.value.as_ref());
        }
        let Some(text) = value::text(attribute.value.as_ref()) else { continue };
        match attribute.key.as_str() {
            "host.name" => sender.node = report::is_name(text, 1).then(|| text.to_owned()),
            "service.version" if report::is_name(text, 1) => sender.sighting.agent_version = text.to_owned(),
            "blocksift.model" if report::is_name(text, 1) => sender.sighting.model = text.to_owned(),
            _ => {}
        }
    }
    sender
}
