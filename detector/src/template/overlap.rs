//! Whether two templates may match one message, told from the templates alone: whether the two have a text in common,
//! each read as an expression of bytes that may or must come, and may be repeated. What a template matches is less than
//! its expression says, for its wildcards take as much or as little as they can; so the answer is no or maybe.

use super::part::Wildcard;
use super::scan;
use super::step::Step;

/// A template as an expression.
#[derive(Debug)]
pub(super) struct Expression(Vec<Atom>);

/// A step of the way through an expression.
#[derive(Clone, Copy, Debug)]
enum Atom {
    /// One byte of the set.
    Take(Set),
    /// It goes on with the next atom, or with the one so many places behind it or, if less than none, before it.
    Fork(isize),
}

/// A set of bytes, a bit each.
#[derive(Clone, Copy, Debug)]
struct Set([u64; 4]);

impl Set {
    const NONE: Self = Self([0; 4]);

    fn of(holds: impl Fn(u8) -> bool) -> Self {
        (0..=u8::MAX).filter(|&byte| holds(byte)).fold(Self::NONE, Self::with)
    }

    fn with(mut self, byte: u8) -> Self {
        if let Some(word) = self.0.get_mut(usize::from(byte / 64)) {
            *word |= 1 << (byte % 64);
        }
        self
    }

    fn meets(self, other: Self) -> bool {
        self.0.iter().zip(other.0).any(|(one, other)| one & other != 0)
    }
}

impl Expression {
    /// Of a template's steps.
    pub(super) fn new(steps: &[Step]) -> Self {
        let mut expression = Self(Vec::new());
        steps.iter().for_each(|step| expression.step(step));
        expression
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Constant(text) => self.text(text),
            Step::Typed(kind) => self.typed(*kind),
            Step::LastException => {
                self.typed(Wildcard::Exception);
                self.any(|_| true);
            }
            Step::Nothing => {}
            Step::Run(_) => self.some(|byte| byte != b' '),
            Step::Last(kind) => self.free(*kind),
            Step::Until(kind, needle) | Step::Search(kind, needle) => {
                self.free(*kind);
                self.text(needle);
            }
        }
    }

    fn typed(&mut self, kind: Wildcard) {
        match kind {
            Wildcard::Block => self.block(|_| false),
            Wildcard::Blocks => self.block(|byte| byte == b',' || byte.is_ascii_whitespace()),
            Wildcard::Host => self.some(scan::is_host),
            Wildcard::Addresses => self.addresses(),
            Wildcard::Number | Wildcard::DurationMs | Wildcard::Bytes | Wildcard::Count => self.number(),
            Wildcard::Exception => {
                self.take(scan::starts_class);
                self.any(scan::is_class);
            }
            Wildcard::Volume | Wildcard::Path | Wildcard::Any => self.free(kind),
        }
    }

    /// What starts and ends as blocks do and holds nothing that they cannot hold.
    fn block(&mut self, between: impl Fn(u8) -> bool) {
        self.take(|byte| matches!(byte, b'b' | b'B'));
        self.any(|byte| scan::joins_pool(byte) || byte == b':' || between(byte));
        self.take(|byte| byte.is_ascii_digit());
    }

    fn addresses(&mut self) {
        let start = self.0.len();
        self.some(scan::is_host);
        self.text(b":");
        self.number();
        self.0.push(Atom::Fork(4));
        self.some(|byte| byte == b',' || byte.is_ascii_whitespace());
        let back = isize::try_from(self.0.len() - start).unwrap_or(0);
        self.0.push(Atom::Fork(-back));
    }

    fn number(&mut self) {
        self.0.push(Atom::Fork(2));
        self.text(b"-");
        self.some(|byte| byte.is_ascii_digit());
    }

    fn free(&mut self, kind: Wildcard) {
        match kind {
            Wildcard::Volume => self.some(|byte| byte != b' '),
            Wildcard::Path => self.some(|_| true),
            _ => self.any(|_| true),
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.0.extend(text.iter().map(|&byte| Atom::Take(Set::NONE.with(byte))));
    }

    /// Bytes of a set, or none.
    fn any(&mut self, holds: impl Fn(u8) -> bool) {
        self.0.push(Atom::Fork(3));
        self.some(holds);
    }

    /// Bytes of a set, at least one.
    fn some(&mut self, holds: impl Fn(u8) -> bool) {
        self.take(holds);
        self.0.push(Atom::Fork(-1));
    }

    fn take(&mut self, holds: impl Fn(u8) -> bool) {
        self.0.push(Atom::Take(Set::of(holds)));
    }

    /// Whether some text fits both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let columns = other.0.len() + 1;
        let mut seen = vec![false; (self.0.len() + 1) * columns];
        let mut pending = vec![(0, 0)];
        while let Some((at, its)) = pending.pop() {
            match seen.get_mut(at * columns + its) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            let (one, another) = (self.0.get(at), other.0.get(its));
            match (one, another) {
                (None, None) => return true,
                (Some(Atom::Fork(far)), _) => {
                    pending.extend([(at + 1, its), (at.saturating_add_signed(*far), its)]);
                }
                (_, Some(Atom::Fork(far))) => {
                    pending.extend([(at, its + 1), (at, its.saturating_add_signed(*far))]);
                }
                (Some(Atom::Take(one)), Some(Atom::Take(another))) if one.meets(*another) => {
                    pending.push((at + 1, its + 1));
                }
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::{part, step};
    use super::*;

    fn meet(one: &str, other: &str) -> bool {
        let expression = |text| Expression::new(&step::steps(&part::parts(text)));
        let (one, other) = (expression(one), expression(other));
        assert_eq!(one.meets(&other), other.meets(&one));
        one.meets(&other)
    }

    #[test]
    fn what_starts_or_ends_or_goes_on_otherwise_has_nothing_in_common() {
        let receiving = "Receiving <blk> src: /<ip>:<port> dest: /<ip>:<port>";
        for other in [
            "Received <blk> of size <n>",
            "<*>Block <blk> is not valid.",
            "<*>Adding an already existing block <blk><*>",
            "<*>cannot access <*> No such file or directory",
            "<node>:<port> Served block <blk> to /<ip>",
            "<n>",
        ] {
            assert!(!meet(receiving, other), "{other}");
        }
        assert!(!meet("<node>:<port> Served <blk>", "<node>:<port>:Got <blk>"));
        assert!(!meet("<node>:<port> Served <blk>", "<node>:<port> Starting to send <blk>"));
    }

    #[test]
    fn what_one_message_may_be_of_meets() {
        let trace = "src: /<ip>:<port>, cliID: <*>, offset: <n>";
        for (one, other) in [
            (trace, "<*>Adding an already existing block <blk><*>"),
            ("Deleting <blk> file <path>", "<*>Block <blk> is not valid."),
            ("a <n> b", "a <node> b"),
            ("a <blk>", "a <*>"),
            ("<n>", "-<n>"),
            ("got <exception>", "got a.b: <n>"),
            ("to <node>:<port>", "to a:1, b:<n>"),
            ("of <blk> <blk> ...", "of <blk>, <blk>"),
            ("on <volume>", "on /data/<n>"),
        ] {
            assert!(meet(one, other), "{one} and {other}");
        }
        assert!(!meet(trace, "<*>Block <blk> is not valid."));
    }
}
