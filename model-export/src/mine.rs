//! `model-export mine`: a catalogue from logs, or from sources. The logs are read at least twice: to mine, and to see that the catalogue
//! matches what it was mined from; a template that does not is written vaguer.

mod coverage;
mod lines;
mod sources;
mod table;
mod text;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blocksift_detector::head::{Head, Level};
use blocksift_detector::miner::mask::Mask;
use blocksift_detector::miner::{Mined, Miner, MinerSettings};
use blocksift_detector::template::{Catalogue, Template, TemplateId};

use crate::catalogue;
use crate::{progress, write};
use text::Closeness;

/// Bytes of a message that are mined; a template of longer ones ends with `<*>`.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Pairs of level and logger that are told apart for a template; further ones are not listed.
const ORIGINS_MAX: usize = 64;

/// Arguments of `mine`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Logs of any layout, plain, gzip or zstd; their order does not matter. With `--sources` nothing is mined from them;
    /// they are looked up in the catalogue
    #[arg(required_unless_present = "sources", value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Take the log statements out of Java sources: jars of any number of versions, such as hadoop-hdfs-3.4.1-sources.jar
    #[arg(long, value_name = "JAR", num_args = 1..)]
    sources: Vec<PathBuf>,
    /// Catalogue to write, for `train --catalogue`: as JSON if its name ends in .json, else as CSV
    #[arg(short, long, value_name = "CATALOGUE")]
    out: Option<PathBuf>,
    /// Share of equal words from which two messages are of one template
    #[arg(long, default_value_t = 0.6)]
    similarity: f64,
    /// Depth of Drain's tree: 3 compares all messages of as many words, each further level only those that also start
    /// with one more equal word
    #[arg(long, default_value_t = 4)]
    depth: u8,
    /// Leave out templates of fewer lines
    #[arg(long, default_value_t = 1)]
    min_count: u64,
    /// What varies, before the masks that are always there: `<NAME>=REGEX`, such as '<user>=user=\w+'; may be repeated
    #[arg(long, value_name = "MASK", value_parser = mask)]
    mask: Vec<Mask>,
    /// Masked messages to remember; beyond it the least recently seen one makes room, and its lines are counted as
    /// evicted
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    templates_max: u32,
}

/// Levels and loggers with the number of their lines.
type Origins = BTreeMap<(Level, String), u64>;

/// A template on its way into the catalogue.
#[derive(Debug)]
struct Entry {
    mined: Mined,
    closeness: Closeness,
    /// What the catalogue will hold, alone: a message must match the template that it was mined into, whatever else
    /// would match it, too.
    compiled: Catalogue,
    origins: Origins,
}

/// What was mined, with what does not become part of the catalogue.
#[derive(Debug, Default)]
struct Found {
    templates: Vec<table::Row>,
    /// Lines with a head and a message.
    messages: u64,
    /// Lines without a head: they continue a record.
    headless: u64,
    /// Lines that made room for others in memory.
    evicted: u64,
    /// Templates and lines below the least count.
    rare: (usize, u64),
    /// Templates and lines without a constant word.
    vague: (usize, u64),
    /// Lines that the catalogue does not match, of those that it should.
    unmatched: u64,
}

/// Runs the command.
///
/// # Errors
/// Says which log, mask or setting is not usable, and why.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.sources.is_empty() {
        return from_sources(args);
    }
    let found = mine(args)?;
    crate::print(&table::render(&found));
    if let Some(path) = &args.out {
        let templates: Vec<Template> = found.templates.iter().map(|row| row.template.clone()).collect();
        write(path, &catalogue::encode(&templates, is_json(path))?)?;
        crate::print(&format!("{} written, {} templates", path.display(), templates.len()));
    }
    Ok(())
}

/// The catalogue of the sources, and what of the logs it knows.
fn from_sources(args: &Args) -> Result<()> {
    let statements = sources::read(&args.sources)?;
    crate::print(&statements.render());
    if let Some(path) = &args.out {
        write(path, &statements.encode(is_json(path))?)?;
        crate::print(&format!("{} written, {} templates", path.display(), statements.rows.len()));
    }
    if !args.logs.is_empty() {
        let catalogue = Catalogue::new(statements.rows.iter().map(sources::Row::template).collect());
        crate::print(&coverage::of(&catalogue, &args.logs)?.render());
    }
    Ok(())
}

fn mine(args: &Args) -> Result<Found> {
    let mut miner = Miner::new(settings(args)).context("nothing can be mined with these settings")?;
    let mut found = Found::default();
    for log in &args.logs {
        let bar = progress(lines::bytes(log), &format!("mining {} {{elapsed}}", log.display()));
        let read = lines::read(log, &bar, |head| miner.learn(head.message))?;
        if read.headed == 0 {
            bail!("{} has no line whose head is known; is it a Hadoop log?", log.display());
        }
        found.headless += read.headless;
    }
    found.messages = miner.messages();
    found.evicted = miner.messages_evicted();
    let mut entries = entries(&miner, args.min_count, &mut found);
    while check(args, &miner, &mut entries, &mut found)? {}
    found.templates = rows(&entries);
    Ok(found)
}

fn settings(args: &Args) -> MinerSettings {
    let mut masks = args.mask.clone();
    masks.extend(text::masks());
    let templates_max = usize::try_from(args.templates_max).ok().and_then(NonZeroUsize::new);
    MinerSettings {
        masks,
        depth: args.depth,
        similarity: args.similarity,
        templates_max: templates_max.unwrap_or(NonZeroUsize::MIN),
        message_bytes_max: MESSAGE_BYTES_MAX,
        ..MinerSettings::default()
    }
}

fn mask(text: &str) -> Result<Mask, String> {
    match text.split_once(">=") {
        Some((name, regex)) => Ok(Mask::new(&format!("{name}>"), regex)),
        None => Err("write it as <NAME>=REGEX".to_owned()),
    }
}

/// The templates that become part of the catalogue; those that do not are counted.
fn entries(miner: &Miner, min_count: u64, found: &mut Found) -> Vec<Entry> {
    let mut entries = Vec::new();
    for mined in miner.templates() {
        let entry = Entry::new(mined, miner);
        let counter = if entry.mined.count < min_count {
            &mut found.rare
        } else if !text::says_something(entry.text()) {
            &mut found.vague
        } else {
            entries.push(entry);
            continue;
        };
        *counter = (counter.0 + 1, counter.1 + entry.mined.count);
    }
    entries
}

/// Reads the logs again: notes levels and loggers, and makes templates vaguer that do not match a message of theirs.
/// Says whether there was such a one, so that another look is needed; that comes to an end, since the vaguest stay.
fn check(args: &Args, miner: &Miner, entries: &mut [Entry], found: &mut Found) -> Result<bool> {
    let at: BTreeMap<TemplateId, usize> = entries.iter().map(|entry| entry.mined.id).zip(0..).collect();
    let (mut masked, mut changed) = (String::new(), false);
    found.unmatched = 0;
    for entry in &mut *entries {
        entry.origins.clear();
    }
    for log in &args.logs {
        let bar = progress(lines::bytes(log), &format!("checking {} {{elapsed}}", log.display()));
        lines::read(log, &bar, |head| {
            miner.masks().mask_into(head.message, &mut masked);
            let Some(&place) = miner.find(&masked).and_then(|id| at.get(&id)) else { return };
            let Some(entry) = entries.get_mut(place) else { return };
            entry.note(head);
            while entry.compiled.find(head.message).is_none() {
                if !entry.make_vaguer(miner) {
                    found.unmatched += 1;
                    return;
                }
                changed = true;
            }
        })?;
    }
    Ok(changed)
}

impl Entry {
    fn new(mined: Mined, miner: &Miner) -> Self {
        let closeness = Closeness::Typed;
        let compiled = compile(&mined, closeness, miner);
        Self { mined, closeness, compiled, origins: Origins::new() }
    }

    fn text(&self) -> &str {
        self.compiled.templates().first().map_or("", |template| &template.text)
    }

    fn note(&mut self, head: &Head<'_>) {
        let origin = (head.level, String::from_utf8_lossy(head.logger).into_owned());
        if let Some(count) = self.origins.get_mut(&origin) {
            *count += 1;
        } else if self.origins.len() < ORIGINS_MAX {
            self.origins.insert(origin, 1);
        }
    }

    /// Whether that was possible.
    fn make_vaguer(&mut self, miner: &Miner) -> bool {
        let Some(vaguer) = self.closeness.vaguer() else { return false };
        self.closeness = vaguer;
        self.compiled = compile(&self.mined, vaguer, miner);
        true
    }
}

fn compile(mined: &Mined, closeness: Closeness, miner: &Miner) -> Catalogue {
    let text = text::catalogue_text(&mined.text, miner.masks().wildcards(), closeness);
    Catalogue::new(vec![Template { text, logger: String::new(), level: String::new(), key: None }])
}

/// The catalogue's rows, the most frequent first. Templates that are written alike are one.
fn rows(entries: &[Entry]) -> Vec<table::Row> {
    let mut by_text: BTreeMap<String, (u64, Origins)> = BTreeMap::new();
    for entry in entries {
        let (count, origins) = by_text.entry(entry.text().to_owned()).or_default();
        *count += entry.mined.count;
        for (origin, lines) in &entry.origins {
            *origins.entry(origin.clone()).or_insert(0) += lines;
        }
    }
    let mut rows: Vec<table::Row> = Vec::new();
    for (text, (count, origins)) in by_text {
        let most = origins.iter().max_by_key(|(_, lines)| **lines).map(|(origin, _)| origin.clone());
        let (level, logger) = most.map_or_else(Default::default, |(level, logger)| (level.name(), logger));
        let template = Template { text, logger, level: level.to_owned(), key: None };
        rows.push(table::Row { template, count, origins: origins.len() });
    }
    rows.sort_by_key(|row| Reverse(row.count));
    for (row, key) in rows.iter_mut().zip(1..) {
        row.template.key = Some(key);
    }
    rows
}

/// Whether a catalogue of this name is written as JSON.
fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

#[cfg(test)]
mod tests;
