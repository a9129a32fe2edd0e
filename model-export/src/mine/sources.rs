//! `model-export mine --sources`: a catalogue from the log statements of Java sources, as Maven has them in `*-sources.jar`.
//!
//! A jar of each version → its classes ([`program`]) → the calls of loggers in them ([`calls`]) → what each can say
//! ([`text`]) → one row for each text, over all versions. Nothing is compiled or run: what a variable holds is
//! told by its declaration, and is a wildcard of its type.

mod calls;
mod kind;
mod program;
mod text;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blocksift_detector::template::Template;
use serde::Serialize;

use program::Program;
use tree::Source;

/// Bytes of a source that are read; Hadoop's largest one has a tenth of it.
const SOURCE_BYTES_MAX: u64 = 8 << 20;
/// Letters and digits that a template's constants need: `%s: %s` is in too many calls to tell one.
const CONSTANTS_MIN: usize = 5;

/// What the sources say.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// A row for each text.
    pub(super) rows: Vec<Row>,
    /// Calls of a logger.
    pub(super) calls: usize,
    /// Calls whose text has too little that is constant.
    pub(super) vague: usize,
}

/// A statement of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    /// Its number in the file.
    pub(super) key: u32,
    /// The newest version's; empty if the text has several, or an unknown one.
    pub(super) logger: String,
    /// The newest version's.
    pub(super) level: String,
    /// What it says, with typed wildcards.
    pub(super) text: String,
    /// Versions that have it, oldest first, with blanks between.
    pub(super) versions: String,
}

impl Statements {
    /// The catalogue's file.
    ///
    /// # Errors
    /// None that could happen: rows can be written.
    pub(super) fn encode(&self, json: bool) -> Result<Vec<u8>> {
        if json {
            let mut bytes = serde_json::to_vec_pretty(&self.rows).context("rows cannot be written")?;
            bytes.push(b'\n');
            return Ok(bytes);
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in &self.rows {
            writer.serialize(row).context("rows cannot be written")?;
        }
        writer.into_inner().context("rows cannot be written")
    }

    /// Counts for a terminal: templates by version.
    pub(super) fn render(&self) -> String {
        let Self { rows, calls, vague } = self;
        let mut by_version: BTreeMap<&str, usize> = BTreeMap::new();
        for version in rows.iter().flat_map(|row| row.versions.split(' ')) {
            *by_version.entry(version).or_default() += 1;
        }
        let mut text = format!("{calls} calls of loggers, {} templates", rows.len());
        for (version, count) in by_version {
            text += &format!("\n{count:>8}  in {version}");
        }
        text + &format!("\n{vague:>8}  calls left out, with too little that is constant")
    }
}

impl Row {
    /// As a template of a catalogue.
    pub(super) fn template(&self) -> Template {
        let Self { key, logger, level, text, .. } = self.clone();
        Template { text, logger, level, key: Some(key) }
    }
}

/// What a call can say, in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Statement {
    text: String,
    level: &'static str,
    logger: String,
}

/// Levels and loggers of a text.
type Origins = BTreeSet<(&'static str, String)>;

/// Reads the jars; those of one version belong together.
///
/// # Errors
/// Says which file is no jar of sources, or holds none.
pub(super) fn read(jars: &[PathBuf]) -> Result<Statements> {
    let mut versions: BTreeMap<Vec<u32>, Vec<&PathBuf>> = BTreeMap::new();
    for jar in jars {
        let version = version(jar).with_context(|| {
            format!("`{}` has no version in its name, as in hadoop-hdfs-3.4.1-sources.jar", jar.display())
        })?;
        versions.entry(version).or_default().push(jar);
    }
    let mut found = Statements::default();
    let mut texts: BTreeMap<String, BTreeMap<String, Origins>> = BTreeMap::new();
    let mut order = Vec::new();
    for (version, jars) in versions {
        let mut sources = Vec::new();
        for jar in jars {
            sources.extend(unpack(jar)?);
        }
        let name = version.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        let program = Program::new(&sources);
        let (statements, calls, vague) = calls::statements(&program);
        found.calls += calls;
        found.vague += vague;
        for Statement { text, level, logger } in statements {
            texts.entry(text).or_default().entry(name.clone()).or_default().insert((level, logger));
        }
        order.push(name);
    }
    for ((text, by_version), key) in texts.into_iter().zip(1..) {
        let versions: Vec<&String> =
            order.iter().filter(|version| by_version.contains_key(*version)).collect();
        let newest = versions.last().and_then(|version| by_version.get(*version)).into_iter().flatten();
        let origins: Vec<&(&str, String)> = newest.collect();
        let Some((level, logger)) = origins.first() else { continue };
        let same = origins.iter().all(|(_, other)| other == logger);
        let logger = if same { logger.clone() } else { String::new() };
        let versions = versions.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        found.rows.push(Row { key, logger, level: (*level).to_owned(), text, versions });
    }
    Ok(found)
}

/// Numbers of the version in a jar's name.
fn version(jar: &Path) -> Option<Vec<u32>> {
    let name = jar.file_name()?.to_str()?.strip_suffix(".jar")?;
    let name = name.strip_suffix("-sources").unwrap_or(name);
    let (_, version) = name.rsplit_once('-')?;
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Java files of a jar.
fn unpack(jar: &Path) -> Result<Vec<Source>> {
    let shown = jar.display();
    let file = File::open(jar).with_context(|| format!("`{shown}` cannot be opened"))?;
    let mut archive = zip::ZipArchive::new(file).with_context(|| format!("`{shown}` is no jar"))?;
    let mut sources = Vec::new();
    for at in 0..archive.len() {
        let entry = archive.by_index(at).with_context(|| format!("`{shown}` is damaged"))?;
        let name = entry.name().with_context(|| format!("`{shown}` is damaged"))?.into_owned();
        if !name.ends_with(".java") {
            continue;
        }
        let mut bytes = Vec::new();
        entry
            .take(SOURCE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .with_context(|| format!("`{name}` in `{shown}` cannot be unpacked"))?;
        sources.push(Source::parse(String::from_utf8_lossy(&bytes).into_owned())?);
    }
    if sources.is_empty() {
        bail!("`{shown}` holds no Java sources; Maven has them under the classifier `sources`");
    }
    Ok(sources)
}

#[cfg(test)]
mod tests;
