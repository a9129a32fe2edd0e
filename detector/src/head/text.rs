//! Heads of plain text: HDFS_v1 and Hadoop's log4j patterns.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::{Head, Level};
use crate::time::{Civil, Zone};

/// `yyMMdd HHmmss thread LEVEL logger: message`; years are 2000 to 2099.
pub(super) fn hdfs_v1<'a>(line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
    let (stamp, rest) = line.split_first_chunk::<14>()?;
    let [digits @ .., b' '] = stamp else { return None };
    let mut padded = [0; 19];
    padded.first_chunk_mut::<13>()?.copy_from_slice(digits);
    let time_ms = zone.stamp_to_ms(padded, || hdfs_v1_civil(digits))?;
    let (thread, rest) = word(rest)?;
    if !thread.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (level, rest) = word(rest)?;
    let level = Level::parse(level)?;
    let (logger, message) = logger_colon(rest)?;
    head(time_ms, level, logger, message)
}

/// `yyyy-MM-dd HH:mm:ss,SSS` with what Hadoop's patterns put behind it.
pub(super) fn log4j<'a>(line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
    let (time_ms, rest) = log4j_time(line, zone)?;
    let rest = skip_thread(skip_blanks(rest))?;
    let (level, rest) = word(rest)?;
    let level = Level::parse(level)?;
    let rest = skip_thread(rest)?;
    let (logger, message) = logger_dash(rest).or_else(|| logger_colon(rest))?;
    head(time_ms, level, logger, message)
}

/// Time in ms of `yyyy-MM-dd HH:mm:ss` with `T` or a blank between, and milliseconds after a comma or a dot, or none;
/// and what follows.
pub(super) fn log4j_time<'a>(line: &'a [u8], zone: &mut Zone) -> Option<(i64, &'a [u8])> {
    let (stamp, rest) = line.split_first_chunk::<19>()?;
    let second_ms = zone.stamp_to_ms(*stamp, || log4j_civil(stamp))?;
    match rest {
        &[b',' | b'.', a, b, c, ref rest @ ..] => {
            let ms = i64::from(pair(a, b)?) * 10 + i64::from(pair(b'0', c)?);
            Some((second_ms + ms, rest))
        }
        rest => Some((second_ms, rest)),
    }
}

fn hdfs_v1_civil(stamp: &[u8; 13]) -> Option<Civil> {
    let &[y0, y1, m0, m1, d0, d1, b' ', h0, h1, i0, i1, s0, s1] = stamp else { return None };
    let year = 2_000 + i16::from(pair(y0, y1)?);
    civil(year, [[m0, m1], [d0, d1], [h0, h1], [i0, i1], [s0, s1]])
}

#[rustfmt::skip]
fn log4j_civil(stamp: &[u8; 19]) -> Option<Civil> {
    let &[
        y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b' ' | b'T',
        h0, h1, b':', i0, i1, b':', s0, s1,
    ] = stamp else { return None };
    let year = i16::from(pair(y0, y1)?) * 100 + i16::from(pair(y2, y3)?);
    civil(year, [[m0, m1], [d0, d1], [h0, h1], [i0, i1], [s0, s1]])
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

fn head<'a>(time_ms: i64, level: Level, logger: &'a [u8], message: &'a [u8]) -> Option<Head<'a>> {
    if logger.is_empty() {
        return None;
    }
    let message = Cow::Borrowed(message.trim_ascii_end());
    Some(Head { time_ms, level, logger: Cow::Borrowed(logger), message })
}

/// Two digits as a number.
fn pair(tens: u8, ones: u8) -> Option<i8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    i8::try_from(digit(tens)? * 10 + digit(ones)?).ok()
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// The next word and what follows it and its blanks.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', text)?;
    let (word, rest) = text.split_at_checked(end)?;
    Some((word, skip_blanks(rest)))
}

/// Skips a `[thread]`, whose name may hold brackets itself; `None` if they do not close.
fn skip_thread(text: &[u8]) -> Option<&[u8]> {
    if text.first() != Some(&b'[') {
        return Some(text);
    }
    let mut depth = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.get(at + 1..).map(skip_blanks);
        }
    }
    None
}

/// `logger: message`; the message may be empty.
fn logger_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b':', text)?;
    let (logger, rest) = text.split_at_checked(end)?;
    let message = rest.get(1..)?;
    if memchr(b' ', logger).is_some() {
        return None;
    }
    match message {
        [] => Some((logger, message)),
        [b' ', message @ ..] => Some((logger, message)),
        _ => None,
    }
}

/// `logger (File.java:method(line)) - message` or `logger - message`.
fn logger_dash(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (logger, rest) = word(text)?;
    if logger.ends_with(b":") {
        return None;
    }
    if let Some(message) = rest.strip_prefix(b"- ") {
        return Some((logger, message));
    }
    let place = rest.strip_prefix(b"(")?;
    let end = memmem::find(place, b") - ")?;
    Some((logger, place.get(end + 4..)?))
}
