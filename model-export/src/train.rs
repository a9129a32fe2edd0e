//! `model-export train`: from labelled sessions to one .onnx file and its model card.

mod nets;
mod views;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blocksift_detector::Model;
use blocksift_detector::model::{Decision, Golden, Metadata, TokenizerSpec, Training};
use blocksift_detector::template::{Catalogue, Template};
use blocksift_detector::token::{Token, Tokenizer, counts, counts_hash, sequence_hash};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::dataset::{Group, Part, Shares, group, split};
use crate::evaluate::{share, verdicts};
use crate::input::{self, Keys, Session, Sessions};
use crate::net::Net;
use crate::quantize::Quantized;
use crate::sheet::metrics::Item;
use crate::sheet::{ABNORMAL_SHARE, Column, Sheet, count_vector};
use crate::{card, catalogue, graph, threshold};
use views::Views;

/// Golden inputs in a file.
const GOLDEN: usize = 8;

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Labelled sessions, plain or gzip: a CSV with the columns `label` and `events`, or one that counts sequences
    #[arg(long, value_name = "FILE", group = "input")]
    sessions: Option<PathBuf>,
    /// LogHub's Event_traces.csv (BlockId, Label, Type, Features, ...)
    #[arg(long, value_name = "FILE", group = "input")]
    traces: Option<PathBuf>,
    /// Raw log, plain or gzip, such as LogHub's HDFS.log; needs --labels
    #[arg(long, value_name = "FILE", group = "input", requires = "labels")]
    log: Option<PathBuf>,
    /// Log cut into columns, such as HDFS_100k.log_structured.csv; needs --labels
    #[arg(long, value_name = "FILE", group = "input", requires = "labels")]
    structured: Option<PathBuf>,
    /// Labels by block, such as LogHub's anomaly_label.csv (BlockId, Label)
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Table of events (key, logger, level, template); without it that of HDFS_v1
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Sessions cut by node (column `node`): the model then also learns what a single DataNode and the NameNode see
    #[arg(long, value_name = "FILE")]
    node_sessions: Option<PathBuf>,
    /// Model file to write
    #[arg(long, default_value = "model.onnx")]
    out: PathBuf,
    /// Model card to write, too
    #[arg(long)]
    card: Option<PathBuf>,
    /// Name of the model
    #[arg(long, default_value = "hdfs-v1")]
    name: String,
    /// Terms of model and data, for the metadata
    #[arg(long, default_value = card::LICENCE)]
    licence: String,
    /// Seed of split, nets and order; equal seeds and data give equal files
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nets fitted to the labels; the net that is written is fitted to what they say together
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    nets: u32,
    /// Passes over the training sequences
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: u32,
    /// Sequences in a step
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Learning rate at its highest
    #[arg(long, default_value_t = 0.005)]
    rate: f32,
    /// Factor on the loss of normal sessions; without it the one that gives the classes their natural ratio
    #[arg(long)]
    normal_weight: Option<f32>,
    /// Factor on the loss of parts of sessions, see --node-sessions
    #[arg(long, default_value_t = 0.3)]
    node_weight: f32,
    /// Neighbouring events swapped at random while training, at most, for each event of a session
    #[arg(long, default_value_t = 2.0)]
    swaps: f32,
    /// Share of events made unknown at random while training
    #[arg(long, default_value_t = 0.005)]
    unknown: f32,
    /// Events in a window; longer sessions keep head and tail
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=1024))]
    length: u32,
    /// Width of the embedding
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    width: u32,
    /// Events that a filter sees
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    kernel: u32,
    /// Filters of the convolution
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    filters: u32,
    /// Units of the hidden layer
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    hidden: u32,
    /// Percent of the sequences that choose net and threshold
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=40))]
    validation_percent: u32,
    /// Percent of the sequences that measure
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=40))]
    test_percent: u32,
    /// Share of abnormal blocks that the figures are weighted to; the default is that of the whole of HDFS_v1
    #[arg(long, default_value_t = ABNORMAL_SHARE, value_parser = share)]
    abnormal_share: f64,
    /// Do not flag sessions with an unknown template at WARN or worse
    #[arg(long)]
    no_unknown_warn: bool,
    /// Write the sheet as JSON to this file, too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Sessions and how they are split.
struct Data {
    catalogue: Vec<Template>,
    tokenizer: TokenizerSpec,
    sessions: Sessions,
    nodes: Option<Sessions>,
    groups: Vec<Group>,
    parts: Vec<Part>,
    fingerprint: String,
}

impl Data {
    fn of(&self, part: Part) -> Vec<Group> {
        let pairs = self.groups.iter().zip(&self.parts);
        pairs.filter(|(_, found)| **found == part).map(|(group, _)| group.clone()).collect()
    }
}

/// Runs the command.
///
/// # Errors
/// Says which file is not usable, and why.
pub(crate) fn run(args: &Args) -> Result<()> {
    let data = read(args)?;
    let (train, validation, test) = (data.of(Part::Train), data.of(Part::Validation), data.of(Part::Test));
    for (name, groups) in [("training", &train), ("validation", &validation), ("test", &test)] {
        let has = |class: fn(&Group) -> u64| groups.iter().any(|group| class(group) > 0);
        if !has(|group| group.normal) || !has(|group| group.abnormal) {
            bail!(
                "the {name} part lacks a class: too few distinct sequences; give more sessions of both classes"
            );
        }
    }
    let examples = nets::Examples::new(&data, args);
    let net = nets::fitted(&examples, args);
    let quantized = Quantized::new(&net, examples.windows());
    let views = Views::new(&data, Part::Train);
    let known: Vec<&Group> = train.iter().chain(&views.by_node).chain(&views.namenode).collect();
    let mut metadata = metadata(args, &data, &known, &validation);
    // The file is made three times: to choose the threshold by its own scores, to measure, and with the figures.
    let mut model = load(&net, &quantized, &metadata)?;
    let items = |groups: &[Group], scores: &[(f32, bool)]| -> Vec<Item> {
        let item = |(group, &(score, flagged)): (&Group, &(f32, bool))| Item {
            score,
            flagged,
            normal: group.normal as f64,
            abnormal: group.abnormal as f64,
        };
        groups.iter().zip(scores).map(item).collect()
    };
    let scores = verdicts(&mut model, &validation)?;
    metadata.decision.threshold = threshold::choose(&items(&validation, &scores), args.abnormal_share);
    metadata.decision.quantiles = quantiles(&train, &verdicts(&mut model, &train)?);
    metadata.golden = golden(&mut model, args.seed)?;
    let mut model = load(&net, &quantized, &metadata)?;
    let sheet = measure(args, &net, &mut model, &test)?;
    metadata.scores = Value::Object(sheet.json());
    let bytes = graph::write(graph::cnn(&net, &quantized), &metadata)?;
    let model = Model::from_onnx(&bytes)?;
    write(&args.out, &bytes)?;
    let summary = format!(
        "{} written, {} bytes, model {}: {} sequences trained on, {} for validation, {} for the test\n\ntest sessions, {sheet}",
        args.out.display(),
        bytes.len(),
        model.id,
        train.len(),
        validation.len(),
        test.len()
    );
    crate::print(&summary);
    if let Some(path) = &args.json {
        write(path, (serde_json::to_string_pretty(&metadata.scores)? + "\n").as_bytes())?;
    }
    if let Some(path) = &args.card {
        let text = card::write(&card::Facts {
            metadata: &metadata,
            net: &net,
            sheet: &sheet,
            id: &model.id,
            command: card::command(std::env::args().skip(1)),
            bytes: bytes.len(),
        });
        write(path, text.as_bytes())?;
    }
    Ok(())
}

fn read(args: &Args) -> Result<Data> {
    let catalogue = catalogue::read(args.catalogue.as_deref())?;
    let vocabulary = catalogue.iter().map(Template::id).collect();
    let spec = TokenizerSpec { length: args.length as usize, vocabulary };
    let tokenizer = Tokenizer::new(spec.length, &spec.vocabulary);
    let keys = Keys::new(&catalogue, &tokenizer);
    let compiled = Catalogue::new(catalogue.clone());
    let labels = args.labels.as_deref().unwrap_or_else(|| Path::new(""));
    let (path, sessions) = match (&args.sessions, &args.traces, &args.log, &args.structured) {
        (Some(path), ..) | (_, Some(path), ..) => (path, input::read_sessions(path, &keys)?),
        (_, _, Some(path), _) => {
            let bar = progress(fs::metadata(path).map_or(0, |file| file.len()), "reading {bytes} {elapsed}");
            (path, input::read_log(path, labels, &compiled, &tokenizer, |bytes| bar.inc(bytes))?)
        }
        (_, _, _, Some(path)) => (path, input::read_structured(path, labels, &compiled, &tokenizer)?),
        _ => bail!("nothing to train on; give --sessions, --traces, --log or --structured"),
    };
    if sessions.per_node() {
        bail!("{} holds parts of sessions; give it with --node-sessions beside whole ones", path.display());
    }
    report_gaps(path, &sessions);
    let nodes = args.node_sessions.as_deref().map(|path| input::read_sessions(path, &keys)).transpose()?;
    let groups = group(&sessions.list);
    let shares = Shares { validation: args.validation_percent, test: args.test_percent };
    let parts = split(&groups, shares, args.seed);
    let fingerprint = fingerprint(&sessions.list, nodes.as_ref());
    Ok(Data { catalogue, tokenizer: spec, sessions, nodes, groups, parts, fingerprint })
}

fn report_gaps(path: &Path, sessions: &Sessions) {
    if sessions.events_unknown > 0 {
        let count = sessions.events_unknown;
        crate::warn(&format!("{}: {count} events are of templates that the catalogue lacks", path.display()));
    }
    if sessions.unlabelled > 0 {
        crate::warn(&format!(
            "{}: {} blocks have no label and are left out",
            path.display(),
            sessions.unlabelled
        ));
    }
}

/// Hash over what was read, whatever file it came from.
fn fingerprint(sessions: &[Session], nodes: Option<&Sessions>) -> String {
    let mut hasher = Xxh3::new();
    for session in sessions.iter().chain(nodes.iter().flat_map(|nodes| &nodes.list)) {
        hasher.update(session.block.as_bytes());
        hasher.update(session.node.as_deref().unwrap_or_default().as_bytes());
        hasher.update(&[u8::from(session.abnormal)]);
        hasher.update(&session.count.to_le_bytes());
        for token in &session.tokens {
            hasher.update(&token.0.to_le_bytes());
        }
    }
    format!("{:016x}", hasher.digest())
}

fn metadata(args: &Args, data: &Data, train: &[&Group], validation: &[Group]) -> Metadata {
    let normal = train.iter().filter(|group| group.normal > 0);
    let known = train.iter().copied().chain(validation);
    let length = data.tokenizer.length;
    Metadata {
        name: args.name.clone(),
        licence: args.licence.clone(),
        catalogue: data.catalogue.clone(),
        tokenizer: data.tokenizer.clone(),
        decision: Decision {
            threshold: 0.5,
            novel_counts: false,
            unknown_warn: !args.no_unknown_warn,
            quantiles: Vec::new(),
        },
        novelty: normal.map(|group| counts_hash(counts(&group.tokens))).collect(),
        training: Training {
            data: data.fingerprint.clone(),
            seed: args.seed,
            sessions: known.clone().map(|group| group.normal + group.abnormal).sum(),
            sequences: Metadata::encode_sequences(known.map(|group| sequence_hash(&group.tokens))),
        },
        scores: Value::Null,
        // Replaced once the file can be run; a reader wants at least one.
        golden: vec![Golden { tokens: vec![Token::PAD; length], score: 0.0 }],
    }
}

/// The model as an agent would load it, but for the golden inputs, which are still to be found.
fn load(net: &Net, quantized: &Quantized, metadata: &Metadata) -> Result<Model> {
    let bytes = graph::write(graph::cnn(net, quantized), metadata)?;
    let (mut metadata, scorer) = blocksift_detector::score::onnx::load(&bytes)?;
    metadata.golden.clear();
    Ok(Model::new(metadata, &bytes, Box::new(scorer))?)
}

/// Inputs drawn at random, of all lengths and templates, with the scores they have.
fn golden(model: &mut Model, seed: u64) -> Result<Vec<Golden>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (length, rows) = (model.tokenizer.length(), u16::try_from(model.tokenizer.rows())?);
    let mut found = Vec::with_capacity(GOLDEN);
    for at in 0..GOLDEN {
        let events = length * at / (GOLDEN - 1);
        let tokens: Vec<Token> = (0..events).map(|_| Token(rng.random_range(1..rows))).collect();
        let window = model.tokenizer.window(&tokens);
        let score = model.score(std::slice::from_ref(&window))?.first().copied().unwrap_or(f32::NAN);
        found.push(Golden { tokens: window.0.to_vec(), score });
    }
    Ok(found)
}

/// Scores of the normal sessions at the quantiles 0, .1 ... 1.
fn quantiles(groups: &[Group], scores: &[(f32, bool)]) -> Vec<f32> {
    let mut sorted: Vec<(f32, u64)> =
        groups.iter().zip(scores).map(|(group, (score, _))| (*score, group.normal)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: u64 = sorted.iter().map(|(_, count)| count).sum();
    let at = |tenth: u64| {
        let mut below = 0;
        let found = sorted.iter().find(|(_, count)| {
            below += count;
            *count > 0 && below * 10 >= all * tenth
        });
        found.map_or(0.0, |(score, _)| *score)
    };
    (0..=10).map(at).collect()
}

fn measure(args: &Args, net: &Net, model: &mut Model, test: &[Group]) -> Result<Sheet> {
    let threshold = model.metadata.decision.threshold;
    let int8 = Column { name: "int8", verdicts: verdicts(model, test)? };
    let float = nets::scores(net, &model.tokenizer, test);
    let float = Column {
        name: "float",
        verdicts: float.into_iter().map(|score| (score, score >= threshold)).collect(),
    };
    let rule = count_vector(test, &model.metadata.novelty);
    let trained = model.metadata.trained_sequences()?;
    Ok(Sheet::new("merged", test, &[int8, float, rule], Some(&trained), threshold, args.abnormal_share))
}

/// A progress bar, drawn on a terminal only.
fn progress(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(&format!("{{bar:40}} {{percent}} % {template}")) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Replaces a file as a whole.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().with_context(|| format!("{} is not a file name", path.display()))?;
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = path.with_file_name(partial);
    let failed = || format!("{} cannot be written; check the directory", path.display());
    fs::write(&partial, bytes).with_context(failed)?;
    fs::rename(&partial, path).with_context(failed)
}

#[cfg(test)]
mod tests;
