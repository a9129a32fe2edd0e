//! The front: what agents send, into the topics. Acknowledged when every replica in sync has it.

use std::sync::Arc;

use blocksift_kafka::{Outgoing, Writer};
use tracing::warn;

use super::{Counts, Settings, Topics, add};

/// Writes into the topics.
#[derive(Debug)]
pub(crate) struct Front {
    writer: Writer,
    pub(crate) topics: Topics,
    counts: Arc<Counts>,
}

/// Nothing can be acknowledged; why has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotWritten;

impl Front {
    /// Connects when the first messages come.
    pub(crate) fn new(settings: &Settings, counts: Arc<Counts>) -> Self {
        Self { writer: Writer::new(settings.cluster.clone()), topics: settings.topics.clone(), counts }
    }

    /// Writes the messages of one request.
    ///
    /// # Errors
    /// If any of them was not written. The sender then sends all again, and what is there twice is stored once.
    pub(crate) async fn write(&self, topic: &str, messages: Vec<Outgoing>) -> Result<(), NotWritten> {
        let count = messages.len();
        match self.writer.write(topic, messages).await {
            Ok(()) => {
                add(&self.counts.written_total, count);
                Ok(())
            }
            Err(error) => {
                add(&self.counts.failures_total, 1);
                let error = anyhow::Error::new(error);
                warn!(topic, "not written, the sender is told to try again: {error:#}");
                Err(NotWritten)
            }
        }
    }

    /// Says goodbye to the brokers.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
    }
}
