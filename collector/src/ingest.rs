//! `POST /v1/logs` and `POST /v1/metrics`: a request in, stored durably, acknowledged.
//!
//! Overload is refused, not queued: a limited number of requests is in work, each arrives within a time limit, fewer are
//! decoded at once, and whoever finds no place is told to come back. Senders keep what was not acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use blocksift_kafka::Outgoing;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, error, warn};

use crate::access::agents::Nodes;
use crate::kafka::Topics;
use crate::kafka::front::{Front, NotWritten};
use crate::listen::Peer;
use crate::otlp::body::{BODY_BYTES_MAX, Coding, Format};
use crate::otlp::reply::{Refusal, stored};
use crate::otlp::split::{self, Split};
use crate::otlp::{Read, Rejected, read_logs, read_metrics};
use crate::serve::App;
use crate::store::{Batch, Stored, WriteError};

/// Requests in work; a further one is refused with 429 after [`PLACE_TIMEOUT`].
const REQUESTS_MAX: usize = 64;
/// Requests unpacked and decoded at once; the others wait with their packed bodies.
const DECODERS_MAX: usize = 2;
/// How long a request waits for a place.
const PLACE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// How much may be in work, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) requests_max: usize,
    pub(crate) decoders_max: usize,
    pub(crate) place_timeout: Duration,
    pub(crate) body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_max: REQUESTS_MAX,
            decoders_max: DECODERS_MAX,
            place_timeout: PLACE_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
        }
    }
}

/// Places of ingest, and what became of the requests.
pub(crate) struct Ingest {
    limits: Limits,
    requests: Semaphore,
    decoders: Semaphore,
    counts: Counts,
}

/// What happened since the start.
#[derive(Debug, Default, Serialize)]
struct Counts {
    requests_total: AtomicU64,
    requests_refused_total: AtomicU64,
    requests_busy_total: AtomicU64,
    reports_stored_total: AtomicU64,
    reports_duplicate_total: AtomicU64,
    records_rejected_total: AtomicU64,
}

impl Ingest {
    /// Nothing in work yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            requests: Semaphore::new(limits.requests_max),
            decoders: Semaphore::new(limits.decoders_max),
            counts: Counts::default(),
        }
    }

    /// Name, help and value of every count since the start, for `/metrics`.
    pub(crate) fn counters(&self) -> [(&'static str, &'static str, u64); 6] {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        [
            ("requests_total", "OTLP requests", value(&counts.requests_total)),
            (
                "requests_refused_total",
                "OTLP requests that were refused as a whole",
                value(&counts.requests_refused_total),
            ),
            (
                "requests_busy_total",
                "OTLP requests that were told to come back",
                value(&counts.requests_busy_total),
            ),
            ("reports_stored_total", "reports stored", value(&counts.reports_stored_total)),
            (
                "reports_duplicate_total",
                "reports that were there already",
                value(&counts.reports_duplicate_total),
            ),
            (
                "records_rejected_total",
                "log records or data points that cannot be stored",
                value(&counts.records_rejected_total),
            ),
        ]
    }

    /// Requests in work now.
    pub(crate) fn in_work(&self) -> u64 {
        u64::try_from(self.limits.requests_max.saturating_sub(self.requests.available_permits())).unwrap_or(0)
    }

    /// Counts since the start, for `/healthz`.
    pub(crate) fn counts(&self) -> impl Serialize + '_ {
        &self.counts
    }

    /// Counts what became of a batch.
    pub(crate) fn count_stored(&self, stored: Stored) {
        self.counts.reports_stored_total.fetch_add(stored.current + stored.older, Ordering::Relaxed);
        self.counts.reports_duplicate_total.fetch_add(stored.duplicates, Ordering::Relaxed);
    }

    /// Counts records that cannot be stored.
    pub(crate) fn count_rejected(&self, rejected: &Rejected) {
        self.counts.records_rejected_total.fetch_add(rejected.total(), Ordering::Relaxed);
    }
}

/// Which of the two end points.
#[derive(Clone, Copy)]
struct Signal {
    read: fn(Format, &[u8], &Nodes) -> Result<Read, Refusal>,
    split: fn(Format, &[u8], &Nodes) -> Result<Split, Refusal>,
    topic: fn(&Topics) -> &str,
    rejected_name: &'static str,
}

/// `POST /v1/logs`
pub(crate) async fn logs(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let signal = Signal {
        read: read_logs,
        split: split::logs,
        topic: |topics| &topics.logs,
        rejected_name: "rejectedLogRecords",
    };
    answer(&app, &peer, request, signal).await
}

/// `POST /v1/metrics`
pub(crate) async fn metrics(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let signal = Signal {
        read: read_metrics,
        split: split::metrics,
        topic: |topics| &topics.metrics,
        rejected_name: "rejectedDataPoints",
    };
    answer(&app, &peer, request, signal).await
}

async fn answer(app: &App, peer: &Peer, request: Request, signal: Signal) -> Response {
    let counts = &app.ingest.counts;
    counts.requests_total.fetch_add(1, Ordering::Relaxed);
    let format = Format::of(request.headers());
    let reply_format = format.as_ref().ok().copied();
    let result = match format {
        Ok(format) => take(app, peer, request, format, signal).await,
        Err(refusal) => Err(refusal),
    };
    result.unwrap_or_else(|refusal| {
        let busy = matches!(refusal, Refusal::Busy);
        let counter = if busy { &counts.requests_busy_total } else { &counts.requests_refused_total };
        counter.fetch_add(1, Ordering::Relaxed);
        debug!(%refusal, "request refused");
        refusal.reply(reply_format)
    })
}

async fn take(
    app: &App,
    peer: &Peer,
    request: Request,
    format: Format,
    signal: Signal,
) -> Result<Response, Refusal> {
    if app.read_only {
        return Err(Refusal::ReadOnly);
    }
    let nodes = app.access.agents.sender(request.headers(), peer.certificate.as_ref());
    let nodes = nodes.ok_or(Refusal::Unauthorized)?;
    let coding = Coding::of(request.headers())?;
    if announced_bytes(&request).is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(Refusal::TooLarge);
    }
    let place = timeout(app.ingest.limits.place_timeout, app.ingest.requests.acquire()).await;
    let _place = place.ok().and_then(Result::ok).ok_or(Refusal::Busy)?;
    let packed = receive(request, app.ingest.limits.body_timeout).await?;
    let rejected = match &app.front {
        None => {
            let read = move |packed: &[u8]| (signal.read)(format, &coding.unpack(packed)?, &nodes);
            let Read { batch, rejected } = decode(app, read, packed).await?;
            store(app, batch).await?;
            rejected
        }
        Some(front) => {
            let cut = move |packed: &[u8]| (signal.split)(format, &coding.unpack(packed)?, &nodes);
            let Split { messages, rejected } = decode(app, cut, packed).await?;
            write(front, (signal.topic)(&front.topics), messages).await?;
            rejected
        }
    };
    app.ingest.count_rejected(&rejected);
    if rejected.total() > 0 {
        warn!(rejected = rejected.total(), "records rejected; the reply says why");
    }
    Ok(stored(format, &rejected, signal.rejected_name))
}

/// Into the database.
async fn store(app: &App, batch: Batch) -> Result<(), Refusal> {
    let rows = batch.rows.len();
    let stored_counts = app.store.write(batch).await.map_err(|error| match error {
        WriteError::Busy => Refusal::Busy,
        WriteError::Failed | WriteError::Closed => Refusal::Store,
    })?;
    app.ingest.count_stored(stored_counts);
    debug!(rows, current = stored_counts.current, duplicates = stored_counts.duplicates, "stored");
    Ok(())
}

/// Into a topic.
async fn write(front: &Front, topic: &str, messages: Vec<Outgoing>) -> Result<(), Refusal> {
    if messages.is_empty() {
        return Ok(());
    }
    front.write(topic, messages).await.map_err(|NotWritten| Refusal::Kafka)
}

fn announced_bytes(request: &Request) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body, packed. The router bounds it to [`BODY_BYTES_MAX`].
async fn receive(request: Request, body_timeout: Duration) -> Result<Bytes, Refusal> {
    match timeout(body_timeout, Bytes::from_request(request, &())).await {
        Ok(Ok(packed)) => Ok(packed),
        Ok(Err(rejection)) if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Refusal::TooLarge)
        }
        Ok(Err(_)) | Err(_) => Err(Refusal::Incomplete(body_timeout)),
    }
}

/// Unpacks and reads on a thread that may take its time.
async fn decode<T: Send + 'static>(
    app: &App,
    read: impl FnOnce(&[u8]) -> Result<T, Refusal> + Send + 'static,
    packed: Bytes,
) -> Result<T, Refusal> {
    let app = Arc::clone(&app.ingest);
    // The permit goes with the work, which a sender who hangs up does not end.
    let task = async move {
        let _permit = app.decoders.acquire().await.map_err(|_| Refusal::Busy)?;
        tokio::task::spawn_blocking(move || read(&packed)).await.unwrap_or_else(|error| {
            error!(%error, "a decoder ended early");
            Err(Refusal::Malformed)
        })
    };
    tokio::spawn(task).await.unwrap_or(Err(Refusal::Malformed))
}
