//! Heads of plain text: HDFS_v1, Hadoop's log4j patterns with their variants, and Hadoop's console.

use memchr::memchr_iter;

use super::stamp;
use super::{Head, Level};
use crate::template::scan;
use crate::time::Zone;

/// Places at which a thread's name may end that are tried beyond the one where its brackets close.
const THREAD_ENDS_MAX: usize = 16;

/// `yyMMdd HHmmss thread LEVEL logger: message`; years are 2000 to 2099.
#[inline]
pub(super) fn hdfs_v1<'a>(line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
    let (text, rest) = line.split_first_chunk::<14>()?;
    let [digits @ .., b' '] = text else { return None };
    let time_ms = zone.stamp_to_ms(digits, || stamp::hdfs_v1_civil(digits))?;
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (thread, rest) = rest.split_at_checked(length)?;
    let (level, rest) = level(blanks(rest)?)?;
    let (logger, message) = logger_message(blanks(rest)?)?;
    Some(head(time_ms, level, logger, thread, message))
}

/// `yyyy-MM-dd HH:mm:ss,SSS` with what Hadoop's patterns put behind it.
#[inline]
pub(super) fn log4j<'a>(line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
    let (time_ms, rest) = stamp::iso(line, zone)?;
    levelled(time_ms, rest)
}

/// `yy/MM/dd HH:mm:ss` with the same behind it; years are 2000 to 2099.
pub(super) fn console<'a>(line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
    let (digits, rest) = line.split_first_chunk::<17>()?;
    let time_ms = zone.stamp_to_ms(digits, || stamp::console_civil(digits))?;
    levelled(time_ms, blanks(rest)?)
}

/// What stands behind the time: `LEVEL logger: message` with `[thread]` before or after the level, and
/// [`logger_message`]'s other forms.
#[inline]
pub(super) fn levelled(time_ms: i64, text: &[u8]) -> Option<Head<'_>> {
    let text = skip_blanks(text);
    let Some((level, rest)) = level(text) else { return thread_first(time_ms, text) };
    let rest = blanks(rest)?;
    if rest.first() == Some(&b'[') {
        return thread_second(time_ms, level, rest);
    }
    let (logger, message) = logger_message(rest)?;
    Some(head(time_ms, level, logger, b"", message))
}

#[inline(never)]
fn thread_first(time_ms: i64, text: &[u8]) -> Option<Head<'_>> {
    let (thread, (level, (logger, message))) = thread(text, |rest| {
        let (level, rest) = level(rest)?;
        Some((level, logger_message(blanks(rest)?)?))
    })?;
    Some(head(time_ms, level, logger, thread, message))
}

#[inline(never)]
fn thread_second(time_ms: i64, level: Level, text: &[u8]) -> Option<Head<'_>> {
    let (thread, (logger, message)) = thread(text, logger_message)?;
    Some(head(time_ms, level, logger, thread, message))
}

#[inline]
fn head<'a>(time_ms: i64, level: Level, logger: &'a [u8], thread: &'a [u8], message: &'a [u8]) -> Head<'a> {
    Head { time_ms, level, logger, thread, message: message.trim_ascii_end(), trace: b"" }
}

/// A level's name and what follows it.
#[inline]
pub(super) fn level(text: &[u8]) -> Option<(Level, &[u8])> {
    match text {
        [b'I', b'N', b'F', b'O', rest @ ..] => Some((Level::Info, rest)),
        [b'W', b'A', b'R', b'N', b'I', b'N', b'G', rest @ ..] => Some((Level::Warn, rest)),
        [b'W', b'A', b'R', b'N', rest @ ..] => Some((Level::Warn, rest)),
        [b'E', b'R', b'R', b'O', b'R', rest @ ..] => Some((Level::Error, rest)),
        [b'D', b'E', b'B', b'U', b'G', rest @ ..] => Some((Level::Debug, rest)),
        [b'T', b'R', b'A', b'C', b'E', rest @ ..] => Some((Level::Trace, rest)),
        [b'F', b'A', b'T', b'A', b'L', rest @ ..] => Some((Level::Fatal, rest)),
        [b'S', b'E', b'V', b'E', b'R', b'E', rest @ ..] => Some((Level::Error, rest)),
        _ => None,
    }
}

/// What follows one blank or more.
#[inline]
fn blanks(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b' ', b' ', rest @ ..] => Some(skip_blanks(rest)),
        [b' ', rest @ ..] => Some(rest),
        _ => None,
    }
}

fn skip_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// The name in `[thread]` and what `next` makes of the text behind it. The name may hold brackets itself: it ends
/// where they close, or, should `next` not like that, at one of the first other brackets where it does.
fn thread<'a, T>(text: &'a [u8], next: impl Fn(&'a [u8]) -> Option<T>) -> Option<(&'a [u8], T)> {
    let name = text.strip_prefix(b"[")?;
    let end_at = |end: usize| {
        let found = next(blanks(name.get(end + 1..)?)?)?;
        Some((name.get(..end)?, found))
    };
    let closing = closing_bracket(name);
    if let Some(found) = closing.and_then(end_at) {
        return Some(found);
    }
    memchr_iter(b']', name).take(THREAD_ENDS_MAX).filter(|&end| Some(end) != closing).find_map(end_at)
}

/// Where the bracket closes that was opened before `name`.
fn closing_bracket(name: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    for at in memchr::memchr2_iter(b'[', b']', name) {
        if name.get(at) == Some(&b'[') {
            depth += 1;
        } else if depth == 0 {
            return Some(at);
        } else {
            depth -= 1;
        }
    }
    None
}

/// `logger: message`, `logger - message` or `logger (File.java:method(line)) - message`; `:line` behind the logger is
/// no part of it. The message may be empty.
#[inline]
fn logger_message(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, rest) = text.split_at_checked(scan::word_end(text))?;
    match word {
        [logger @ .., b':'] => {
            let logger = without_line(logger);
            (!logger.is_empty()).then(|| (logger, rest.get(1..).unwrap_or_default()))
        }
        _ => dash(word, rest),
    }
}

#[inline(never)]
fn dash<'a>(logger: &'a [u8], rest: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let rest = blanks(rest)?;
    let logger = without_line(logger);
    if logger.is_empty() {
        return None;
    }
    if let Some(message) = after_dash(rest) {
        return Some((logger, message));
    }
    let place = rest.strip_prefix(b"(")?;
    memchr_iter(b')', place).find_map(|end| {
        let message = after_dash(place.get(end + 1..)?.strip_prefix(b" ")?)?;
        Some((logger, message))
    })
}

fn after_dash(text: &[u8]) -> Option<&[u8]> {
    match text {
        b"-" => Some(b""),
        [b'-', b' ', message @ ..] => Some(message),
        _ => None,
    }
}

/// Without `:line`, which `%C:%L` writes.
#[inline]
fn without_line(logger: &[u8]) -> &[u8] {
    if !logger.last().is_some_and(u8::is_ascii_digit) {
        return logger;
    }
    let digits = logger.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match logger.split_at_checked(logger.len() - digits) {
        Some(([name @ .., b':'], _)) => name,
        _ => logger,
    }
}
