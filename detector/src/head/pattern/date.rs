//! The format of `%d{...}`: log4j's names for formats, or the letters of `SimpleDateFormat`.

use super::super::stamp;
use crate::time::{Civil, Zone};

/// Fields of one format; a longer one is refused.
const FIELDS_MAX: usize = 64;

/// A compiled date format.
#[derive(Clone, Debug)]
pub(super) struct Date {
    fields: Box<[Field]>,
    /// Offset that `%d{...}{zone}` names, in ms; otherwise the time is of the zone of the settings.
    offset_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Literal(u8),
    /// `T` or a blank: log4j 1 and 2 differ in what they call ISO8601.
    T,
    Number {
        unit: Unit,
        digits_min: usize,
        digits_max: usize,
    },
    /// English name of a month, short or long.
    MonthName,
    AmPm,
    /// Digits of a fraction of a second.
    Fraction(usize),
    /// `Z`, `+02`, `+0200` or `+02:00`.
    Offset,
    /// Letters without a meaning here: weekday, name of the zone.
    Letters,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Year,
    /// 2000 to 2099.
    YearOfCentury,
    Month,
    Day,
    Hour,
    /// 1 to 12, with [`Field::AmPm`].
    HalfDayHour,
    Minute,
    Second,
}

/// log4j's names for formats.
const NAMES: &[(&str, &str)] = &[
    ("", "yyyy-MM-dd HH:mm:ss,SSS"),
    ("DEFAULT", "yyyy-MM-dd HH:mm:ss,SSS"),
    ("DEFAULT_PERIOD", "yyyy-MM-dd HH:mm:ss.SSS"),
    ("DEFAULT_MICROS", "yyyy-MM-dd HH:mm:ss,SSSSSS"),
    ("DEFAULT_NANOS", "yyyy-MM-dd HH:mm:ss,SSSSSSSSS"),
    ("ISO8601", "yyyy-MM-dd'T'HH:mm:ss,SSS"),
    ("ISO8601_PERIOD", "yyyy-MM-dd'T'HH:mm:ss.SSS"),
    ("ISO8601_PERIOD_MICROS", "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"),
    ("ISO8601_OFFSET_DATE_TIME_HH", "yyyy-MM-dd'T'HH:mm:ss,SSSX"),
    ("ISO8601_OFFSET_DATE_TIME_HHMM", "yyyy-MM-dd'T'HH:mm:ss,SSSXX"),
    ("ISO8601_OFFSET_DATE_TIME_HHCMM", "yyyy-MM-dd'T'HH:mm:ss,SSSXXX"),
    ("ISO8601_BASIC", "yyyyMMdd'T'HHmmss,SSS"),
    ("ISO8601_BASIC_PERIOD", "yyyyMMdd'T'HHmmss.SSS"),
    ("COMPACT", "yyyyMMddHHmmssSSS"),
    ("DATE", "dd MMM yyyy HH:mm:ss,SSS"),
    ("DATE_PERIOD", "dd MMM yyyy HH:mm:ss.SSS"),
    ("US_MONTH_DAY_YEAR2_TIME", "dd/MM/yy HH:mm:ss.SSS"),
    ("US_MONTH_DAY_YEAR4_TIME", "dd/MM/yyyy HH:mm:ss.SSS"),
];

impl Date {
    /// Compiles what stands in the braces of `%d`; the error says what is wrong with it.
    pub(super) fn new(format: &str, zone: Option<&str>) -> Result<Self, String> {
        let format = format.trim();
        let offset_ms = zone.map(fixed_offset_ms).transpose()?;
        let fields = match format {
            "UNIX" => vec![Field::EpochSeconds],
            "UNIX_MILLIS" => vec![Field::EpochMs],
            name if name.starts_with("ABSOLUTE") => {
                return Err("ABSOLUTE is a time of day without a date; let log4j write ISO8601".to_owned());
            }
            _ => {
                let named = NAMES.iter().find(|(name, _)| *name == format);
                fields(named.map_or(format, |(_, letters)| letters))?
            }
        };
        if fields.len() > FIELDS_MAX {
            return Err(format!("the date has more than {FIELDS_MAX} parts"));
        }
        is_complete(&fields)?;
        Ok(Self { fields: fields.into(), offset_ms })
    }

    /// The time in ms that `text` starts with, and what follows.
    pub(super) fn parse<'a>(&self, text: &'a [u8], zone: &mut Zone) -> Option<(i64, &'a [u8])> {
        let mut rest = text;
        let mut civil = Civil { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, millisecond: 0 };
        let (mut is_pm, mut offset_ms) = (None, self.offset_ms);
        for &field in &self.fields {
            rest = match field {
                Field::Literal(byte) => rest.strip_prefix(&[byte])?,
                Field::T => rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b" "))?,
                Field::Number { unit, digits_min, digits_max } => {
                    let (value, rest) = digits(rest, digits_min, digits_max)?;
                    set(&mut civil, unit, i16::try_from(value).ok()?)?;
                    rest
                }
                Field::MonthName => {
                    let (name, rest) = letters(rest)?;
                    civil.month = i8::try_from(stamp::month(*name.first_chunk()?)?).ok()?;
                    rest
                }
                Field::AmPm => {
                    let (name, rest) = letters(rest)?;
                    is_pm = Some(name.eq_ignore_ascii_case(b"PM"));
                    rest
                }
                Field::Fraction(length) => {
                    let (fraction, rest) = rest.split_at_checked(length)?;
                    let (ms, behind) = stamp::fraction(fraction)?;
                    civil.millisecond = ms;
                    behind.is_empty().then_some(rest)?
                }
                Field::Offset => {
                    let (offset, rest) = stamp::offset_ms(rest)?;
                    offset_ms = Some(offset);
                    rest
                }
                Field::Letters => letters(rest)?.1,
                Field::EpochSeconds => {
                    let (seconds, rest) = digits(rest, 1, 12)?;
                    return Some((seconds * 1_000, rest));
                }
                Field::EpochMs => return digits(rest, 1, 15),
            };
        }
        if let Some(is_pm) = is_pm {
            civil.hour = civil.hour % 12 + if is_pm { 12 } else { 0 };
        }
        let time_ms = match offset_ms {
            Some(offset_ms) => civil.to_utc_ms()? - offset_ms,
            None => zone.to_ms(civil)?,
        };
        Some((time_ms, rest))
    }
}

/// Date and time of day are there, and the half of the day where its hours are.
fn is_complete(fields: &[Field]) -> Result<(), String> {
    if fields.iter().any(|field| matches!(field, Field::EpochSeconds | Field::EpochMs)) {
        return Ok(());
    }
    let has =
        |wanted: Unit| fields.iter().any(|f| matches!(f, Field::Number { unit, .. } if *unit == wanted));
    let month = has(Unit::Month) || fields.contains(&Field::MonthName);
    if !((has(Unit::Year) || has(Unit::YearOfCentury)) && month && has(Unit::Day)) {
        return Err("it needs year, month and day; let log4j write ISO8601".to_owned());
    }
    if !((has(Unit::Hour) || has(Unit::HalfDayHour)) && has(Unit::Minute)) {
        return Err("it needs hour and minute; let log4j write ISO8601".to_owned());
    }
    if has(Unit::HalfDayHour) != fields.contains(&Field::AmPm) {
        return Err("hours of half a day (`h`, `K`) and `a` go together; use `HH`".to_owned());
    }
    Ok(())
}

/// Fields by the letters of `SimpleDateFormat`; text between single quotes stands for itself.
fn fields(format: &str) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    let mut rest = format;
    while let Some(letter) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            rest = push_quoted(quoted, &mut fields)?;
            continue;
        }
        let behind = rest.trim_start_matches(letter);
        let run = rest.strip_suffix(behind).unwrap_or(rest);
        rest = behind;
        if letter.is_ascii_alphabetic() {
            fields.push(field(letter, run.len())?);
        } else {
            fields.extend(run.bytes().map(Field::Literal));
        }
    }
    Ok(fields)
}

/// Fields of the text up to the closing quote, and what follows. Two quotes stand for one, in the text or alone.
fn push_quoted<'f>(text: &'f str, fields: &mut Vec<Field>) -> Result<&'f str, String> {
    let mut rest = text;
    if let Some(behind) = rest.strip_prefix('\'') {
        fields.push(Field::Literal(b'\''));
        return Ok(behind);
    }
    if let Some(behind) = rest.strip_prefix("T'") {
        fields.push(Field::T);
        return Ok(behind);
    }
    loop {
        let (text, behind) = rest.split_once('\'').ok_or("a single quote is not closed")?;
        fields.extend(text.bytes().map(Field::Literal));
        let Some(behind_second) = behind.strip_prefix('\'') else { return Ok(behind) };
        fields.push(Field::Literal(b'\''));
        rest = behind_second;
    }
}

fn field(letter: char, count: usize) -> Result<Field, String> {
    let number = |unit| Field::Number { unit, digits_min: count.min(2), digits_max: 2 };
    Ok(match (letter, count) {
        ('y' | 'u', 2) => number(Unit::YearOfCentury),
        ('y' | 'u', _) => Field::Number { unit: Unit::Year, digits_min: 4, digits_max: 4 },
        ('M' | 'L', 1 | 2) => number(Unit::Month),
        ('M' | 'L', _) => Field::MonthName,
        ('d', 1 | 2) => number(Unit::Day),
        ('H', 1 | 2) => number(Unit::Hour),
        ('h' | 'K', 1 | 2) => number(Unit::HalfDayHour),
        ('m', 1 | 2) => number(Unit::Minute),
        ('s', 1 | 2) => number(Unit::Second),
        ('S' | 'n', 3..=9) => Field::Fraction(count),
        ('a', _) => Field::AmPm,
        ('E' | 'z', _) => Field::Letters,
        ('Z' | 'X' | 'x', _) => Field::Offset,
        _ => return Err(format!("`{}` in its date is not known here", letter.to_string().repeat(count))),
    })
}

/// The offset that `UTC`, `GMT`, `GMT+2` or `+02:00` stand for, in ms.
fn fixed_offset_ms(zone: &str) -> Result<i64, String> {
    let name = zone.trim();
    let offset = ["UTC", "GMT"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    if offset.is_empty() && !name.is_empty() {
        return Ok(0);
    }
    let padded = match offset.as_bytes() {
        [sign, hour] => format!("{}0{}", char::from(*sign), char::from(*hour)),
        _ => offset.to_owned(),
    };
    match stamp::offset_ms(padded.as_bytes()) {
        Some((offset_ms, b"")) => Ok(offset_ms),
        _ => Err(format!("zone `{name}` is no fixed offset; leave it out and name it in the `zone` setting")),
    }
}

fn set(civil: &mut Civil, unit: Unit, value: i16) -> Option<()> {
    let small = i8::try_from(value).unwrap_or(i8::MAX);
    match unit {
        Unit::Year => civil.year = value,
        Unit::YearOfCentury => civil.year = 2_000 + value,
        Unit::Month => civil.month = small,
        Unit::Day => civil.day = small,
        Unit::Hour => civil.hour = small,
        Unit::HalfDayHour => civil.hour = (0..=12).contains(&small).then_some(small)?,
        Unit::Minute => civil.minute = small,
        Unit::Second => civil.second = small,
    }
    Some(())
}

/// A number of so many digits and what follows.
fn digits(text: &[u8], digits_min: usize, digits_max: usize) -> Option<(i64, &[u8])> {
    let length = text.iter().take(digits_max).take_while(|byte| byte.is_ascii_digit()).count();
    if length < digits_min {
        return None;
    }
    let (digits, rest) = text.split_at_checked(length)?;
    let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((value, rest))
}

/// A word of letters and what follows.
fn letters(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    text.split_at_checked(length).filter(|(word, _)| !word.is_empty())
}
