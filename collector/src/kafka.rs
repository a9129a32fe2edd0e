//! Kafka as the fleet's buffer: a front writes what agents send into topics instead of into the database ([`front`]), and the
//! collectors of a group store what is there ([`group`]). One collector may be both.
//!
//! What a front acknowledges, every replica of the topic has. A group's offsets move after the database's commit: what was
//! read and not stored is read again, by this member or another, and what is read twice is stored once, as it is by HTTP.

pub(crate) mod front;
pub(crate) mod group;

use std::sync::atomic::{AtomicU64, Ordering};

use blocksift_kafka::Cluster;

/// Bytes of the largest message that topics are made for: one report of the largest size, and what comes with it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Two topics, since the two kinds of messages look alike; the OpenTelemetry Collector names them so too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topics {
    /// Messages are `ExportLogsServiceRequest`.
    pub(crate) logs: String,
    /// Messages are `ExportMetricsServiceRequest`.
    pub(crate) metrics: String,
}

/// `[kafka]`, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) cluster: Cluster,
    pub(crate) topics: Topics,
    /// Whether what agents send goes into the topics.
    pub(crate) front: bool,
    /// The group that stores what is in the topics, if this collector is of it.
    pub(crate) group: Option<String>,
}

/// What happened since the start, and where this collector stands.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    written_total: AtomicU64,
    read_total: AtomicU64,
    undecodable_total: AtomicU64,
    failures_total: AtomicU64,
    partitions: AtomicU64,
    lag: AtomicU64,
}

impl Counts {
    /// Name, kind, help and value of each, for `/metrics`.
    pub(crate) fn all(&self) -> [(&'static str, &'static str, &'static str, u64); 6] {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            (
                "kafka_messages_written_total",
                "counter",
                "messages that Kafka has acknowledged",
                value(&self.written_total),
            ),
            (
                "kafka_messages_read_total",
                "counter",
                "messages that were read from Kafka and stored",
                value(&self.read_total),
            ),
            (
                "kafka_messages_undecodable_total",
                "counter",
                "messages from Kafka that are no OTLP request and were left out",
                value(&self.undecodable_total),
            ),
            (
                "kafka_failures_total",
                "counter",
                "tries to write to Kafka or read from it that failed",
                value(&self.failures_total),
            ),
            ("kafka_partitions", "gauge", "partitions that this collector reads", value(&self.partitions)),
            (
                "kafka_lag_messages",
                "gauge",
                "messages in its partitions that this collector has not read",
                value(&self.lag),
            ),
        ]
    }
}

fn add(count: &AtomicU64, messages: usize) {
    count.fetch_add(u64::try_from(messages).unwrap_or(u64::MAX), Ordering::Relaxed);
}
