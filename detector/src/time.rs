//! Times: civil time of a log line to milliseconds since 1970 in UTC, and back to text for reports.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Civil minutes for which one zone offset is remembered. Offsets change on quarters of an hour in every zone.
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
    memo_stamp: Stamp,
    memo_stamp_ms: i64,
}

/// Text of a time of day and date, to the second, padded with zero bytes.
pub(crate) type Stamp = [u8; 19];

impl Zone {
    /// For times of `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, memo_slot: i64::MIN, memo_offset_ms: 0, memo_stamp: [0; 19], memo_stamp_ms: 0 }
    }

    /// As [`to_ms`](Self::to_ms) of what `parse` makes of `stamp`, which it is not asked when the stamp is that of the
    /// last call: most lines are of the same second as the one before.
    pub(crate) fn stamp_to_ms(&mut self, stamp: Stamp, parse: impl FnOnce() -> Option<Civil>) -> Option<i64> {
        if stamp != self.memo_stamp {
            self.memo_stamp_ms = self.to_ms(parse()?)?;
            self.memo_stamp = stamp;
        }
        Some(self.memo_stamp_ms)
    }

    /// Milliseconds since 1970 in UTC; `None` if there is no such date. A time that the zone repeats is taken as the
    /// first of the two, one that it skips as after the gap.
    pub fn to_ms(&mut self, civil: Civil) -> Option<i64> {
        let in_range = (1970..=9999).contains(&civil.year)
            && (1..=12).contains(&civil.month)
            && (1..=days_in_month(civil.year, civil.month)).contains(&civil.day)
            && (0..24).contains(&civil.hour)
            && (0..60).contains(&civil.minute)
            && (0..60).contains(&civil.second);
        if !in_range {
            return None;
        }
        let minutes = days_from_civil(civil) * 1_440 + i64::from(civil.hour) * 60 + i64::from(civil.minute);
        let slot = minutes.div_euclid(MEMO_MINUTES);
        if slot != self.memo_slot {
            let start =
                DateTime::new(civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second, 0)
                    .ok()?;
            let timestamp = self.zone.to_ambiguous_timestamp(start).compatible().ok()?;
            self.memo_offset_ms =
                (minutes * 60 + i64::from(civil.second)) * 1_000 - timestamp.as_millisecond();
            self.memo_slot = slot;
        }
        let civil_ms = (minutes * 60 + i64::from(civil.second)) * 1_000 + i64::from(civil.millisecond);
        Some(civil_ms - self.memo_offset_ms)
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
