//! Failed logins: after a few from one address, or for one name, further ones wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Failures in [`WINDOW`] after which nothing is tried any more.
const FAILURES_MAX: u32 = 5;
const WINDOW: Duration = Duration::from_secs(300);
/// Keys that are remembered; when there are as many, unknown ones are refused until some are forgotten.
const KEYS_MAX: usize = 10_000;

/// Failures by key.
#[derive(Debug, Default)]
pub(super) struct Attempts(HashMap<String, (u32, Instant)>);

impl Attempts {
    /// How long somebody with these keys has to wait; `None`: not at all.
    pub(super) fn wait(&mut self, keys: &[String], now: Instant) -> Option<Duration> {
        self.0.retain(|_, (_, since)| now.saturating_duration_since(*since) < WINDOW);
        let full = self.0.len() >= KEYS_MAX;
        keys.iter()
            .filter_map(|key| match self.0.get(key) {
                Some((failures, since)) => (*failures >= FAILURES_MAX).then_some(*since),
                None => full.then_some(now),
            })
            .map(|since| WINDOW.saturating_sub(now.saturating_duration_since(since)))
            .max()
    }

    /// Counts a failure under each key.
    pub(super) fn failed(&mut self, keys: Vec<String>, now: Instant) {
        for key in keys {
            self.0.entry(key).or_insert((0, now)).0 += 1;
        }
    }

    /// Forgets a key whose owner was let in.
    pub(super) fn succeeded(&mut self, key: &str) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_try_waits_and_another_key_does_not() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        let (one, other) = (vec!["one".to_owned()], vec!["other".to_owned()]);
        for _ in 0..FAILURES_MAX {
            assert_eq!(attempts.wait(&one, now), None);
            attempts.failed(one.clone(), now);
        }
        assert_eq!(attempts.wait(&one, now), Some(WINDOW));
        assert_eq!(attempts.wait(&other, now), None);
        assert_eq!(attempts.wait(&one, now + WINDOW), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        attempts.failed((0..KEYS_MAX).map(|key| key.to_string()).collect(), now);
        assert!(attempts.wait(&["new".to_owned()], now).is_some());
        assert!(attempts.wait(&["5".to_owned()], now).is_none());
    }
}
