//! Where the parts of a record are: names of members, best first. A name with a dot is a member of that name, or one
//! of the object before the dot.

use serde::Deserialize;

/// Names of one part, and bytes of a name.
const NAMES_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 128;
/// Lengths of members that are told apart before any name is compared.
const LENGTHS: usize = 63;

/// Names of the members that hold each part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// A line of the log, as it was written.
    pub line: Vec<String>,
    /// The message of a line that was taken apart; beside no level, a whole line.
    pub message: Vec<String>,
    /// Its level.
    pub level: Vec<String>,
    /// Its logger.
    pub logger: Vec<String>,
    /// Its thread.
    pub thread: Vec<String>,
    /// The exception or stack trace beside it.
    pub trace: Vec<String>,
    /// When it was written, where the host does not say: as in RFC 3339, or a number of milliseconds.
    pub time: Vec<String>,
    /// Name of the node that wrote it.
    pub node: Vec<String>,
    /// What tells streams with the same tag apart; all of them count.
    pub stream: Vec<String>,
}

impl Default for Fields {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            line: names(&["log"]),
            message: names(&["message", "msg", "MESSAGE"]),
            level: names(&["level", "severity", "log.level"]),
            logger: names(&["logger", "loggerName", "logger_name", "log.logger"]),
            thread: names(&["thread", "thread_name"]),
            trace: names(&["stack_trace", "exception", "thrown", "error.stack_trace"]),
            time: names(&["@timestamp", "timestamp", "time", "timeMillis", "date"]),
            node: names(&["kubernetes.host", "hostname", "host", "node"]),
            stream: names(&["stream", "file", "filename", "path"]),
        }
    }
}

/// What a member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Line,
    Message,
    Level,
    Logger,
    Thread,
    Trace,
    Time,
    Node,
    Stream,
}

/// Number of parts.
pub(crate) const PARTS: usize = 9;

type Text = Box<[u8]>;

/// A name and what the member is for.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) part: Part,
    /// Of the names of its part the best is 0.
    pub(crate) rank: u8,
    /// Where the name has a dot, what is before it and what is behind it.
    pub(crate) inner: Option<(Text, Text)>,
    pub(crate) whole: Text,
}

/// All names.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    all: Vec<Name>,
    /// Bit for each length that a member of interest may have.
    lengths: u64,
}

impl Names {
    pub(crate) fn new(fields: &Fields) -> Self {
        let mut names = Self { all: Vec::new(), lengths: 0 };
        for (part, parts) in fields.parts() {
            for (rank, name) in (0..).zip(parts) {
                let inner = name.split_once('.').map(|(outer, inner)| (boxed(outer), boxed(inner)));
                names.lengths |= inner.as_ref().map_or(0, |(outer, _)| length_bit(outer));
                names.lengths |= length_bit(name.as_bytes());
                names.all.push(Name { part, rank, inner, whole: boxed(name) });
            }
        }
        names
    }

    /// Whether a member of this name may be of interest.
    pub(crate) fn may_have(&self, key: &[u8]) -> bool {
        self.lengths & length_bit(key) != 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.all.iter()
    }
}

fn length_bit(key: &[u8]) -> u64 {
    1 << key.len().min(LENGTHS)
}

fn boxed(text: &str) -> Text {
    text.as_bytes().into()
}

impl Fields {
    fn parts(&self) -> [(Part, &[String]); PARTS] {
        [
            (Part::Line, &self.line),
            (Part::Message, &self.message),
            (Part::Level, &self.level),
            (Part::Logger, &self.logger),
            (Part::Thread, &self.thread),
            (Part::Trace, &self.trace),
            (Part::Time, &self.time),
            (Part::Node, &self.node),
            (Part::Stream, &self.stream),
        ]
    }

    /// Adds what is wrong.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        for (part, names) in self.parts() {
            let is_name = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len());
            if names.len() > NAMES_MAX || !names.iter().all(is_name) {
                let part = format!("{part:?}").to_lowercase();
                problems
                    .push(format!("`fields.{part}` has more than 16 names, or one not of 1 to 128 bytes"));
            }
        }
        if self.line.is_empty() && self.message.is_empty() {
            problems.push("`fields` names neither a line nor a message".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_and_too_long_names_are_told() {
        let mut problems = Vec::new();
        let fields = Fields {
            line: vec![],
            message: vec![],
            level: vec!["x".repeat(129)],
            node: vec!["a".to_owned(); 17],
            ..Fields::default()
        };
        fields.problems(&mut problems);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("`fields.level`") && problems[1].starts_with("`fields.node`"));
    }
}
