//! One message's way through the trie. Alternatives are tried by recursion; where one edge is left, a loop goes on.

use memchr::memchr;

use super::{Edge, List, NONE, Take, Trie};
use crate::template::captures::{Capture, Captures};
use crate::template::part::Wildcard;
use crate::template::scan;

/// Places that are tried for the constant behind one free wildcard.
pub(in crate::template) const TRIES_MAX: usize = 16;
/// Alternatives open at once; what would open more does not match.
const DEPTH_MAX: u32 = 256;
/// Searches of a catalogue that are known to have been entered; further ones may be entered again.
const ENTERED_MAX: u32 = 256;

struct Walk<'a> {
    trie: &'a Trie,
    message: &'a [u8],
    captures: &'a mut Captures,
    /// The best rank found so far.
    best: u32,
    /// Its captures, once those at hand are about to be overwritten.
    kept: Option<Captures>,
    /// No better one can be found.
    done: bool,
    depth: u32,
    /// A search through any text is final: what it cannot reach from the first place where it may start, it cannot
    /// reach from a later one. So none is entered twice, and a match takes linear time.
    entered: [u64; (ENTERED_MAX / 64) as usize],
}

#[derive(Clone, Copy)]
struct Place {
    node: u32,
    at: usize,
    /// Captures so far.
    taken: usize,
    /// What has been taken may hold keys.
    hides: bool,
}

#[inline]
pub(super) fn find(trie: &Trie, message: &[u8], captures: &mut Captures) -> Option<usize> {
    captures.clear();
    if message.is_empty() || u32::try_from(message.len()).is_err() {
        return None;
    }
    let mut walk = Walk {
        trie,
        message,
        captures,
        best: NONE,
        kept: None,
        done: false,
        depth: 0,
        entered: [0; (ENTERED_MAX / 64) as usize],
    };
    walk.visit(Place { node: 0, at: 0, taken: 0, hides: false });
    let Walk { best, kept, .. } = walk;
    if let Some(kept) = kept {
        *captures = kept;
    }
    Some(trie.templates.get(best as usize)?.index)
}

impl Walk<'_> {
    fn visit(&mut self, mut place: Place) {
        let trie = self.trie;
        loop {
            let Some(node) = trie.nodes.get(place.node as usize) else { return };
            let mut list = node.list;
            match self.message.get(place.at) {
                None if node.rank < self.best => {
                    self.found(node.rank, place);
                    if self.done {
                        return;
                    }
                }
                Some(&byte) if node.table != NONE => {
                    let Some(table) = trie.tables.get(node.table as usize) else { return };
                    let class = table.classes.get(usize::from(byte)).copied().unwrap_or(0);
                    let Some(its) = table.lists.get(usize::from(class)) else { return };
                    list = *its;
                }
                _ => {}
            }
            let Some((last, others)) = list.of(&trie.edges).split_last() else { return };
            if !others.is_empty() && self.alternatives(others, place) {
                return;
            }
            if last.best >= self.best {
                return;
            }
            let Some(next) = self.step(last, place) else { return };
            place = next;
        }
    }

    /// Tries all edges of a list but the last one; whether the walk is over.
    fn alternatives(&mut self, edges: &[Edge], place: Place) -> bool {
        if self.depth == DEPTH_MAX {
            return true;
        }
        self.depth += 1;
        for edge in edges {
            if edge.best < self.best
                && let Some(next) = self.step(edge, place)
            {
                self.visit(next);
                if self.done {
                    return true;
                }
            }
        }
        self.depth -= 1;
        false
    }

    fn found(&mut self, rank: u32, place: Place) {
        self.best = rank;
        self.kept = None;
        self.captures.settle(place.taken, place.hides);
        self.done = self.trie.templates.get(rank as usize).is_some_and(|template| template.last_word);
    }

    /// Takes what an edge takes; `None` if the message does not fit, or a search has tried all that fits.
    #[inline]
    fn step(&mut self, edge: &Edge, place: Place) -> Option<Place> {
        let message = self.message;
        let at = constant(message, place.at, &self.trie.constants, edge.constant)?;
        let (kind, end, value, hides) = match edge.take {
            Take::Constant => return Some(Place { node: edge.target, at, ..place }),
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
            Take::Search(kind, needle, number) => {
                self.search(edge, (kind, needle, number), Place { at, ..place });
                return None;
            }
            free => {
                let (kind, end, next) = self.free(free, at)?;
                let took = Taken { kind, start: at, end, value: 0, hides: end > at };
                return Some(Place { at: next, ..self.took(edge, place, took) });
            }
        };
        Some(self.took(edge, place, Taken { kind, start: at, end, value, hides }))
    }

    /// Keeps what an edge took.
    #[inline]
    fn took(&mut self, edge: &Edge, place: Place, took: Taken) -> Place {
        let Taken { kind, start, end, value, hides } = took;
        if self.best != NONE && self.kept.is_none() {
            self.kept = Some(self.captures.clone());
        }
        let kept = self
            .captures
            .put(place.taken, Capture { kind, start: position(start), end: position(end), value });
        Place {
            node: edge.target,
            at: end,
            taken: place.taken + usize::from(kept),
            hides: place.hides | hides | !kept,
        }
    }

    fn last_exception(&mut self, edge: &Edge, place: Place) -> Option<Place> {
        let (end, hides) = scan::exception(self.message, place.at)?;
        let rest = self.message.get(end..)?;
        if rest.first().is_some_and(|&byte| byte != b':') {
            return None;
        }
        let took = Taken { kind: Wildcard::Exception, start: place.at, end, value: 0, hides };
        let place = self.took(edge, place, took);
        Some(Place { at: self.message.len(), hides: place.hides | !rest.is_empty(), ..place })
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
    fn search(&mut self, edge: &Edge, (kind, needle, number): (Wildcard, u32, u32), place: Place) {
        let (trie, message) = (self.trie, self.message);
        let final_here = kind != Wildcard::Volume;
        if let Some(word) = self.entered.get_mut((number / 64) as usize).filter(|_| final_here) {
            let bit = 1 << (number % 64);
            if *word & bit != 0 {
                return;
            }
            *word |= bit;
        }
        let Some(needle) = trie.needles.get(needle as usize) else { return };
        let from = place.at + usize::from(kind != Wildcard::Any);
        let Some(rest) = message.get(from..) else { return };
        for found in needle.find_iter(rest).take(TRIES_MAX) {
            let start = from + found;
            if !message.get(place.at..start).is_some_and(|text| accepts(kind, text)) {
                return;
            }
            let took = Taken { kind, start: place.at, end: start, value: 0, hides: start > place.at };
            let next = self.took(edge, place, took);
            self.visit(Place { at: start + needle.needle().len(), ..next });
            if self.done || edge.best >= self.best {
                return;
            }
        }
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
fn accepts(kind: Wildcard, text: &[u8]) -> bool {
    match kind {
        Wildcard::Volume => !text.is_empty() && memchr(b' ', text).is_none(),
        Wildcard::Path => !text.is_empty(),
        _ => true,
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The place behind one of the trie's constants if it stands at `at`.
#[inline]
fn constant(message: &[u8], at: usize, constants: &[u8], list: List) -> Option<usize> {
    let constant = list.of(constants);
    let length = constant.len();
    let end = at + length;
    let text = message.get(at..end)?;
    if length >= 8 {
        for (ours, its) in text.chunks_exact(8).zip(constant.chunks_exact(8)) {
            if ours != its {
                return None;
            }
        }
        return (text.last_chunk::<8>() == constant.last_chunk::<8>()).then_some(end);
    }
    if length == 0 {
        return Some(end);
    }
    let differ = scan::load(message, at) ^ scan::load(constants, list.start as usize);
    (differ << (64 - 8 * length) == 0).then_some(end)
}
