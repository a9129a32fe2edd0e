//! How long to wait between tries: twice as long each time, up to a limit, less a random part, so that a fleet does
//! not come back all at once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Doublings after which the limit is surely reached.
const DOUBLINGS_MAX: u32 = 20;

/// Pauses between tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// The first pause is `min`, none is longer than `max`.
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// Whether the last try failed.
    pub(crate) fn failed(&self) -> bool {
        self.failures > 0
    }

    /// The last try was a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure: between half of the full pause and all of it. Where the other side asks for a
    /// longer one, that and up to a tenth more, since it asks the whole fleet for the same.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = self.min.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let asked = asked.unwrap_or_default().mul_f64(1.0 + 0.1 * random_fraction());
        full.mul_f64(0.5 + 0.5 * random_fraction()).max(asked)
    }
}

/// `0.0..1.0`, from the randomness that every hash map gets.
fn random_fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from((random >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_pause_that_is_asked_for_is_kept_and_spread() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for _ in 0..40 {
            let pause = backoff.next(Some(Duration::from_secs(100))).as_secs_f64();
            assert!((100.0..=110.0).contains(&pause), "{pause}");
        }
        assert!(backoff.next(Some(Duration::from_secs(1))) >= Duration::from_secs(5));
    }

    #[test]
    fn pauses_double_up_to_the_limit_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut full = 1.0;
        for _ in 0..40 {
            let pause = backoff.next(None).as_secs_f64();
            assert!(pause >= full / 2.0 && pause <= full, "{pause} of {full}");
            full = f64::min(full * 2.0, 10.0);
        }
        assert!(backoff.failed());
        backoff.reset();
        assert!(!backoff.failed());
        assert!(backoff.next(None) <= Duration::from_secs(1));
    }
}
