//! A mined template as the catalogue writes it: wildcards that a catalogue knows, and vaguer step by step where lines
//! turn out not to fit.

use blocksift_detector::miner::mask::Mask;

/// The wildcard that stands for any text.
pub(super) const ANY: &str = "<*>";
/// Wildcards that a catalogue knows, and what it writes for a list of them.
const KNOWN: [(&str, &str); 5] = [
    ("<blk>", "<blk> <blk> ..."),
    ("<node>:<port>", "<node>:<port>"),
    ("<ip>", ANY),
    ("<path>", ANY),
    ("<n>", ANY),
];
/// Wildcards that stand for free text, so that what follows one directly belongs to it.
const FREE: [&str; 2] = ["<path>", ANY];

/// The default masks with the catalogue's wildcards: an address with a port is not one without.
pub(super) fn masks() -> Vec<Mask> {
    let mut masks = Vec::new();
    for mask in Mask::defaults() {
        if mask.wildcard == "<node>" {
            masks.push(Mask::new("<node>:<port>", r"\b\d{1,3}(?:\.\d{1,3}){3}:\d+"));
            masks.push(Mask::new("<ip>", r"\b\d{1,3}(?:\.\d{1,3}){3}"));
        } else {
            masks.push(mask);
        }
    }
    masks
}

/// How closely a template says what its wildcards stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closeness {
    /// Wildcards as they were mined.
    Typed,
    /// Each stands for any text.
    Free,
    /// And any text may follow: messages are longer than what of them was mined.
    Open,
}

impl Closeness {
    /// The next vaguer one.
    pub(super) fn vaguer(self) -> Option<Self> {
        match self {
            Self::Typed => Some(Self::Free),
            Self::Free => Some(Self::Open),
            Self::Open => None,
        }
    }
}

/// The mined `text` for the catalogue. `wildcards` are those of the masks that it was mined with.
pub(super) fn catalogue_text(text: &str, wildcards: &[String], closeness: Closeness) -> String {
    let (mut written, mut run) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some((found, length)) = wildcard(rest, wildcards) {
            run.push(if closeness == Closeness::Typed { found } else { ANY });
            rest = rest.get(length..).unwrap_or_default();
        } else {
            write_run(&mut run, &mut written);
            written.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
    write_run(&mut run, &mut written);
    if closeness == Closeness::Open && !written.ends_with(ANY) {
        written.push_str(ANY);
    }
    written
}

/// Writes wildcards that follow each other directly. A free one would be given nothing if another one came behind it,
/// so both are one.
fn write_run(run: &mut Vec<&str>, written: &mut String) {
    match run.split_last() {
        Some((_, before)) if before.iter().any(|wildcard| FREE.contains(wildcard)) => written.push_str(ANY),
        _ => written.extend(run.iter().copied()),
    }
    run.clear();
}

/// The wildcard that `text` starts with as the catalogue writes it, and how long it is here.
fn wildcard(text: &str, wildcards: &[String]) -> Option<(&'static str, usize)> {
    // What is no UTF-8 was replaced, so the line does not have it.
    if text.starts_with('\u{fffd}') {
        return Some((ANY, '\u{fffd}'.len_utf8()));
    }
    let any = ANY.to_owned();
    let found = wildcards.iter().chain([&any]).filter(|wildcard| text.starts_with(wildcard.as_str()));
    let found = found.max_by_key(|wildcard| wildcard.len())?;
    let (single, list) = KNOWN.into_iter().find(|(known, _)| known == found).unwrap_or((ANY, ANY));
    let as_list = format!("{found} {found} ...");
    if text.starts_with(&as_list) { Some((list, as_list.len())) } else { Some((single, found.len())) }
}

/// Whether a text has a letter or digit that is no wildcard's; one without fits nearly everything.
pub(super) fn says_something(text: &str) -> bool {
    constants(text) > 0
}

/// Letters and digits of a text that are no wildcard's.
pub(super) fn constants(text: &str) -> usize {
    let mut inside = false;
    let constant = text.chars().filter(|&next| {
        inside = (inside || next == '<') && next != '>';
        !inside && next.is_alphanumeric()
    });
    constant.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, closeness: Closeness) -> String {
        let mut wildcards: Vec<String> = masks().into_iter().map(|mask| mask.wildcard).collect();
        wildcards.push("<user>".to_owned());
        catalogue_text(text, &wildcards, closeness)
    }

    #[test]
    fn wildcards_are_those_of_a_catalogue() {
        for (mined, expected) in [
            ("to <node>:<port> del <blk> <blk> ... by <user>", "to <node>:<port> del <blk> <blk> ... by <*>"),
            ("up <node>:<port> <node>:<port> ... now", "up <node>:<port> now"),
            ("<n> <n> ... done", "<*> done"),
            ("a <*><n>.<path><n> b", "a <*>.<*> b"),
            ("a <n><path> \u{fffd}\u{fffd}<n>", "a <n><path> <*>"),
            ("List<String> of <other>", "List<String> of <other>"),
        ] {
            assert_eq!(written(mined, Closeness::Typed), expected, "{mined}");
        }
    }

    #[test]
    fn vaguer_ones_say_less_of_the_wildcards() {
        let mined = "a <n>-<n><n> of <blk> <blk> ... at <node>:<port>:";
        assert_eq!(written(mined, Closeness::Free), "a <*>-<*> of <*> at <*>:");
        assert_eq!(written(mined, Closeness::Open), "a <*>-<*> of <*> at <*>:<*>");
        assert_eq!(Closeness::Typed.vaguer().and_then(Closeness::vaguer), Some(Closeness::Open));
        assert_eq!(Closeness::Open.vaguer(), None);
    }

    #[test]
    fn a_text_of_wildcards_alone_says_nothing() {
        assert!(says_something("<*>a") && says_something("1 <n>"));
        assert!(!says_something("<*>, <blk> <blk> ...") && !says_something("") && !says_something("<n"));
    }
}
