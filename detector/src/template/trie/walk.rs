//! One message's way through the trie: a loop that keeps one list of alternatives for later; only where there would be
//! two it calls itself.

use memchr::memchr;

use super::{Edge, NONE, Node, Trie};
use crate::template::captures::{Capture, Captures, Settled};
use crate::template::hidden;
use crate::template::part::Wildcard;
use crate::template::scan;
use crate::template::step::Take;

/// Places that are tried for the constant behind one free wildcard.
pub(in crate::template) const TRIES_MAX: usize = 16;
/// Alternatives open at once; what would open more does not match.
const DEPTH_MAX: u32 = 256;
/// Searches of one walk that are kept without allocating.
const ENTERED_FEW: usize = 8;

struct Walk<'a> {
    trie: &'a Trie,
    message: &'a [u8],
    captures: &'a mut Captures,
    /// The best rank found so far.
    best: u32,
    /// Its captures, once those at hand are about to be overwritten.
    kept: Option<Settled>,
    /// No better one can be found.
    done: bool,
    depth: u32,
    /// A search through any text is final: what it cannot reach from the first place where it may start, it cannot
    /// reach from a later one. So none is entered twice, and a match takes linear time.
    entered: Entered,
}

/// Needles that were searched for.
struct Entered {
    few: [u32; ENTERED_FEW],
    count: usize,
    /// A bit for each needle of the trie; empty until the few are full.
    many: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Place<'a> {
    node: &'a Node,
    at: usize,
    /// Captures so far.
    taken: usize,
    /// What has been taken may hold keys.
    hides: bool,
}

/// The rank of the template that a message was written by, which is neither empty nor has 4 GiB.
pub(super) fn find(trie: &Trie, message: &[u8], captures: &mut Captures) -> Option<u32> {
    let mut walk = Walk {
        trie,
        message,
        captures,
        best: NONE,
        kept: None,
        done: false,
        depth: 0,
        entered: Entered { few: [NONE; ENTERED_FEW], count: 0, many: Vec::new() },
    };
    walk.visit(Place { node: &trie.root, at: 0, taken: 0, hides: false });
    let Walk { best, kept, .. } = walk;
    if let Some(kept) = kept {
        captures.restore(kept);
    }
    (best != NONE).then_some(best)
}

impl<'a> Walk<'a> {
    fn visit(&mut self, mut place: Place<'a>) {
        let trie = self.trie;
        // Edges left to try, and from where.
        let mut pending: Option<(&'a [Edge], Place<'a>)> = None;
        loop {
            let node = place.node;
            let mut list = node.list;
            match self.message.get(place.at + node.ahead as usize) {
                None if node.rank < self.best => {
                    self.found(node.rank, place);
                    if self.done {
                        return;
                    }
                }
                Some(&byte) if node.table != NONE => {
                    let Some(table) = trie.tables.get(node.table as usize) else { return };
                    let Some(its) = table.get(usize::from(byte)) else { return };
                    list = *its;
                }
                _ => {}
            }
            let mut edges = list.of(&trie.edges);
            loop {
                let Some((edge, others)) = edges.split_first() else {
                    let Some((others, from)) = pending.take() else { return };
                    (edges, place) = (others, from);
                    continue;
                };
                edges = others;
                if edge.best >= self.best {
                    continue;
                }
                let Some(next) = self.step(edge, place) else {
                    if self.done {
                        return;
                    }
                    continue;
                };
                if !others.is_empty() && pending.is_some() {
                    self.visit_deeper(next);
                    if self.done {
                        return;
                    }
                    continue;
                }
                if !others.is_empty() {
                    pending = Some((others, place));
                }
                place = next;
                break;
            }
        }
    }

    /// Visits a place while more than one list of edges waits.
    #[cold]
    fn visit_deeper(&mut self, place: Place<'a>) {
        if self.depth < DEPTH_MAX {
            self.depth += 1;
            self.visit(place);
            self.depth -= 1;
        }
    }

    fn found(&mut self, rank: u32, place: Place<'a>) {
        self.best = rank;
        self.kept = None;
        self.captures.settle(place.taken, place.hides);
        self.done = self.trie.templates.get(rank as usize).is_some_and(|template| template.last_word);
    }

    /// Takes what an edge takes; `None` if the message does not fit, or a search has tried all that fits.
    ///
    /// Always inlined: a place that is handed back through memory stalls the walk.
    #[inline(always)]
    fn step(&mut self, edge: &'a Edge, place: Place<'a>) -> Option<Place<'a>> {
        let message = self.message;
        let at = edge.constant.behind(message, place.at, &self.trie.constants)?;
        let (kind, end, value, hides) = match edge.take {
            Take::Constant => return Some(Place { node: &edge.target, at, ..place }),
            Take::Typed(Wildcard::Block) => {
                let (end, id) = scan::block(message, at)?;
                (Wildcard::Block, end, id, false)
            }
            Take::Typed(kind @ Wildcard::Addresses) => {
                let (end, hides) = scan::addresses(message, at)?;
                (kind, end, 0, hides)
            }
            Take::Typed(kind @ Wildcard::Host) => {
                let (end, hides) = scan::host(message, at)?;
                (kind, end, 0, hides)
            }
            Take::Typed(kind @ Wildcard::Blocks) => (kind, scan::blocks(message, at)?, 0, true),
            Take::Typed(kind @ Wildcard::Exception) => {
                let (end, hides) = scan::exception(message, at)?;
                (kind, end, 0, hides)
            }
            Take::Typed(kind) => {
                let number = scan::number(message, at)?;
                (kind, number.end, number.value, false)
            }
            Take::LastException => return self.last_exception(edge, Place { at, ..place }),
            Take::Search(kind, needle) => {
                self.search(edge, kind, needle, Place { at, ..place });
                return None;
            }
            free => {
                let (kind, end, next) = self.free(free, at)?;
                let hides = hidden::in_text(message.get(at..end).unwrap_or_default());
                let took = Taken { kind, start: at, end, value: 0, hides };
                return Some(Place { at: next, ..self.took(edge, place, took) });
            }
        };
        Some(self.took(edge, place, Taken { kind, start: at, end, value, hides }))
    }

    /// Keeps what an edge took.
    #[inline(always)]
    fn took(&mut self, edge: &'a Edge, place: Place<'a>, took: Taken) -> Place<'a> {
        let Taken { kind, start, end, value, hides } = took;
        if self.best != NONE && self.kept.is_none() {
            self.kept = Some(self.captures.settled());
        }
        let kept = self
            .captures
            .put(place.taken, Capture { kind, start: position(start), end: position(end), value });
        Place {
            node: &edge.target,
            at: end,
            taken: place.taken + usize::from(kept),
            hides: place.hides | hides | !kept,
        }
    }

    fn last_exception(&mut self, edge: &'a Edge, place: Place<'a>) -> Option<Place<'a>> {
        let (end, hides) = scan::exception(self.message, place.at)?;
        let rest = self.message.get(end..)?;
        if rest.first().is_some_and(|&byte| byte != b':') {
            return None;
        }
        let took = Taken { kind: Wildcard::Exception, start: place.at, end, value: 0, hides };
        let place = self.took(edge, place, took);
        Some(Place { at: self.message.len(), hides: place.hides | hidden::in_text(rest), ..place })
    }

    /// What a free wildcard takes whose end is certain: its kind, that end, and where to go on.
    fn free(&self, take: Take, at: usize) -> Option<(Wildcard, usize, usize)> {
        let rest = self.message.get(at..)?;
        let (kind, length, behind) = match take {
            Take::Nothing => (Wildcard::Any, 0, 0),
            Take::Run(kind) => (kind, memchr(b' ', rest).unwrap_or(rest.len()), 0),
            Take::Last(kind) => (kind, rest.len(), 0),
            Take::Until(kind, needle) => {
                let needle = self.trie.needles.get(needle as usize)?.needle();
                (kind, rest.strip_suffix(needle)?.len(), needle.len())
            }
            Take::Constant | Take::Typed(_) | Take::LastException | Take::Search(..) => return None,
        };
        let end = at + length;
        accepts(kind, rest.get(..length)?).then_some((kind, end, end + behind))
    }

    /// Goes on from the places of a needle, first ones first.
    #[cold]
    fn search(&mut self, edge: &'a Edge, kind: Wildcard, number: u32, place: Place<'a>) {
        let (trie, message) = (self.trie, self.message);
        let final_here = kind != Wildcard::Volume;
        if final_here && !self.entered.enter(number, trie.needles.len()) {
            return;
        }
        let Some(needle) = trie.needles.get(number as usize) else { return };
        let from = place.at + usize::from(kind != Wildcard::Any);
        let Some(rest) = message.get(from..) else { return };
        for found in needle.find_iter(rest).take(TRIES_MAX) {
            let start = from + found;
            if !message.get(place.at..start).is_some_and(|text| accepts(kind, text)) {
                return;
            }
            let hides = hidden::in_text(message.get(place.at..start).unwrap_or_default());
            let took = Taken { kind, start: place.at, end: start, value: 0, hides };
            let next = self.took(edge, place, took);
            self.visit_deeper(Place { at: start + needle.needle().len(), ..next });
            if self.done || edge.best >= self.best {
                return;
            }
        }
    }
}

impl Entered {
    /// Whether this needle, one of `needles`, is searched for the first time.
    fn enter(&mut self, number: u32, needles: usize) -> bool {
        if self.few.iter().take(self.count).any(|&entered| entered == number) {
            return false;
        }
        if let Some(free) = self.few.get_mut(self.count) {
            *free = number;
            self.count += 1;
            return true;
        }
        if self.many.is_empty() {
            self.many = vec![0; needles.div_ceil(64)];
        }
        let bit = 1 << (number % 64);
        let Some(word) = self.many.get_mut((number / 64) as usize) else { return true };
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    }
}

/// What a wildcard took.
#[derive(Clone, Copy)]
struct Taken {
    kind: Wildcard,
    start: usize,
    end: usize,
    value: i64,
    hides: bool,
}

/// Whether a free wildcard may stand for this text.
pub(in crate::template) fn accepts(kind: Wildcard, text: &[u8]) -> bool {
    match kind {
        Wildcard::Volume => !text.is_empty() && memchr(b' ', text).is_none(),
        Wildcard::Path => !text.is_empty(),
        _ => true,
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_needle_is_searched_for_once_however_many_there_are() {
        let mut entered = Entered { few: [NONE; ENTERED_FEW], count: 0, many: Vec::new() };
        for number in (0..1_000).rev() {
            assert!(entered.enter(number, 1_000));
            assert!(!entered.enter(number, 1_000));
        }
        assert!((0..1_000).all(|number| !entered.enter(number, 1_000)));
    }
}
