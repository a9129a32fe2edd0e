//! LogHub's own files: raw lines, or lines already cut into columns, with a label for each block. Heads, blocks and
//! templates are recognised by the detector's code, as on a node.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blocksift_detector::Settings;
use blocksift_detector::head::{Heads, Parsed};
use blocksift_detector::key;
use blocksift_detector::template::Catalogue;
use blocksift_detector::time::Zone;
use blocksift_detector::token::{Token, Tokenizer};
use jiff::tz::TimeZone;

use super::{Session, Sessions, column, csv_reader, label, open};

/// Events of each block while lines are read.
struct Blocks<'a> {
    catalogue: &'a Catalogue,
    /// Tokens by position in the catalogue.
    tokens: Vec<Token>,
    /// Blocks by number, in the order in which they appear.
    places: HashMap<i64, usize>,
    events: Vec<(i64, Vec<(i64, Token)>)>,
}

/// Reads raw lines, such as `HDFS.log`, with labels such as `anomaly_label.csv`. `progress` is told the bytes of
/// each line.
///
/// # Errors
/// If a file cannot be read or no line belongs to a labelled block.
pub(crate) fn read_log(
    log: &Path,
    labels: &Path,
    catalogue: &Catalogue,
    tokenizer: &Tokenizer,
    mut progress: impl FnMut(u64),
) -> Result<Sessions> {
    let labels = read_labels(labels)?;
    let mut blocks = Blocks::new(catalogue, tokenizer);
    blocks.read(log, &mut progress)?;
    blocks.label(&labels).with_context(|| format!("{} cannot be used", log.display()))
}

/// Reads raw lines of nodes that nobody has labelled: every session counts as normal. Files in one folder are one node's,
/// in the order in which they are given.
///
/// # Errors
/// If a file cannot be read or no line names a block.
pub(crate) fn read_unlabelled(
    logs: &[PathBuf],
    catalogue: &Catalogue,
    tokenizer: &Tokenizer,
    mut progress: impl FnMut(u64),
) -> Result<Sessions> {
    let mut nodes: Vec<(&Path, Blocks<'_>)> = Vec::new();
    for log in logs {
        let folder = log.parent().unwrap_or_else(|| Path::new(""));
        let known = nodes.iter().position(|(node, _)| *node == folder);
        let place = known.unwrap_or(nodes.len());
        if known.is_none() {
            nodes.push((folder, Blocks::new(catalogue, tokenizer)));
        }
        if let Some((_, blocks)) = nodes.get_mut(place) {
            blocks.read(log, &mut progress)?;
        }
    }
    let several = nodes.len() > 1;
    let mut sessions = Sessions::default();
    for (node, blocks) in nodes {
        let name = several.then(|| node.display().to_string());
        for (block, events) in blocks.events {
            sessions.add(session(block, events, false, name.clone()));
        }
    }
    if sessions.list.is_empty() {
        bail!("no line of these logs names a block; give the logs of DataNodes or of the NameNode");
    }
    Ok(sessions)
}

/// Reads lines that are cut into columns, such as `HDFS_100k.log_structured.csv`.
///
/// # Errors
/// If a file cannot be read, lacks a column, or no line belongs to a labelled block.
pub(crate) fn read_structured(
    file: &Path,
    labels: &Path,
    catalogue: &Catalogue,
    tokenizer: &Tokenizer,
) -> Result<Sessions> {
    let labels = read_labels(labels)?;
    let mut blocks = Blocks::new(catalogue, tokenizer);
    let (mut reader, header) = csv_reader(open(file)?, file)?;
    let place = |name: &str| {
        column(&header, &[name])
            .with_context(|| format!("{} has no column `{name}` in `{}`", file.display(), header.join(",")))
    };
    let (date, time, content) = (place("Date")?, place("Time")?, place("Content")?);
    let mut row = csv::ByteRecord::new();
    loop {
        let line = reader.position().line();
        let failed = || format!("{} line {line} is not usable", file.display());
        if !reader.read_byte_record(&mut row).with_context(failed)? {
            break;
        }
        let number = |at: usize| -> Result<i64> {
            let text = String::from_utf8_lossy(row.get(at).unwrap_or_default()).into_owned();
            text.trim().parse().with_context(|| format!("`{text}` is not a date or time of digits"))
        };
        // Only the order counts, and it is that of the digits.
        let order = number(date).with_context(failed)? * 1_000_000 + number(time).with_context(failed)?;
        blocks.add(order, row.get(content).unwrap_or_default());
    }
    blocks.label(&labels).with_context(|| format!("{} cannot be used", file.display()))
}

impl<'a> Blocks<'a> {
    fn new(catalogue: &'a Catalogue, tokenizer: &Tokenizer) -> Self {
        let tokens = catalogue.templates().iter().map(|template| tokenizer.token(template.id())).collect();
        Self { catalogue, tokens, places: HashMap::new(), events: Vec::new() }
    }

    fn read(&mut self, log: &Path, progress: &mut impl FnMut(u64)) -> Result<()> {
        let mut reader = open(log)?;
        let (mut heads, mut zone) =
            (Heads::new(None, Settings::default().line_bytes_max), Zone::new(TimeZone::UTC));
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let bytes = reader
                .read_until(b'\n', &mut line)
                .with_context(|| format!("{} cannot be read beyond line {number}", log.display()))?;
            if bytes == 0 {
                break;
            }
            progress(bytes as u64);
            // Public HDFS_v1 has one line a record; continuation lines name no further block.
            if let Parsed::Head(head) = heads.parse(line.trim_ascii_end(), &mut zone) {
                self.add(head.time_ms, head.message);
            }
        }
        Ok(())
    }

    fn add(&mut self, time: i64, message: &[u8]) {
        let mut found: Vec<i64> = key::find(message).map(|key| key.block.0).collect();
        // A block that a line names twice has one event of it.
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return;
        }
        let known = self.catalogue.find(message).and_then(|index| self.tokens.get(index));
        let token = known.copied().unwrap_or(Token::UNKNOWN);
        for block in found {
            let place = *self.places.entry(block).or_insert_with(|| {
                self.events.push((block, Vec::new()));
                self.events.len() - 1
            });
            if let Some((_, events)) = self.events.get_mut(place) {
                events.push((time, token));
            }
        }
    }

    fn label(self, labels: &BTreeMap<i64, bool>) -> Result<Sessions> {
        let mut sessions = Sessions::default();
        for (block, events) in self.events {
            match labels.get(&block) {
                Some(&abnormal) => sessions.add(session(block, events, abnormal, None)),
                None => sessions.unlabelled += 1,
            }
        }
        if sessions.list.is_empty() {
            bail!("no line belongs to a labelled block; do log and labels belong together?");
        }
        Ok(sessions)
    }
}

fn session(block: i64, mut events: Vec<(i64, Token)>, abnormal: bool, node: Option<String>) -> Session {
    // As in the agent: by time, equal times as they stand.
    events.sort_by_key(|(time, _)| *time);
    Session {
        block: format!("blk_{block}"),
        node,
        abnormal,
        kind: String::new(),
        natural: false,
        count: 1,
        time_ms: events.first().map(|(time, _)| *time),
        tokens: events.into_iter().map(|(_, token)| token).collect(),
    }
}

fn read_labels(path: &Path) -> Result<BTreeMap<i64, bool>> {
    let (mut reader, header) = csv_reader(open(path)?, path)?;
    let place = |names: &[&str]| {
        column(&header, names).with_context(|| {
            format!(
                "labels {} have no column `{}` in `{}`",
                path.display(),
                names.join("` or `"),
                header.join(",")
            )
        })
    };
    let (block, class) = (place(&["BlockId", "block_id"])?, place(&["Label", "label"])?);
    let mut labels = BTreeMap::new();
    for (row, line) in reader.records().zip(2u64..) {
        let failed = || format!("labels {} line {line} is not usable", path.display());
        let row = row.with_context(failed)?;
        let name = row.get(block).unwrap_or_default().trim();
        let number = name.strip_prefix("blk_").unwrap_or(name);
        let number =
            number.parse().with_context(|| format!("`{name}` is not a block")).with_context(failed)?;
        labels.insert(number, label(row.get(class).unwrap_or_default()).with_context(failed)?);
    }
    Ok(labels)
}
