//! The filter's time: that of the records it is given, made fit to close sessions by. It never goes back, and no single
//! record can move it far: files are read side by side whose times differ, clocks are set, and a time may be nonsense.
//!
//! A time within an hour of the clock is believed. Of one that is further away, either way, several have to come in a
//! row; then the clock goes on from there, as if so much time had passed as makes a session silent, and no more.

/// How far a record's time may be from the clock to be believed at once.
const NEAR_MS: i64 = 3_600_000;
/// Records in a row that have to agree before a time that is far away is believed.
const AGREE: u8 = 3;

/// Time that only grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// `None` before the first record.
    now_ms: Option<i64>,
    /// What is added to a record's time to get the clock's.
    offset_ms: i64,
    /// A far time, and how many records in a row were near it.
    far: Option<(i64, u8)>,
}

impl Clock {
    /// Takes the time of a record; returns the clock's. `silence_ms` is what a leap counts as.
    pub(crate) fn tell(&mut self, time_ms: i64, silence_ms: i64) -> i64 {
        let Some(now_ms) = self.now_ms else {
            self.now_ms = Some(time_ms);
            return time_ms;
        };
        let told_ms = time_ms.saturating_add(self.offset_ms);
        if told_ms.abs_diff(now_ms) <= NEAR_MS.unsigned_abs() {
            self.far = None;
            self.now_ms = Some(now_ms.max(told_ms));
        } else if self.agrees(time_ms) {
            let leap_ms = if told_ms > now_ms { silence_ms } else { 0 };
            let now_ms = now_ms.saturating_add(leap_ms);
            self.offset_ms = now_ms.saturating_sub(time_ms);
            self.now_ms = Some(now_ms);
        }
        self.now_ms.unwrap_or(now_ms)
    }

    /// Whether so many records in a row were near this time.
    fn agrees(&mut self, time_ms: i64) -> bool {
        let before = self.far.filter(|(far_ms, _)| time_ms.abs_diff(*far_ms) <= NEAR_MS.unsigned_abs());
        let count = before.map_or(1, |(_, count)| count + 1);
        self.far = (count < AGREE).then_some((time_ms, count));
        count >= AGREE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SILENCE_MS: i64 = 60_000;

    #[test]
    fn a_lone_time_far_away_moves_nothing() {
        let mut clock = Clock::default();
        assert_eq!(clock.tell(1_000, SILENCE_MS), 1_000);
        for far_ms in [i64::MAX, i64::MIN, 253_402_300_799_000] {
            assert_eq!(clock.tell(far_ms, SILENCE_MS), 1_000);
            assert_eq!(clock.tell(1_000, SILENCE_MS), 1_000);
        }
        assert_eq!(clock.tell(9_000, SILENCE_MS), 9_000);
    }

    #[test]
    fn a_night_without_records_counts_as_one_silence() {
        let mut clock = Clock::default();
        clock.tell(0, SILENCE_MS);
        let morning_ms = 8 * NEAR_MS;
        let told = [0, 1_000, 2_000, 3_000].map(|later_ms| clock.tell(morning_ms + later_ms, SILENCE_MS));
        assert_eq!(told, [0, 0, SILENCE_MS, SILENCE_MS + 1_000]);
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on() {
        let mut clock = Clock::default();
        let start_ms = 100 * NEAR_MS;
        clock.tell(start_ms, SILENCE_MS);
        let told = [0, 1_000, 2_000, 3_000].map(|later_ms| clock.tell(later_ms, SILENCE_MS));
        assert_eq!(told, [start_ms, start_ms, start_ms, start_ms + 1_000]);
    }

    proptest! {
        #[test]
        fn it_never_goes_back(times in prop::collection::vec(prop_oneof![any::<i64>(), 0..10 * NEAR_MS], 0..60)) {
            let mut clock = Clock::default();
            let told: Vec<i64> = times.into_iter().map(|time_ms| clock.tell(time_ms, SILENCE_MS)).collect();
            prop_assert!(told.is_sorted());
        }
    }
}
