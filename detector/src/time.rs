//! Times: civil time of a log line to milliseconds since 1970 in UTC, and back to text for reports.
//!
//! Where a zone sets its clocks back, an hour of civil time comes twice (the fold); where it sets them forward, one
//! never comes (the gap). log4j writes civil time without its offset, so a time in a fold has two meanings: it is
//! taken as the first. A time in a gap, which only a clock of another zone can write, is taken as if the clocks had
//! not been set yet, so it comes out behind the gap. Both are what jiff and RFC 5545 call compatible. The second pass
//! through a repeated hour therefore reads an hour early. Going by the order of the lines could tell the passes apart
//! most of the time, but then the time of a line would depend on the lines before it, and a restart in that hour
//! would make other events of the same lines. Layouts that write the offset (ISO 8601, JSON, CRI) have no such hour.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Civil minutes for which one zone offset is remembered. Since 1973 offsets change on quarters of an hour in every
/// zone.
const MEMO_MINUTES: i64 = 15;

/// Date and time of day without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// `1970..=9999`.
    pub year: i16,
    /// `1..=12`.
    pub month: i8,
    /// `1..=31`.
    pub day: i8,
    /// `0..=23`.
    pub hour: i8,
    /// `0..=59`.
    pub minute: i8,
    /// `0..=59`.
    pub second: i8,
    /// `0..=999`.
    pub millisecond: i16,
}

/// Turns civil times of one zone into milliseconds.
#[derive(Clone, Debug)]
pub struct Zone {
    zone: TimeZone,
    memo_slot: i64,
    memo_offset_ms: i64,
    /// The last stamp that was parsed, to the second, and its time.
    memo_stamp: [u8; STAMP_BYTES_MAX],
    memo_stamp_ms: i64,
    /// What the caller last told of the time; `None` if nothing.
    now_ms: Option<i64>,
}

/// Bytes of the longest stamp, the text of a date and a time of day to the second. No stamp starts with one of another
/// layout: their separators stand in different places.
const STAMP_BYTES_MAX: usize = 19;

/// How far a time without a year may be ahead of the caller's clock before it is taken as last year's.
const AHEAD_MAX_MS: i64 = 86_400_000;

impl Zone {
    /// For times of `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            memo_slot: i64::MIN,
            memo_offset_ms: 0,
            memo_stamp: [u8::MAX; STAMP_BYTES_MAX],
            memo_stamp_ms: 0,
            now_ms: None,
        }
    }

    /// Tells the time, in ms since 1970 in UTC, for [`to_ms_in_last_year`](Self::to_ms_in_last_year).
    pub fn set_now_ms(&mut self, now_ms: i64) {
        self.now_ms = Some(now_ms);
    }

    /// As [`to_ms`](Self::to_ms), in the last year in which `civil` is not more than a day ahead of the time that was
    /// told; its own year is ignored. `None` also if no time was told. For syslog, which writes no year.
    pub fn to_ms_in_last_year(&mut self, civil: Civil) -> Option<i64> {
        let now_ms = self.now_ms?;
        let latest_ms = now_ms.checked_add(AHEAD_MAX_MS)?;
        let year = jiff::Timestamp::from_millisecond(latest_ms).ok()?.to_zoned(TimeZone::UTC).year();
        // A year later for zones ahead of UTC; 29 February may be up to eight years back.
        (0..10).find_map(|back| {
            let civil = Civil { year: year.checked_add(1)?.checked_sub(back)?, ..civil };
            self.to_ms(civil).filter(|&ms| ms <= latest_ms)
        })
    }

    /// As [`to_ms`](Self::to_ms) of what `parse` makes of `stamp`, which it is not asked when the stamp is that of the
    /// last call: most lines are of the same second as the one before.
    #[inline]
    pub(crate) fn stamp_to_ms<const N: usize>(
        &mut self,
        stamp: &[u8; N],
        parse: impl FnOnce() -> Option<Civil>,
    ) -> Option<i64> {
        if self.memo_stamp.first_chunk() != Some(stamp) {
            self.memo_stamp_ms = self.to_ms(parse()?)?;
            *self.memo_stamp.first_chunk_mut()? = *stamp;
        }
        Some(self.memo_stamp_ms)
    }

    /// Milliseconds since 1970 in UTC; `None` if there is no such date. A time that the zone repeats is taken as the
    /// first of the two, one that it skips as after the gap.
    pub fn to_ms(&mut self, civil: Civil) -> Option<i64> {
        let civil_ms = civil.to_utc_ms()?;
        let slot = civil_ms.div_euclid(MEMO_MINUTES * 60_000);
        if slot != self.memo_slot {
            let start =
                DateTime::new(civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second, 0)
                    .ok()?;
            let timestamp = self.zone.to_ambiguous_timestamp(start).compatible().ok()?;
            self.memo_offset_ms = civil_ms - i64::from(civil.millisecond) - timestamp.as_millisecond();
            self.memo_slot = slot;
        }
        Some(civil_ms - self.memo_offset_ms)
    }
}

impl Civil {
    /// Milliseconds since 1970 if this is a time of UTC; `None` if there is no such date.
    #[must_use]
    pub fn to_utc_ms(self) -> Option<i64> {
        let in_range = (1970..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second)
            && (0..1_000).contains(&self.millisecond);
        if !in_range {
            return None;
        }
        let minutes = days_from_civil(self) * 1_440 + i64::from(self.hour) * 60 + i64::from(self.minute);
        Some((minutes * 60 + i64::from(self.second)) * 1_000 + i64::from(self.millisecond))
    }
}

/// RFC 3339 in UTC with milliseconds, such as `2008-11-09T20:35:30.000Z`. Times that RFC 3339 cannot write come
/// out as the nearest it can.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    let bounded = ms.clamp(-62_135_596_800_000, 253_402_207_200_000);
    let timestamp = jiff::Timestamp::from_millisecond(bounded).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

fn days_in_month(year: i16, month: i8) -> i8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(civil: Civil) -> i64 {
    let month = i64::from(civil.month);
    let year = i64::from(civil.year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(civil.day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn civil(text: &str) -> Civil {
        let at: DateTime = text.parse().unwrap();
        Civil {
            year: at.year(),
            month: at.month(),
            day: at.day(),
            hour: at.hour(),
            minute: at.minute(),
            second: at.second(),
            millisecond: at.millisecond(),
        }
    }

    #[test]
    fn utc_and_fixed_offsets() {
        let mut utc = Zone::new(TimeZone::UTC);
        let at = civil("2008-11-09T20:35:30");
        assert_eq!(rfc3339(utc.to_ms(at).unwrap()), "2008-11-09T20:35:30.000Z");
        let mut east = Zone::new(TimeZone::fixed(jiff::tz::offset(2)));
        assert_eq!(rfc3339(east.to_ms(at).unwrap()), "2008-11-09T18:35:30.000Z");
    }

    #[test]
    fn impossible_dates_are_refused() {
        let mut zone = Zone::new(TimeZone::UTC);
        let good = civil("2023-02-28T00:00:00");
        assert!(zone.to_ms(good).is_some());
        assert_eq!(zone.to_ms(Civil { day: 29, ..good }), None);
        assert_eq!(zone.to_ms(Civil { month: 13, ..good }), None);
        assert_eq!(zone.to_ms(Civil { hour: 24, ..good }), None);
    }

    fn in_zone(posix: &str, text: &str) -> String {
        rfc3339(Zone::new(TimeZone::posix(posix).unwrap()).to_ms(civil(text)).unwrap())
    }

    #[test]
    fn a_repeated_hour_is_the_first_and_a_skipped_one_lies_behind_the_gap_in_berlin() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        // 27 October 2024: 02:00 to 03:00 comes twice.
        assert_eq!(in_zone(berlin, "2024-10-27T01:59:59"), "2024-10-26T23:59:59.000Z");
        assert_eq!(in_zone(berlin, "2024-10-27T02:00:00"), "2024-10-27T00:00:00.000Z");
        assert_eq!(in_zone(berlin, "2024-10-27T02:59:59"), "2024-10-27T00:59:59.000Z");
        assert_eq!(in_zone(berlin, "2024-10-27T03:00:00"), "2024-10-27T02:00:00.000Z");
        // 31 March 2024: 02:00 to 03:00 does not exist.
        assert_eq!(in_zone(berlin, "2024-03-31T01:59:59"), "2024-03-31T00:59:59.000Z");
        assert_eq!(in_zone(berlin, "2024-03-31T02:30:00"), "2024-03-31T01:30:00.000Z");
        assert_eq!(in_zone(berlin, "2024-03-31T03:00:00"), "2024-03-31T01:00:00.000Z");
    }

    #[test]
    fn half_hour_zones_and_half_hour_shifts() {
        // India is 5:30 ahead; Lord Howe Island is 10:30 ahead, in summer 11:00.
        assert_eq!(in_zone("IST-5:30", "2024-10-27T02:15:00"), "2024-10-26T20:45:00.000Z");
        let lord_howe = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
        // 7 April 2024: 01:30 to 02:00 comes twice.
        assert_eq!(in_zone(lord_howe, "2024-04-07T01:45:00"), "2024-04-06T14:45:00.000Z");
        assert_eq!(in_zone(lord_howe, "2024-04-07T02:00:00"), "2024-04-06T15:30:00.000Z");
        // 6 October 2024: 02:00 to 02:30 does not exist.
        assert_eq!(in_zone(lord_howe, "2024-10-06T02:10:00"), "2024-10-05T15:40:00.000Z");
        assert_eq!(in_zone(lord_howe, "2024-10-06T02:30:00"), "2024-10-05T15:30:00.000Z");
    }

    #[test]
    fn a_time_without_a_year_is_the_last_that_can_be() {
        let mut zone = Zone::new(TimeZone::UTC);
        let at = civil("2000-12-31T23:00:00");
        assert_eq!(zone.to_ms_in_last_year(at), None);
        let mut year = |now: &str, text: &str| {
            zone.set_now_ms(civil(now).to_utc_ms().unwrap());
            zone.to_ms_in_last_year(civil(text))
                .map(|ms| rfc3339(ms).chars().take(4).collect::<String>())
                .unwrap()
        };
        assert_eq!(year("2024-01-01T00:30:00", "2000-12-31T23:00:00"), "2023");
        assert_eq!(year("2024-12-31T23:30:00", "2000-12-31T23:00:00"), "2024");
        assert_eq!(year("2024-12-31T23:30:00", "2000-01-01T00:10:00"), "2025");
        assert_eq!(year("2024-12-31T23:30:00", "2000-01-02T00:10:00"), "2024");
        assert_eq!(year("2023-07-01T00:00:00", "2000-02-29T00:10:00"), "2020");
    }

    proptest! {
        #[test]
        fn agrees_with_jiff_in_any_order(seconds in prop::collection::vec(0_i64..4_102_444_800, 1..20)) {
            // Offsets change twice a year in this zone; POSIX rules need no zone database.
            let posix = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
            let mut zone = Zone::new(posix.clone());
            for second in seconds {
                let at = posix.to_datetime(jiff::Timestamp::from_second(second).unwrap());
                let expected = posix.to_ambiguous_timestamp(at).compatible().unwrap().as_millisecond();
                prop_assert_eq!(zone.to_ms(civil(&at.to_string())), Some(expected));
            }
        }
    }
}
