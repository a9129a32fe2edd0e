//! Line heads: what stands before the message. A line with a recognised head starts a record.
//!
//! What is around the lines of a file (nothing, a container runtime, syslog) and the layout of their heads are found
//! out from the first head and pinned. A line that the pinned ones do not fit is tried with the others only if it
//! starts like a head, so continuation lines cost next to nothing; the first head of another kind is pinned instead.
//! Layouts differ in their first bytes, so what is made of a head does not depend on what was pinned, and a restart in
//! the middle of a file changes nothing. Two things do need a head before them: a line without a time of its own starts
//! a record only in files whose lines have none, and in a file that is not syslog's, what looks like syslog's head
//! counts only in front of a head.
//!
//! No layout takes an allocation per line: text is borrowed from the line, or from buffers that are used again where
//! it had to be unescaped or put together.

mod json;
mod layout;
mod pattern;
mod stamp;
mod text;
mod wrap;

use serde::{Deserialize, Serialize};

use crate::time::Zone;

pub use layout::{Layout, LayoutError};
pub use pattern::{Pattern, PatternError};
pub use wrap::Wrapper;

use wrap::Wrapped;

/// Severity of a record, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// `TRACE`
    Trace,
    /// `DEBUG`
    Debug,
    /// `INFO`
    Info,
    /// `WARN`
    Warn,
    /// `ERROR`
    Error,
    /// `FATAL`
    Fatal,
}

impl Level {
    /// Reads log4j's names, `WARNING` and `SEVERE`.
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"INFO" => Self::Info,
            b"WARN" | b"WARNING" => Self::Warn,
            b"ERROR" | b"SEVERE" => Self::Error,
            b"FATAL" => Self::Fatal,
            b"DEBUG" => Self::Debug,
            b"TRACE" => Self::Trace,
            _ => return None,
        })
    }

    /// As [`parse`](Self::parse) in any case.
    #[must_use]
    pub fn parse_any_case(word: &[u8]) -> Option<Self> {
        let mut upper = [0; 8];
        let upper = upper.get_mut(..word.len())?;
        upper.copy_from_slice(word);
        upper.make_ascii_uppercase();
        Self::parse(upper)
    }

    /// log4j's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// The parsed head of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Milliseconds since 1970 in UTC.
    pub time_ms: i64,
    /// Severity.
    pub level: Level,
    /// Logger as written; empty where a JSON line has none.
    pub logger: &'a [u8],
    /// Name or number of the thread, as far as the layout has one.
    pub thread: &'a [u8],
    /// What follows the head, without trailing blanks. May hold line ends where the line is JSON.
    pub message: &'a [u8],
    /// Lines that continue the record though they stand in this line: the stack trace of a JSON line.
    pub trace: &'a [u8],
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// It starts a record.
    Head(Head<'a>),
    /// It has no head and so continues a record: its text, without what a container runtime or syslog put around it.
    Continuation(&'a [u8]),
    /// It is a part of a line that the container runtime split. It is kept until the rest comes; the line that brings
    /// the rest gives what they are together.
    Partial,
}

/// What was found out about the lines of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// What is around them.
    pub wrapper: Wrapper,
    /// How their heads are laid out.
    pub form: Form,
}

/// How a head is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// [`Layout::HdfsV1`]
    HdfsV1,
    /// [`Layout::Log4j`]
    Log4j,
    /// [`Layout::Console`]
    Console,
    /// [`Layout::Json`]
    Json,
    /// [`Layout::Pattern`]
    Pattern,
    /// `LEVEL logger: message` with the time of the wrapper.
    Timeless,
}

/// Recognises the heads of one file's lines.
#[derive(Clone, Debug)]
pub struct Heads {
    finder: Finder,
    unwrapped: Unwrapped,
    /// What was unescaped of a JSON line.
    scratch: Vec<u8>,
}

impl Heads {
    /// For lines of `layout` alone, or of whatever layout they turn out to have; what is around the lines is found
    /// out either way. Of a line that a container runtime split, `line_bytes_max` bytes are kept.
    #[must_use]
    pub fn new(layout: Option<Layout>, line_bytes_max: usize) -> Self {
        Self {
            finder: Finder { configured: layout, pinned: None },
            unwrapped: Unwrapped {
                line_bytes_max,
                whole: Vec::new(),
                parts: [Vec::new(), Vec::new()],
                waits: false,
            },
            scratch: Vec::new(),
        }
    }

    /// What `line`, which is without its line end, is.
    #[inline]
    pub fn parse<'a>(&'a mut self, line: &'a [u8], zone: &mut Zone) -> Parsed<'a> {
        if self.unwrapped.waits && Wrapped::by_runtime(line).is_none() {
            // Whoever wrote this line, it was no container runtime: the rest will not come.
            self.forget_partial();
        }
        let head = match self.finder.pinned {
            Some(Pinned { wrapper: Wrapper::None, form: Form::Log4j }) => text::log4j(line, zone),
            Some(Pinned { wrapper: Wrapper::None, form: Form::HdfsV1 }) => text::hdfs_v1(line, zone),
            _ => None,
        };
        match head {
            Some(head) => Parsed::Head(head),
            None if self.finder.may_start(line) => self.parse_any(line, zone),
            None => Parsed::Continuation(line),
        }
    }

    /// What was found out so far; `None` before the first head.
    #[must_use]
    pub fn layout(&self) -> Option<Pinned> {
        self.finder.pinned
    }

    /// Forgets the parts of a line that wait for the rest, at the end of a file.
    pub fn forget_partial(&mut self) {
        self.unwrapped.parts.iter_mut().for_each(Vec::clear);
        self.unwrapped.waits = false;
    }

    /// Whether parts of a line wait for the rest: what the next lines are depends on them.
    pub(crate) fn waits(&self) -> bool {
        self.unwrapped.waits
    }

    #[inline(never)]
    fn parse_any<'a>(&'a mut self, line: &'a [u8], zone: &mut Zone) -> Parsed<'a> {
        let Self { finder, unwrapped, scratch } = self;
        if let Some(wrapped) = Wrapped::by_runtime(line) {
            return match unwrapped.line(&wrapped) {
                Some(text) => finder.line(text, Some(&wrapped), zone, scratch),
                None => Parsed::Partial,
            };
        }
        let is_syslog = finder.pinned.is_some_and(|pinned| pinned.wrapper == Wrapper::Syslog);
        if !is_syslog && let Some(head) = finder.text_head(line, None, zone) {
            return Parsed::Head(head);
        }
        match Wrapped::by_syslog(line) {
            // In a file of another kind it is syslog only if there is a head behind syslog's.
            Some(wrapped) if is_syslog || finder.pinned.is_none() => {
                finder.line(wrapped.text.raw, Some(&wrapped), zone, scratch)
            }
            Some(wrapped) => match finder.line(wrapped.text.raw, Some(&wrapped), zone, scratch) {
                Parsed::Head(head) => Parsed::Head(head),
                _ => Parsed::Continuation(line),
            },
            // A pinned syslog file may have a line without syslog's head.
            None if is_syslog => finder.line(line, None, zone, scratch),
            None => finder.json(line, None, zone, scratch),
        }
    }
}

/// Finds the head of a line that was taken out of its wrapper.
#[derive(Clone, Debug)]
struct Finder {
    configured: Option<Layout>,
    pinned: Option<Pinned>,
}

impl Finder {
    /// Whether `line` starts like a head or a wrapper. Most continuation lines do not.
    #[inline]
    fn may_start(&self, line: &[u8]) -> bool {
        match line.first() {
            Some(b'0'..=b'9' | b'{' | b'<' | b'A'..=b'S') => true,
            _ => matches!(self.configured, Some(Layout::Pattern(_))),
        }
    }

    /// What `text` is, which `wrapped` was around.
    fn line<'a>(
        &mut self,
        text: &'a [u8],
        wrapped: Option<&Wrapped<'_>>,
        zone: &mut Zone,
        scratch: &'a mut Vec<u8>,
    ) -> Parsed<'a> {
        if let Some(head) = self.text_head(text, wrapped, zone) {
            return Parsed::Head(head);
        }
        self.json(text, wrapped, zone, scratch)
    }

    fn json<'a>(
        &mut self,
        text: &'a [u8],
        wrapped: Option<&Wrapped<'_>>,
        zone: &mut Zone,
        scratch: &'a mut Vec<u8>,
    ) -> Parsed<'a> {
        if text.first() != Some(&b'{') || !matches!(self.configured, None | Some(Layout::Json)) {
            return Parsed::Continuation(text);
        }
        let wrapper_ms = |zone: &mut Zone| wrapped.and_then(|wrapped| wrapped.time_ms(zone));
        match json::parse(text, wrapper_ms, zone, scratch) {
            Some(head) => {
                self.pin(wrapped, Form::Json);
                Parsed::Head(head)
            }
            None => Parsed::Continuation(text),
        }
    }

    /// The head of plain text; the pinned form is tried first, one that fits is pinned.
    fn text_head<'a>(
        &mut self,
        text: &'a [u8],
        wrapped: Option<&Wrapped<'_>>,
        zone: &mut Zone,
    ) -> Option<Head<'a>> {
        let (form, head) = match &self.configured {
            Some(Layout::HdfsV1) => (Form::HdfsV1, text::hdfs_v1(text, zone)?),
            Some(Layout::Log4j) => (Form::Log4j, text::log4j(text, zone)?),
            Some(Layout::Console) => (Form::Console, text::console(text, zone)?),
            Some(Layout::Pattern(pattern)) => (Form::Pattern, pattern.parse(text, zone)?),
            Some(Layout::Json) => return None,
            None => self.sniff(text, wrapped, zone)?,
        };
        self.pin(wrapped, form);
        Some(head)
    }

    /// The separators tell at once which forms are worth a try.
    fn sniff<'a>(
        &self,
        text: &'a [u8],
        wrapped: Option<&Wrapped<'_>>,
        zone: &mut Zone,
    ) -> Option<(Form, Head<'a>)> {
        if text.first().is_some_and(u8::is_ascii_digit) {
            return match (text.get(2), text.get(4), text.get(6)) {
                (_, Some(b'-'), _) => Some((Form::Log4j, text::log4j(text, zone)?)),
                (Some(b'/'), ..) => Some((Form::Console, text::console(text, zone)?)),
                (_, _, Some(b' ')) => Some((Form::HdfsV1, text::hdfs_v1(text, zone)?)),
                _ => None,
            };
        }
        // Lines that write a time are continued by those that do not.
        let may_be_timeless = self.pinned.is_none_or(|pinned| pinned.form == Form::Timeless);
        let wrapped = wrapped.filter(|_| may_be_timeless)?;
        let head = text::levelled(0, text)?;
        Some((Form::Timeless, Head { time_ms: wrapped.time_ms(zone)?, ..head }))
    }

    fn pin(&mut self, wrapped: Option<&Wrapped<'_>>, form: Form) {
        let wrapper = wrapped.map_or(Wrapper::None, |wrapped| wrapped.wrapper);
        self.pinned = Some(Pinned { wrapper, form });
    }
}

/// Lines taken out of their wrapper, where that takes a buffer.
#[derive(Clone, Debug)]
struct Unwrapped {
    line_bytes_max: usize,
    /// A line that was unescaped or put together.
    whole: Vec<u8>,
    /// What came so far of a line that was split, of standard output and standard error.
    parts: [Vec<u8>; 2],
    /// Whether there are any.
    waits: bool,
}

impl Unwrapped {
    /// The whole line, or nothing if its end has not come.
    fn line<'a>(&'a mut self, wrapped: &Wrapped<'a>) -> Option<&'a [u8]> {
        let [stdout, stderr] = &mut self.parts;
        let (parts, others) = if wrapped.is_stderr { (stderr, stdout) } else { (stdout, stderr) };
        if wrapped.ends && parts.is_empty() && !wrapped.text.escaped {
            return Some(wrapped.text.raw);
        }
        wrapped.text.append_to(parts);
        parts.truncate(self.line_bytes_max);
        self.waits = !wrapped.ends || !others.is_empty();
        if !wrapped.ends {
            return None;
        }
        self.whole.clear();
        std::mem::swap(parts, &mut self.whole);
        Some(&self.whole)
    }
}

#[cfg(test)]
mod tests;
