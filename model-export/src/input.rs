//! Sessions to train on or to evaluate with, from whatever file holds them. What a session file is, its header says.

mod loghub;
mod marks;
pub(crate) mod runs;
mod sessions;
mod source;
pub(crate) mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use blocksift_detector::template::Template;
use blocksift_detector::token::{Token, Tokenizer};
use flate2::bufread::MultiGzDecoder;

pub(crate) use loghub::{read_log, read_structured, read_unlabelled};
pub(crate) use marks::read as read_marks;
pub(crate) use sessions::read as read_sessions;
pub(crate) use source::Source;

/// One labelled session, or several alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Session {
    /// `blk_<id>`; empty where the file names none.
    pub(crate) block: String,
    /// Node whose part of the session this is; `None` if it is the whole.
    pub(crate) node: Option<String>,
    /// The label.
    pub(crate) abnormal: bool,
    /// What makes it abnormal, such as the kind of a fault; empty where the file does not tell.
    pub(crate) kind: String,
    /// In a sample that has the natural class ratio.
    pub(crate) natural: bool,
    /// How many such sessions this stands for.
    pub(crate) count: u32,
    /// Time of the first event, milliseconds since 1970 in UTC; `None` where the file does not tell.
    pub(crate) time_ms: Option<i64>,
    /// The events as tokens, whole, in order of the log.
    pub(crate) tokens: Vec<Token>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sessions {
    /// In the order of the file.
    pub(crate) list: Vec<Session>,
    /// Events whose template the tokenizer does not know.
    pub(crate) events_unknown: u64,
    /// Rows of the file that are left out since no label names their block.
    pub(crate) unlabelled: u64,
}

impl Sessions {
    fn add(&mut self, session: Session) {
        let unknown = session.tokens.iter().filter(|&&token| token == Token::UNKNOWN).count() as u64;
        self.events_unknown += unknown * u64::from(session.count);
        self.list.push(session);
    }

    /// Days from the first session's begin to the last one's; `None` where no times are known.
    #[must_use]
    pub(crate) fn days(&self) -> Option<f64> {
        let times = || self.list.iter().filter_map(|session| session.time_ms);
        let span = times().max()? - times().min()?;
        Some((span as f64 / 86_400_000.0).max(1.0 / 24.0))
    }

    /// Whether these are parts of sessions, one for each node.
    #[must_use]
    pub(crate) fn per_node(&self) -> bool {
        self.list.iter().any(|session| session.node.is_some())
    }
}

/// Tokens by the data set's numbers of events. Of a template that is told apart by ranges, `22` is the lowest ones, `22p1`
/// the second range of its parameter, `22p1g2` that after a gap in the third range.
#[derive(Clone, Debug)]
pub(crate) struct Keys(BTreeMap<String, Token>);

impl Keys {
    /// The numbers of `catalogue` as `tokenizer` reads them.
    #[must_use]
    pub(crate) fn new(catalogue: &[Template], tokenizer: &Tokenizer) -> Self {
        let mut tokens = BTreeMap::new();
        for template in catalogue {
            let Some(key) = template.key else { continue };
            for (range, gap, token) in tokenizer.ranges(template.id()) {
                tokens.insert(name(key, range, gap), token);
            }
        }
        Self(tokens)
    }

    /// The token of an event written as `22` or `E22`; unknown if the catalogue lacks it. Ranges that the tokenizer does
    /// not tell apart are the lowest ones.
    #[must_use]
    pub(crate) fn token(&self, event: &str) -> Token {
        let name = event.strip_prefix(['E', 'e']).unwrap_or(event).trim_start_matches('0');
        let found = || {
            let digits = name.split(|sign: char| !sign.is_ascii_digit()).next()?;
            self.0.get(name).or_else(|| self.0.get(digits))
        };
        found().copied().unwrap_or(Token::UNKNOWN)
    }

    /// How each token is written.
    fn names(&self) -> BTreeMap<Token, &str> {
        self.0.iter().map(|(name, token)| (*token, name.as_str())).collect()
    }
}

fn name(key: u32, range: u16, gap: u16) -> String {
    match (range, gap) {
        (0, 0) => key.to_string(),
        (range, 0) => format!("{key}p{range}"),
        (range, gap) => format!("{key}p{range}g{gap}"),
    }
}

/// Opens a file, unpacked if it is gzip or zstd, whatever its name.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let failed = || format!("{} cannot be read; check the path and its permissions", path.display());
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).with_context(failed)?);
    let start = file.fill_buf().with_context(failed)?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::Decoder::with_buffer(file).with_context(failed)?;
        Box::new(BufReader::with_capacity(1 << 16, decoder))
    } else {
        Box::new(file)
    })
}

/// Reads a label: `1`, `Anomaly`, `Fail` are abnormal, `0`, `Normal`, `Success` are not.
fn label(text: &str) -> Result<bool> {
    Ok(match text.trim().to_ascii_lowercase().as_str() {
        "1" | "anomaly" | "abnormal" | "fail" | "true" => true,
        "0" | "normal" | "success" | "false" => false,
        _ => bail!("label `{text}` is not 0, 1, Normal, Anomaly, Success or Fail"),
    })
}

/// A CSV reader and its header.
fn csv_reader<R: Read>(reader: R, path: &Path) -> Result<(csv::Reader<R>, Vec<String>)> {
    let mut reader = csv::Reader::from_reader(reader);
    let header = reader.headers().with_context(|| format!("{} cannot be read as CSV", path.display()))?;
    let header = header.iter().map(|name| name.trim().to_owned()).collect();
    Ok((reader, header))
}

/// Where a column is.
fn column(header: &[String], names: &[&str]) -> Option<usize> {
    header.iter().position(|name| names.contains(&name.as_str()))
}

#[cfg(test)]
mod tests;
