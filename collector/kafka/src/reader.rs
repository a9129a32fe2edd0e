//! Messages out of topics, as a member of a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use krafka::CloseOptions;
use krafka::consumer::{
    AutoOffsetReset, Consumer, OffsetAndMetadata, PartitionAssignmentStrategy, TopicPartition,
};
use tracing::debug;

use crate::{Boxed, Cluster, Error};

/// Messages that are read at once.
const MESSAGES_MAX: i32 = 500;
/// Bytes of a partition's answer; more only where one batch is larger.
const PARTITION_BYTES: i32 = 2 * 1024 * 1024;
/// Bytes of an answer.
const ANSWER_BYTES: i32 = 16 * 1024 * 1024;
/// Bytes of an unpacked batch; a larger one is an error.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a member may be silent before others get its partitions.
const SESSION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that was read.
#[derive(Clone, Debug)]
pub struct Message {
    /// Topic that it is from.
    pub topic: Arc<str>,
    /// Partition of the topic.
    pub partition: i32,
    /// Place in the partition.
    pub offset: i64,
    /// Content; none marks the end of a key's history.
    pub value: Option<Bytes>,
    epoch: Option<i32>,
}

/// Where a member stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Partitions that are its own, over all topics.
    pub partitions: u64,
    /// Messages in them that it has not read yet, as far as brokers have told.
    pub lag: u64,
}

/// A member of a group.
pub struct Reader {
    cluster: Cluster,
    consumer: Consumer,
}

impl Reader {
    /// Joins `group`, which reads `topics` from their begin on where it has no offsets.
    ///
    /// # Errors
    /// If no broker answers, one refuses, or a topic is not there.
    pub fn open<'a>(
        cluster: &'a Cluster,
        group: &'a str,
        topics: &'a [String],
    ) -> Boxed<'a, Result<Self, Error>> {
        Box::pin(async move {
            let kafka = cluster.connect().await?;
            let consumer = kafka
                .consumer(group)
                .auto_offset_reset(AutoOffsetReset::Earliest)
                .enable_auto_commit(false)
                // Shares out each topic by itself: others may give one member a topic and the next another.
                .partition_assignment_strategy(PartitionAssignmentStrategy::Range)
                .session_timeout(SESSION_TIMEOUT)
                .max_poll_records(MESSAGES_MAX)
                .max_partition_fetch_bytes(PARTITION_BYTES)
                .fetch_max_bytes(ANSWER_BYTES)
                .max_decompressed_size(UNPACKED_BYTES_MAX)
                .metrics_push(false);
            let consumer = consumer.build().await.map_err(|source| cluster.error(source))?;
            for topic in topics {
                // A consumer would wait for it without a word, and find it minutes after it was made.
                let known = consumer.fetch_metadata(Some(topic)).await;
                if known.map_err(|source| cluster.error_of(topic, source))?.topics.is_empty() {
                    return Err(cluster.no_topic(topic));
                }
            }
            consumer.subscribe(topics).await.map_err(|source| cluster.error(source))?;
            Ok(Self { cluster: cluster.clone(), consumer })
        })
    }

    /// The next messages; none if there are none for `patience`. Nothing is lost if it is not awaited to its end.
    ///
    /// # Errors
    /// If brokers do not answer or refuse.
    pub fn read(&self, patience: Duration) -> Boxed<'_, Result<Vec<Message>, Error>> {
        Box::pin(async move {
            let records = self.consumer.poll(patience).await.map_err(|source| self.cluster.error(source))?;
            let messages = records.into_iter().map(|record| Message {
                topic: record.topic,
                partition: record.partition,
                offset: record.offset,
                value: record.value,
                epoch: record.leader_epoch,
            });
            Ok(messages.collect())
        })
    }

    /// Moves the group's offsets past these messages, and so past all before them.
    ///
    /// # Errors
    /// If brokers do not answer, or others have the partitions by now: they read the messages again.
    pub fn commit<'a>(&'a self, messages: &'a [Message]) -> Boxed<'a, Result<(), Error>> {
        Box::pin(async move {
            let next = next_offsets(messages);
            let offsets = next.into_iter().map(|((topic, partition), (offset, epoch))| {
                let position = match epoch {
                    Some(epoch) => OffsetAndMetadata::with_epoch(offset, epoch),
                    None => OffsetAndMetadata::new(offset),
                };
                (TopicPartition::new(topic, partition), position)
            });
            self.consumer.commit_offsets(offsets).await.map_err(|source| self.cluster.error(source))
        })
    }

    /// Where this member stands; asks no broker.
    pub fn standing(&self) -> Boxed<'_, Standing> {
        Box::pin(async move {
            let partitions: usize = self.consumer.assignment().await.values().map(Vec::len).sum();
            let lag = self.consumer.lag().await.values().filter_map(|partition| partition.lag).sum();
            Standing { partitions: u64::try_from(partitions).unwrap_or(u64::MAX), lag }
        })
    }

    /// Leaves the group, so that others get its partitions at once.
    pub fn close(self) -> Boxed<'static, ()> {
        Box::pin(async move {
            if let Err(error) = self.consumer.close_with(CloseOptions::new().timeout(CLOSE_TIMEOUT)).await {
                debug!(%error, "the group was not left in order; it notices by itself");
            }
        })
    }
}

/// For each partition the offset behind its last message, and that message's epoch.
fn next_offsets(messages: &[Message]) -> BTreeMap<(&str, i32), (i64, Option<i32>)> {
    let mut next = BTreeMap::new();
    for message in messages {
        let behind = (message.offset.saturating_add(1), message.epoch);
        let entry = next.entry((&*message.topic, message.partition)).or_insert(behind);
        if behind.0 > entry.0 {
            *entry = behind;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_offset_is_behind_the_last_message_of_each_partition() {
        let message = |topic: &str, partition, offset| Message {
            topic: topic.into(),
            partition,
            offset,
            value: None,
            epoch: Some(i32::try_from(offset).unwrap()),
        };
        let messages = [
            message("a", 0, 7),
            message("b", 0, 3),
            message("a", 0, 9),
            message("a", 1, 0),
            message("a", 0, 8),
        ];
        let next: Vec<_> = next_offsets(&messages).into_iter().collect();
        let expected = [(("a", 0), (10, Some(9))), (("a", 1), (1, Some(0))), (("b", 0), (4, Some(3)))];
        assert_eq!(next, expected);
    }
}
