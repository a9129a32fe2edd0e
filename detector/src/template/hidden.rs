//! Whether the constants of a template may name a block or a pool, alone or together with what stands beside them.

use super::part::{Part, Wildcard};
use super::scan;

/// What every name of a block or pool begins with; no text without suspect bytes holds one.
const NEEDLES: [&[u8]; 3] = [b"blk_", b"lockId=", b"BP-"];

/// Whether a message of this template may name a block or pool otherwise than by its block wildcards, or its wildcards'
/// text other than by suspect bytes.
pub(super) fn names_blocks(parts: &[Part]) -> bool {
    let spelled = (0..parts.len()).any(|at| {
        let length = if let Some(Part::Constant(text)) = parts.get(at) { text.len() } else { 1 };
        (0..length)
            .any(|used| NEEDLES.iter().any(|needle| spells(parts.get(at..).unwrap_or(&[]), used, needle)))
    });
    spelled || blocks_unseparated(parts)
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
        Part::Wildcard(kind) => {
            let goes_on = holds(*kind, byte) && (spells(parts, 0, further) || spells(behind, 0, further));
            goes_on || (*kind == Wildcard::Any && spells(behind, 0, needle))
        }
    }
}

/// Whether a wildcard may hold this byte of a needle and yet be free of suspect bytes. The free ones count as suspect
/// whatever they hold, and a block ends in a digit, which no needle has.
fn holds(kind: Wildcard, byte: u8) -> bool {
    match kind {
        Wildcard::Host | Wildcard::Addresses => scan::is_host(byte) && !scan::is_suspect(byte),
        Wildcard::Exception => scan::is_class(byte) && !scan::is_suspect(byte),
        Wildcard::Number | Wildcard::DurationMs | Wildcard::Bytes | Wildcard::Count => byte == b'-',
        Wildcard::Block | Wildcard::Blocks | Wildcard::Any | Wildcard::Path | Wildcard::Volume => false,
    }
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
