//! The steps of a template: how each of its parts takes its text, which for a free wildcard what stands behind it tells.

use super::part::{Part, Wildcard};
use super::scan;

/// One step of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Constant(Vec<u8>),
    /// What the type allows.
    Typed(Wildcard),
    /// A class name and any text behind its colon, up to the end.
    LastException,
    /// No byte: `<*>` right before another wildcard.
    Nothing,
    /// All up to a blank: a path or volume right before another wildcard.
    Run(Wildcard),
    /// The rest.
    Last(Wildcard),
    /// All but the needle, which the message ends with.
    Until(Wildcard, Vec<u8>),
    /// Up to one of the places of the needle, and the needle.
    Search(Wildcard, Vec<u8>),
}

/// What a compiled step takes behind the constant in front of it: as [`Step`], with needles by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// Nothing, and no capture.
    Constant,
    /// What the type allows.
    Typed(Wildcard),
    /// A class name and any text behind its colon, up to the end.
    LastException,
    /// No byte: `<*>` right before another wildcard.
    Nothing,
    /// All up to a blank: a path or volume right before another wildcard.
    Run(Wildcard),
    /// The rest.
    Last(Wildcard),
    /// All but the needle, which the message ends with.
    Until(Wildcard, u32),
    /// Up to one of the places of the needle.
    Search(Wildcard, u32),
}

impl Step {
    /// What is left to take when a constant is compared elsewhere. `number` numbers a needle.
    pub(super) fn take(&self, number: impl FnOnce(&[u8]) -> u32) -> Take {
        match self {
            Self::Constant(_) => Take::Constant,
            Self::Typed(kind) => Take::Typed(*kind),
            Self::LastException => Take::LastException,
            Self::Nothing => Take::Nothing,
            Self::Run(kind) => Take::Run(*kind),
            Self::Last(kind) => Take::Last(*kind),
            Self::Until(kind, needle) => Take::Until(*kind, number(needle)),
            Self::Search(kind, needle) => Take::Search(*kind, number(needle)),
        }
    }
}

/// The steps that take what `parts` stand for.
pub(super) fn steps(parts: &[Part]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = parts;
    while let Some((part, behind)) = rest.split_first() {
        rest = behind;
        steps.push(match (part, behind) {
            (Part::Constant(text), _) => Step::Constant(text.clone()),
            (Part::Wildcard(kind), [Part::Constant(needle), further @ ..]) if kind.is_free() => {
                rest = further;
                let last = further.is_empty();
                if last { Step::Until(*kind, needle.clone()) } else { Step::Search(*kind, needle.clone()) }
            }
            (Part::Wildcard(kind), []) if kind.is_free() => Step::Last(*kind),
            (Part::Wildcard(Wildcard::Any), _) => Step::Nothing,
            (Part::Wildcard(kind), _) if kind.is_free() => Step::Run(*kind),
            (Part::Wildcard(Wildcard::Exception), []) => Step::LastException,
            (Part::Wildcard(kind), _) => Step::Typed(*kind),
        });
    }
    steps
}

/// Whether what a step takes may start with this byte.
pub(super) fn may_start(step: &Step, byte: u8) -> bool {
    match step {
        Step::Constant(text) => text.first() == Some(&byte),
        Step::Typed(Wildcard::Block | Wildcard::Blocks) => matches!(byte, b'b' | b'B'),
        Step::Typed(Wildcard::Host | Wildcard::Addresses) => scan::is_host(byte),
        Step::Typed(Wildcard::Exception) | Step::LastException => scan::starts_class(byte),
        Step::Typed(_) => byte.is_ascii_digit() || byte == b'-',
        Step::Run(_) | Step::Last(Wildcard::Volume) => byte != b' ',
        Step::Nothing | Step::Last(_) | Step::Until(..) | Step::Search(..) => true,
    }
}
