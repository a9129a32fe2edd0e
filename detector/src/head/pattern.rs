//! Heads by a log4j pattern, such as `%d{ISO8601} %p %c: %m%n` out of a `log4j.properties`. `compile.rs` makes parts
//! of the pattern, which are matched here from left to right: a field without an end of its own runs up to the
//! literal behind it, and where what follows does not fit there, up to the next such literal.

mod compile;
mod date;

use std::sync::Arc;

use memchr::memchr_iter;

use self::compile::{Field, Part};
use super::{Head, Level};
use crate::time::Zone;

/// Ends of fields that are tried per line before it counts as one without a head.
const TRIES_MAX: u32 = 64;

/// A compiled log4j pattern. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Arc<str>,
    parts: Arc<[Part]>,
}

/// Why a log4j pattern cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No such conversion word in log4j 1 or 2.
    #[error(
        "`{word}` at character {at} is no conversion word that is known here; write `%%` for a per cent sign"
    )]
    UnknownWord {
        /// Character of the pattern, counted from 1.
        at: usize,
        /// The word with its per cent sign.
        word: String,
    },
    /// A brace without its counterpart.
    #[error("`{word}` at character {at} has a `{{` that is not closed")]
    Unclosed {
        /// Character of the pattern, counted from 1.
        at: usize,
        /// The word with its per cent sign.
        word: String,
    },
    /// A known word in a way in which the line cannot be taken apart.
    #[error("`{word}` at character {at} cannot be used: {reason}")]
    Refused {
        /// Character of the pattern, counted from 1.
        at: usize,
        /// The word with its per cent sign and options.
        word: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// What every head needs is not before the message.
    #[error("the pattern has no {what}, which every record needs")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
}

impl Pattern {
    /// Compiles a log4j 1 or log4j 2 pattern.
    ///
    /// # Errors
    /// [`PatternError`] with the place in the pattern; also if it has no date, level or message.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let parts = compile::compile(pattern)?;
        Ok(Self { text: pattern.into(), parts: parts.into() })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn parse<'a>(&self, line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
        let mut found = Found { time_ms: 0, level: Level::Info, logger: b"", thread: b"", message: b"" };
        let mut tries = TRIES_MAX;
        if !follow(&self.parts, line, &mut found, zone, &mut tries) {
            return None;
        }
        let Found { time_ms, level, logger, thread, message } = found;
        Some(Head { time_ms, level, logger, thread, message: message.trim_ascii_end(), trace: b"" })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

struct Found<'a> {
    time_ms: i64,
    level: Level,
    logger: &'a [u8],
    thread: &'a [u8],
    message: &'a [u8],
}

/// Matches `parts` from the start of `text` on; as deep as there are fields.
fn follow<'a>(
    parts: &[Part],
    text: &'a [u8],
    found: &mut Found<'a>,
    zone: &mut Zone,
    tries: &mut u32,
) -> bool {
    let mut text = text;
    let mut parts = parts;
    while let Some((part, rest)) = parts.split_first() {
        parts = rest;
        let behind = match part {
            Part::Message => {
                found.message = text;
                return true;
            }
            Part::Field { field, width_min } => {
                return field_then(*field, *width_min, parts, text, found, zone, tries);
            }
            Part::Literal(literal) => strip_literal(text, literal),
            Part::Date(date) => date.parse(text, zone).map(|(time_ms, rest)| {
                found.time_ms = time_ms;
                rest
            }),
            Part::Level { pad_to } => level(text, *pad_to).map(|(level, rest)| {
                found.level = level;
                rest
            }),
        };
        let Some(behind) = behind else { return false };
        text = behind;
    }
    true
}

/// Matches a field that ends at one of the places where the literal behind it stands, and then the rest.
fn field_then<'a>(
    field: Field,
    width_min: usize,
    parts: &[Part],
    text: &'a [u8],
    found: &mut Found<'a>,
    zone: &mut Zone,
    tries: &mut u32,
) -> bool {
    let Some((Part::Literal(literal), parts)) = parts.split_first() else { return false };
    let Some(&first) = literal.first() else { return false };
    for at in memchr_iter(first, text.get(width_min..).unwrap_or_default()) {
        let Some((value, rest)) = text.split_at_checked(width_min + at) else { return false };
        let value = value.trim_ascii();
        if field == Field::Logger && value.contains(&b' ') {
            return false;
        }
        let Some(rest) = strip_literal(rest, literal) else { continue };
        if *tries == 0 {
            return false;
        }
        *tries -= 1;
        match field {
            Field::Logger if value.is_empty() => continue,
            Field::Logger => found.logger = value,
            Field::Thread => found.thread = value,
            Field::Other => {}
        }
        if follow(parts, rest, found, zone, tries) {
            return true;
        }
    }
    false
}

/// What follows `literal`. At the end of the line its blanks may be missing: an editor or a shipper took them off.
fn strip_literal<'a>(text: &'a [u8], literal: &[u8]) -> Option<&'a [u8]> {
    match text.strip_prefix(literal) {
        Some(rest) => Some(rest),
        None if !text.is_empty() && text == literal.trim_ascii_end() => Some(b""),
        None => None,
    }
}

/// A level's name in any case, blanks before it, and blanks behind it up to the width `pad_to`.
fn level(text: &[u8], pad_to: usize) -> Option<(Level, &[u8])> {
    let text = text.trim_ascii_start();
    let length = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (name, mut rest) = text.split_at_checked(length)?;
    let level = Level::parse_any_case(name)?;
    for _ in length..pad_to {
        rest = rest.strip_prefix(b" ").unwrap_or(rest);
    }
    Some((level, rest))
}
