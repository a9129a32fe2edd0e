//! A timer that wakes once for each sleep. The runtime's own keeps long sleeps in coarse slots and wakes at the start of
//! the slot first, which doubles the wakeups of an agent with nothing to do.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tracing::debug;

use super::readable;

/// For one sleep at a time.
#[derive(Debug)]
pub(super) struct Timer {
    /// `None` where the kernel gives none: then the runtime's.
    timer: Option<AsyncFd<OwnedFd>>,
}

impl Timer {
    /// Has to be called within a runtime, and belongs to it.
    pub(super) fn new() -> Self {
        let timer = open().inspect_err(|error| debug!(%error, "no timer of the kernel's")).ok();
        Self { timer }
    }

    /// Returns at `until`.
    pub(super) async fn sleep_until(&self, until: Instant) {
        if let Some(timer) = &self.timer {
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                let Ok(it_value) = Timespec::try_from(left) else { break };
                let once = Itimerspec { it_interval: Timespec::default(), it_value };
                if timerfd_settime(timer, TimerfdTimerFlags::empty(), &once).is_err() {
                    break;
                }
                // What an earlier sleep that nobody waited for left behind is cleared here too.
                let Ok(mut ready) = timer.readable().await else { break };
                ready.clear_ready();
            }
        }
        tokio::time::sleep_until(until.into()).await;
    }
}

fn open() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    readable(timerfd_create(TimerfdClockId::Monotonic, flags)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_sleep_ends_in_time_also_after_one_that_nobody_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for timer in [Timer::new(), Timer { timer: None }] {
                timer.sleep_until(Instant::now()).await;
                let soon = Instant::now() + Duration::from_millis(5);
                tokio::select! {
                    biased;
                    () = timer.sleep_until(soon) => panic!("it is not time yet"),
                    () = std::future::ready(()) => {}
                }
                let later = Instant::now() + Duration::from_millis(30);
                timer.sleep_until(later).await;
                assert!(Instant::now() >= later);
                timer.sleep_until(later).await;
            }
        });
    }
}
