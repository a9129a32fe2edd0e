//! What systemd is told (`sd_notify(3)`): readiness, one line of status, reloads, and signs of life. Without systemd,
//! nobody is.
//!
//! Signs of life depend on the feed: an agent whose disk hangs is started anew if the unit has `WatchdogSec=`.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::watch;
use tracing::debug;

use crate::status::{Board, FeedStatus};

/// Names the socket of a service manager, where there is one.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// How often the line of status is renewed.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The agent reads and ships.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// As [`ready`], once the feed has made its first round.
pub(crate) async fn ready_after_round(mut feed: watch::Receiver<FeedStatus>) {
    if feed.wait_for(|status| status.progress.is_some()).await.is_ok() {
        ready();
    }
}

/// A reload begins; [`ready`] ends it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "no monotonic clock; systemd does not learn of the reload"),
    }
}

/// The agent cannot start yet, for what `why` says, and will say so again within `patience`.
pub(crate) fn waiting(why: &str, patience: Duration) {
    let more = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Status(why), NotifyState::ExtendTimeoutUsec(more)]);
}

/// The agent ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Renews the line of status, and shows signs of life for as long as the feed does: for ever if somebody listens.
pub(crate) async fn show_life(board: watch::Receiver<Board>) {
    if std::env::var_os(SOCKET_VARIABLE).is_none() {
        // Nobody listens, and an idle agent is to wake seldom.
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let interval = watchdog.map_or(STATUS_INTERVAL, |limit| STATUS_INTERVAL.min(limit / 2));
    loop {
        let now_board = board.borrow().clone();
        let line = status(&now_board);
        let mut states = vec![NotifyState::Status(&line)];
        if watchdog.is_some() && !now_board.is_stuck(Instant::now()) {
            states.push(NotifyState::Watchdog);
        }
        tell(&states);
        tokio::time::sleep(interval).await;
    }
}

fn status(board: &Board) -> String {
    let feed = board.feed.borrow();
    format!(
        "{} files, {} bytes behind, {} sessions, {} flagged, {} reports to ship",
        feed.files.files,
        feed.files.lag_bytes,
        feed.totals.sessions_open,
        feed.totals.sessions_flagged,
        board.store.spooled().reports
    )
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd is not told");
    }
}
