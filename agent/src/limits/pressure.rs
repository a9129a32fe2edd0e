//! Standing back while the node's disks are busy, as the kernel's pressure stall information tells it. Lines that were
//! just written cost no disk to read; what costs is catching up and committing. So under pressure both are done
//! seldom, and little is read at a time.

use std::fs;
use std::time::{Duration, Instant};

/// Where the pressure of the whole node is told, and that of our own group where only this can be seen.
const FILES: [&str; 2] = ["/proc/pressure/io", "/sys/fs/cgroup/io.pressure"];
/// Time from one round to the next under pressure.
const ROUND_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes read in one round under pressure.
const ROUND_BYTES_MAX: u64 = 8 * 1_024 * 1_024;

/// The limit and whether it is passed.
#[derive(Debug)]
pub(super) struct Pressure {
    percent_max: f64,
    pressed: bool,
    /// When the last round was done.
    round: Option<Instant>,
    /// Bytes read in it.
    round_bytes: u64,
}

impl Pressure {
    pub(super) fn new(percent_max: u32) -> Self {
        Self { percent_max: f64::from(percent_max), pressed: false, round: None, round_bytes: 0 }
    }

    /// Whether a round may be done at `now`, with so much of the time lost to waiting for disks; a kernel that does
    /// not tell (`None`) holds nothing up.
    pub(super) fn may_read(&mut self, now: Instant, some_avg10: Option<f64>) -> bool {
        self.pressed = some_avg10.is_some_and(|percent| percent > self.percent_max);
        let due = self.round.is_none_or(|round| now.saturating_duration_since(round) >= ROUND_INTERVAL);
        let may = !self.pressed || due;
        if may {
            self.round = Some(now);
            self.round_bytes = 0;
        }
        may
    }

    /// Notes that bytes were read; `true` if it is enough for this round.
    pub(super) fn has_read(&mut self, bytes: u64) -> bool {
        self.round_bytes = self.round_bytes.saturating_add(bytes);
        self.pressed && self.round_bytes >= ROUND_BYTES_MAX
    }
}

/// Share of the last ten seconds in which something waited for disks, in hundredths: the node's if it is told, else that
/// of our control group.
pub(super) fn some_avg10() -> Option<f64> {
    FILES.iter().find_map(|path| parse(&fs::read_to_string(path).ok()?))
}

/// `avg10` of the line `some avg10=0.12 avg60=... avg300=... total=...`.
fn parse(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let value = some.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
    value.parse().ok().filter(|percent: &f64| percent.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_last_ten_seconds_is_read() {
        let text = "some avg10=61.25 avg60=12.00 avg300=3.40 total=1234\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(parse(text), Some(61.25));
        for odd in ["", "full avg10=1.00\n", "some avg60=1.00\n", "some avg10=NaN\n", "some avg10=\n"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn under_pressure_rounds_are_seldom_and_short() {
        let start = Instant::now();
        let mut pressure = Pressure::new(60);
        let rounds = (0..100).filter(|&s| pressure.may_read(start + Duration::from_secs(s), Some(60.1)));
        assert_eq!(rounds.count(), 10);
        assert!(!pressure.has_read(ROUND_BYTES_MAX - 1));
        assert!(pressure.has_read(1));
    }

    #[test]
    fn without_pressure_or_news_of_it_nothing_is_held_up() {
        let now = Instant::now();
        let mut pressure = Pressure::new(60);
        for told in [None, Some(0.0), Some(60.0)] {
            assert!(pressure.may_read(now, told) && !pressure.has_read(u64::MAX));
        }
        assert!(!pressure.may_read(now, Some(99.0)));
        assert!(pressure.may_read(now, Some(1.0)), "it ends with the pressure");
    }
}
