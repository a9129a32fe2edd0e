//! `model-export evaluate`: a model file judged by labelled sessions. Verdicts come from the file alone, through the
//! detector's own tokenizer, scorer and rules.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use blocksift_detector::Model;
use blocksift_detector::token::{Token, counts, counts_hash};
use blocksift_detector::verdict::decide;
use serde_json::{Map, Value, json};

use crate::dataset::{Group, group};
use crate::input::{self, Keys, Session};
use crate::sheet::{ABNORMAL_SHARE, Column, Sheet, count_vector};

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file (.onnx)
    #[arg(long)]
    model: PathBuf,
    /// Labelled sessions, plain or gzip: a CSV with the columns `label` and `events`, one that counts sequences
    /// (`n_normal`, `n_abnormal`), sessions cut by node (`node`), or LogHub's Event_traces.csv
    #[arg(long)]
    sessions: PathBuf,
    /// Table of events (key, logger, level, template) that the numbers in the session file refer to; without it
    /// they are those of the model's own catalogue
    #[arg(long)]
    catalogue: Option<PathBuf>,
    /// Write the sheet as JSON to this file, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Share of abnormal blocks that the figures are weighted to; the default is that of the whole of HDFS_v1
    #[arg(long, default_value_t = ABNORMAL_SHARE, value_parser = share)]
    abnormal_share: f64,
}

/// Runs the command.
///
/// # Errors
/// Says which file is not usable, and why.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bytes = fs::read(&args.model)
        .with_context(|| format!("model {} cannot be read; check the path", args.model.display()))?;
    let mut model =
        Model::from_onnx(&bytes).with_context(|| format!("model {} is not usable", args.model.display()))?;
    let keys = match &args.catalogue {
        Some(path) => Keys::new(&crate::catalogue::read(Some(path))?, &model.tokenizer),
        None => Keys::new(model.catalogue.templates(), &model.tokenizer),
    };
    let sessions = input::read_sessions(&args.sessions, &keys)?;
    let trained = model.metadata.trained_sequences()?;
    let groups = group(&sessions.list);
    let start = Instant::now();
    let verdicts = verdicts(&mut model, &groups)?;
    let us_per_window = start.elapsed().as_secs_f64() * 1e6 / groups.len().max(1) as f64;
    let threshold = model.metadata.decision.threshold;
    let columns = [Column { name: "int8", verdicts }, count_vector(&groups, &model.metadata.novelty)];
    let view = if sessions.per_node() { "node" } else { "merged" };
    let sheet = Sheet::new(view, &groups, &columns, Some(&trained), threshold, args.abnormal_share);
    let mut text = format!(
        "model {}, {}\n{} events of templates that the model does not know, {:.1} us a window\n\n{sheet}",
        model.id,
        args.sessions.display(),
        sessions.events_unknown,
        us_per_window
    );
    let mut found = head(&model, &args.sessions, sessions.events_unknown, us_per_window);
    found.append(&mut sheet.json());
    if sessions.per_node() {
        let [int8, count_vector] = columns;
        let joined = join(&sessions.list, &groups, &[int8, count_vector]);
        let sheet = Sheet::new("joined", &joined.0, &joined.1, None, threshold, args.abnormal_share);
        text.push_str(&format!("\n{sheet}"));
        found.insert("joined".to_owned(), Value::Object(sheet.json()));
    }
    crate::print(&text);
    if let Some(path) = &args.json {
        write_json(path, &Value::Object(found))?;
    }
    Ok(())
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

/// Blocks instead of parts of them: a block is flagged if any of its parts is, and scores as its worst part. Whether
/// training saw a block cannot be told from its parts.
fn join(sessions: &[Session], groups: &[Group], columns: &[Column]) -> (Vec<Group>, Vec<Column>) {
    let at: BTreeMap<&[Token], usize> =
        groups.iter().enumerate().map(|(at, group)| (group.tokens.as_slice(), at)).collect();
    let mut blocks: BTreeMap<&str, (bool, Vec<usize>)> = BTreeMap::new();
    for session in sessions {
        let (abnormal, parts) = blocks.entry(&session.block).or_default();
        *abnormal |= session.abnormal;
        parts.extend(at.get(session.tokens.as_slice()));
    }
    let joined = |column: &Column| {
        let worst = |parts: &Vec<usize>| {
            let verdicts = parts.iter().filter_map(|&part| column.verdicts.get(part));
            verdicts.fold((0.0f32, false), |worst, part| (worst.0.max(part.0), worst.1 | part.1))
        };
        Column { name: column.name, verdicts: blocks.values().map(|(_, parts)| worst(parts)).collect() }
    };
    let block = |(abnormal, parts): &(bool, Vec<usize>)| Group {
        tokens: parts
            .iter()
            .filter_map(|&part| groups.get(part))
            .flat_map(|part| part.tokens.clone())
            .collect(),
        normal: u64::from(!abnormal),
        abnormal: u64::from(*abnormal),
        natural_normal: 0,
        natural_abnormal: 0,
    };
    (blocks.values().map(block).collect(), columns.iter().map(joined).collect())
}

fn head(model: &Model, sessions: &Path, events_unknown: u64, us_per_window: f64) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("model".to_owned(), json!(model.id));
    head.insert("file".to_owned(), json!(sessions.display().to_string()));
    head.insert("events_unknown".to_owned(), json!(events_unknown));
    head.insert("us_per_window".to_owned(), json!(us_per_window));
    head
}

/// Writes JSON, indented, with a line end.
fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text)
        .with_context(|| format!("{} cannot be written; check the directory", path.display()))
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
    }
}
