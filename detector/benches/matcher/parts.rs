//! The matcher that the trie replaced: candidates by the first byte, each matched part by part, no parameters.

use std::cmp::Reverse;

use blocksift_detector::template::Template;
use memchr::memmem::Finder;

/// Places that are tried for the constant behind one free wildcard.
const TRIES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcard {
    /// `[BP-<pool>:]blk_<id>[_<gs>]`
    Block,
    /// Blocks with blanks between.
    Blocks,
    /// A host name or address, up to a colon, slash, comma or blank.
    Host,
    /// Hosts with their ports, with blanks or commas between.
    Addresses,
    /// A number that may be negative.
    Number,
    /// Any text, also none.
    Any,
}

#[derive(Clone, Debug)]
enum Part {
    /// Made ready for searching once: that costs more than a search.
    Constant(Box<Finder<'static>>),
    Wildcard(Wildcard),
}

impl Part {
    fn constant(text: &str) -> Self {
        Self::Constant(Box::new(Finder::new(text.as_bytes()).into_owned()))
    }
}

/// All templates, with those to try for a message that starts with a byte, best first.
pub(crate) struct Matcher {
    patterns: Vec<Pattern>,
    by_first_byte: Vec<Vec<u16>>,
}

impl Matcher {
    pub(crate) fn new(templates: &[Template]) -> Self {
        let patterns: Vec<Pattern> = templates.iter().map(|template| Pattern::new(&template.text)).collect();
        let mut order: Vec<u16> = (0..=u16::MAX).take(patterns.len()).collect();
        order.sort_by_key(|&index| {
            let pattern = patterns.get(usize::from(index));
            pattern.map(|pattern| (pattern.starts_with_any(), Reverse(pattern.constant_bytes())))
        });
        let starts = |index: &u16, byte| {
            patterns.get(usize::from(*index)).is_some_and(|pattern| pattern.may_start_with(byte))
        };
        let by_first_byte = (0..=u8::MAX)
            .map(|byte| order.iter().copied().filter(|index| starts(index, byte)).collect())
            .collect();
        Self { patterns, by_first_byte }
    }

    pub(crate) fn find(&self, message: &[u8]) -> Option<usize> {
        let candidates = self.by_first_byte.get(usize::from(*message.first()?))?;
        candidates
            .iter()
            .map(|&index| usize::from(index))
            .find(|&index| self.patterns.get(index).is_some_and(|pattern| pattern.matches(message)))
    }
}

/// A compiled template.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

/// A longer name stands before the shorter one that it starts with.
const WILDCARDS: [(&str, Wildcard); 11] = [
    ("<blk> <blk> ...", Wildcard::Blocks),
    ("<blk>", Wildcard::Block),
    ("<node>:<port>", Wildcard::Addresses),
    ("<node>", Wildcard::Host),
    ("<ip>:<port>", Wildcard::Addresses),
    ("<ip>", Wildcard::Host),
    ("<port>", Wildcard::Number),
    ("<n>", Wildcard::Number),
    ("<path>", Wildcard::Any),
    ("<exception>", Wildcard::Any),
    ("<*>", Wildcard::Any),
];

impl Pattern {
    /// Compiles a template's text. Blanks at its end do not count, as those of a message do not.
    pub(crate) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut constant = String::new();
        let mut rest = text.trim_end();
        while let Some(next) = rest.chars().next() {
            let wildcard = WILDCARDS.iter().find_map(|(name, kind)| Some((rest.strip_prefix(name)?, kind)));
            if let Some((behind, kind)) = wildcard {
                if !constant.is_empty() {
                    parts.push(Part::constant(&std::mem::take(&mut constant)));
                }
                parts.push(Part::Wildcard(*kind));
                rest = behind;
            } else {
                constant.push(next);
                rest = rest.get(next.len_utf8()..).unwrap_or("");
            }
        }
        if !constant.is_empty() {
            parts.push(Part::constant(&constant));
        }
        Self { parts }
    }

    pub(crate) fn constant_bytes(&self) -> usize {
        let length = |part: &Part| if let Part::Constant(finder) = part { finder.needle().len() } else { 0 };
        self.parts.iter().map(length).sum()
    }

    pub(crate) fn starts_with_any(&self) -> bool {
        matches!(self.parts.first(), Some(Part::Wildcard(Wildcard::Any)))
    }

    pub(crate) fn may_start_with(&self, byte: u8) -> bool {
        match self.parts.first() {
            Some(Part::Constant(finder)) => finder.needle().first() == Some(&byte),
            Some(Part::Wildcard(Wildcard::Block | Wildcard::Blocks)) => matches!(byte, b'b' | b'B'),
            Some(Part::Wildcard(Wildcard::Host | Wildcard::Addresses)) => byte.is_ascii_alphanumeric(),
            Some(Part::Wildcard(Wildcard::Number)) => byte.is_ascii_digit() || byte == b'-',
            Some(Part::Wildcard(Wildcard::Any)) => true,
            None => false,
        }
    }

    pub(crate) fn matches(&self, message: &[u8]) -> bool {
        matches(&self.parts, message)
    }
}

fn matches(parts: &[Part], text: &[u8]) -> bool {
    let Some((part, behind)) = parts.split_first() else { return text.is_empty() };
    match part {
        Part::Constant(finder) => {
            text.strip_prefix(finder.needle()).is_some_and(|rest| matches(behind, rest))
        }
        Part::Wildcard(Wildcard::Any) => any(behind, text),
        Part::Wildcard(kind) => take(*kind, text).is_some_and(|rest| matches(behind, rest)),
    }
}

/// A free wildcard: tries the places where the constant behind it stands, first ones first.
fn any(behind: &[Part], text: &[u8]) -> bool {
    match behind.split_first() {
        None => true,
        Some((Part::Constant(finder), [])) => text.ends_with(finder.needle()),
        Some((Part::Constant(finder), rest)) => finder
            .find_iter(text)
            .take(TRIES_MAX)
            .any(|at| text.get(at + finder.needle().len()..).is_some_and(|text| matches(rest, text))),
        // Two wildcards in a row: the free one takes nothing.
        Some((Part::Wildcard(_), _)) => matches(behind, text),
    }
}

/// What follows the longest text that a typed wildcard can take; `None` if it cannot take any.
fn take(kind: Wildcard, text: &[u8]) -> Option<&[u8]> {
    match kind {
        Wildcard::Block => block(text),
        Wildcard::Blocks => one_or_more(block, text),
        Wildcard::Host => host(text),
        Wildcard::Addresses => one_or_more(|text| number(host(text)?.strip_prefix(b":")?), text),
        Wildcard::Number => number(text),
        Wildcard::Any => Some(text),
    }
}

fn one_or_more<'a>(one: impl Fn(&'a [u8]) -> Option<&'a [u8]>, text: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = one(text)?;
    while let Some(next) = one(rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start()) {
        rest = next;
    }
    Some(rest)
}

fn host(text: &[u8]) -> Option<&[u8]> {
    non_empty(text, |byte| !matches!(byte, b' ' | b':' | b'/' | b','))
}

fn block(text: &[u8]) -> Option<&[u8]> {
    let pool = if text.starts_with(b"BP-") {
        non_empty(text, |byte| !matches!(byte, b' ' | b':'))?.strip_prefix(b":")?
    } else {
        text
    };
    let rest = number(pool.strip_prefix(b"blk_")?)?;
    match rest.strip_prefix(b"_") {
        Some(stamp) => Some(number(stamp).unwrap_or(rest)),
        None => Some(rest),
    }
}

fn number(text: &[u8]) -> Option<&[u8]> {
    non_empty(text.strip_prefix(b"-").unwrap_or(text), |byte| byte.is_ascii_digit())
}

fn non_empty(text: &[u8], fits: impl Fn(u8) -> bool) -> Option<&[u8]> {
    let end = text.iter().position(|&byte| !fits(byte)).unwrap_or(text.len());
    if end == 0 { None } else { text.get(end..) }
}
