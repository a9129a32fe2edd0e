//! The short way: most lines are of few templates, so before a walk through the trie the templates that messages with
//! such a start had last are tried, each part by part without looking left or right. That is exact, for only templates
//! that have the last word take part, and of those no other can match what one of them matches.

use super::build::Step;
use super::walk::constant;
use super::{Constant, List, NONE, Trie};
use crate::template::captures::{Capture, Captures};
use crate::template::part::Wildcard;
use crate::template::scan;

/// Starts of messages that are told apart.
const STARTS: usize = 64;
/// Templates that are tried for one start.
const WAYS: usize = 4;
/// Multiplier of the golden ratio, which spreads the starts.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A constant and then a wildcard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    constant: Constant,
    take: Option<Wildcard>,
}

/// The templates that were found last, by the start of the message.
#[derive(Clone, Debug)]
pub(in crate::template) struct Recent {
    ranks: [[u32; WAYS]; STARTS],
}

impl Recent {
    pub(in crate::template) const NONE: Self = Self { ranks: [[NONE; WAYS]; STARTS] };

    /// The most recent template comes first.
    fn enter(&mut self, start: usize, rank: u32) {
        if let Some(ways) = self.ranks.get_mut(start)
            && !ways.contains(&rank)
        {
            ways.rotate_right(1);
            if let Some(first) = ways.first_mut() {
                *first = rank;
            }
        }
    }
}

/// The steps of a template as a program; `None` if it takes more than constants and types.
pub(super) fn program(steps: &[Step], mut constant: impl FnMut(&[u8]) -> Constant) -> Option<Vec<Op>> {
    let mut ops = Vec::new();
    let mut rest = steps;
    while !rest.is_empty() {
        let text: &[u8] = match rest {
            [Step::Constant(text), behind @ ..] => {
                rest = behind;
                text
            }
            _ => b"",
        };
        let take = match rest {
            [] => None,
            [Step::Typed(kind), behind @ ..] if !matches!(kind, Wildcard::Blocks | Wildcard::Exception) => {
                rest = behind;
                Some(*kind)
            }
            _ => return None,
        };
        ops.push(Op { constant: constant(text), take });
    }
    Some(ops)
}

/// A template that messages with this start had last, if it is this message's. Also gives the start, for
/// [`remember`].
#[inline]
pub(super) fn find(trie: &Trie, message: &[u8], captures: &mut Captures) -> (usize, Option<u32>) {
    let start = start(message);
    let Some(&ranks) = captures.recent.ranks.get(start) else { return (start, None) };
    for rank in ranks {
        let Some(&program) = trie.programs.get(rank as usize) else { break };
        if run(trie, program.of(&trie.ops), message, captures) {
            return (start, Some(rank));
        }
    }
    (start, None)
}

/// Has a template tried first from now on, if it can be.
pub(super) fn remember(trie: &Trie, start: usize, rank: u32, captures: &mut Captures) {
    let has_program = trie.programs.get(rank as usize).is_some_and(|program| program.start < program.end);
    if has_program {
        captures.recent.enter(start, rank);
    }
}

/// Which of the starts a message has. Those that begin with an address share one.
#[inline]
fn start(message: &[u8]) -> usize {
    if message.first().is_some_and(u8::is_ascii_digit) {
        return 0;
    }
    let spread = scan::load(message, 0).wrapping_mul(SPREAD) >> (u64::BITS - STARTS.ilog2());
    usize::try_from(spread).unwrap_or(0)
}

#[inline]
fn run(trie: &Trie, ops: &[Op], message: &[u8], captures: &mut Captures) -> bool {
    let (mut at, mut count, mut hides) = (0, 0, false);
    for op in ops {
        let Some(start) = constant(message, at, &trie.constants, &op.constant) else { return false };
        let Some(kind) = op.take else {
            at = start;
            continue;
        };
        let Some((end, value, hidden)) = take(kind, message, start) else { return false };
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let capture = Capture { kind, start: position(start), end: position(end), value };
        let kept = captures.put(count, capture);
        count += usize::from(kept);
        hides |= hidden | !kept;
        at = end;
    }
    let matches = at == message.len() && !ops.is_empty();
    if matches {
        captures.settle(count, hides);
    }
    matches
}

/// What a type takes: its end, its value, and whether it may hide keys.
#[inline(always)]
fn take(kind: Wildcard, message: &[u8], at: usize) -> Option<(usize, i64, bool)> {
    match kind {
        Wildcard::Block => scan::block(message, at).map(|(end, id)| (end, id, false)),
        Wildcard::Addresses => scan::addresses(message, at).map(|(end, hides)| (end, 0, hides)),
        Wildcard::Host => scan::host(message, at).map(|(end, hides)| (end, 0, hides)),
        _ => scan::number(message, at).map(|number| (number.end, number.value, false)),
    }
}

impl Trie {
    /// Adds the program of a template; an empty one for those that have none.
    pub(super) fn add_program(&mut self, ops: Option<Vec<Op>>) {
        let position = |at: usize| u32::try_from(at).unwrap_or(NONE);
        let start = position(self.ops.len());
        self.ops.extend(ops.unwrap_or_default());
        self.programs.push(List { start, end: position(self.ops.len()) });
    }
}
