//! What a container runtime or syslog puts around a line: Docker's json-file driver, CRI, RFC 3164 and RFC 5424.

use memchr::memchr;

use super::{Level, stamp};
use crate::json::{Members, Quoted, Value};
use crate::time::Zone;

/// What is around the lines of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    /// Nothing: the line is the program's own.
    None,
    /// `{"log":"...\n","stream":"stderr","time":"..."}`
    Docker,
    /// `2016-10-06T00:17:09.669794202Z stdout F ...`
    Cri,
    /// `<13>Nov 21 12:16:28 host tag[pid]: ...` with or without priority, the same with an ISO 8601 time, or
    /// `<165>1 2003-10-11T22:14:15.003Z host app procid msgid [sd] ...`
    Syslog,
}

/// A line taken out of its wrapper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wrapped<'a> {
    pub(super) wrapper: Wrapper,
    /// The program's line, or a part of it; still escaped where Docker wrote it.
    pub(super) text: Quoted<'a>,
    /// The wrapper's own time, as written.
    pub(super) time: &'a [u8],
    /// Whether the line ends here; otherwise the next one of the same stream goes on.
    pub(super) ends: bool,
    /// Standard output or standard error, whose parts may alternate.
    pub(super) is_stderr: bool,
}

impl<'a> Wrapped<'a> {
    /// Docker's or CRI's wrapper; no program writes such lines itself.
    pub(super) fn by_runtime(line: &'a [u8]) -> Option<Self> {
        match line.first()? {
            b'{' => docker(line),
            b'0'..=b'9' if line.get(10) == Some(&b'T') => cri(line),
            _ => None,
        }
    }

    /// Syslog's head in any of its forms.
    pub(super) fn by_syslog(line: &'a [u8]) -> Option<Self> {
        match line.first()? {
            b'<' => {
                let end = memchr(b'>', line.get(..5).unwrap_or(line))?;
                let (priority, rest) = (line.get(1..end)?, line.get(end + 1..)?);
                let is_number = !priority.is_empty() && priority.iter().all(u8::is_ascii_digit);
                let rest = is_number.then_some(rest)?;
                rest.strip_prefix(b"1 ").and_then(rfc5424).or_else(|| rfc3164(rest))
            }
            b'A' | b'D' | b'F' | b'J' | b'M' | b'N' | b'O' | b'S' | b'0'..=b'9' => rfc3164(line),
            _ => None,
        }
    }

    /// The wrapper's own time in ms. RFC 3164 writes no year: see [`Zone::to_ms_in_last_year`].
    pub(super) fn time_ms(&self, zone: &mut Zone) -> Option<i64> {
        match self.time.as_array::<15>() {
            Some(stamp) => zone.to_ms_in_last_year(stamp::syslog_civil(stamp)?),
            None => stamp::iso_whole(self.time, zone),
        }
    }

    fn syslog(time: &'a [u8], mut text: &'a [u8]) -> Self {
        // rsyslog writes control characters in octal; a tab opens the lines of a stack trace.
        while let Some(rest) = text.strip_prefix(b"#011") {
            text = rest;
        }
        Self { wrapper: Wrapper::Syslog, text: Quoted::plain(text), time, ends: true, is_stderr: false }
    }
}

fn docker(line: &[u8]) -> Option<Wrapped<'_>> {
    if !line.starts_with(br#"{"log":""#) {
        return None;
    }
    let (mut log, mut time, mut stream) = (None, None, None);
    for (key, value) in Members::of(line) {
        match (key, value) {
            (b"log", Value::Text(text)) => log = Some(text),
            (b"time", Value::Text(text)) => time = Some(text.raw),
            (b"stream", Value::Text(text)) => stream = Some(text.raw),
            _ => {}
        }
    }
    let (log, time) = (log?, time?);
    let (raw, ends) = match escaped_line_end(log.raw) {
        Some(raw) => (escaped_return(raw), true),
        None => (log.raw, false),
    };
    // Mostly the line end was the only escape.
    let escaped = log.escaped && memchr(b'\\', raw).is_some();
    Some(Wrapped {
        wrapper: Wrapper::Docker,
        text: Quoted { raw, escaped },
        time,
        ends,
        is_stderr: stream == Some(b"stderr"),
    })
}

/// Without the `\n` at its end, if that is one.
fn escaped_line_end(raw: &[u8]) -> Option<&[u8]> {
    let text = raw.strip_suffix(b"\\n")?;
    is_whole(text).then_some(text)
}

/// Without the `\r` at its end, if that is one.
fn escaped_return(raw: &[u8]) -> &[u8] {
    raw.strip_suffix(b"\\r").filter(|text| is_whole(text)).unwrap_or(raw)
}

/// Whether no backslash at the end of `raw` escapes what follows it.
fn is_whole(raw: &[u8]) -> bool {
    raw.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 0
}

fn cri(line: &[u8]) -> Option<Wrapped<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    let is_stderr = match stream {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    // An empty line may have lost the blank at its end.
    let (tags, text) = word(rest).unwrap_or((rest, b""));
    let ends = match tags {
        b"F" | [b'F', b':', ..] => true,
        b"P" | [b'P', b':', ..] => false,
        _ => return None,
    };
    Some(Wrapped { wrapper: Wrapper::Cri, text: Quoted::plain(text), time, ends, is_stderr })
}

/// `Nov 21 12:16:28 host tag[pid]: ...`, the priority taken off, or an ISO 8601 time in its place.
fn rfc3164(text: &[u8]) -> Option<Wrapped<'_>> {
    let (time, rest) = match text.split_first_chunk::<15>() {
        Some((stamp, rest)) if stamp::syslog_civil(stamp).is_some() => {
            (stamp.as_slice(), rest.strip_prefix(b" ")?)
        }
        _ if text.first().is_some_and(u8::is_ascii_digit) && text.get(10) == Some(&b'T') => word(text)?,
        _ => return None,
    };
    let (host, rest) = word(rest)?;
    if Level::parse(host).is_some() {
        return None;
    }
    let (tag, text) = word(rest).unwrap_or((rest, b""));
    (tag.len() > 1 && tag.ends_with(b":")).then(|| Wrapped::syslog(time, text))
}

/// `2003-10-11T22:14:15.003Z host app procid msgid [sd] ...`, priority and version taken off.
fn rfc5424(text: &[u8]) -> Option<Wrapped<'_>> {
    let (time, mut rest) = word(text)?;
    for _ in ["host", "app", "procid", "msgid"] {
        rest = word(rest)?.1;
    }
    let text = match rest {
        [b'-', rest @ ..] => rest,
        rest => structured_data_end(rest)?,
    };
    let text = text.strip_prefix(b" ").unwrap_or(text);
    Some(Wrapped::syslog(time, text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)))
}

/// What follows `[id name="value" ...][...]`; values may hold escaped quotes and brackets.
fn structured_data_end(mut text: &[u8]) -> Option<&[u8]> {
    if text.first() != Some(&b'[') {
        return None;
    }
    while let Some(rest) = text.strip_prefix(b"[") {
        let mut in_value = false;
        let mut bytes = rest.iter();
        loop {
            match bytes.next()? {
                b'\\' if in_value => {
                    bytes.next()?;
                }
                b'"' => in_value = !in_value,
                b']' if !in_value => break,
                _ => {}
            }
        }
        text = bytes.as_slice();
    }
    Some(text)
}

/// What stands before the next blank and what stands behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, rest) = text.split_at_checked(memchr(b' ', text)?)?;
    Some((word, rest.get(1..)?)).filter(|(word, _)| !word.is_empty())
}
