//! Members of a JSON object as they stand in the line: no copy, no allocation, any bytes. Text between quotes is not
//! unescaped until it is asked for. A line that was cut in the middle gives the members before the cut, and the text
//! that was cut as far as it goes.

/// Text between quotes, still escaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// Without the quotes.
    pub raw: &'a [u8],
    /// Whether a backslash is in it.
    pub escaped: bool,
}

/// The value of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Between quotes.
    Text(Quoted<'a>),
    /// A number, `true`, `false` or `null`.
    Word(&'a [u8]),
    /// From its brace on.
    Object(&'a [u8]),
    /// From its bracket on.
    Array(&'a [u8]),
}

impl<'a> Quoted<'a> {
    /// Text without escapes.
    #[must_use]
    pub fn plain(raw: &'a [u8]) -> Self {
        Self { raw, escaped: false }
    }

    /// Appends the text to `out`, unescaped. What is no escape stays as it is; half a surrogate pair becomes U+FFFD.
    pub fn append_to(self, out: &mut Vec<u8>) {
        let mut raw = self.raw;
        while let Some(at) = self.escaped.then(|| memchr::memchr(b'\\', raw)).flatten() {
            let (before, escape) = raw.split_at_checked(at).unwrap_or((raw, b""));
            out.extend_from_slice(before);
            raw = append_escape(escape, out);
        }
        out.extend_from_slice(raw);
    }
}

/// Appends what `text`, which starts with a backslash, stands for; returns what follows.
fn append_escape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (byte, rest) = match text {
        [b'\\', b'n', rest @ ..] => (b'\n', rest),
        [b'\\', b't', rest @ ..] => (b'\t', rest),
        [b'\\', b'r', rest @ ..] => (b'\r', rest),
        [b'\\', b'b', rest @ ..] => (8, rest),
        [b'\\', b'f', rest @ ..] => (12, rest),
        [b'\\', b'u', rest @ ..] => return append_unicode(rest, out),
        [b'\\', byte, rest @ ..] => (*byte, rest),
        [byte, rest @ ..] => (*byte, rest),
        [] => return text,
    };
    out.push(byte);
    rest
}

/// As [`append_escape`] behind `\u`.
fn append_unicode<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((unit, rest)) = hex4(text) else {
        out.extend_from_slice(b"\\u");
        return text;
    };
    let pair = rest.strip_prefix(b"\\u").and_then(hex4).filter(|(low, _)| (0xDC00..0xE000).contains(low));
    let (code, rest) = match (unit, pair) {
        (0xD800..0xDC00, Some((low, rest))) => (0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00), rest),
        _ => (unit, rest),
    };
    let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn hex4(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    let mut value = 0;
    for &digit in digits {
        value = value * 16 + char::from(digit).to_digit(16)?;
    }
    Some((value, rest))
}

/// The members of an object, or none if the text does not start with a brace.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    /// Those of `text`.
    #[must_use]
    pub fn of(text: &'a [u8]) -> Self {
        Self { rest: text.strip_prefix(b"{").unwrap_or_default() }
    }

    /// Whether there was nothing but the closing brace behind the last member that was given.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.rest.trim_ascii() == b"}"
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Value<'a>);

    /// Ends at the closing brace and at whatever is no member. Keys are not unescaped.
    fn next(&mut self) -> Option<Self::Item> {
        let rest = skip_separators(self.rest).strip_prefix(b"\"")?;
        let (key, rest) = quoted(rest);
        let rest = rest.trim_ascii_start().strip_prefix(b":")?;
        let (value, rest) = value(rest.trim_ascii_start())?;
        self.rest = rest;
        Some((key.raw, value))
    }
}

/// The values of an array, or none if the text does not start with a bracket.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// Those of `text`.
    #[must_use]
    pub fn of(text: &'a [u8]) -> Self {
        Self { rest: text.strip_prefix(b"[").unwrap_or_default() }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = value(skip_separators(self.rest))?;
        self.rest = rest;
        Some(value)
    }
}

fn skip_separators(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    text.strip_prefix(b",").map_or(text, <[u8]>::trim_ascii_start)
}

/// The text up to the closing quote and what follows; all of it if none closes.
fn quoted(text: &[u8]) -> (Quoted<'_>, &[u8]) {
    let mut from = 0;
    let mut escaped = false;
    while let Some(at) = text.get(from..).and_then(quote_or_backslash) {
        let at = from + at;
        if text.get(at) == Some(&b'"') {
            let (raw, rest) = text.split_at_checked(at).unwrap_or((text, b""));
            return (Quoted { raw, escaped }, rest.get(1..).unwrap_or_default());
        }
        escaped = true;
        from = at + 2;
    }
    (Quoted { raw: text, escaped }, b"")
}

/// Where the first quote or backslash is.
#[cfg(not(target_arch = "wasm32"))]
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', text)
}

/// As above for interpreters without vectors, where most of what a record costs is this: eight bytes at a time, twice as
/// many as memchr takes on 32 bits.
#[cfg(target_arch = "wasm32")]
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    by_words::quote_or_backslash(text)
}

#[cfg(any(target_arch = "wasm32", test))]
mod by_words {
    const LOW: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

    pub(super) fn quote_or_backslash(text: &[u8]) -> Option<usize> {
        let mut rest = text;
        while let Some((word, behind)) = rest.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            // The high bit of each byte that is zero, and perhaps of ones above the first such.
            let (quote, backslash) = (word ^ (LOW * 0x22), word ^ (LOW * 0x5C));
            let zero =
                ((quote.wrapping_sub(LOW) & !quote) | (backslash.wrapping_sub(LOW) & !backslash)) & HIGH;
            if zero != 0 {
                return Some(text.len() - rest.len() + zero.trailing_zeros() as usize / 8);
            }
            rest = behind;
        }
        let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        Some(text.len() - rest.len() + at)
    }
}

/// The value that `text` starts with and what follows.
fn value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let split = |end: usize| text.split_at_checked(end);
    match text.first()? {
        b'"' => {
            let (text, rest) = quoted(text.get(1..)?);
            Some((Value::Text(text), rest))
        }
        b'{' => split(nested_end(text)).map(|(raw, rest)| (Value::Object(raw), rest)),
        b'[' => split(nested_end(text)).map(|(raw, rest)| (Value::Array(raw), rest)),
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            let end = text.iter().position(is_end).unwrap_or(text.len());
            split(end).filter(|(word, _)| !word.is_empty()).map(|(raw, rest)| (Value::Word(raw), rest))
        }
    }
}

/// Where the object or array ends that `text` starts with.
fn nested_end(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return text.len() - rest.len(),
            b'}' | b']' => depth -= 1,
            b'"' => rest = quoted(rest).1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_quote_or_backslash_is_found_by_words_too(
            text in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(0xA2), Just(0x23), any::<u8>(), Just(b'x')], 0..40),
            plain in 0..40_usize,
        ) {
            let text = [vec![b'x'; plain], text].concat();
            prop_assert_eq!(by_words::quote_or_backslash(&text), quote_or_backslash(&text));
        }
    }
}
