//! The masks that are used without settings, as code: what their regular expressions find, without an engine for them,
//! which is as large as the rest of a WASM module and slower. A test compares the two.

use super::ANY;

/// Digits of Unicode's scripts (category Nd): the first of each ten, in order.
const ZEROS: [u32; 76] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50,
    0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
    0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40,
    0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da,
    0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16130, 0x16a60, 0x16ac0,
    0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0,
    0x1e5f1, 0x1e950, 0x1fbf0,
];

/// What a mask found.
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) wildcard: &'static str,
}

/// The first place at or behind `from` that a mask fits, by the first mask that does.
pub(super) fn find(text: &str, from: usize) -> Option<Found> {
    let text = Text(text);
    let mut before = text.0.get(..from)?.chars().next_back();
    let mut is_first = true;
    for (at, char) in text.0.get(from..)?.char_indices() {
        let start = from + at;
        let in_word = before.is_some_and(is_word);
        let boundary = in_word != is_word(char);
        // Where a word fits from a place on, it fits from every place before it in the word.
        let word_starts = is_first || !in_word;
        if let Some((end, wildcard)) = text.at(start, char, boundary, word_starts) {
            return Some(Found { start, end, wildcard });
        }
        (before, is_first) = (Some(char), false);
    }
    None
}

#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl Text<'_> {
    /// Where what a mask finds at `start` ends, and the mask's wildcard.
    fn at(
        self,
        start: usize,
        char: char,
        boundary: bool,
        word_starts: bool,
    ) -> Option<(usize, &'static str)> {
        let bounded = |end: Option<usize>| end.filter(|_| boundary);
        if let Some(end) = self.block(start) {
            return Some((end, "<blk>"));
        }
        if let Some(end) = bounded(self.address(start)) {
            return Some((end, "<node>"));
        }
        if let Some(end) = self.path(start).or_else(|| bounded(self.file(start))) {
            return Some((end, "<path>"));
        }
        let other = bounded(self.uuid(start)).or_else(|| bounded(self.pool(start)));
        let word = || if word_starts && is_word(char) { self.numbered_word(start) } else { None };
        if let Some(end) = other.or_else(word).or_else(|| bounded(self.hexadecimal(start))) {
            return Some((end, ANY));
        }
        let digits = if char == '-' { start + 1 } else { start };
        self.some(digits, is_digit).map(|end| (end, "<n>"))
    }

    /// `(?:BP-[\w.-]+:)?blk_-?\d+(?:_\d+)?`
    fn block(self, start: usize) -> Option<usize> {
        let start = match self.pool(start) {
            Some(end) => self.skip(end, ":")?,
            None => start,
        };
        let number = self.skip(start, "blk_")?;
        let end = self.some(self.skip(number, "-").unwrap_or(number), is_digit)?;
        Some(self.skip(end, "_").and_then(|stamp| self.some(stamp, is_digit)).unwrap_or(end))
    }

    /// `BP-[\w.-]+`
    fn pool(self, start: usize) -> Option<usize> {
        self.some(self.skip(start, "BP-")?, |char| is_word(char) || char == '.' || char == '-')
    }

    /// `\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?`
    fn address(self, start: usize) -> Option<usize> {
        let mut end = self.at_most(start, 3, is_digit)?;
        for _ in 0..3 {
            end = self.at_most(self.skip(end, ".")?, 3, is_digit)?;
        }
        Some(self.skip(end, ":").and_then(|port| self.some(port, is_digit)).unwrap_or(end))
    }

    /// `/[^\s,;:()\[\]]+`
    fn path(self, start: usize) -> Option<usize> {
        let ends =
            |char: char| char.is_whitespace() || matches!(char, ',' | ';' | ':' | '(' | ')' | '[' | ']');
        self.some(self.skip(start, "/")?, |char| !ends(char))
    }

    /// `file:/[^\s,;:()\[\]]+`
    fn file(self, start: usize) -> Option<usize> {
        self.path(self.skip(start, "file:")?)
    }

    /// `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}\b`
    fn uuid(self, start: usize) -> Option<usize> {
        let bytes = self.0.as_bytes().get(start..start + 36)?;
        let fits = |(at, byte): (usize, &u8)| match at {
            8 | 13 => *byte == b'-',
            14.. => byte.is_ascii_hexdigit() || *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        let ends_in_word = bytes.last().is_some_and(u8::is_ascii_hexdigit);
        let goes_on = self.0.get(start + 36..)?.chars().next().is_some_and(is_word);
        (bytes.iter().enumerate().all(fits) && ends_in_word != goes_on).then_some(start + 36)
    }

    /// `\w+_-?\d+\w*`
    fn numbered_word(self, start: usize) -> Option<usize> {
        let end = self.some(start, is_word)?;
        let word = self.0.get(start..end)?;
        if let Some(before) = word.strip_suffix('_').filter(|before| !before.is_empty())
            && let Some(digits) =
                self.skip(start + before.len() + 1, "-").and_then(|at| self.some(at, is_digit))
        {
            return Some(self.some(digits, is_word).unwrap_or(digits));
        }
        let numbered = word.match_indices('_').any(|(at, _)| {
            at > 0 && word.get(at + 1..).and_then(|rest| rest.chars().next()).is_some_and(is_digit)
        });
        numbered.then_some(end)
    }

    /// `0x[0-9a-fA-F]+`
    fn hexadecimal(self, start: usize) -> Option<usize> {
        self.some(self.skip(start, "0x")?, |char| char.is_ascii_hexdigit())
    }

    /// Behind `constant`, if it stands there.
    fn skip(self, start: usize, constant: &str) -> Option<usize> {
        let is_there = self.0.as_bytes().get(start..)?.starts_with(constant.as_bytes());
        is_there.then_some(start + constant.len())
    }

    /// Behind as many characters as fit, one at least.
    fn some(self, start: usize, fits: impl Fn(char) -> bool) -> Option<usize> {
        self.at_most(start, usize::MAX, fits)
    }

    /// The same of `count` characters at most.
    fn at_most(self, start: usize, count: usize, fits: impl Fn(char) -> bool) -> Option<usize> {
        let taken: usize =
            self.0.get(start..)?.chars().take(count).take_while(|&char| fits(char)).map(char::len_utf8).sum();
        (taken > 0).then_some(start + taken)
    }
}

/// `\w`
fn is_word(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphanumeric() || char == '_';
    }
    regex_syntax::is_word_character(char)
}

/// `\d`
fn is_digit(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_digit();
    }
    let code = u32::from(char);
    let at = ZEROS.partition_point(|&zero| zero <= code);
    at.checked_sub(1).and_then(|at| ZEROS.get(at)).is_some_and(|zero| code - zero < 10)
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn characters_are_of_the_classes_of_regular_expressions() {
        let (word, digit) = (Regex::new(r"\w").unwrap(), Regex::new(r"\d").unwrap());
        let space = Regex::new(r"\s").unwrap();
        for char in '\0'..=char::MAX {
            let text = char.to_string();
            assert_eq!(is_word(char), word.is_match(&text), "{char:?}");
            assert_eq!(is_digit(char), digit.is_match(&text), "{char:?}");
            assert_eq!(char.is_whitespace(), space.is_match(&text), "{char:?}");
        }
    }
}
