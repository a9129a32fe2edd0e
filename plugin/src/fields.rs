//! Where the parts of a record are: names of members, best first. A name with a dot is a member of that name, or one
//! of the object before the dot.

use serde::Deserialize;

/// Names of one part, and bytes of a name.
const NAMES_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 128;
/// Lengths of keys that are told apart.
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

/// Bytes of a key that are compared as one number, before any others.
const START_BYTES: usize = 8;

/// A key of interest and what its member is for.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) part: Part,
    /// Of the names of its part the best is 0.
    pub(crate) rank: u8,
    /// The member within the object that stands under the key; `None` where the key's own value counts.
    pub(crate) inner: Option<Text>,
    start: u64,
    key: Text,
}

/// All names, by the length of their keys: comparing texts is what an interpreter is slowest at.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The last one holds those of [`LENGTHS`] bytes and more.
    by_length: Vec<Vec<Name>>,
}

impl Names {
    pub(crate) fn new(fields: &Fields) -> Self {
        let mut names = Self { by_length: vec![Vec::new(); LENGTHS + 1] };
        for (part, parts) in fields.parts() {
            for (rank, name) in (0..).zip(parts) {
                names.add(part, rank, name, None);
                if let Some((outer, inner)) = name.split_once('.') {
                    names.add(part, rank, outer, Some(inner.as_bytes().into()));
                }
            }
        }
        names
    }

    fn add(&mut self, part: Part, rank: u8, key: &str, inner: Option<Text>) {
        let key = key.as_bytes();
        if let Some(names) = self.by_length.get_mut(key.len().min(LENGTHS)) {
            names.push(Name { part, rank, inner, start: start(key), key: key.into() });
        }
    }

    /// What a member of this key is for; several things, or none.
    pub(crate) fn of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Name> {
        let names = self.by_length.get(key.len().min(LENGTHS)).map_or(&[][..], Vec::as_slice);
        let start = if names.is_empty() { 0 } else { start(key) };
        names.iter().filter(move |name| name.start == start && name.is_rest(key))
    }
}

impl Name {
    fn is_rest(&self, key: &[u8]) -> bool {
        self.key.len() == key.len() && (key.len() <= START_BYTES || *self.key == *key)
    }
}

/// The first bytes of a key.
fn start(key: &[u8]) -> u64 {
    key.iter().take(START_BYTES).fold(0, |start, &byte| (start << 8) | u64::from(byte))
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
    fn keys_are_found_by_length_start_and_rest() {
        let fields = Fields { node: vec!["hostname-a".into(), "k.host".into()], ..Fields::default() };
        let names = Names::new(&fields);
        let of = |key: &str| names.of(key.as_bytes()).map(|name| (name.part, name.rank)).collect::<Vec<_>>();
        assert_eq!(of("hostname-a"), [(Part::Node, 0)]);
        assert_eq!((of("k.host"), of("k")), (vec![(Part::Node, 1)], vec![(Part::Node, 1)]));
        assert_eq!((of("hostname-b"), of("hostname"), of("")), (vec![], vec![], vec![]));
        assert_eq!(of("log").len(), 3, "itself, and the object of two others");
        assert_eq!(of(&"x".repeat(200)), []);
    }

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
