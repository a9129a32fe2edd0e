//! Keeps what the feed hands over, also where the disk does not take it: the one commit that failed waits in memory and
//! is tried again, ever more seldom, until it is in the store. Nothing is read meanwhile; the logs are the buffer.

use std::sync::Arc;

use tracing::debug;

use crate::ship::chain;
use crate::state::{Commit, StateError, Store};

/// Pause after the first failure; each further one is twice as long.
const PAUSE_MIN_MS: i64 = 500;
/// Longest pause, and so how late it is seen that there is room again.
const PAUSE_MAX_MS: i64 = 8_000;

/// The store with what it does not have yet.
#[derive(Debug)]
pub(super) struct Keeper {
    store: Arc<Store>,
    waiting: Option<Commit>,
    retry_ms: i64,
    pause_ms: i64,
}

impl Keeper {
    /// Keeps in `store`.
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, waiting: None, retry_ms: i64::MIN, pause_ms: PAUSE_MIN_MS }
    }

    /// The store.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps `commit`, now or later. Only to be called while [`Self::is_ready`].
    ///
    /// # Errors
    /// For what does not pass by itself.
    pub(super) fn commit(&mut self, commit: Commit, now_ms: i64) -> Result<(), StateError> {
        self.waiting = Some(commit);
        self.flush(now_ms).map(|_| ())
    }

    /// Whether everything handed over is in the store; if not, and it is time, tries again first.
    ///
    /// # Errors
    /// For what does not pass by itself.
    pub(super) fn is_ready(&mut self, now_ms: i64) -> Result<bool, StateError> {
        if !self.store.is_failing() && self.waiting.is_none() {
            return Ok(true);
        }
        if now_ms < self.retry_ms {
            return Ok(false);
        }
        self.flush(now_ms)
    }

    fn flush(&mut self, now_ms: i64) -> Result<bool, StateError> {
        match self.try_flush() {
            Ok(()) => {
                self.waiting = None;
                self.pause_ms = PAUSE_MIN_MS;
                Ok(true)
            }
            Err(error) if error.may_pass() => {
                debug!(error = chain(&error), pause_ms = self.pause_ms, "store still fails");
                self.retry_ms = now_ms.saturating_add(self.pause_ms);
                self.pause_ms = (self.pause_ms * 2).min(PAUSE_MAX_MS);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn try_flush(&self) -> Result<(), StateError> {
        self.store.reopen()?;
        match &self.waiting {
            Some(commit) => self.store.commit(commit),
            // It was shipping that failed; an empty commit shows whether writing works.
            None => self.store.touch(),
        }
    }
}
