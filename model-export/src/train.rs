//! `model-export train`: from sessions to one .onnx file and its model card.

mod data;
mod file;
pub(crate) mod journal;
mod nets;
mod unlabelled;
mod views;

use std::path::PathBuf;

use anyhow::{Result, bail};
use blocksift_detector::Model;
use blocksift_detector::model::Metadata;
use serde_json::{Value, json};

use crate::dataset::{By, Group, Part};
use crate::evaluate::{share, verdicts};
use crate::input::Source;
use crate::method::{self, Lesson, Method, Reading, Surprise};
use crate::quantize::Quantized;
use crate::sheet::metrics::Item;
use crate::sheet::{ABNORMAL_SHARE, Column, Sheet, count_vector, unseen};
use crate::{card, graph, threshold};
use data::Data;
use file::{About, Made};
pub(crate) use file::{golden, quantiles};
use views::Views;

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Raw logs that nobody has labelled (or a session file, whose labels are not looked at): the best of the methods that
    /// need no labels is chosen; files in one folder are one node's
    #[arg(long, value_name = "LOG", num_args = 1.., conflicts_with = "input")]
    unlabelled: Vec<PathBuf>,
    /// False flags on one node and day that are put up with, with --unlabelled
    #[arg(long, value_name = "COUNT", default_value_t = 1.0)]
    false_flags: f64,
    /// Sessions of one node and day, with --unlabelled; without it as the logs have them
    #[arg(long, value_name = "COUNT")]
    sessions_per_day: Option<f64>,
    /// How sessions are judged
    #[arg(long, value_enum, default_value_t = Method::Cnn)]
    method: Method,
    /// What methods other than cnn and next-event read of a session
    #[arg(long, value_enum, default_value_t = Reading::Counts)]
    reading: Reading,
    /// How next-event judges
    #[arg(long, value_enum, default_value_t = Surprise::LogProbability)]
    surprise: Surprise,
    /// Table of events (key, logger, level, template); without it that of HDFS_v1
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Sessions cut by node (column `node`): the model then also learns what a single DataNode and the NameNode see
    #[arg(long, value_name = "FILE")]
    node_sessions: Option<PathBuf>,
    /// Leave out the abnormal sessions of this kind (column `kind`), to see whether the model finds it all the same
    #[arg(long, value_name = "KIND")]
    without_kind: Option<String>,
    /// Take only the sessions of the sample with the natural class ratio (column `natural`)
    #[arg(long)]
    natural: bool,
    /// How sessions are split into training, validation and test
    #[arg(long, value_enum, default_value_t = By::Sequence)]
    split: By,
    /// Model file to write
    #[arg(long, short = 'o', default_value = "model.onnx")]
    out: PathBuf,
    /// Directory for configuration, figures by epoch and curves
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
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
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    nets: u32,
    /// Passes over the training sequences
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: u32,
    /// Epochs without a better validation loss after which a net is taken as it was at its best; 0: never
    #[arg(long, default_value_t = 0)]
    patience: u32,
    /// What a label is short of certainty
    #[arg(long, default_value_t = 0.0)]
    smoothing: f32,
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
    #[arg(long, default_value_t = 0.5)]
    node_weight: f32,
    /// Neighbouring events swapped at random while training, at most, for each event of a session
    #[arg(long, default_value_t = 2.0)]
    swaps: f32,
    /// Share of events made unknown at random while training
    #[arg(long, default_value_t = 0.005)]
    unknown: f32,
    /// Events in a window; longer sessions keep head and tail
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(8..=1024))]
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
    /// Which of the parts of that size measures; with --test-percent 20, folds 0 to 4 measure each sequence once
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..100))]
    fold: u32,
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

/// The parts of the data, by sequence.
struct Parts {
    train: Vec<Group>,
    validation: Vec<Group>,
    test: Vec<Group>,
}

/// Runs the command.
///
/// # Errors
/// Says which file is not usable, and why.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.unlabelled.is_empty() {
        return unlabelled::run(args);
    }
    let data = Data::read(args)?;
    let parts = parts(&data)?;
    let normal_weight =
        args.normal_weight.unwrap_or_else(|| nets::natural_weight(&parts.train, args.abnormal_share));
    let views = Views::new(&data, Part::Train, f64::from(normal_weight));
    let (made, entries) = make(args, &data, &parts, &views, normal_weight);
    let known: Vec<&Group> = parts.train.iter().chain(&views.by_node).chain(&views.namenode).collect();
    let about = About {
        name: &args.name,
        licence: &args.licence,
        catalogue: &data.catalogue,
        tokenizer: &data.tokenizer,
        unknown_warn: !args.no_unknown_warn,
        data: &data.fingerprint,
        seed: args.seed,
    };
    let all: Vec<&Group> = known.iter().copied().chain(&parts.validation).collect();
    let mut metadata = file::metadata(&about, &known, &all);
    // The file is made three times: to choose the threshold by its own scores, to measure, and with the figures.
    let mut model = made.load(&metadata)?;
    let scores = verdicts(&mut model, &parts.validation)?;
    metadata.decision.threshold = threshold::choose(&items(&parts.validation, &scores), args.abnormal_share);
    metadata.decision.quantiles = quantiles(&parts.train, &verdicts(&mut model, &parts.train)?);
    metadata.golden = golden(&mut model, args.seed)?;
    let mut model = made.load(&metadata)?;
    let sheet = measure(args, &made, &mut model, &parts.test)?;
    metadata.scores = Value::Object(sheet.json());
    finish(args, &made, &metadata, &sheet, &parts)?;
    match &args.run {
        Some(folder) => journal::write(folder, &config(args, &data, &parts), &entries, &metadata.scores),
        None => Ok(()),
    }
}

fn parts(data: &Data) -> Result<Parts> {
    let parts = Parts {
        train: data.of(Part::Train),
        validation: data.of(Part::Validation),
        test: data.of(Part::Test),
    };
    for (name, groups) in
        [("training", &parts.train), ("validation", &parts.validation), ("test", &parts.test)]
    {
        let has = |class: fn(&Group) -> u64| groups.iter().any(|group| class(group) > 0);
        if !has(|group| group.normal) || !has(|group| group.abnormal) {
            bail!(
                "the {name} part lacks a class: too few distinct sequences; give more sessions of both classes"
            );
        }
    }
    Ok(parts)
}

/// Fits the method that is asked for.
fn make(
    args: &Args,
    data: &Data,
    parts: &Parts,
    views: &Views,
    normal_weight: f32,
) -> (Made, Vec<journal::Entry>) {
    if args.method == Method::Cnn {
        let examples = nets::Examples::new(data, parts, views, args, normal_weight);
        let (net, entries) = nets::fitted(&examples, args);
        let quantized = Quantized::new(&net, examples.windows());
        return (Made::Cnn(Box::new(net), Box::new(quantized)), entries);
    }
    let tokenizer = data.tokenizer.tokenizer();
    let known: Vec<Group> =
        parts.train.iter().chain(&views.by_node).chain(&views.namenode).cloned().collect();
    let weight = f64::from(normal_weight);
    let lesson = Lesson::new(&known, &tokenizer, &data.catalogue, args.reading, weight, args.seed);
    let lesson = Lesson { surprise: args.surprise, ..lesson };
    (Made::Other(method::fit(args.method, &lesson)), Vec::new())
}

fn items(groups: &[Group], scores: &[(f32, bool)]) -> Vec<Item> {
    let item = |(group, &(score, flagged)): (&Group, &(f32, bool))| Item {
        score,
        flagged,
        normal: group.normal as f64,
        abnormal: group.abnormal as f64,
    };
    groups.iter().zip(scores).map(item).collect()
}

/// Writes the file, the sheet and the card.
fn finish(args: &Args, made: &Made, metadata: &Metadata, sheet: &Sheet, parts: &Parts) -> Result<()> {
    let bytes = graph::write(made.graph(), metadata)?;
    let model = Model::from_onnx(&bytes)?;
    crate::write(&args.out, &bytes)?;
    let summary = format!(
        "{} written, {} bytes, model {}: {} sequences trained on, {} for validation, {} for the test\n\ntest sessions, {sheet}",
        args.out.display(),
        bytes.len(),
        model.id,
        parts.train.len(),
        parts.validation.len(),
        parts.test.len()
    );
    crate::print(&summary);
    if let Some(path) = &args.json {
        crate::write(path, (serde_json::to_string_pretty(&metadata.scores)? + "\n").as_bytes())?;
    }
    if let Some(path) = &args.card {
        let text = card::write(&card::Facts {
            metadata,
            sheet: &sheet.to_string(),
            how: &card::how(args.method, made.parameters()),
            id: &model.id,
            command: &card::command(std::env::args().skip(1)),
            bytes: bytes.len(),
        });
        crate::write(path, text.as_bytes())?;
    }
    Ok(())
}

fn config(args: &Args, data: &Data, parts: &Parts) -> Value {
    json!({
        "command": card::command(std::env::args().skip(1)),
        "version": env!("CARGO_PKG_VERSION"),
        "arguments": format!("{args:?}"),
        "data": data.fingerprint,
        "sequences": {
            "train": parts.train.len(),
            "validation": parts.validation.len(),
            "test": parts.test.len(),
        },
    })
}

fn measure(args: &Args, made: &Made, model: &mut Model, test: &[Group]) -> Result<Sheet> {
    let threshold = model.metadata.decision.threshold;
    let name = if args.method == Method::Cnn { "int8" } else { args.method.name() };
    let mut columns = vec![Column { name, verdicts: verdicts(model, test)? }];
    if args.method == Method::Cnn {
        let float = made.float_scores(&model.tokenizer, test);
        let verdicts = float.into_iter().map(|score| (score, score >= threshold)).collect();
        columns.push(Column { name: "float", verdicts });
    }
    if args.method != Method::CountVector {
        columns.push(count_vector(test, &model.metadata.novelty));
    }
    let trained = model.metadata.trained_sequences()?;
    let unseen = unseen(test, &trained);
    Ok(Sheet::new("merged", test, &columns, Some(&unseen), threshold, args.abnormal_share))
}

#[cfg(test)]
mod tests;
