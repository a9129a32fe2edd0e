//! The group: what is in the topics, into the database.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use blocksift_kafka::{Message, Reader};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::{Counts, Settings, Topics, add};
use crate::access::agents::Nodes;
use crate::ingest::Ingest;
use crate::otlp::body::Format;
use crate::otlp::{Rejected, read_logs, read_metrics};
use crate::store::{Batch, Store, WriteError};

/// How long one look at the topics waits for messages.
const READ_PATIENCE: Duration = Duration::from_secs(1);
/// Rest after a failure, doubled after each further one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// This collector as a member of the group.
pub(crate) struct Member {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Member {
    /// Joins the group and stores what it gets, until [`Member::end`].
    pub(crate) fn start(
        settings: &Settings,
        group: &str,
        store: Arc<Store>,
        ingest: Arc<Ingest>,
        counts: Arc<Counts>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let work =
            Work { settings: settings.clone(), group: group.to_owned(), store, ingest, counts, stopped };
        Self { stop, task: tokio::spawn(work.run()) }
    }

    /// Stores what has been read, moves the offsets, and leaves the group.
    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            error!(%error, "the member of the group ended early");
        }
    }
}

struct Work {
    settings: Settings,
    group: String,
    store: Arc<Store>,
    ingest: Arc<Ingest>,
    counts: Arc<Counts>,
    stopped: watch::Receiver<bool>,
}

/// The collector is about to end.
struct Stopped;

impl Work {
    async fn run(mut self) {
        let mut pause = Pause::default();
        while let Err(error) = self.membership(&mut pause).await {
            add(&self.counts.failures_total, 1);
            self.counts.partitions.store(0, Ordering::Relaxed);
            warn!(pause_ms = pause.next.as_millis(), "nothing is read from Kafka for now: {error:#}");
            if pause.rest(&mut self.stopped).await.is_err() {
                return;
            }
        }
    }

    /// From joining the group to leaving it.
    ///
    /// # Errors
    /// What made it leave early.
    async fn membership(&mut self, pause: &mut Pause) -> anyhow::Result<()> {
        let Settings { cluster, topics, .. } = &self.settings;
        let names = [topics.logs.clone(), topics.metrics.clone()];
        let opened = tokio::select! {
            opened = Reader::open(cluster, &self.group, &names) => opened,
            _ = self.stopped.wait_for(|stop| *stop) => return Ok(()),
        };
        let reader = opened?;
        info!(group = self.group, "reading from Kafka");
        let done = self.read(&reader, pause).await;
        reader.close().await;
        done
    }

    async fn read(&mut self, reader: &Reader, pause: &mut Pause) -> anyhow::Result<()> {
        loop {
            let read = tokio::select! {
                read = reader.read(READ_PATIENCE) => read,
                _ = self.stopped.wait_for(|stop| *stop) => return Ok(()),
            };
            let messages = read?;
            let standing = reader.standing().await;
            self.counts.partitions.store(standing.partitions, Ordering::Relaxed);
            self.counts.lag.store(standing.lag, Ordering::Relaxed);
            if messages.is_empty() {
                continue;
            }
            let messages = Arc::new(messages);
            if self.store(&messages).await?.is_err() {
                return Ok(());
            }
            reader.commit(&messages).await?;
            add(&self.counts.read_total, messages.len());
            *pause = Pause::default();
        }
    }

    /// Stores messages, however long that takes.
    async fn store(&mut self, messages: &Arc<Vec<Message>>) -> anyhow::Result<Result<(), Stopped>> {
        let (topics, to_decode) = (self.settings.topics.clone(), Arc::clone(messages));
        let decoded = tokio::task::spawn_blocking(move || decode(&topics, &to_decode)).await;
        let Decoded { batch, rejected, undecodable } = decoded.context("a decoder ended early")?;
        let mut pause = Pause::default();
        let stored = loop {
            match self.store.write(batch.clone()).await {
                Ok(stored) => break stored,
                Err(WriteError::Busy | WriteError::Failed) => {
                    if pause.rest(&mut self.stopped).await.is_err() {
                        return Ok(Err(Stopped));
                    }
                }
                Err(WriteError::Closed) => return Ok(Err(Stopped)),
            }
        };
        self.ingest.count_stored(stored);
        self.ingest.count_rejected(&rejected);
        add(&self.counts.undecodable_total, undecodable);
        if rejected.total() > 0 {
            warn!(reasons = rejected.message(), "records from Kafka that cannot be stored are left out");
        }
        Ok(Ok(()))
    }
}

/// Messages as what is stored of them.
#[derive(Debug, Default)]
struct Decoded {
    batch: Batch,
    rejected: Rejected,
    undecodable: usize,
}

/// Whoever may write into the topics may speak for every node.
fn decode(topics: &Topics, messages: &[Message]) -> Decoded {
    let mut decoded = Decoded::default();
    for message in messages {
        // Without content it marks a key as gone, which says nothing here.
        let Some(value) = &message.value else { continue };
        let read = if *message.topic == *topics.metrics { read_metrics } else { read_logs };
        match read(Format::Protobuf, value, &Nodes::Any) {
            Ok(read) => {
                decoded.batch.rows.extend(read.batch.rows);
                decoded.batch.nodes.extend(read.batch.nodes);
                decoded.rejected.merge(read.rejected);
            }
            Err(refusal) => {
                let (topic, partition, offset) = (&message.topic, message.partition, message.offset);
                warn!(%topic, partition, offset, "left out, it stays in Kafka: {refusal}");
                decoded.undecodable += 1;
            }
        }
    }
    decoded
}

/// A rest that gets longer.
#[derive(Debug)]
struct Pause {
    next: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next: PAUSE_MIN }
    }
}

impl Pause {
    async fn rest(&mut self, stopped: &mut watch::Receiver<bool>) -> Result<(), Stopped> {
        let length = self.next;
        self.next = (length * 2).min(PAUSE_MAX);
        // A sender that is gone has stopped us, too.
        match tokio::time::timeout(length, stopped.wait_for(|stop| *stop)).await {
            Ok(_) => Err(Stopped),
            Err(_) => Ok(()),
        }
    }
}
