//! Ships what the spool holds, and a summary every so often, to a [`Sink`].
//!
//! A report leaves the spool only after the sink took it; what it refuses for good is set aside as a dead letter. A
//! sink that is away, busy, broken or wrongly set up is tried again, ever more seldom ([`backoff`]); meanwhile the
//! spool fills, and a full spool stops reading. Summaries are sent as they are at the time and never queued: the next
//! one says it all again.

mod backoff;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};

use crate::config::Ship;
use crate::feed::now_ms;
use crate::filter::{Filters, Record};
use crate::otlp::{AgentCounts, Sender, Times, metrics_request};
use crate::sink::{Outcome, Sink, SinkError};
use crate::state::{Batch, DeadLetterLimits, StateError, Store};
use crate::status::{FeedStatus, ShipStatus};
use crate::wanted::Asking;
pub(crate) use backoff::Backoff;

/// First pause after a failed try.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(500);

/// Why shipping cannot go on. Nothing is lost: what was not shipped is in the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShipError {
    /// The disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// Whoever read the reports has gone.
    #[error("nobody reads the reports from `{to}` any more")]
    Closed {
        /// Where they went.
        to: String,
    },
}

/// Ships until the [`FeedStatus`] sender is dropped, and then for a short while more.
#[derive(Debug)]
pub(crate) struct Shipper {
    ship: Ship,
    store: Arc<Store>,
    status: watch::Receiver<FeedStatus>,
    told: watch::Sender<ShipStatus>,
    sender: Sender,
    sink: Sink,
    /// The sink, for people.
    to: String,
    filters: Filters,
    backoff: Backoff,
    /// No report is sent before.
    retry_at: Option<Instant>,
    summary_at: Instant,
    summary_failed: bool,
    /// Why reports are not taken, as far as it was told.
    reason_told: String,
    /// Reports per request now: less than the limit after a receiver found a request too large.
    batch_reports: usize,
    /// Asks which blocks the receiver wants to know of; `None`: does not.
    asking: Option<Asking>,
    /// Counts of this process.
    counts: AgentCounts,
    totals_since_ns: u64,
    started_ns: u64,
}

/// What to do after a try to ship.
enum Next {
    /// There may be more to ship.
    Continue,
    /// Nothing to do until something changes or it is time.
    Wait,
}

impl Shipper {
    /// Ships from `store` as `sender`. The totals of `status` were zero at `totals_since_ms`.
    ///
    /// # Errors
    /// When the sink cannot be made.
    pub(crate) fn new(
        ship: Ship,
        store: Arc<Store>,
        status: watch::Receiver<FeedStatus>,
        sender: Sender,
        filters: Filters,
        totals_since_ms: i64,
    ) -> Result<Self, SinkError> {
        Ok(Self {
            sink: Sink::new(&ship.to, sender.clone())?,
            to: ship.to.to_string(),
            filters,
            backoff: Backoff::new(BACKOFF_MIN, ship.backoff_max),
            batch_reports: ship.batch_reports_max.get(),
            ship,
            store,
            status,
            told: watch::Sender::default(),
            sender,
            retry_at: None,
            summary_at: Instant::now(),
            summary_failed: false,
            reason_told: String::new(),
            asking: None,
            counts: AgentCounts::default(),
            totals_since_ns: u64::try_from(totals_since_ms).unwrap_or(0).saturating_mul(1_000_000),
            started_ns: now_ns(),
        })
    }

    /// Asks with each summary which blocks the receiver wants to know of.
    pub(crate) fn ask(&mut self, asking: Asking) {
        self.asking = Some(asking);
    }

    /// How it goes, from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<ShipStatus> {
        self.told.subscribe()
    }

    /// Ships until the sender of the status is dropped, then what is left: for at most `stop_timeout`, or for as long as
    /// it takes if the feed has finished.
    ///
    /// # Errors
    /// When the store fails, or nobody reads standard output any more.
    pub(crate) async fn run(mut self) -> Result<(), ShipError> {
        let mut upstream = self.status.clone();
        let stop_timeout = self.ship.stop_timeout;
        let too_late = async {
            while upstream.changed().await.is_ok() {}
            if upstream.borrow().finished {
                std::future::pending::<()>().await;
            }
            sleep(stop_timeout).await;
        };
        tokio::select! {
            shipped = self.ship_all() => shipped?,
            () = too_late => debug!("stopped before everything was shipped"),
        }
        // Another shipper says so in its time.
        if self.status.borrow().paused {
            return Ok(());
        }
        let left = self.store.spooled().reports;
        info!(reports_shipped = self.counts.reports_shipped, reports_left = left, "shipping stopped");
        Ok(())
    }

    /// A request under way is finished before stopping: it would only be sent again.
    async fn ship_all(&mut self) -> Result<(), ShipError> {
        while self.status.has_changed().is_ok() {
            self.ship_next().await?;
        }
        // Another shipper goes on at once with what is left.
        if self.status.borrow().paused {
            return Ok(());
        }
        self.drain().await
    }

    async fn ship_next(&mut self) -> Result<(), ShipError> {
        if Instant::now() >= self.summary_at {
            self.summary_at = Instant::now() + self.ship.summary_interval;
            self.ship_summary().await;
            self.fetch_wanted().await;
        }
        let pausing = self.retry_at.is_some_and(|at| Instant::now() < at);
        if !pausing {
            self.retry_at = None;
            if let Next::Continue = self.ship_reports().await? {
                return Ok(());
            }
        }
        // News do not cut a pause short.
        let due = self.retry_at.unwrap_or(self.summary_at).min(self.summary_at);
        tokio::select! {
            () = sleep_until(due) => {}
            () = news(&mut self.status, self.retry_at.is_none()) => {}
        }
        Ok(())
    }

    /// Everything that is left, with no pause but after a failure, and a last summary.
    async fn drain(&mut self) -> Result<(), ShipError> {
        self.retry_at = None;
        while let Next::Continue = self.ship_reports().await? {}
        self.ship_summary().await;
        while self.store.spooled().reports > 0 && !self.store.is_failing() {
            if let Some(retry_at) = self.retry_at.take() {
                sleep_until(retry_at).await;
            }
            self.ship_reports().await?;
        }
        Ok(())
    }

    async fn ship_reports(&mut self) -> Result<Next, ShipError> {
        if self.store.spooled().reports == 0 {
            return Ok(Next::Wait);
        }
        let (reports_max, bytes_max) = (self.batch_reports, self.ship.batch_bytes_max);
        let batch = self.with_store(move |store| store.batch(reports_max, bytes_max)).await?;
        if batch.is_empty() {
            return Ok(Next::Wait);
        }
        let (batch, records) = self.filtered(batch).await;
        let outcome = match &records {
            None => self.sink.reports(&batch.reports).await,
            Some(Ok(records)) if records.is_empty() => {
                self.remove(batch).await?;
                return Ok(Next::Continue);
            }
            Some(Ok(records)) => self.sink.reports(records).await,
            Some(Err(error)) => Outcome::Refused { reason: error.to_string() },
        };
        match outcome {
            Outcome::Taken { bytes, rejected, message } => {
                let sent = records.and_then(Result::ok).map_or(batch.reports.len(), |records| records.len());
                self.taken(sent as u64, bytes, rejected, &message);
                self.remove(batch).await?;
            }
            Outcome::TooLarge if batch.reports.len() > 1 => {
                self.batch_reports = batch.reports.len() / 2;
                debug!(
                    reports = self.batch_reports,
                    "receiver finds requests too large; sending smaller ones"
                );
            }
            Outcome::TooLarge => self.refused(batch, "request too large (413)".to_owned()).await?,
            Outcome::Refused { reason } => self.refused(batch, reason).await?,
            Outcome::TryAgain { after, reason } => {
                self.try_again(after, reason);
                return Ok(Next::Wait);
            }
            Outcome::Closed => return Err(ShipError::Closed { to: self.to.clone() }),
        }
        Ok(Next::Continue)
    }

    /// A batch and what the filters make of it; `None` without filters. They run where they hold nothing up.
    async fn filtered(&mut self, batch: Batch) -> (Batch, Option<Result<Vec<Record>, serde_json::Error>>) {
        if self.filters.is_empty() {
            return (batch, None);
        }
        let mut filters = std::mem::take(&mut self.filters);
        let (filters, batch, records) = blocking(move || {
            let records = filters.records(&batch.reports);
            (filters, batch, records)
        })
        .await;
        self.filters = filters;
        (batch, Some(records))
    }

    async fn remove(&mut self, batch: Batch) -> Result<(), StateError> {
        self.filters.forget(&batch.reports);
        self.with_store(move |store| store.remove(&batch)).await
    }

    fn taken(&mut self, sent: u64, bytes: u64, rejected: u64, message: &str) {
        if self.backoff.failed() {
            info!(to = self.to, "reports are taken again");
        }
        self.answered();
        self.batch_reports = (self.batch_reports * 2).min(self.ship.batch_reports_max.get());
        let rejected = rejected.min(sent);
        self.counts.bytes_shipped += bytes;
        self.counts.reports_shipped += sent - rejected;
        self.counts.reports_refused += rejected;
        if rejected > 0 {
            error!(reports = rejected, message, to = self.to, "receiver rejected reports; they are lost");
        }
        self.tell(None);
    }

    /// Publishes how it goes: a request was taken, or not, for this reason.
    fn tell(&self, failure: Option<&str>) {
        self.told.send_modify(|told| {
            told.counts = self.counts;
            told.failure = failure.map(str::to_owned);
            if failure.is_none() {
                told.taken_ms = Some(now_ms());
            }
        });
    }

    fn answered(&mut self) {
        self.backoff.reset();
        self.reason_told.clear();
        self.retry_at = None;
    }

    /// The oldest dead letters make room: what a receiver never takes must not fill the disk.
    async fn refused(&mut self, batch: Batch, reason: String) -> Result<(), StateError> {
        self.answered();
        self.filters.forget(&batch.reports);
        let reports = batch.reports.len() as u64;
        self.counts.reports_refused += reports;
        error!(reports, reason, to = self.to, "receiver refused reports; they are set aside as dead letters");
        self.tell(Some(&reason));
        let limits = DeadLetterLimits {
            letters_max: self.ship.dead_letters_max,
            bytes_max: self.ship.dead_letters_bytes_max,
        };
        let refused_ms = i64::try_from(now_ns() / 1_000_000).unwrap_or(i64::MAX);
        let set_aside = move |store: &Store| store.set_aside(&batch, refused_ms, &reason, limits);
        let dropped = self.with_store(set_aside).await?;
        self.counts.dead_letters_dropped += dropped;
        if dropped > 0 {
            error!(reports = dropped, "there is no room for more dead letters; the oldest are lost");
        }
        Ok(())
    }

    /// Says so when it begins, and when the reason becomes another one.
    fn try_again(&mut self, after: Option<Duration>, reason: String) {
        self.tell(Some(&reason));
        let pause = self.backoff.next(after);
        self.retry_at = Some(Instant::now() + pause);
        if self.reason_told == reason {
            debug!(to = self.to, reason, ?pause, "reports are still not taken");
        } else {
            warn!(to = self.to, reason, "reports are not taken; trying again until they are");
            self.reason_told = reason;
        }
    }

    async fn ship_summary(&mut self) {
        let status = self.status.borrow().clone();
        let spooled = self.store.spooled();
        let counts = AgentCounts {
            lag_bytes: status.files.lag_bytes,
            lag_ms: status.lag_ms(),
            files: status.files.files,
            files_unreadable: status.files.files_unreadable,
            spool_reports: spooled.reports,
            spool_bytes: spooled.bytes,
            store_failing: self.store.is_failing(),
            dead_letters: self.store.dead_letters().letters,
            limits: status.limits,
            filters: self.filters.counts(),
            ..self.counts
        };
        let times =
            Times { totals_since_ns: self.totals_since_ns, started_ns: self.started_ns, now_ns: now_ns() };
        let request = metrics_request(&self.sender, &status.totals, &status.details, &counts, times);
        let Ok(request) = request else { return };
        let failed = match self.sink.summary(&request).await {
            Outcome::Taken { bytes, .. } => {
                self.counts.bytes_shipped += bytes;
                None
            }
            Outcome::TooLarge => Some("request too large (413)".to_owned()),
            Outcome::Closed => None,
            Outcome::Refused { reason } | Outcome::TryAgain { reason, .. } => Some(reason),
        };
        if let Some(reason) = &failed
            && !self.summary_failed
        {
            warn!(to = self.to, reason, "summary was not taken; the next one follows in its time");
        }
        self.summary_failed = failed.is_some();
        self.tell(failed.as_deref());
    }

    async fn fetch_wanted(&mut self) {
        // A receiver that does not take a summary has no answer either.
        if let Some(asking) = &mut self.asking
            && !self.summary_failed
            && let Some(after) = asking.after()
        {
            asking.take(self.sink.wanted(after).await);
        }
    }

    /// Runs what waits for the disk where it holds nothing up.
    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let store = Arc::clone(&self.store);
        blocking(move || work(&store)).await
    }
}

/// Runs what takes time on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // Only a panic gets here: nothing cancels it.
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Returns when there is news in the status, if `replaced` says so, or when there never will be again.
async fn news(status: &mut watch::Receiver<FeedStatus>, replaced: bool) {
    while status.changed().await.is_ok() {
        if replaced {
            return;
        }
    }
}

/// The agent's clock: nanoseconds since 1970.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
