//! Times as they are written in heads: digits to [`Civil`], fractions of a second, offsets from UTC.

use crate::time::{Civil, Zone};

/// Time in ms of `yyyy-MM-dd HH:mm:ss` with `T` or a blank between, a fraction of a second behind a comma or a dot if
/// there is one, and an offset (`Z`, `+02:00`, `+0200`, `+02`, a blank before the sign or not) if there is one; and
/// what follows. Without an offset it is a time of `zone`.
#[inline]
pub(super) fn iso<'a>(line: &'a [u8], zone: &mut Zone) -> Option<(i64, &'a [u8])> {
    let (stamp, rest) = line.split_first_chunk::<19>()?;
    let second_ms = zone.stamp_to_ms(stamp, || iso_civil(stamp))?;
    // Hadoop's form first.
    if let &[b',' | b'.', a, b, c, b' ', ref rest @ ..] = rest
        && !matches!(rest.first(), Some(b'+' | b'-'))
    {
        return Some((second_ms + i64::from(three(a, b, c)?), rest));
    }
    let (ms, rest) = match rest {
        [b',' | b'.', rest @ ..] => fraction(rest)?,
        rest => (0, rest),
    };
    match offset_ms(rest) {
        Some((offset_ms, rest)) => Some((iso_civil(stamp)?.to_utc_ms()? + i64::from(ms) - offset_ms, rest)),
        None => Some((second_ms + i64::from(ms), rest)),
    }
}

/// As [`iso`] if nothing follows.
pub(super) fn iso_whole(text: &[u8], zone: &mut Zone) -> Option<i64> {
    let (time_ms, rest) = iso(text, zone)?;
    rest.is_empty().then_some(time_ms)
}

#[rustfmt::skip]
fn iso_civil(stamp: &[u8; 19]) -> Option<Civil> {
    let &[
        y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b' ' | b'T',
        h0, h1, b':', i0, i1, b':', s0, s1,
    ] = stamp else { return None };
    let year = i16::from(pair(y0, y1)?) * 100 + i16::from(pair(y2, y3)?);
    civil(year, [[m0, m1], [d0, d1], [h0, h1], [i0, i1], [s0, s1]])
}

/// `yyMMdd HHmmss`; years are 2000 to 2099.
pub(super) fn hdfs_v1_civil(stamp: &[u8; 13]) -> Option<Civil> {
    let &[y0, y1, m0, m1, d0, d1, b' ', h0, h1, i0, i1, s0, s1] = stamp else { return None };
    let year = 2_000 + i16::from(pair(y0, y1)?);
    civil(year, [[m0, m1], [d0, d1], [h0, h1], [i0, i1], [s0, s1]])
}

/// `yy/MM/dd HH:mm:ss`; years are 2000 to 2099.
pub(super) fn console_civil(stamp: &[u8; 17]) -> Option<Civil> {
    let &[y0, y1, b'/', m0, m1, b'/', d0, d1, b' ', h0, h1, b':', i0, i1, b':', s0, s1] = stamp else {
        return None;
    };
    let year = 2_000 + i16::from(pair(y0, y1)?);
    civil(year, [[m0, m1], [d0, d1], [h0, h1], [i0, i1], [s0, s1]])
}

/// `Nov 21 12:16:28` or `Nov  1 12:16:28`, in the year 2000.
pub(super) fn syslog_civil(stamp: &[u8; 15]) -> Option<Civil> {
    let &[a, b, c, b' ', d0, d1, b' ', h0, h1, b':', i0, i1, b':', s0, s1] = stamp else { return None };
    let month = month([a, b, c])?;
    let d0 = if d0 == b' ' { b'0' } else { d0 };
    civil(2_000, [[b'0' + month / 10, b'0' + month % 10], [d0, d1], [h0, h1], [i0, i1], [s0, s1]])
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Number of a month by the first three letters of its English name.
pub(super) fn month(letters: [u8; 3]) -> Option<u8> {
    (1_u8..).zip(MONTHS).find(|(_, name)| name.eq_ignore_ascii_case(&letters)).map(|(number, _)| number)
}

/// From month, day, hour, minute and second in two digits each.
fn civil(year: i16, [month, day, hour, minute, second]: [[u8; 2]; 5]) -> Option<Civil> {
    let number = |[tens, ones]: [u8; 2]| pair(tens, ones);
    Some(Civil {
        year,
        month: number(month)?,
        day: number(day)?,
        hour: number(hour)?,
        minute: number(minute)?,
        second: number(second)?,
        millisecond: 0,
    })
}

/// Milliseconds of a fraction of a second in one to nine digits, and what follows.
pub(super) fn fraction(text: &[u8]) -> Option<(i16, &[u8])> {
    let length = text.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length)?;
    let at = |place: usize| digits.get(place).copied().unwrap_or(b'0');
    let ms = three(*digits.first()?, at(1), at(2))?;
    Some((ms, rest))
}

/// Offset from UTC in ms and what follows; a blank may stand before the sign.
pub(super) fn offset_ms(text: &[u8]) -> Option<(i64, &[u8])> {
    if let Some(rest) = text.strip_prefix(b"Z") {
        return Some((0, rest));
    }
    let (sign, rest) = match text {
        [b'+', rest @ ..] | [b' ', b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] | [b' ', b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (&[h0, h1], rest) = rest.split_first_chunk::<2>()?;
    let (minutes, rest) = match *rest {
        [b':', m0, m1, ref rest @ ..] => (pair(m0, m1)?, rest),
        [m0, m1, ref rest @ ..] if m0.is_ascii_digit() => (pair(m0, m1)?, rest),
        _ => (0, rest),
    };
    let minutes = i64::from(pair(h0, h1)?) * 60 + i64::from(minutes);
    (minutes < 24 * 60).then_some((sign * minutes * 60_000, rest))
}

/// Two digits as a number.
#[inline]
pub(super) fn pair(tens: u8, ones: u8) -> Option<i8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 {
        return None;
    }
    i8::try_from(tens * 10 + ones).ok()
}

/// Three digits as a number.
#[inline]
fn three(hundreds: u8, tens: u8, ones: u8) -> Option<i16> {
    let digits = [hundreds, tens, ones].map(|digit| digit.wrapping_sub(b'0'));
    if digits.iter().any(|&digit| digit > 9) {
        return None;
    }
    let [hundreds, tens, ones] = digits.map(i16::from);
    Some(hundreds * 100 + tens * 10 + ones)
}
