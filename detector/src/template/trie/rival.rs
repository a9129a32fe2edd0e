//! Which templates have the last word: no template of a better rank matches what they match, so a walk may end there.
//! Told from the templates alone; where that is not plain, the answer is that there may be one.

use super::NONE;
use super::build::{Branch, Fork};
use crate::template::part::Wildcard;
use crate::template::scan;
use crate::template::step::{Step, may_start};

/// Whether a template of a better rank may match a message that these steps match.
pub(super) fn beaten(forks: &[Fork], steps: &[Step], rank: u32) -> bool {
    let mut pending = vec![(0, steps, 0)];
    while let Some((at, steps, used)) = pending.pop() {
        let Some(fork) = forks.get(at) else { continue };
        if steps.is_empty() && fork.rank != NONE && fork.rank < rank {
            return true;
        }
        for branch in fork.branches.iter().filter(|branch| branch.best < rank) {
            match meet(steps, used, branch) {
                Meeting::Never => {}
                Meeting::Maybe => return true,
                Meeting::Both(steps, used) => pending.push((branch.target, steps, used)),
            }
        }
    }
    false
}

/// How a template goes together with a branch.
enum Meeting<'a> {
    Never,
    Maybe,
    /// Both take the same bytes; then these steps are left, the first one but for the bytes that it has used.
    Both(&'a [Step], usize),
}

fn meet<'a>(steps: &'a [Step], used: usize, branch: &Branch) -> Meeting<'a> {
    let Some((step, behind)) = steps.split_first() else {
        let may_be_empty = matches!(branch.step, Step::Nothing | Step::Last(_));
        return if may_be_empty { Meeting::Maybe } else { Meeting::Never };
    };
    if let Step::Constant(text) = step {
        return constant(text.get(used..).unwrap_or(b""), steps, used, branch);
    }
    match (step, &branch.step) {
        (Step::Typed(mine), Step::Typed(other)) if alike(*mine, *other) => Meeting::Both(behind, 0),
        (Step::Typed(_) | Step::LastException, other) => {
            let together = |byte| may_start(step, byte) && may_start(other, byte);
            if (0..=u8::MAX).any(together) { Meeting::Maybe } else { Meeting::Never }
        }
        _ => Meeting::Maybe,
    }
}

/// A template that goes on with the constant `text`, which is all but `used` bytes of the first of `steps`.
fn constant<'a>(text: &[u8], steps: &'a [Step], used: usize, branch: &Branch) -> Meeting<'a> {
    match &branch.step {
        Step::Constant(other) => {
            let common = text.iter().zip(other).take_while(|(a, b)| a == b).count();
            match (common == text.len(), common == other.len()) {
                (true, true) => Meeting::Both(steps.get(1..).unwrap_or(&[]), 0),
                (false, true) => Meeting::Both(steps, used + common),
                (true, false) if steps.len() == 1 => Meeting::Never,
                (true, false) => Meeting::Maybe,
                (false, false) => Meeting::Never,
            }
        }
        other if text.first().is_some_and(|&byte| !may_start(other, byte)) => Meeting::Never,
        Step::Typed(Wildcard::Addresses) => match text.iter().find(|&&byte| !scan::is_host(byte)) {
            Some(b':') | None => Meeting::Maybe,
            Some(_) => Meeting::Never,
        },
        _ => Meeting::Maybe,
    }
}

/// Whether two typed wildcards take the same bytes.
fn alike(one: Wildcard, other: Wildcard) -> bool {
    let is_number =
        |kind| matches!(kind, Wildcard::Number | Wildcard::DurationMs | Wildcard::Bytes | Wildcard::Count);
    one == other || (is_number(one) && is_number(other))
}
