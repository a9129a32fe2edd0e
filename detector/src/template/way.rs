//! The short way: most lines are of few templates, so before a walk through the tries the templates that messages with
//! such a start had last are tried, each by itself ([`Program`]). That is exact: where a template of a better rank may
//! match the same message, a look for that one's constants says that it does not, or the walk decides.

use memchr::memmem::{self, Finder};

use super::captures::Captures;
use super::overlap::Expression;
use super::program::Program;
use super::scan;
use super::step::Step;

/// Starts of messages that are told apart.
const STARTS: usize = 64;
/// Templates that are tried for one start.
const WAYS: usize = 8;
/// Rivals of a template that is tried by itself.
const RIVALS_MAX: usize = 8;
/// No template.
const NONE: u16 = u16::MAX;
/// Multiplier of the golden ratio, which spreads the starts.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A template that can be tried by itself.
#[derive(Clone, Debug)]
pub(super) struct Way {
    program: Program,
    rivals: Box<[Rival]>,
}

/// Whether a message is a template's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Its,
    NotIts,
    /// Its, or that of a better one.
    ItsOrBetter,
}

impl Way {
    /// Compiles a template; `better` are the steps of all templates of a better rank. `None` if the walk has to decide
    /// too often.
    pub(super) fn new<'a>(steps: &[Step], better: impl Iterator<Item = &'a [Step]>) -> Option<Self> {
        let program = Program::new(steps)?;
        let expression = Expression::new(steps);
        let may_meet =
            |other: &&[Step]| start_alike(steps, other) && expression.meets(&Expression::new(other));
        let rivals = better.filter(may_meet);
        let rivals = rivals.take(RIVALS_MAX + 1).map(|rival| Rival::new(rival, steps));
        let rivals: Box<[Rival]> = rivals.collect::<Option<_>>()?;
        (rivals.len() <= RIVALS_MAX).then_some(Self { program, rivals })
    }

    #[inline]
    pub(super) fn is(&self, message: &[u8], captures: &mut Captures) -> Is {
        if !self.program.fits(message, captures) {
            return Is::NotIts;
        }
        if self.rivals.iter().any(|rival| rival.may_be(message)) { Is::ItsOrBetter } else { Is::Its }
    }
}

/// Whether one of two constants that two templates begin with begins with the other.
fn start_alike(one: &[Step], other: &[Step]) -> bool {
    match (one, other) {
        ([Step::Constant(one), ..], [Step::Constant(other), ..]) => {
            one.iter().zip(other).all(|(a, b)| a == b)
        }
        _ => true,
    }
}

/// What tells a template of a better rank from another one.
#[derive(Clone, Debug)]
struct Rival {
    /// What its messages end with.
    tail: Vec<u8>,
    /// The longest constant that is not part of the other one's.
    needle: Finder<'static>,
}

impl Rival {
    /// `None` if its constants are all among those of `steps`.
    fn new(rival: &[Step], steps: &[Step]) -> Option<Self> {
        let text = |step: &Step| match step {
            Step::Constant(text) | Step::Until(_, text) | Step::Search(_, text) => text.clone(),
            _ => Vec::new(),
        };
        let own: Vec<Vec<u8>> = steps.iter().map(text).collect();
        let is_new = |needle: &Vec<u8>| own.iter().all(|own| memmem::find(own, needle).is_none());
        let tail = match rival.last() {
            Some(step @ (Step::Constant(_) | Step::Until(..))) => text(step),
            _ => Vec::new(),
        };
        let needle = rival.iter().map(text).filter(is_new).max_by_key(Vec::len)?;
        Some(Self { tail, needle: Finder::new(&needle).into_owned() })
    }

    fn may_be(&self, message: &[u8]) -> bool {
        message.ends_with(&self.tail) && self.needle.find(message).is_some()
    }
}

/// The templates that were found last, by the start of the message, the frequent ones first.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    places: [Places; STARTS],
}

#[derive(Clone, Copy, Debug)]
struct Places {
    /// Positions in the catalogue.
    templates: [u16; WAYS],
    found: [u16; WAYS],
}

impl Recent {
    pub(super) const NONE: Self =
        Self { places: [Places { templates: [NONE; WAYS], found: [0; WAYS] }; STARTS] };

    /// Positions of the templates to be tried, in their order.
    #[inline]
    pub(super) fn of(&self, start: usize) -> [u16; WAYS] {
        self.places.get(start).map_or([NONE; WAYS], |places| places.templates)
    }

    /// Counts the template at place `at`, which moves before one that is found less often.
    #[inline]
    pub(super) fn found(&mut self, start: usize, at: usize) {
        let Some(Places { templates, found }) = self.places.get_mut(start) else { return };
        let Some(count) = found.get_mut(at) else { return };
        *count = count.saturating_add(1);
        let count = *count;
        if let Some(before) = at.checked_sub(1)
            && found.get(before).is_some_and(|&its| its < count)
        {
            templates.swap(before, at);
            found.swap(before, at);
        }
        if count == u16::MAX {
            found.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// Has a template tried from now on, in place of the one that is found least often.
    pub(super) fn enter(&mut self, start: usize, position: usize) {
        let (Some(places), Ok(position)) = (self.places.get_mut(start), u16::try_from(position)) else {
            return;
        };
        if position == NONE || places.templates.contains(&position) {
            return;
        }
        let free = places.templates.iter().position(|&its| its == NONE).unwrap_or(WAYS - 1);
        if let (Some(template), Some(found)) = (places.templates.get_mut(free), places.found.get_mut(free)) {
            (*template, *found) = (position, 0);
        }
    }
}

/// Which of the starts a message has. Those that begin with an address share one.
#[inline]
pub(super) fn start(message: &[u8]) -> usize {
    if message.first().is_some_and(u8::is_ascii_digit) {
        return 0;
    }
    let spread = scan::load(message, 0).wrapping_mul(SPREAD) >> (u64::BITS - STARTS.ilog2());
    usize::try_from(spread).unwrap_or(0)
}
