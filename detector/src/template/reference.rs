//! What the trie must equal, for tests and benches: every template part by part, best first, bytes one by one.

use memchr::memmem::Finder;

use super::{Capture, Template, Wildcard};

/// Places that are tried for the constant behind one free wildcard.
const TRIES_MAX: usize = 16;

const WILDCARDS: [(&str, Wildcard); 15] = [
    ("<blk> <blk> ...", Wildcard::Blocks),
    ("<blk>", Wildcard::Block),
    ("<node>:<port>", Wildcard::Addresses),
    ("<node>", Wildcard::Host),
    ("<ip>:<port>", Wildcard::Addresses),
    ("<ip>", Wildcard::Host),
    ("<port>", Wildcard::Number),
    ("<n>", Wildcard::Number),
    ("<duration_ms>", Wildcard::DurationMs),
    ("<bytes>", Wildcard::Bytes),
    ("<count>", Wildcard::Count),
    ("<volume>", Wildcard::Volume),
    ("<path>", Wildcard::Path),
    ("<exception>", Wildcard::Exception),
    ("<*>", Wildcard::Any),
];

#[derive(Debug)]
enum Part {
    Constant(Box<Finder<'static>>),
    Wildcard(Wildcard),
}

/// Templates in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Reference(Vec<(usize, Vec<Part>)>);

/// Why parts do not fit.
#[derive(Debug, PartialEq, Eq)]
enum Misfit {
    /// Not here; at a later place they may.
    Here,
    /// At no later place either: any text was searched in vain.
    Ever,
}

impl Reference {
    pub(crate) fn new(templates: &[Template]) -> Self {
        let mut all: Vec<_> =
            templates.iter().map(|template| parts(template.text.trim_end())).enumerate().collect();
        all.sort_by_key(|(_, parts)| {
            let free = matches!(parts.first(), Some(Part::Wildcard(kind)) if is_free(*kind));
            let constant =
                |part: &Part| if let Part::Constant(text) = part { text.needle().len() } else { 0 };
            (free, std::cmp::Reverse(parts.iter().map(constant).sum::<usize>()))
        });
        Self(all)
    }

    pub(crate) fn find(&self, message: &[u8], captures: &mut Vec<Capture>) -> Option<usize> {
        if message.is_empty() {
            return None;
        }
        let fits = |(_, parts): &&(usize, Vec<Part>)| {
            captures.clear();
            matches(parts, message, 0, captures).is_ok()
        };
        let found = self.0.iter().find(fits).map(|(index, _)| *index);
        if found.is_none() {
            captures.clear();
        }
        found
    }
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut rest, mut constant) = (text, String::new());
    while let Some(next) = rest.chars().next() {
        match WILDCARDS.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, kind)) => {
                if !constant.is_empty() {
                    parts.push(Part::Constant(Box::new(Finder::new(constant.as_bytes()).into_owned())));
                    constant.clear();
                }
                parts.push(Part::Wildcard(*kind));
                rest = rest.split_at(name.len()).1;
            }
            None => {
                constant.push(next);
                rest = rest.split_at(next.len_utf8()).1;
            }
        }
    }
    if !constant.is_empty() {
        parts.push(Part::Constant(Box::new(Finder::new(constant.as_bytes()).into_owned())));
    }
    parts
}

fn is_free(kind: Wildcard) -> bool {
    matches!(kind, Wildcard::Any | Wildcard::Path | Wildcard::Volume)
}

fn matches(parts: &[Part], text: &[u8], at: usize, captures: &mut Vec<Capture>) -> Result<(), Misfit> {
    let rest = &text[at..];
    let (kind, behind) = match parts {
        [] => return if rest.is_empty() { Ok(()) } else { Err(Misfit::Here) },
        [Part::Constant(constant), behind @ ..] => {
            return if rest.starts_with(constant.needle()) {
                matches(behind, text, at + constant.needle().len(), captures)
            } else {
                Err(Misfit::Here)
            };
        }
        [Part::Wildcard(kind), behind @ ..] => (*kind, behind),
    };
    if is_free(kind) {
        return free(kind, behind, text, at, captures);
    }
    let (length, value) = take(kind, rest).ok_or(Misfit::Here)?;
    captures.push(capture(kind, at, at + length, value));
    if kind == Wildcard::Exception && behind.is_empty() && rest.get(length) == Some(&b':') {
        return Ok(());
    }
    matches(behind, text, at + length, captures)
}

fn capture(kind: Wildcard, start: usize, end: usize, value: i64) -> Capture {
    Capture { kind, start: u32::try_from(start).unwrap(), end: u32::try_from(end).unwrap(), value }
}

fn free(
    kind: Wildcard,
    behind: &[Part],
    text: &[u8],
    at: usize,
    captures: &mut Vec<Capture>,
) -> Result<(), Misfit> {
    let accepts = |end: usize| match kind {
        Wildcard::Volume => end > at && !text[at..end].contains(&b' '),
        Wildcard::Path => end > at,
        _ => true,
    };
    let rest = &text[at..];
    let (end, next) = match behind {
        [] => (text.len(), text.len()),
        [Part::Constant(last)] => {
            let end = rest.strip_suffix(last.needle()).ok_or(Misfit::Here)?.len() + at;
            (end, text.len())
        }
        [Part::Constant(needle), further @ ..] => {
            let from = (at + usize::from(kind != Wildcard::Any)).min(text.len());
            for found in needle.find_iter(&text[from..]).take(TRIES_MAX).filter(|found| accepts(from + found))
            {
                let count = captures.len();
                captures.push(capture(kind, at, from + found, 0));
                match matches(further, text, from + found + needle.needle().len(), captures) {
                    Err(Misfit::Here) => captures.truncate(count),
                    settled => return settled,
                }
            }
            return Err(if kind == Wildcard::Volume { Misfit::Here } else { Misfit::Ever });
        }
        _ if kind == Wildcard::Any => (at, at),
        _ => {
            let end = at + rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
            (end, end)
        }
    };
    if !accepts(end) {
        return Err(Misfit::Here);
    }
    captures.push(capture(kind, at, end, 0));
    if behind.is_empty() || next == text.len() && matches!(behind, [Part::Constant(_)]) {
        return Ok(());
    }
    matches(behind, text, next, captures)
}

/// The length and value of the longest text that a typed wildcard can take.
fn take(kind: Wildcard, text: &[u8]) -> Option<(usize, i64)> {
    match kind {
        Wildcard::Block => block(text),
        Wildcard::Blocks => Some((one_or_more(|text| Some(block(text)?.0), text)?, 0)),
        Wildcard::Host => Some((host(text)?, 0)),
        Wildcard::Addresses => Some((one_or_more(address, text)?, 0)),
        Wildcard::Exception => Some((class(text)?, 0)),
        _ => {
            let length = number(text)?;
            let written: i128 = std::str::from_utf8(&text[..length]).unwrap().parse().unwrap_or(i128::MAX);
            let limit = if text[0] == b'-' { i64::MIN } else { i64::MAX };
            Some((length, i64::try_from(written).unwrap_or(limit)))
        }
    }
}

fn one_or_more(one: impl Fn(&[u8]) -> Option<usize>, text: &[u8]) -> Option<usize> {
    let mut end = one(text)?;
    loop {
        let rest = &text[end..];
        let next = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        let Some(length) = one(next) else { return Some(end) };
        end = text.len() - next.len() + length;
    }
}

fn address(text: &[u8]) -> Option<usize> {
    let host = host(text)?;
    Some(host + 1 + number(text[host..].strip_prefix(b":")?)?)
}

fn host(text: &[u8]) -> Option<usize> {
    run(text, |byte| byte.is_ascii_alphanumeric() || b".-_[]%".contains(&byte))
}

fn block(text: &[u8]) -> Option<(usize, i64)> {
    let mut start = 0;
    if text.starts_with(b"BP-") {
        start = run(text, |byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))?;
        start += usize::from(text.get(start) == Some(&b':'));
    }
    let digits = text[start..].strip_prefix(b"blk_")?;
    if start > 0 && text[start - 1] != b':' {
        return None;
    }
    let length = number(digits)?;
    let id = std::str::from_utf8(&digits[..length]).unwrap().parse().ok()?;
    let end = start + 4 + length;
    match text[end..].strip_prefix(b"_").and_then(number) {
        Some(stamp) => Some((end + 1 + stamp, id)),
        None => Some((end, id)),
    }
}

fn class(text: &[u8]) -> Option<usize> {
    let start = text.first()?;
    let length = run(text, |byte| byte.is_ascii_alphanumeric() || b".$_".contains(&byte))?;
    let name = &text[..length];
    let dots = name.iter().rev().take_while(|&&byte| byte == b'.').count();
    (!start.is_ascii_digit() && *start != b'.').then_some(length - dots)
}

fn number(text: &[u8]) -> Option<usize> {
    let sign = usize::from(text.first() == Some(&b'-'));
    Some(sign + run(&text[sign..], |byte| byte.is_ascii_digit())?)
}

fn run(text: &[u8], fits: impl Fn(u8) -> bool) -> Option<usize> {
    let length = text.iter().position(|&byte| !fits(byte)).unwrap_or(text.len());
    (length > 0).then_some(length)
}
