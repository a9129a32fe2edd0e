//! The agent's own time, by which it measures silence: it never goes back, and what is done to the host's clock while
//! the agent runs does not reach it. It is the host's time when the agent runs first; from then on it grows by what
//! passes, over restarts by what the host's clock says has passed.

use std::time::{Instant, SystemTime};

use tracing::warn;

use crate::state::SteadyTime;

/// A step of the host's clock that is worth a message.
const STEP_MS: i64 = 5_000;

/// A moment as the host tells it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HostTime {
    /// Milliseconds since 1970. May be set back or forward.
    pub(crate) date_ms: i64,
    /// Milliseconds since some moment that stays the same as long as the process lives. Never goes back.
    pub(crate) elapsed_ms: i64,
}

impl HostTime {
    /// Now; `since` is the same for all moments that are compared.
    pub(crate) fn now(since: Instant) -> Self {
        let elapsed_ms = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        Self { date_ms: now_ms(), elapsed_ms }
    }
}

/// The host's clock: milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Makes steady time of the host's.
#[derive(Debug)]
pub(super) struct Clock {
    /// Told last.
    time: SteadyTime,
    /// Then, too; `None` before the first moment of this process.
    elapsed_ms: Option<i64>,
}

impl Clock {
    /// Goes on from a moment of an earlier process; from now if it is the default.
    pub(super) fn new(saved: SteadyTime) -> Self {
        Self { time: saved, elapsed_ms: None }
    }

    /// The moment told last.
    pub(super) fn time(&self) -> SteadyTime {
        self.time
    }

    /// What the agent's time is at this moment of the host.
    pub(super) fn tell(&mut self, now: HostTime) -> SteadyTime {
        let SteadyTime { steady_ms, date_ms } = self.time;
        let by_date_ms = now.date_ms.saturating_sub(date_ms);
        let passed_ms = match self.elapsed_ms {
            _ if steady_ms == 0 => now.date_ms,
            Some(elapsed_ms) => now.elapsed_ms.saturating_sub(elapsed_ms),
            None => by_date_ms,
        };
        let step_ms = if self.elapsed_ms.is_some() { by_date_ms - passed_ms } else { by_date_ms.min(0) };
        if step_ms.abs() >= STEP_MS && steady_ms != 0 {
            let way = if step_ms < 0 { "back" } else { "forward" };
            warn!(
                seconds = step_ms.abs() / 1_000,
                "the host's clock was set {way}; silence goes on being measured by the time that really passes"
            );
        }
        self.elapsed_ms = Some(now.elapsed_ms);
        self.time = SteadyTime { steady_ms: steady_ms + passed_ms.max(0), date_ms: now.date_ms };
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(date_ms: i64, elapsed_ms: i64) -> HostTime {
        HostTime { date_ms, elapsed_ms }
    }

    #[test]
    fn what_is_done_to_the_hosts_clock_does_not_reach_it() {
        let mut clock = Clock::new(SteadyTime::default());
        assert_eq!(clock.tell(at(5 * HOUR_MS, 7)).steady_ms, 5 * HOUR_MS);
        assert_eq!(clock.tell(at(4 * HOUR_MS, 1_007)).steady_ms, 5 * HOUR_MS + 1_000);
        assert_eq!(clock.tell(at(9 * HOUR_MS, 1_008)).steady_ms, 5 * HOUR_MS + 1_001);
        assert_eq!(clock.time().date_ms, 9 * HOUR_MS);
    }

    #[test]
    fn over_a_restart_it_grows_with_the_date_and_never_goes_back() {
        let saved = SteadyTime { steady_ms: 900, date_ms: 5 * HOUR_MS };
        assert_eq!(Clock::new(saved).tell(at(6 * HOUR_MS, 3)).steady_ms, 900 + HOUR_MS);
        let mut clock = Clock::new(saved);
        assert_eq!(clock.tell(at(4 * HOUR_MS, 3)).steady_ms, 900);
        assert_eq!(clock.tell(at(4 * HOUR_MS + 50, 53)).steady_ms, 950);
    }
}
