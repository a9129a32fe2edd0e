//! Line heads: what stands before the message. A line with a recognised head starts a record. The layout is found out
//! per file by trying them all and then pinned; a pinned layout that stops fitting is looked for again.

mod json;
mod text;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::time::Zone;

/// Arrangement of the line head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `yyMMdd HHmmss thread LEVEL logger: message`, Hadoop of 2008.
    HdfsV1,
    /// `yyyy-MM-dd HH:mm:ss,SSS LEVEL logger: message`, with `[thread]` before or after the level, or
    /// `logger (File.java:method(line)) - message`.
    Log4j,
    /// One JSON object a line: log4j2's `JsonLayout`, ECS, Hadoop's `Log4Json`.
    Json,
}

impl Layout {
    const ALL: [Self; 3] = [Self::HdfsV1, Self::Log4j, Self::Json];
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Milliseconds since 1970 in UTC.
    pub time_ms: i64,
    /// Severity.
    pub level: Level,
    /// Logger as written.
    pub logger: Cow<'a, [u8]>,
    /// What follows the head, without trailing blanks.
    pub message: Cow<'a, [u8]>,
}

/// Recognises the heads of one file's lines.
#[derive(Clone, Debug)]
pub struct Heads {
    configured: Option<Layout>,
    pinned: Option<Layout>,
}

impl Heads {
    /// For lines of `layout` alone, or of whatever layout they turn out to have.
    #[must_use]
    pub fn new(layout: Option<Layout>) -> Self {
        Self { configured: layout, pinned: layout }
    }

    /// The head of `line`; `None` if it has none and so continues a record.
    pub fn parse<'a>(&mut self, line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
        if let Some(head) = self.pinned.and_then(|layout| parse(layout, line, zone)) {
            return Some(head);
        }
        // All layouts start with a digit or a brace; most continuation lines start with neither.
        if self.configured.is_some() || !matches!(line.first(), Some(b'0'..=b'9' | b'{')) {
            return None;
        }
        let others = Layout::ALL.into_iter().filter(|&layout| Some(layout) != self.pinned);
        for layout in others {
            if let Some(head) = parse(layout, line, zone) {
                self.pinned = Some(layout);
                return Some(head);
            }
        }
        None
    }
}

fn parse<'a>(layout: Layout, line: &'a [u8], zone: &mut Zone) -> Option<Head<'a>> {
    match layout {
        Layout::HdfsV1 => text::hdfs_v1(line, zone),
        Layout::Log4j => text::log4j(line, zone),
        Layout::Json => json::parse(line, zone),
    }
}

#[cfg(test)]
mod tests;
