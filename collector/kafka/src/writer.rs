//! Messages into a topic.

use std::time::Duration;

use bytes::Bytes;
use krafka::producer::{Acks, Producer};
use krafka::{CloseOptions, Compression, Record};
use tokio::sync::OnceCell;

use crate::{Boxed, Cluster, Error};

/// Bytes of one batch for a partition. Below what brokers take if nobody configures them (`message.max.bytes`, 1 MiB),
/// unless one message alone is larger.
const BATCH_BYTES: usize = 256 * 1024;
/// Bytes that wait to be sent; whoever has more waits.
const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a message may wait for room, and for what is known of its topic.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a message may take until every replica has it, with all tries.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A message to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Equal keys go to the same partition.
    pub key: Bytes,
    /// Content.
    pub value: Bytes,
}

/// Writes messages; connects when the first are to be written.
#[derive(Debug)]
pub struct Writer {
    cluster: Cluster,
    producer: OnceCell<Producer>,
}

impl Writer {
    /// A writer that is not connected yet.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, producer: OnceCell::new() }
    }

    /// Writes all messages; done when every replica in sync has every one (`acks=all`).
    ///
    /// # Errors
    /// One of them, if there are any; some messages may have been written then.
    pub fn write<'a>(&'a self, topic: &'a str, messages: Vec<Outgoing>) -> Boxed<'a, Result<(), Error>> {
        Box::pin(async move {
            let producer = self.producer.get_or_try_init(|| self.connect()).await?;
            let mut sent = Vec::with_capacity(messages.len());
            for Outgoing { key, value } in messages {
                let record = Record::new(topic, value).key(key);
                sent.push(
                    producer.enqueue(record).await.map_err(|source| self.cluster.error_of(topic, source))?,
                );
            }
            let mut outcome = Ok(());
            for delivery in sent {
                if let Err(source) = delivery.await {
                    outcome = Err(self.cluster.error_of(topic, source));
                }
            }
            outcome
        })
    }

    /// Sends what waits and says goodbye; what is written afterwards is refused.
    pub fn close(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            if let Some(producer) = self.producer.get() {
                // Whoever waits for a message is told what became of it.
                drop(producer.close_with(CloseOptions::new().timeout(CLOSE_TIMEOUT)).await);
            }
        })
    }

    async fn connect(&self) -> Result<Producer, Error> {
        let kafka = self.cluster.connect().await?;
        let producer = kafka
            .producer()
            .acks(Acks::All)
            .compression(Compression::Lz4)
            .batch_size(BATCH_BYTES)
            .buffer_memory(BUFFER_BYTES_MAX)
            .max_block(BLOCK_TIMEOUT)
            .delivery_timeout(DELIVERY_TIMEOUT)
            .metrics_push(false);
        producer.build().await.map_err(|source| self.cluster.error(source))
    }
}
