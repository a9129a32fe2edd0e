//! The layout of line heads as operators name it: by one word, or by the pattern of their `log4j.properties`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::pattern::{Pattern, PatternError};

/// Arrangement of the line head. As text it is `hdfs_v1`, `log4j`, `console`, `json` or a pattern with a `%` in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Layout {
    /// `yyMMdd HHmmss thread LEVEL logger: message`, Hadoop of 2008.
    HdfsV1,
    /// `yyyy-MM-dd HH:mm:ss,SSS LEVEL logger: message`, with a comma, a dot or no milliseconds, `T` or a blank, an
    /// offset if there is one, with `[thread]` before or after the level, or `logger (File.java:method(line)) -
    /// message`, `logger:line - message`.
    Log4j,
    /// `yy/MM/dd HH:mm:ss LEVEL logger: message`, what Hadoop writes to a terminal.
    Console,
    /// One JSON object a line: log4j2's `JsonLayout` and `JsonTemplateLayout`, ECS, Hadoop's `Log4Json`.
    Json,
    /// A log4j pattern.
    Pattern(Pattern),
}

/// Why a text names no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Neither a name nor a pattern.
    #[error(
        "`{name}` is no layout; use hdfs_v1, log4j, console, json or a log4j pattern such as `%d{{ISO8601}} %p %c: %m%n`"
    )]
    Unknown {
        /// The text.
        name: String,
    },
    /// A pattern that cannot be compiled.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Layout {
    /// Compiles a log4j pattern, such as `%d{ISO8601} %p %c: %m%n`.
    ///
    /// # Errors
    /// [`PatternError`] with the place in the pattern.
    pub fn pattern(pattern: &str) -> Result<Self, PatternError> {
        Pattern::new(pattern).map(Self::Pattern)
    }

    /// Its name, or the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::HdfsV1 => "hdfs_v1",
            Self::Log4j => "log4j",
            Self::Console => "console",
            Self::Json => "json",
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        match text {
            "hdfs_v1" => Ok(Self::HdfsV1),
            "log4j" => Ok(Self::Log4j),
            "console" => Ok(Self::Console),
            "json" => Ok(Self::Json),
            pattern if pattern.contains('%') => Ok(Self::pattern(pattern)?),
            name => Err(LayoutError::Unknown { name: name.to_owned() }),
        }
    }
}

impl TryFrom<String> for Layout {
    type Error = LayoutError;

    fn try_from(text: String) -> Result<Self, LayoutError> {
        text.parse()
    }
}

impl From<Layout> for String {
    fn from(layout: Layout) -> Self {
        layout.as_str().to_owned()
    }
}
