//! `model-export evaluate`: a model file judged by labelled sessions. Verdicts come from the file alone, through the
//! detector's own tokenizer, scorer and rules.

pub(crate) mod baselines;
mod claims;
pub(crate) mod figures;
mod kinds;
mod page;
mod templates;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use blocksift_detector::Model;
use blocksift_detector::template::Template;
use blocksift_detector::token::{Token, counts, counts_hash};
use blocksift_detector::verdict::decide;
use serde_json::{Map, Value, json};

use crate::dataset::{Group, group};
use crate::input::{self, Keys, Session, Sessions, Source};
use crate::sheet::{ABNORMAL_SHARE, Sheet, natural};
use crate::train::journal;
use baselines::Baseline;
use figures::Figures;
use kinds::Kinds;
use templates::{Contribution, Drift};
use view::{Judges, View};

/// Blocks that are opened for each node and day in HDFS_v1: 575,061 blocks, 203 nodes, 38.7 hours.
pub(crate) const BLOCKS_PER_NODE_AND_DAY: f64 = 575_061.0 / 203.0 / (38.7 / 24.0);
/// Share of sessions, the last by time, that stand for the future.
const LATE: f64 = 0.2;

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file (.onnx)
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Sessions cut by node (column `node`), to measure each node alone and joined, too
    #[arg(long, value_name = "FILE")]
    node_sessions: Option<PathBuf>,
    /// Whole sessions of the blocks of sessions cut by node: they tell which blocks training saw
    #[arg(long, value_name = "FILE")]
    whole_sessions: Option<PathBuf>,
    /// Sessions that the model was trained on, to fit the baselines to; without it those among the evaluated ones
    #[arg(long, value_name = "FILE")]
    trained_on: Option<PathBuf>,
    /// The same cut by node, to fit the baselines of those views to
    #[arg(long, value_name = "FILE", requires = "trained_on")]
    trained_on_nodes: Option<PathBuf>,
    /// Leave out the baselines that must be fitted
    #[arg(long)]
    no_baselines: bool,
    /// Table of events (key, logger, level, template) that the numbers in the session file refer to; without it
    /// they are those of the model's own catalogue
    #[arg(long)]
    catalogue: Option<PathBuf>,
    /// Write everything as JSON to this file, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a page with plots to this file, too
    #[arg(long)]
    html: Option<PathBuf>,
    /// Directory that `train --run` wrote, for the training curves of the page
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Also print what others have published on this data
    #[arg(long)]
    claims: bool,
    /// Blocks opened for each node and day; the default is that of HDFS_v1
    #[arg(long, default_value_t = BLOCKS_PER_NODE_AND_DAY)]
    blocks_per_day: f64,
    /// Share of abnormal blocks that the figures are weighted to; the default is that of the whole of HDFS_v1
    #[arg(long, default_value_t = ABNORMAL_SHARE, value_parser = share)]
    abnormal_share: f64,
}

/// One view with all that was measured of it.
pub(crate) struct Measured {
    pub(crate) view: View,
    pub(crate) sheet: Sheet,
    /// Curves of each column.
    pub(crate) figures: Vec<(&'static str, Figures)>,
    /// Recall within budgets of false flags, in a sentence.
    pub(crate) budget: String,
    /// What is found of each kind of abnormal block.
    pub(crate) kinds: Kinds,
}

/// All that was found.
pub(crate) struct Found<'a> {
    args: &'a Args,
    pub(crate) head: String,
    pub(crate) notes: Vec<String>,
    pub(crate) measured: Vec<Measured>,
    pub(crate) contributions: Vec<Contribution>,
    pub(crate) drift: Drift,
    pub(crate) epochs: Vec<journal::Entry>,
}

impl Found<'_> {
    /// Normal sessions of one node and day in a view.
    pub(crate) fn normal_per_day(&self, view: &View) -> f64 {
        normal_per_day(self.args, view)
    }
}

fn normal_per_day(args: &Args, view: &View) -> f64 {
    args.blocks_per_day * view.per_block * (1.0 - args.abnormal_share)
}

/// Runs the command.
///
/// # Errors
/// Says which file is not usable, and why.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (mut model, bytes) = crate::inspect::model(&args.model)?;
    let name = if crate::inspect::is_int8(&bytes)? { "int8" } else { "model" };
    let templates = match &args.catalogue {
        Some(path) => crate::catalogue::read(Some(path))?,
        None => model.catalogue.templates().to_vec(),
    };
    let sessions = args.source.read(&templates, &model.tokenizer)?;
    let given = Given::read(args, &model, &templates, &sessions)?;
    let us_per_window = us_per_window(&mut model, &sessions)?;
    let (views, notes) = views(args, &mut model, name, &given)?;
    let contributions = views.first().map(|view| templates::contributions(&mut model, view)).transpose()?;
    let drift = views.first().map(|view| templates::drift(&mut model, &given.trained, view)).transpose()?;
    let Some(drift) = drift else { return Ok(()) };
    let measured: Vec<Measured> = views.into_iter().map(|view| measure(args, &model, view)).collect();
    let head = format!(
        "model {}, {}: {} events of templates that the model does not know, {us_per_window:.1} us a window",
        model.id,
        args.source.path().display(),
        sessions.events_unknown
    );
    let epochs = args.run.as_deref().map(journal::read).transpose()?.unwrap_or_default();
    let contributions = contributions.unwrap_or_default();
    let found = Found { args, head, notes, measured, contributions, drift, epochs };
    crate::print(&text(&found));
    if args.claims {
        crate::print(&claims::text());
    }
    if let Some(path) = &args.json {
        let mut json = json_head(&model, args, &sessions, us_per_window);
        json.append(&mut found.json());
        crate::write(path, (serde_json::to_string_pretty(&Value::Object(json))? + "\n").as_bytes())?;
    }
    if let Some(path) = &args.html {
        crate::write(path, page::write(&model, &found).as_bytes())?;
    }
    Ok(())
}

/// The sessions that are judged, and those that help to.
struct Given<'a> {
    /// As the source holds them.
    sessions: &'a Sessions,
    /// Parts of sessions, cut by node.
    nodes: Vec<Session>,
    /// Whole sessions.
    wholes: Vec<Session>,
    /// What the model was trained on, as far as it is at hand.
    trained: Vec<Group>,
    /// The same of single nodes.
    trained_parts: Vec<Group>,
}

impl<'a> Given<'a> {
    fn read(args: &Args, model: &Model, templates: &[Template], sessions: &'a Sessions) -> Result<Self> {
        let keys = Keys::new(templates, &model.tokenizer);
        let read = |path: &Option<PathBuf>| -> Result<Option<Vec<Session>>> {
            let read = path.as_deref().map(|path| input::read_sessions(path, &keys)).transpose()?;
            Ok(read.map(|sessions| sessions.list))
        };
        let own = || sessions.list.clone();
        let (nodes, wholes) = match sessions.per_node() {
            true => (own(), read(&args.whole_sessions)?.unwrap_or_default()),
            false => (read(&args.node_sessions)?.unwrap_or_default(), own()),
        };
        let trained = model.metadata.trained_sequences()?;
        let known = read(&args.trained_on)?;
        let known_parts = read(&args.trained_on_nodes)?;
        let trained_parts = match (&known_parts, &known) {
            (Some(parts), Some(known)) => baselines::trained_parts(parts, known, &trained),
            _ => baselines::trained_parts(&nodes, &wholes, &trained),
        };
        let trained = baselines::trained_on(group(known.as_ref().unwrap_or(&wholes)), &trained);
        Ok(Self { sessions, nodes, wholes, trained, trained_parts })
    }
}

/// Fits the baselines, unless they are not wanted.
fn fit_baselines(args: &Args, model: &Model, groups: &[Group]) -> Vec<Baseline> {
    if args.no_baselines {
        return Vec::new();
    }
    let bar = crate::progress(7, "baselines {pos}/{len} {elapsed} {msg}");
    let fit = |name: &str| {
        bar.set_message(name.to_owned());
        bar.inc(1);
    };
    let fitted = baselines::fitted(groups, &model.metadata, &model.tokenizer, args.abnormal_share, fit);
    bar.finish_and_clear();
    fitted
}

fn us_per_window(model: &mut Model, sessions: &Sessions) -> Result<f64> {
    let groups = group(&sessions.list);
    let start = Instant::now();
    verdicts(model, &groups)?;
    Ok(start.elapsed().as_secs_f64() * 1e6 / groups.len().max(1) as f64)
}

/// The views that the given files allow, and what they do not allow.
fn views(
    args: &Args,
    model: &mut Model,
    name: &'static str,
    given: &Given<'_>,
) -> Result<(Vec<View>, Vec<String>)> {
    let mut views = Vec::new();
    let mut notes = Vec::new();
    if !given.sessions.per_node() {
        let baselines = fit_baselines(args, model, &given.trained);
        let mut judges = Judges { model, name, baselines: &baselines };
        views.push(view::alone("merged", &given.sessions.list, &mut judges)?);
        match late(&given.sessions.list) {
            Some(late) => views.push(view::alone("late", &late, &mut judges)?),
            None => notes.push("No split by time: these sessions have no times (a raw log has).".to_owned()),
        }
    }
    if given.nodes.is_empty() {
        return Ok((views, notes));
    }
    let namenode = view::namenode_tokens(model);
    let baselines = fit_baselines(args, model, &given.trained_parts);
    let mut judges = Judges { model, name, baselines: &baselines };
    views.push(view::alone("node", &given.nodes, &mut judges)?);
    let whole = |whole: &'_ Session| (whole.block.clone(), whole.tokens.clone());
    let wholes: BTreeMap<String, Vec<Token>> = given.wholes.iter().map(whole).collect();
    let (of_namenode, of_datanodes): (Vec<&Session>, Vec<&Session>) =
        given.nodes.iter().partition(|session| view::is_namenode(session, &namenode));
    let all: Vec<&Session> = given.nodes.iter().collect();
    for (name, parts) in
        [("joined", all), ("joined_datanodes", of_datanodes), ("joined_namenode", of_namenode)]
    {
        if !parts.is_empty() {
            views.push(view::joined(name, &parts, &wholes, &mut judges)?);
        }
    }
    if views.iter().any(|view| view.name == "joined" && view.unseen.is_none()) {
        notes.push(
            "Which joined blocks training saw cannot be told from their parts; give --whole-sessions for rows `unseen`."
                .to_owned(),
        );
    }
    Ok((views, notes))
}

/// The sessions that begin last.
fn late(sessions: &[Session]) -> Option<Vec<Session>> {
    let mut times: Vec<i64> = sessions.iter().map(|session| session.time_ms).collect::<Option<_>>()?;
    times.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let from = *times.get((times.len() as f64 * (1.0 - LATE)) as usize)?;
    Some(sessions.iter().filter(|session| session.time_ms >= Some(from)).cloned().collect())
}

fn measure(args: &Args, model: &Model, view: View) -> Measured {
    let threshold = model.metadata.decision.threshold;
    let sheet = view.sheet(threshold, args.abnormal_share);
    let weights = natural(&view.groups, args.abnormal_share);
    let figures: Vec<(&'static str, Figures)> =
        view.columns.iter().map(|column| (column.name, Figures::new(&view.items(column), weights))).collect();
    let per_day = normal_per_day(args, &view);
    let own = figures.first().map(|(_, figures)| figures);
    let within = |count: f64| {
        let step = own.and_then(|figures| figures.recall_within(count, per_day));
        step.map_or_else(|| "-".to_owned(), |step| format!("{:.4} (from {:.3})", step.recall, step.threshold))
    };
    let now = own.and_then(|figures| figures.at(threshold)).map_or(0.0, |step| step.fall_out * per_day);
    let budget = format!(
        "False flags a node and day ({:.0} normal sessions): {now:.2} at the threshold. Recall at most at 0.1: {}, at 1: {}, at 10: {}. \
         Calibration error {:.4}.",
        per_day,
        within(0.1),
        within(1.0),
        within(10.0),
        own.map_or(f64::NAN, Figures::calibration_error)
    );
    let kinds = Kinds::new(&view);
    Measured { view, sheet, figures, budget, kinds }
}

fn text(found: &Found<'_>) -> String {
    let mut text = found.head.clone() + "\n";
    for note in &found.notes {
        text.push_str(&format!("{note}\n"));
    }
    for measured in &found.measured {
        text.push_str(&format!("\n{}\n{}\n", measured.sheet, measured.budget));
        text.push_str(&measured.kinds.text());
    }
    let drift = &found.drift;
    text.push_str(&format!(
        "\ndrift from training: templates {:.4}, scores {:.4} (population stability; below .1 alike), unknown events {:.4}, new counts among normal sessions {:.4}\n",
        drift.templates, drift.scores, drift.unknown, drift.novel
    ));
    text.push_str(
        "\ncontributions to flags (mean fall of the score without the template, flagged sessions)\n",
    );
    for row in found.contributions.iter().take(8) {
        text.push_str(&format!("  {:>7.4} {:>7.0}  {}\n", row.fall, row.sessions, row.template));
    }
    text
}

impl Found<'_> {
    /// The first view's sheet, and beside it the other views by name, then what is no table.
    fn json(&self) -> Map<String, Value> {
        let mut json = Map::new();
        for (at, measured) in self.measured.iter().enumerate() {
            let mut sheet = measured.sheet.json();
            let per_day = self.normal_per_day(&measured.view);
            let figures: Map<String, Value> = measured
                .figures
                .iter()
                .map(|(name, figures)| ((*name).to_owned(), figures.json(per_day)))
                .collect();
            sheet.insert("figures".to_owned(), Value::Object(figures));
            sheet.insert("normal_per_node_and_day".to_owned(), json!(per_day));
            if !measured.view.kinds.is_empty() {
                sheet.insert("kinds".to_owned(), measured.kinds.json());
            }
            if at == 0 {
                json.append(&mut sheet);
            } else {
                json.insert(measured.view.name.to_owned(), Value::Object(sheet));
            }
        }
        let contributions: Vec<Value> = self
            .contributions
            .iter()
            .map(|row| json!({ "template": row.template, "fall": row.fall, "sessions": row.sessions }))
            .collect();
        json.insert("contributions".to_owned(), Value::Array(contributions));
        json.insert("drift".to_owned(), self.drift.json());
        json.insert("notes".to_owned(), json!(self.notes));
        json.insert("claims".to_owned(), claims::json());
        json
    }
}

/// Scores and verdicts of groups, in their order.
///
/// # Errors
/// If the model cannot be run.
pub(crate) fn verdicts(model: &mut Model, groups: &[Group]) -> Result<Vec<(f32, bool)>> {
    let mut found = Vec::with_capacity(groups.len());
    for group in groups {
        let window = model.tokenizer.window(&group.tokens);
        let score = model.score(&[window])?.first().copied().unwrap_or(f32::NAN);
        // A session file says nothing of the level of events that the catalogue lacks.
        let reasons = decide(&model.metadata, score, counts_hash(counts(&group.tokens)), false);
        found.push((score, !reasons.is_empty()));
    }
    Ok(found)
}

fn json_head(model: &Model, args: &Args, sessions: &Sessions, us_per_window: f64) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("model".to_owned(), json!(model.id));
    head.insert("file".to_owned(), json!(args.source.path().display().to_string()));
    head.insert("events_unknown".to_owned(), json!(sessions.events_unknown));
    head.insert("us_per_window".to_owned(), json!(us_per_window));
    head
}

/// A share strictly between 0 and 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("give a number between 0 and 1, such as 0.03".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use tempfile::TempDir;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// The JSON sheet of the shipped model over these sessions.
    fn sheet(sessions: &str) -> Value {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("sessions.csv"), sessions).unwrap();
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/hdfs-v1.onnx");
        let (input, json) = (path("sessions.csv"), path("sheet.json"));
        let given = ["evaluate", "--model", model, "--sessions", &input, "--json", &json];
        run(&Cli::try_parse_from(given).unwrap().args).unwrap();
        serde_json::from_slice(&fs::read(json).unwrap()).unwrap()
    }

    const HEALTHY: &str = "5 5 5 22 11 9 11 9 11 9 26 26 26 23 23 23 21 21 21";

    #[test]
    fn a_file_with_few_columns_and_unknown_keys_is_measured() {
        let found = sheet(&format!("block_id,label,events\r\nblk_1,0,{HEALTHY}\r\nblk_2,1,22 5 99\r\n"));
        assert_eq!((&found["view"], &found["events_unknown"]), (&json!("merged"), &json!(1)));
        assert_eq!((&found["sessions"], &found["abnormal"]), (&json!(2), &json!(1)));
        assert_eq!(found["int8"]["all"]["tn"], 1.0);
        assert!(found["int8"]["natural"].is_null());
        assert!(found["count_vector"]["unseen"].is_object());
    }

    #[test]
    fn parts_of_a_block_are_joined_and_the_worst_decides() {
        let rows = "block_id,block_label,node,events\nblk_1,0,a,5 11 9 21\nblk_1,0,namenode,22 26 26 26\n\
                    blk_2,1,a,5 11 9 21\nblk_2,1,b,5 7\n";
        let found = sheet(rows);
        assert_eq!(found["view"], "node");
        assert_eq!((&found["int8"]["all"]["fn"], &found["int8"]["all"]["fp"]), (&json!(1.0), &json!(0.0)));
        assert_eq!(
            (&found["joined"]["int8"]["all"]["tp"], &found["joined"]["f1"]),
            (&json!(1.0), &json!(1.0))
        );
        // Nothing tells which of these blocks training saw.
        assert!(found["joined"]["int8"]["unseen"].is_null() && found["int8"]["unseen"].is_object());
        assert_eq!(found["joined_namenode"]["sessions"], 1);
    }
}
