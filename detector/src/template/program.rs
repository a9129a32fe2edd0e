//! One template by itself, part by part, looking neither left nor right: the short way to what most messages are.

use memchr::memchr;
use memchr::memmem::Finder;

use super::captures::{Capture, Captures};
use super::constant::Constant;
use super::hidden;
use super::part::Wildcard;
use super::scan;
use super::step::{Step, Take};
use super::trie::{TRIES_MAX, accepts};

/// Free wildcards in the midst of a template that has a program: searches nest.
const SEARCHES_MAX: usize = 16;

/// A template that can be tried by itself.
#[derive(Clone, Debug)]
pub(super) struct Program {
    ops: Box<[Op]>,
    /// The constants, one behind the other.
    texts: Vec<u8>,
    needles: Vec<Finder<'static>>,
}

/// A constant and then a wildcard; either may be missing.
#[derive(Clone, Copy, Debug)]
struct Op {
    constant: Constant,
    take: Take,
}

/// Whether the rest of a template fits the rest of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    /// Not here; behind a later place of what was searched for it may.
    NotHere,
    /// Behind no later place either: any text was searched in vain.
    Never,
}

/// How far a message is read.
#[derive(Clone, Copy)]
struct State {
    at: usize,
    /// Captures so far.
    count: usize,
    /// What has been taken may hold keys.
    hides: bool,
}

impl Program {
    /// Compiles a template; `None` for one without parts or with too many searches.
    pub(super) fn new(steps: &[Step]) -> Option<Self> {
        let searches = steps.iter().filter(|step| matches!(step, Step::Search(..))).count();
        if steps.is_empty() || searches > SEARCHES_MAX {
            return None;
        }
        let (mut ops, mut texts, mut needles) = (Vec::new(), Vec::new(), Vec::new());
        let mut number = |text: &[u8]| {
            needles.push(Finder::new(text).into_owned());
            u32::try_from(needles.len() - 1).unwrap_or(u32::MAX)
        };
        let mut rest = steps;
        while !rest.is_empty() {
            let text: &[u8] = match rest {
                [Step::Constant(text), behind @ ..] => {
                    rest = behind;
                    text
                }
                _ => b"",
            };
            let constant = Constant::new(text, &mut texts);
            let take = match rest.split_first() {
                // Two constants in a row there are none.
                None | Some((Step::Constant(_), _)) => Take::Constant,
                Some((step, behind)) => {
                    rest = behind;
                    step.take(&mut number)
                }
            };
            ops.push(Op { constant, take });
        }
        Some(Self { ops: ops.into_boxed_slice(), texts, needles })
    }

    /// Whether a message, which is not empty, fits; if so, `captures` holds what the wildcards took.
    #[inline]
    pub(super) fn fits(&self, message: &[u8], captures: &mut Captures) -> bool {
        self.run(&self.ops, message, State { at: 0, count: 0, hides: false }, captures) == Fit::Yes
    }

    #[inline]
    fn run(&self, ops: &[Op], message: &[u8], mut state: State, captures: &mut Captures) -> Fit {
        let mut rest = ops.iter();
        while let Some(op) = rest.next() {
            let Some(start) = op.constant.behind(message, state.at, &self.texts) else { return Fit::NotHere };
            let taken = match op.take {
                Take::Constant => {
                    state.at = start;
                    continue;
                }
                Take::Typed(kind) => typed(kind, message, start),
                Take::Search(kind, needle) => {
                    let state = State { at: start, ..state };
                    return self.search((kind, needle), rest.as_slice(), message, state, captures);
                }
                free => self.free(free, message, start),
            };
            let Some(taken) = taken else { return Fit::NotHere };
            state = taken.keep(start, state, captures);
        }
        if state.at != message.len() {
            return Fit::NotHere;
        }
        captures.settle(state.count, state.hides);
        Fit::Yes
    }

    /// Goes on with `rest` from the places of a needle, first ones first.
    #[inline(never)]
    fn search(
        &self,
        (kind, needle): (Wildcard, u32),
        rest: &[Op],
        message: &[u8],
        state: State,
        captures: &mut Captures,
    ) -> Fit {
        let failed = if kind == Wildcard::Volume { Fit::NotHere } else { Fit::Never };
        let from = state.at + usize::from(kind != Wildcard::Any);
        let (Some(needle), Some(text)) = (self.needles.get(needle as usize), message.get(from..)) else {
            return failed;
        };
        for found in needle.find_iter(text).take(TRIES_MAX) {
            let end = from + found;
            if !message.get(state.at..end).is_some_and(|text| accepts(kind, text)) {
                return failed;
            }
            let behind = end + needle.needle().len();
            let hides = hidden::in_text(message.get(state.at..end).unwrap_or_default());
            let taken = Taken { kind, end, behind, value: 0, hides };
            let next = taken.keep(state.at, state, captures);
            match self.run(rest, message, next, captures) {
                Fit::NotHere => {}
                settled => return settled,
            }
        }
        failed
    }

    /// What a wildcard takes whose end is certain.
    #[inline(never)]
    fn free(&self, take: Take, message: &[u8], at: usize) -> Option<Taken> {
        let rest = message.get(at..)?;
        let (kind, length, behind) = match take {
            Take::LastException => return last_exception(message, at),
            Take::Nothing => (Wildcard::Any, 0, 0),
            Take::Run(kind) => (kind, memchr(b' ', rest).unwrap_or(rest.len()), 0),
            Take::Last(kind) => (kind, rest.len(), 0),
            Take::Until(kind, needle) => {
                let needle = self.needles.get(needle as usize)?.needle();
                (kind, rest.strip_suffix(needle)?.len(), needle.len())
            }
            Take::Constant | Take::Typed(_) | Take::Search(..) => return None,
        };
        let (end, text) = (at + length, rest.get(..length)?);
        let hides = hidden::in_text(text);
        accepts(kind, text).then_some(Taken { kind, end, behind: end + behind, value: 0, hides })
    }
}

/// What a wildcard took.
struct Taken {
    kind: Wildcard,
    end: usize,
    /// Where to go on.
    behind: usize,
    value: i64,
    hides: bool,
}

impl Taken {
    #[inline(always)]
    fn keep(&self, start: usize, state: State, captures: &mut Captures) -> State {
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let capture =
            Capture { kind: self.kind, start: position(start), end: position(self.end), value: self.value };
        let kept = captures.put(state.count, capture);
        State {
            at: self.behind,
            count: state.count + usize::from(kept),
            hides: state.hides | self.hides | !kept,
        }
    }
}

/// What a type takes.
#[inline(always)]
fn typed(kind: Wildcard, message: &[u8], at: usize) -> Option<Taken> {
    let (end, value, hides) = match kind {
        Wildcard::Block => scan::block(message, at).map(|(end, id)| (end, id, false)),
        Wildcard::Addresses => scan::addresses(message, at).map(|(end, hides)| (end, 0, hides)),
        Wildcard::Host => scan::host(message, at).map(|(end, hides)| (end, 0, hides)),
        Wildcard::Blocks => scan::blocks(message, at).map(|end| (end, 0, true)),
        Wildcard::Exception => scan::exception(message, at).map(|(end, hides)| (end, 0, hides)),
        _ => scan::number(message, at).map(|number| (number.end, number.value, false)),
    }?;
    Some(Taken { kind, end, behind: end, value, hides })
}

fn last_exception(message: &[u8], at: usize) -> Option<Taken> {
    let (end, hides) = scan::exception(message, at)?;
    let rest = message.get(end..)?;
    if rest.first().is_some_and(|&byte| byte != b':') {
        return None;
    }
    let hides = hides | hidden::in_text(rest);
    Some(Taken { kind: Wildcard::Exception, end, behind: message.len(), value: 0, hides })
}
