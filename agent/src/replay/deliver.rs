//! Delivery without a spool: a batch is sent until it is taken, and only then the next one. The logs are the buffer.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use blocksift_detector::Report;
use tokio::runtime::Runtime;
use tracing::{error, warn};

use crate::config::Config;
use crate::otlp::Sender;
use crate::ship::{BACKOFF_MIN, Backoff};
use crate::sink::{Outcome, Sink};

/// What became of the reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Reports that the collector took.
    pub(super) taken: u64,
    /// Reports that it will never take.
    pub(super) refused: u64,
    /// Bytes of requests that were taken.
    pub(super) bytes: u64,
}

/// Sends reports to one collector.
pub(super) struct Delivery {
    runtime: Runtime,
    sink: Sink,
    to: String,
    backoff: Backoff,
    batch_reports_max: usize,
    batch_bytes_max: u64,
    give_up_after: Duration,
    counts: Counts,
}

impl Delivery {
    /// Nothing sent yet.
    ///
    /// # Errors
    /// If certificates or token cannot be used, or there is no async runtime.
    pub(super) fn new(config: &Config, model: &str, give_up_after: Duration) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
        let sender =
            Sender { node: config.detector.node.clone(), model: model.to_owned(), addresses: Vec::new() };
        let sink = {
            let _entered = runtime.enter();
            Sink::new(&config.ship.to, sender)?
        };
        Ok(Self {
            runtime,
            sink,
            to: config.ship.to.to_string(),
            backoff: Backoff::new(BACKOFF_MIN, config.ship.backoff_max),
            batch_reports_max: config.ship.batch_reports_max.get(),
            batch_bytes_max: config.ship.batch_bytes_max,
            give_up_after,
            counts: Counts::default(),
        })
    }

    /// What became of the reports so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Where reports go, for people.
    pub(super) fn to(&self) -> &str {
        &self.to
    }

    /// Returns when every report was taken or refused for good.
    ///
    /// # Errors
    /// If nothing was taken for too long. What was taken before is stored once when all of it is sent again.
    pub(super) fn send(&mut self, reports: &[Report]) -> anyhow::Result<()> {
        let mut rest = reports;
        let mut reports_max = self.batch_reports_max;
        let mut last_taken = Instant::now();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at_checked(self.batch(rest, reports_max)).unwrap_or((rest, &[]));
            match self.runtime.block_on(self.sink.reports(batch)) {
                Outcome::Taken { bytes, rejected, message } => {
                    self.taken(batch, bytes, rejected, &message);
                    rest = after;
                }
                Outcome::TooLarge if batch.len() > 1 => reports_max = batch.len() / 2,
                Outcome::TooLarge => {
                    self.refused(batch, "request too large (413)");
                    rest = after;
                }
                Outcome::Refused { reason } => {
                    self.refused(batch, &reason);
                    rest = after;
                }
                Outcome::Closed => bail!("nobody reads {} any more", self.to),
                Outcome::TryAgain { after, reason } => {
                    self.wait(last_taken, after, &reason)?;
                    continue;
                }
            }
            last_taken = Instant::now();
        }
        Ok(())
    }

    /// How many of `reports` go into the next request.
    fn batch(&self, reports: &[Report], reports_max: usize) -> usize {
        let mut bytes = 0;
        let fits = |report: &&Report| {
            bytes += size(report);
            bytes <= self.batch_bytes_max
        };
        reports.iter().take(reports_max).take_while(fits).count().max(1)
    }

    fn taken(&mut self, batch: &[Report], bytes: u64, rejected: u64, message: &str) {
        self.backoff.reset();
        let rejected = rejected.min(batch.len() as u64);
        self.counts.taken += batch.len() as u64 - rejected;
        self.counts.refused += rejected;
        self.counts.bytes += bytes;
        if rejected > 0 {
            error!(reports = rejected, message, to = self.to, "receiver rejected reports");
        }
    }

    fn refused(&mut self, batch: &[Report], reason: &str) {
        self.backoff.reset();
        self.counts.refused += batch.len() as u64;
        error!(reports = batch.len(), reason, to = self.to, "receiver refused reports");
    }

    /// Waits for the next try.
    fn wait(&mut self, last_taken: Instant, after: Option<Duration>, reason: &str) -> anyhow::Result<()> {
        if !self.backoff.failed() {
            warn!(to = self.to, reason, "reports are not taken; trying again");
        }
        let pause = self.backoff.next(after);
        if last_taken.elapsed() + pause > self.give_up_after {
            let Counts { taken, .. } = self.counts;
            bail!(
                "{} has taken nothing for {} s ({reason}); run it again when it does: the {taken} reports that were \
                 taken are stored once",
                self.to,
                last_taken.elapsed().as_secs()
            );
        }
        self.runtime.block_on(async { tokio::time::sleep(pause).await });
        Ok(())
    }
}

/// About the bytes that a report takes in a request.
fn size(report: &Report) -> u64 {
    const EVENT_BYTES: usize = 256;
    let event = |event: &blocksift_detector::Event| {
        EVENT_BYTES + event.text.len() + event.file.len() + event.line.as_ref().map_or(0, String::len)
    };
    report.events.iter().map(event).sum::<usize>() as u64 + 512
}
