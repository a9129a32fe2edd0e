//! log4j's pattern language, versions 1 and 2, to the parts that a line is matched with.

use super::PatternError;
use super::date::Date;

/// Parts of one pattern; a longer one is refused.
const PARTS_MAX: usize = 100;
/// Widths beyond it are refused.
const WIDTH_MAX: usize = 1_000;

/// What a line consists of, from left to right.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Literal(Box<[u8]>),
    Date(Date),
    /// Filled up with blanks behind it to the width `pad_to`.
    Level {
        pad_to: usize,
    },
    /// At least `width_min` bytes; always followed by a literal.
    Field {
        field: Field,
        width_min: usize,
    },
    /// The rest of the line.
    Message,
}

/// What a field is taken as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Thread,
    /// Holds no blanks and is never empty.
    Logger,
    Other,
}

/// What a conversion word stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Date,
    Level,
    Thread,
    Logger,
    Class,
    Message,
    LineEnd,
    /// Any text, of no use here.
    Other,
    /// Lines of their own, or nothing.
    Throwable,
}

/// Conversion words of log4j 1 and 2.
const WORDS: &[(Word, &[&str])] = &[
    (Word::Date, &["d", "date"]),
    (Word::Level, &["p", "level"]),
    (Word::Thread, &["t", "tn", "thread", "threadName"]),
    (Word::Logger, &["c", "logger"]),
    (Word::Class, &["C", "class"]),
    (Word::Message, &["m", "msg", "message"]),
    (Word::LineEnd, &["n"]),
    (Word::Throwable, &["ex", "exception", "throwable", "xEx", "xException", "xThrowable"]),
    (Word::Throwable, &["rEx", "rException", "rThrowable"]),
    (Word::Other, &["F", "file", "L", "line", "M", "method", "l", "location", "r", "relative"]),
    (Word::Other, &["x", "ndc", "NDC", "X", "mdc", "MDC", "K", "map", "MAP", "marker", "markerSimpleName"]),
    (Word::Other, &["T", "tid", "threadId", "tp", "threadPriority", "pid", "processId", "sn"]),
    (Word::Other, &["sequenceNumber", "u", "uuid", "fqcn", "N", "nano", "endOfBatch"]),
];

/// A conversion as written: `%-5p`, `%d{ISO8601}{UTC}`.
struct Conversion<'p> {
    /// Character of the pattern, counted from 1.
    at: usize,
    /// All of it.
    text: &'p str,
    word: Word,
    left_justified: bool,
    width_min: usize,
    width_max: Option<usize>,
    options: Vec<&'p str>,
}

/// Makes parts of a pattern. Fields and literals alternate; the last part is the message.
pub(super) fn compile(pattern: &str) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    let mut has_logger = false;
    let mut rest = pattern;
    while !rest.is_empty() {
        let at = pattern.chars().count() - rest.chars().count() + 1;
        if parts.len() >= PARTS_MAX {
            let reason = format!("a pattern may have {PARTS_MAX} parts");
            return Err(PatternError::Refused { at, word: first_word(rest), reason });
        }
        if let Some((literal, behind)) = literal(rest) {
            push_literal(&mut parts, literal);
            rest = behind;
            continue;
        }
        let (conversion, behind) = conversion(rest, at)?;
        rest = behind;
        let ends = conversion.word == Word::Message;
        if let Some(part) = conversion.part()? {
            after_field(&parts, &conversion)?;
            has_logger |= matches!(part, Part::Field { field: Field::Logger, .. });
            parts.push(part);
        }
        // Whatever follows the message stays part of it.
        if ends {
            return finish(parts, has_logger, pattern);
        }
    }
    Err(PatternError::Missing { what: "message (%m)" })
}

/// Checks that nothing is missing. Without a logger the class is taken in its place.
fn finish(mut parts: Vec<Part>, has_logger: bool, pattern: &str) -> Result<Vec<Part>, PatternError> {
    if !parts.iter().any(|part| matches!(part, Part::Date(_))) {
        return Err(PatternError::Missing { what: "date (%d) before the message" });
    }
    if !parts.iter().any(|part| matches!(part, Part::Level { .. })) {
        return Err(PatternError::Missing { what: "level (%p) before the message" });
    }
    if !has_logger && let Some(place) = class_place(pattern) {
        let fields = parts.iter_mut().filter_map(|part| match part {
            Part::Field { field, .. } => Some(field),
            _ => None,
        });
        if let Some(field) = fields.into_iter().nth(place) {
            *field = Field::Logger;
        }
    }
    Ok(parts)
}

/// Which of the fields is the class; `None` if none is.
fn class_place(pattern: &str) -> Option<usize> {
    let mut rest = pattern;
    let mut place = 0;
    while !rest.is_empty() {
        if let Some((_, behind)) = literal(rest) {
            rest = behind;
            continue;
        }
        let (conversion, behind) = conversion(rest, 0).ok()?;
        rest = behind;
        match conversion.word {
            Word::Class => return Some(place),
            Word::Message => return None,
            Word::Thread | Word::Logger | Word::Other => place += 1,
            Word::Date | Word::Level | Word::LineEnd | Word::Throwable => {}
        }
    }
    None
}

/// A field ends where the literal behind it starts, so it needs one.
fn after_field(parts: &[Part], conversion: &Conversion<'_>) -> Result<(), PatternError> {
    match parts.last() {
        Some(Part::Field { .. }) => {
            let reason = "it stands right behind another field, so it cannot be told where one ends; \
                          put a blank or a bracket between them";
            Err(conversion.refused(reason))
        }
        _ => Ok(()),
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: char) {
    let mut bytes = [0; 4];
    let bytes = literal.encode_utf8(&mut bytes).as_bytes();
    match parts.last_mut() {
        Some(Part::Literal(before)) => *before = [before, bytes].concat().into(),
        _ => parts.push(Part::Literal(bytes.into())),
    }
}

/// The character that `pattern` starts with, if it stands for itself, and what follows.
fn literal(pattern: &str) -> Option<(char, &str)> {
    for (escape, letter) in [("%%", '%'), ("\\t", '\t'), ("\\\\", '\\')] {
        if let Some(rest) = pattern.strip_prefix(escape) {
            return Some((letter, rest));
        }
    }
    let mut letters = pattern.chars();
    let letter = letters.next().filter(|&letter| letter != '%')?;
    Some((letter, letters.as_str()))
}

/// The conversion that `pattern` starts with and what follows.
fn conversion(pattern: &str, at: usize) -> Result<(Conversion<'_>, &str), PatternError> {
    let unknown = || PatternError::UnknownWord { at, word: first_word(pattern) };
    let rest = pattern.strip_prefix('%').ok_or_else(unknown)?;
    let (left_justified, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (width_min, rest) = number(rest);
    let (width_max, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (width, rest) = number(rest.strip_prefix('-').unwrap_or(rest));
            (Some(width), rest)
        }
        None => (None, rest),
    };
    let known = WORDS.iter().flat_map(|&(word, names)| names.iter().map(move |&name| (word, name)));
    // As log4j 2 does: of all words that fit the longest.
    let longest = known.filter(|(_, name)| rest.starts_with(name)).max_by_key(|(_, name)| name.len());
    let (word, name) = longest.ok_or_else(unknown)?;
    let mut rest = rest.strip_prefix(name).unwrap_or(rest);
    let mut options = Vec::new();
    while let Some(option) = rest.strip_prefix('{') {
        let unclosed = || PatternError::Unclosed { at, word: first_word(pattern) };
        let (option, behind) = option.split_once('}').ok_or_else(unclosed)?;
        options.push(option);
        rest = behind;
    }
    let text = pattern.strip_suffix(rest).unwrap_or(pattern);
    Ok((Conversion { at, text, word, left_justified, width_min, width_max, options }, rest))
}

impl Conversion<'_> {
    /// What it is in a line; `None` if it leaves nothing there.
    fn part(&self) -> Result<Option<Part>, PatternError> {
        if self.width_min > WIDTH_MAX {
            return Err(self.refused(&format!("its width is above {WIDTH_MAX}")));
        }
        let field = match self.word {
            Word::Date => return self.date().map(Some),
            Word::Level => return self.level().map(Some),
            Word::Message => return Ok(Some(Part::Message)),
            Word::LineEnd => {
                return Err(self.refused("the lines behind it would have no head; put the message before it"));
            }
            Word::Throwable => return Ok(None),
            Word::Thread => Field::Thread,
            Word::Logger => Field::Logger,
            Word::Class | Word::Other => Field::Other,
        };
        Ok(Some(Part::Field { field, width_min: self.width_min }))
    }

    fn date(&self) -> Result<Part, PatternError> {
        let format = self.options.first().copied().unwrap_or_default();
        let zone = self.options.get(1).copied();
        Date::new(format, zone).map(Part::Date).map_err(|reason| self.refused(&reason))
    }

    fn level(&self) -> Result<Part, PatternError> {
        // The longest names are ERROR, DEBUG, TRACE and FATAL.
        if self.width_max.is_some_and(|width| width < 5) {
            return Err(self.refused("it cuts the names of the levels; write `%p` or `%-5p`"));
        }
        if self.options.iter().any(|option| !option.eq_ignore_ascii_case("lowerCase=true")) {
            return Err(self.refused("levels are known by their full names only; leave out the braces"));
        }
        Ok(Part::Level { pad_to: if self.left_justified { self.width_min } else { 0 } })
    }

    fn refused(&self, reason: &str) -> PatternError {
        PatternError::Refused { at: self.at, word: self.text.to_owned(), reason: reason.to_owned() }
    }
}

/// Leading digits as a number, 0 if there are none, and what follows.
fn number(text: &str) -> (usize, &str) {
    let rest = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let digits = text.strip_suffix(rest).unwrap_or_default();
    (digits.parse().unwrap_or(if digits.is_empty() { 0 } else { usize::MAX }), rest)
}

/// For messages: the per cent sign and the letters and digits behind it.
fn first_word(pattern: &str) -> String {
    let is_part = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
    let mut letters = pattern.chars();
    letters.next().into_iter().chain(letters.take_while(is_part).take(40)).collect()
}
