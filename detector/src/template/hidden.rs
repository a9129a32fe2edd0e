//! Whether the constants of a template may name a block or a pool, alone or together with what stands beside them.

use memchr::memchr3_iter;

use super::part::{Part, Wildcard};
use super::scan;

/// What every name of a block or pool begins with; no text without suspect bytes holds one. Each ends with another
/// byte, which [`in_text`] looks for.
const NEEDLES: [&[u8]; 3] = [b"blk_", b"lockId=", b"BP-"];

/// Whether a message of this template may name a block or pool otherwise than by its block wildcards, or its wildcards'
/// text other than by suspect bytes or, where it is free, by all of a needle.
pub(super) fn names_blocks(parts: &[Part]) -> bool {
    let spelled_from = |at: usize| {
        let from = parts.get(at..).unwrap_or(&[]);
        match from {
            [Part::Constant(text), ..] => {
                let [block, lock, pool] = NEEDLES.map(|needle| needle.first().copied().unwrap_or_default());
                memchr3_iter(block, lock, pool, text).any(|used| is_spelled(from, used))
            }
            [Part::Wildcard(kind), behind @ ..] if kind.is_free() => goes_on_behind_free(behind),
            _ => is_spelled(from, 0),
        }
    };
    (0..parts.len()).any(spelled_from) || blocks_unseparated(parts)
}

fn is_spelled(parts: &[Part], used: usize) -> bool {
    NEEDLES.iter().any(|needle| spells(parts, used, needle))
}

/// Whether a needle may begin in the free text before `parts` and end in what they stand for.
fn goes_on_behind_free(parts: &[Part]) -> bool {
    let spelled = |needle: &[u8]| {
        (1..needle.len()).any(|taken| spells(parts, 0, needle.get(taken..).unwrap_or_default()))
    };
    NEEDLES.iter().any(|needle| spelled(needle))
}

/// Whether `needle` may stand at the start of `parts`, without the first `used` bytes of a constant or inside of a
/// wildcard.
fn spells(parts: &[Part], used: usize, needle: &[u8]) -> bool {
    let Some((&byte, further)) = needle.split_first() else { return true };
    let Some((part, behind)) = parts.split_first() else { return false };
    match part {
        Part::Constant(text) => match text.get(used) {
            Some(&own) => own == byte && spells(parts, used + 1, further),
            None => spells(behind, 0, needle),
        },
        // A needle that has begun before may go on in any text.
        Part::Wildcard(kind) if kind.is_free() => true,
        Part::Wildcard(kind) => {
            holds(*kind, byte) && (spells(parts, 0, further) || spells(behind, 0, further))
        }
    }
}

/// Whether a typed wildcard may hold this byte of a needle and yet be free of suspect bytes. A block ends in a digit,
/// which no needle has.
fn holds(kind: Wildcard, byte: u8) -> bool {
    match kind {
        Wildcard::Host | Wildcard::Addresses => scan::is_host(byte) && !scan::is_suspect(byte),
        Wildcard::Exception => scan::is_class(byte) && !scan::is_suspect(byte),
        Wildcard::Number | Wildcard::DurationMs | Wildcard::Bytes | Wildcard::Count => byte == b'-',
        Wildcard::Block | Wildcard::Blocks | Wildcard::Any | Wildcard::Path | Wildcard::Volume => false,
    }
}

/// Whether free text holds a needle.
pub(super) fn in_text(text: &[u8]) -> bool {
    let ends_needle = |at: usize| {
        let before = text.get(..=at).unwrap_or(text);
        NEEDLES.iter().any(|needle| before.ends_with(needle))
    };
    memchr3_iter(b'_', b'=', b'-', text).any(ends_needle)
}

/// Whether what stands before a block may become part of its pool's name.
fn blocks_unseparated(parts: &[Part]) -> bool {
    parts.windows(2).any(|pair| match pair {
        [Part::Constant(text), Part::Wildcard(Wildcard::Block)] => {
            text.last().is_some_and(|&byte| scan::joins_pool(byte))
        }
        [_, Part::Wildcard(Wildcard::Block)] => true,
        _ => false,
    })
}
