//! The cap on CPU time: a bucket that fills with time at the rate allowed, and that the time used is taken from.

use std::time::{Duration, Instant};

/// CPU time that can be saved up: reading in short bursts is not held up.
const SAVED_MAX: Duration = Duration::from_secs(1);
/// Shortest rest: a cap is no reason to wake up often.
const REST_MIN: Duration = Duration::from_millis(100);
/// Longest rest, whatever was used: whoever watches the feed sees it alive.
const REST_MAX: Duration = Duration::from_secs(5);

/// The cap and what is in the bucket.
#[derive(Debug)]
pub(super) struct CpuCap {
    /// CPU time per time.
    share: f64,
    /// CPU time in seconds that may be used at once; below zero where more was used.
    saved_s: f64,
    at: Instant,
    used: Duration,
}

impl CpuCap {
    /// Allows `percent` hundredths of a core from `now` on, when `used` CPU time has been used.
    pub(super) fn new(percent: u32, now: Instant, used: Duration) -> Self {
        Self { share: f64::from(percent) / 100.0, saved_s: SAVED_MAX.as_secs_f64(), at: now, used }
    }

    /// How long to rest when at `now` so much CPU time has been `used`; `None` while there is some left.
    pub(super) fn rest(&mut self, now: Instant, used: Duration) -> Option<Duration> {
        let (passed, used_since) = (now.saturating_duration_since(self.at), used.saturating_sub(self.used));
        let filled = self.saved_s + passed.as_secs_f64() * self.share;
        self.saved_s = filled.min(SAVED_MAX.as_secs_f64()) - used_since.as_secs_f64();
        (self.at, self.used) = (now, used);
        (self.saved_s < 0.0).then(|| {
            let seconds = -self.saved_s / self.share;
            Duration::from_secs_f64(seconds.min(REST_MAX.as_secs_f64())).max(REST_MIN)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn in_the_long_run_no_more_than_the_share_is_used() {
        for percent in [1, 20, 50, 100, 150] {
            let (mut now, mut used) = (Instant::now(), Duration::from_secs(7));
            let start = now;
            let mut cap = CpuCap::new(percent, now, used);
            // Two threads that always have work, unless they rest.
            while now.duration_since(start) < Duration::from_secs(600) {
                (now, used) = (now + 2 * MS, used + 4 * MS);
                if let Some(rest) = cap.rest(now, used) {
                    assert!(rest >= REST_MIN && rest <= REST_MAX);
                    now += rest;
                }
            }
            let share = (used - Duration::from_secs(7)).as_secs_f64() / 600.0 * 100.0;
            let allowed = f64::from(percent);
            assert!(share <= allowed + 0.5 && share >= allowed * 0.9, "{share} of {allowed}");
        }
    }

    #[test]
    fn what_uses_less_never_rests_and_a_burst_is_let_through() {
        let (mut now, mut used) = (Instant::now(), Duration::ZERO);
        let mut cap = CpuCap::new(10, now, used);
        for _ in 0..1_000 {
            (now, used) = (now + 1_000 * MS, used + 99 * MS);
            assert_eq!(cap.rest(now, used), None);
        }
        (now, used) = (now + 900 * MS, used + 900 * MS);
        assert_eq!(cap.rest(now, used), None);
        (now, used) = (now + 900 * MS, used + 900 * MS);
        assert!(cap.rest(now, used).is_some());
    }

    #[test]
    fn clocks_that_go_back_do_no_harm() {
        let now = Instant::now();
        let mut cap = CpuCap::new(10, now, Duration::from_secs(5));
        assert_eq!(cap.rest(now, Duration::from_secs(1)), None);
        assert_eq!(cap.rest(now, Duration::from_secs(1)), None);
    }
}
