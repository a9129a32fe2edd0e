//! The parts of a template's text: constants and wildcards in turn.

/// What a wildcard stands for. All but the free ones (`Any`, `Path`, `Volume`) take as much as their type allows; a
/// free one takes as little as the constant behind it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wildcard {
    /// `<blk>`: `[BP-<pool>:]blk_<id>[_<gs>]`, the id an `i64`.
    Block,
    /// `<blk> <blk> ...`: one or more blocks with blanks or commas between.
    Blocks,
    /// `<node>`, `<ip>`: a host name or address, made of `A-Z a-z 0-9 . - _ [ ] %`.
    Host,
    /// `<node>:<port>`, `<ip>:<port>`: one or more hosts with their ports, with blanks or commas between.
    Addresses,
    /// `<n>`, `<port>`: a number that may be negative.
    Number,
    /// `<duration_ms>`: a number of milliseconds.
    DurationMs,
    /// `<bytes>`: a number of bytes.
    Bytes,
    /// `<count>`: how many of something.
    Count,
    /// `<volume>`: a directory of a DataNode, free of blanks.
    Volume,
    /// `<path>`: a file, not empty; HDFS allows blanks in its name.
    Path,
    /// `<exception>`: a Java class name. At the end of a template `: <text>` may follow, which the capture leaves out.
    Exception,
    /// `<*>`: any text, also none.
    Any,
}

impl Wildcard {
    /// Whether it is found by the constant behind it.
    pub(super) fn is_free(self) -> bool {
        matches!(self, Self::Any | Self::Path | Self::Volume)
    }
}

/// One part of a template; no two constants are neighbours and none is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Constant(Vec<u8>),
    Wildcard(Wildcard),
}

/// A longer name stands before the shorter one that it starts with.
const WILDCARDS: [(&str, Wildcard); 15] = [
    ("<blk> <blk> ...", Wildcard::Blocks),
    ("<blk>", Wildcard::Block),
    ("<node>:<port>", Wildcard::Addresses),
    ("<node>", Wildcard::Host),
    ("<ip>:<port>", Wildcard::Addresses),
    ("<ip>", Wildcard::Host),
    ("<port>", Wildcard::Number),
    ("<n>", Wildcard::Number),
    ("<duration_ms>", Wildcard::DurationMs),
    ("<bytes>", Wildcard::Bytes),
    ("<count>", Wildcard::Count),
    ("<volume>", Wildcard::Volume),
    ("<path>", Wildcard::Path),
    ("<exception>", Wildcard::Exception),
    ("<*>", Wildcard::Any),
];

/// Cuts a template's text into its parts. Blanks at its end do not count, as those of a message do not.
pub(super) fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut constant = Vec::new();
    let mut rest = text.trim_end();
    while !rest.is_empty() {
        let wildcard = rest.starts_with('<').then(|| wildcard(rest)).flatten();
        if let Some((behind, kind)) = wildcard {
            if !constant.is_empty() {
                parts.push(Part::Constant(std::mem::take(&mut constant)));
            }
            parts.push(Part::Wildcard(kind));
            rest = behind;
        } else {
            let next = rest.bytes().skip(1).position(|byte| byte == b'<');
            let (text, behind) = rest.split_at(next.map_or(rest.len(), |at| at + 1));
            constant.extend_from_slice(text.as_bytes());
            rest = behind;
        }
    }
    if !constant.is_empty() {
        parts.push(Part::Constant(constant));
    }
    parts
}

/// The wildcard that a text starts with, and what is behind it.
fn wildcard(text: &str) -> Option<(&str, Wildcard)> {
    WILDCARDS.iter().find_map(|(name, kind)| Some((text.strip_prefix(name)?, *kind)))
}

pub(super) fn constant_bytes(parts: &[Part]) -> usize {
    let length = |part: &Part| if let Part::Constant(text) = part { text.len() } else { 0 };
    parts.iter().map(length).sum()
}

pub(super) fn starts_free(parts: &[Part]) -> bool {
    matches!(parts.first(), Some(Part::Wildcard(kind)) if kind.is_free())
}
