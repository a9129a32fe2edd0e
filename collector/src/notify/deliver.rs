//! From the outbox to the receivers: one task each, in order, so that one that hangs holds up nobody else. What fails is
//! tried again, ever more seldom, for a day.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{Counts, Notice, Policy, count, http, syslog};
use crate::store::{Store, WriteError, now_ms};

/// Notifications taken at once.
const BATCH: i64 = 16;
/// How long one is tried.
const AGE_MAX_MS: i64 = 24 * 3_600_000;
/// Pauses after failures: twice as long each time, less a random part.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(300);
const DOUBLINGS_MAX: u32 = 12;
/// Rest after news, so that a busy store is not asked at every commit.
const NEWS_PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two looks for a group that is due.
const GROUP_LOOK_MAX: Duration = Duration::from_secs(30);

/// Who is told.
pub(crate) enum Receiver {
    Webhook(http::Post),
    Alertmanager(http::Post),
    Syslog(syslog::Address),
}

/// What a receiver did.
#[derive(Debug)]
pub(crate) enum Outcome {
    Taken,
    /// It may be taken later; `after` is what the receiver asks for.
    TryAgain {
        reason: String,
        after: Option<Duration>,
    },
    Refused {
        reason: String,
    },
}

/// Starts the tasks; they end when the set is dropped. `page` is the collector's own address, for links.
pub(crate) fn start(
    store: &Arc<Store>,
    policy: &Arc<Policy>,
    receivers: Vec<Receiver>,
    page: Option<&str>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    if policy.is_silent() {
        return tasks;
    }
    for (number, receiver) in receivers.into_iter().enumerate() {
        let (store, policy, page) = (Arc::clone(store), Arc::clone(policy), page.map(str::to_owned));
        tasks.spawn(async move {
            if let Some(counts) = policy.receivers.get(number) {
                deliver(&store, counts, &receiver, page.as_deref()).await;
            }
        });
    }
    let (store, policy) = (Arc::clone(store), Arc::clone(policy));
    tasks.spawn(async move {
        let names = policy.receivers.iter().map(|receiver| receiver.name.clone()).collect();
        if let Err(error) = store.keep_receivers(names).await {
            warn!(%error, "notifications of receivers that are configured no more stay for now");
        }
        let quarter = Duration::from_millis(u64::try_from(policy.group_interval_ms).unwrap_or(0) / 4);
        let pause = quarter.clamp(NEWS_PAUSE, GROUP_LOOK_MAX);
        while !matches!(store.group_notices(Arc::clone(&policy)).await, Err(WriteError::Closed)) {
            tokio::time::sleep(pause).await;
        }
    });
    tasks
}

/// Delivers to one receiver for as long as the store is open.
async fn deliver(store: &Store, counts: &Counts, receiver: &Receiver, page: Option<&str>) {
    let mut commits = store.commits();
    let mut failures = 0;
    loop {
        commits.borrow_and_update();
        // Of several collectors on a database one delivers.
        let posted = match store.leads() {
            false => Ok(Vec::new()),
            true => store.outbox(counts.name.clone(), BATCH).await,
        };
        let posted = posted.unwrap_or_else(|error| {
            warn!(%error, receiver = counts.name, "notifications cannot be read now");
            Vec::new()
        });
        if posted.is_empty() {
            if commits.changed().await.is_err() {
                return;
            }
            tokio::time::sleep(NEWS_PAUSE).await;
            continue;
        }
        let mut done = Vec::new();
        let mut pause = None;
        for (number, at_ms, text) in posted {
            match send(receiver, counts, page, at_ms, &text).await {
                None => done.push(number),
                Some(after) => {
                    pause = Some(after);
                    break;
                }
            }
        }
        if !done.is_empty() && !cleared(store, done).await {
            return;
        }
        if let Some(after) = pause {
            failures += 1;
            tokio::time::sleep(back_off(failures).max(after)).await;
        } else if failures > 0 {
            info!(receiver = counts.name, failures, "notifications arrive again");
            failures = 0;
        }
    }
}

/// Sends one; `None`: it is done with, else it is to be tried again, after what the receiver asks for.
async fn send(
    receiver: &Receiver,
    counts: &Counts,
    page: Option<&str>,
    at_ms: i64,
    text: &str,
) -> Option<Duration> {
    let Ok(notice) = serde_json::from_str::<Notice>(text) else {
        count(&counts.dropped_total);
        return None;
    };
    let outcome = if now_ms().saturating_sub(at_ms) > AGE_MAX_MS {
        Outcome::Refused { reason: "it was tried for a day".to_owned() }
    } else {
        match receiver {
            Receiver::Webhook(post) => post.webhook(&notice, page).await,
            Receiver::Alertmanager(post) => post.alertmanager(&notice, page).await,
            Receiver::Syslog(address) => address.send(&notice, page).await,
        }
    };
    match outcome {
        Outcome::Taken => {
            count(&counts.sent_total);
            None
        }
        Outcome::Refused { reason } => {
            warn!(receiver = counts.name, reason, "a notification is given up");
            count(&counts.dropped_total);
            None
        }
        Outcome::TryAgain { reason, after } => {
            warn!(receiver = counts.name, reason, "a notification is not delivered yet; trying again");
            count(&counts.failed_total);
            Some(after.unwrap_or_default().min(PAUSE_MAX))
        }
    }
}

/// Takes what is done with out of the outbox; says whether the store is still open.
async fn cleared(store: &Store, done: Vec<i64>) -> bool {
    loop {
        match store.clear_outbox(done.clone()).await {
            Ok(()) => return true,
            Err(WriteError::Closed) => return false,
            // Sending them again would be worse than waiting.
            Err(WriteError::Busy | WriteError::Failed) => tokio::time::sleep(PAUSE_MIN).await,
        }
    }
}

fn back_off(failures: u32) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << (failures - 1).min(DOUBLINGS_MAX)).min(PAUSE_MAX);
    let random = RandomState::new().build_hasher().finish();
    full.mul_f64(0.5 + f64::from((random >> 32) as u32) / (2.0 * f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        for failures in 1..100 {
            let pause = back_off(failures);
            assert!(pause >= PAUSE_MIN / 2 && pause <= PAUSE_MAX, "{failures}: {pause:?}");
        }
        assert!(back_off(1) <= PAUSE_MIN && back_off(50) >= PAUSE_MAX / 2);
    }
}
