//! What typed wildcards take, eight bytes at a time. Every function starts at the byte `at` of a message and gives the
//! place behind the longest text that fits. Whole words are stepped over by a branch, which is foretold, not by what
//! was counted in them: all that follows waits for the place.

/// A byte that a host may hold.
const HOST: u8 = 1;
/// A byte that the pool of a block has in its name. Names of pools have no `_`, so none hides a `blk_`.
const POOL: u8 = 2;
/// A byte that a Java class name may hold.
const CLASS: u8 = 4;
/// A byte that every `blk_`, `BP-` and `lockId=` has one of: text without any names no block and no pool.
const SUSPECT: u8 = 8;

const HIGH: u64 = 0x8080_8080_8080_8080;
const LOW: u64 = !HIGH;

const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let it = byte as u8;
        #[expect(clippy::indexing_slicing, reason = "checked when compiled")]
        {
            kinds[byte] = kinds_of(it);
        }
        byte += 1;
    }
    kinds
};

const fn kinds_of(byte: u8) -> u8 {
    let common = if byte.is_ascii_alphanumeric() || byte == b'.' { HOST | POOL | CLASS } else { 0 };
    let own = match byte {
        b'_' => HOST | CLASS,
        b'-' => HOST | POOL,
        b'[' | b']' | b'%' => HOST,
        b'$' => CLASS,
        _ => 0,
    };
    let suspect = if matches!(byte, b'_' | b'B' | b'=') { SUSPECT } else { 0 };
    common | own | suspect
}

#[inline]
fn kinds(byte: u8) -> u8 {
    KINDS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Whether a host may start with this byte.
pub(super) fn is_host(byte: u8) -> bool {
    kinds(byte) & HOST != 0
}

/// Whether this byte and a pool's name behind it look like one name.
pub(super) fn joins_pool(byte: u8) -> bool {
    kinds(byte) & POOL != 0 || byte == b'_'
}

/// Whether a Java class name may start with this byte.
pub(super) fn starts_class(byte: u8) -> bool {
    kinds(byte) & CLASS != 0 && !byte.is_ascii_digit() && byte != b'.'
}

/// Whether a Java class name may hold this byte.
pub(super) fn is_class(byte: u8) -> bool {
    kinds(byte) & CLASS != 0
}

/// Whether text that holds this byte may name a block or a pool.
pub(super) fn is_suspect(byte: u8) -> bool {
    kinds(byte) & SUSPECT != 0
}

/// Eight bytes, the first one lowest; zeros stand for those beyond the end.
#[inline]
pub(super) fn load(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => load_end(text, at),
    }
}

fn load_end(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or(b"");
    match text.last_chunk() {
        Some(_) if rest.is_empty() => 0,
        Some(chunk) => u64::from_le_bytes(*chunk) >> (8 * (8 - rest.len().min(8))),
        None => rest.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte)),
    }
}

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of every byte that is not within `first..=last`, both ASCII.
#[inline]
fn beyond(word: u64, first: u8, last: u8) -> u64 {
    let low = word & LOW;
    let above = low + repeat(0x7f - last);
    let from = low + repeat(0x80 - first);
    (above | !from | word) & HIGH
}

/// The high bit of every byte that is this one.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ repeat(byte);
    !(((other & LOW) + LOW) | other) & HIGH
}

/// Bytes before the lowest one whose high bit is set, 8 if there is none.
#[inline]
fn before(high_bits: u64) -> usize {
    usize::try_from(high_bits.trailing_zeros() / 8).unwrap_or(8)
}

/// The place of the first blank, else the end. For words: short ones take less than a call for a search does.
#[inline]
pub(crate) fn word_end(text: &[u8]) -> usize {
    let mut end = 0;
    while end < text.len() {
        let blanks = equal(load(text, end), b' ');
        if blanks != 0 {
            return end + before(blanks);
        }
        end += 8;
    }
    text.len()
}

/// A number that was read.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    pub(crate) end: usize,
    /// At the end of the range if the number lies beyond it.
    pub(crate) value: i64,
    pub(crate) fits: bool,
}

/// The end of a number whose value is of no interest.
#[inline]
fn number_end(text: &[u8], at: usize) -> Option<usize> {
    let start = at + usize::from(text.get(at) == Some(&b'-'));
    let mut end = start;
    loop {
        let others = beyond(load(text, end), b'0', b'9');
        if others != 0 {
            end += before(others);
            return (end > start).then_some(end);
        }
        end += 8;
    }
}

/// `[-]<digits>`
#[inline(always)]
pub(crate) fn number(text: &[u8], at: usize) -> Option<Number> {
    const TENS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    let negative = text.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let (mut end, mut magnitude) = (start, 0_u64);
    let (mut word, mut others);
    loop {
        word = load(text, end);
        others = beyond(word, b'0', b'9');
        if others != 0 {
            break;
        }
        magnitude = magnitude.wrapping_mul(100_000_000).wrapping_add(digits(word, 8));
        end += 8;
    }
    let count = before(others);
    if count > 0 {
        let ten = TENS.get(count).copied().unwrap_or(1);
        magnitude = magnitude.wrapping_mul(ten).wrapping_add(digits(word, count));
        end += count;
    }
    if end == start {
        return None;
    }
    if end - start > 19 {
        return Some(long_number(text, start, end, negative));
    }
    let value = if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
    Some(Number { end, value: value.unwrap_or(limit(negative)), fits: value.is_some() })
}

/// The value of the first `count` bytes, `1..=8` digits.
#[inline]
fn digits(word: u64, count: usize) -> u64 {
    // The digits go to the end of the word, zeros before them; then neighbours are joined to 2, 4 and 8 digits.
    let ones = (word & repeat(0x0f)) << (64 - 8 * count);
    let twos = (ones.wrapping_mul(10 * 0x100 + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(100 * 0x1_0000 + 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 * 0x1_0000_0000 + 1) >> 32
}

/// More digits than a `u64` surely holds: leading zeros, or too large.
#[cold]
fn long_number(text: &[u8], start: usize, end: usize, negative: bool) -> Number {
    let digits = text.get(start..end).unwrap_or(b"");
    let value = digits.iter().try_fold(0_i64, |value, digit| {
        // Summed as negative numbers, whose range is the larger one.
        value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))
    });
    let value = if negative { value } else { value.and_then(i64::checked_neg) };
    Number { end, value: value.unwrap_or(limit(negative)), fits: value.is_some() }
}

fn limit(negative: bool) -> i64 {
    if negative { i64::MIN } else { i64::MAX }
}

/// The end of the bytes that are of this kind, and all their kinds together. Digits, dots and hyphens are the common
/// case, which takes no look at the single byte.
#[inline]
fn run(text: &[u8], at: usize, kind: u8) -> (usize, u8) {
    let mut end = at;
    loop {
        let word = load(text, end);
        let others = beyond(word, b'-', b'9') | equal(word, b'/');
        if others != 0 {
            end += before(others);
            break;
        }
        end += 8;
    }
    let mut seen = 0;
    while let Some(&byte) = text.get(end) {
        let its = kinds(byte);
        if its & kind == 0 {
            break;
        }
        seen |= its;
        end += 1;
    }
    (end, seen)
}

/// A host's end, and whether its name may hold a block or pool.
#[inline]
pub(super) fn host(text: &[u8], at: usize) -> Option<(usize, bool)> {
    let (end, seen) = run(text, at, HOST);
    (end > at).then_some((end, seen & SUSPECT != 0))
}

/// One or more `<host>:<port>`, else as [`host`].
#[inline]
pub(super) fn addresses(text: &[u8], at: usize) -> Option<(usize, bool)> {
    let (mut end, mut suspect) = address(text, at)?;
    loop {
        let next = next_one(text, end);
        let word = load(text, next);
        // No further one if a blank comes before the colon: settles most without a look at single bytes.
        if next >= text.len() || before(equal(word, b' ')) < before(equal(word, b':')) {
            return Some((end, suspect));
        }
        let Some((further, its)) = address(text, next) else { return Some((end, suspect)) };
        (end, suspect) = (further, suspect | its);
    }
}

#[inline]
fn address(text: &[u8], at: usize) -> Option<(usize, bool)> {
    let (end, suspect) = host(text, at)?;
    if text.get(end) != Some(&b':') {
        return None;
    }
    number_end(text, end + 1).map(|end| (end, suspect))
}

/// Behind one comma and blanks.
#[inline]
fn next_one(text: &[u8], at: usize) -> usize {
    let mut next = at + usize::from(text.get(at) == Some(&b','));
    while text.get(next).is_some_and(u8::is_ascii_whitespace) {
        next += 1;
    }
    next
}

/// `[BP-<pool>:]blk_<id>[_<gs>]`: where it ends, and the id.
#[inline(always)]
pub(super) fn block(text: &[u8], at: usize) -> Option<(usize, i64)> {
    let word = load(text, at);
    if starts(word, *b"blk_") {
        return plain_block(text, at);
    }
    if !starts(word & 0x00ff_ffff, *b"BP-\0") {
        return None;
    }
    let (end, _) = run(text, at + b"BP-".len(), POOL);
    let named = text.get(end) == Some(&b':') && starts(load(text, end + 1), *b"blk_");
    if named { plain_block(text, end + 1) } else { None }
}

#[inline]
fn starts(word: u64, bytes: [u8; 4]) -> bool {
    word & 0xffff_ffff == u64::from(u32::from_le_bytes(bytes))
}

#[inline]
fn plain_block(text: &[u8], at: usize) -> Option<(usize, i64)> {
    let id = number(text, at + b"blk_".len()).filter(|id| id.fits)?;
    if text.get(id.end) == Some(&b'_')
        && let Some(end) = number_end(text, id.end + 1)
    {
        return Some((end, id.value));
    }
    Some((id.end, id.value))
}

/// One or more blocks.
pub(super) fn blocks(text: &[u8], at: usize) -> Option<usize> {
    let (mut end, _) = block(text, at)?;
    while let Some((next, _)) = block(text, next_one(text, end)) {
        end = next;
    }
    Some(end)
}

/// A Java class name's end, and whether it may hold a block.
pub(super) fn exception(text: &[u8], at: usize) -> Option<(usize, bool)> {
    if !text.get(at).is_some_and(|&byte| starts_class(byte)) {
        return None;
    }
    let rest = text.get(at..)?;
    let length = rest.iter().position(|&byte| !is_class(byte)).unwrap_or(rest.len());
    let name = rest.get(..length)?;
    // A dot at its end ends a sentence.
    let dots = name.iter().rev().take_while(|&&byte| byte == b'.').count();
    Some((at + length - dots, name.iter().any(|&byte| is_suspect(byte))))
}
