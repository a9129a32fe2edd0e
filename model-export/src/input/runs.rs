//! Runs of a real cluster, as `cargo xtask hdfs run` leaves them: each node's log, and a label for each block. They are read
//! by the detector itself, as an agent reads them: each node's log by one of its own, and all of them by one that sees
//! the whole cluster. What is borderline is left out.
//!
//! Records without a block are sessions of the node, a window of time each, where the tokenizer asks for them ([`windows`]).
//!
//! An agent scores a session whenever it falls silent, so a node's part of a healthy block is also there as it was in front
//! of each silence: a file that is still open is healthy.

mod windows;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blocksift_detector::model::{Decision, Golden, Metadata, Model, TokenizerSpec, Training};
use blocksift_detector::score::{Score, ScoreError};
use blocksift_detector::template::Template;
use blocksift_detector::token::{Token, Window};
use blocksift_detector::{Detector, FileId, Report, Settings};
use serde_json::Value;

use super::{Session, Sessions, column, csv_reader, label, open};

/// Behind a node's name.
const LOG: [&str; 2] = [".log.zst", ".log.gz"];
/// File of the labels.
const LABELS: [&str; 2] = ["labels.csv.zst", "labels.csv.gz"];
/// Label of what nobody can say.
const BORDERLINE: &str = "Borderline";

/// Silence in front of which a session is taken as it is, milliseconds. Runs are short, so this is shorter than an agent's.
const SILENCE_MS: i64 = 5_000;

/// Sessions of several runs.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// Of the whole cluster.
    pub(crate) wholes: Sessions,
    /// Of each node.
    pub(crate) nodes: Sessions,
    /// Of each node's records without a block, by window.
    pub(crate) windows: Sessions,
    /// Blocks left out, since nobody can say what they are.
    pub(crate) borderline: usize,
}

/// Label and kind of a block.
type Labels = HashMap<String, Option<(bool, String)>>;

/// Reads runs. A block is called `<run>/blk_<id>`, since each run has the same numbers.
///
/// # Errors
/// Says which file is missing or not usable.
pub(crate) fn read(folders: &[PathBuf], catalogue: &[Template], tokenizer: &TokenizerSpec) -> Result<Runs> {
    let mut runs = Runs::default();
    for folder in folders {
        let labels = labels(folder)?;
        runs.borderline += labels.values().filter(|label| label.is_none()).count();
        let logs = logs(folder)?;
        let run = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes: Vec<&[u8]> = logs.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        for report in reports(&bytes, catalogue, tokenizer)? {
            add(&mut runs.wholes, &run, None, &report, &labels);
        }
        let faults = windows::faults(folder)?;
        for (node, bytes) in &logs {
            let reports = reports(&[bytes], catalogue, tokenizer)?;
            for report in &reports {
                add(&mut runs.nodes, &run, Some(node), report, &labels);
            }
            windows::add(&mut runs.windows, &run, node, &reports, &faults);
        }
    }
    if runs.wholes.list.is_empty() {
        bail!("these runs have no labelled block; give folders that `cargo xtask hdfs run` wrote");
    }
    Ok(runs)
}

/// The statements that the built-in catalogue has for events of blocks in these runs, and for those of nodes if there are
/// windows of them; the most frequent first.
///
/// # Errors
/// As [`read`].
pub(crate) fn templates(folders: &[PathBuf], node_window_ms: Option<NonZeroU32>) -> Result<Vec<Template>> {
    let mut found: BTreeMap<String, (u64, Template)> = BTreeMap::new();
    let nothing = TokenizerSpec { node_window_ms, ..TokenizerSpec::plain(1, Vec::new()) };
    for folder in folders {
        for (_, bytes) in logs(folder)? {
            for report in reports(&[&bytes], &[], &nothing)? {
                for event in report.events {
                    let (level, logger) = (event.level, event.logger);
                    let template = || Template { text: event.text.clone(), logger, level, key: None };
                    found.entry(event.text.clone()).or_insert_with(|| (0, template())).0 += 1;
                }
            }
        }
    }
    let known = blocksift_detector::template::Catalogue::with_builtin(Vec::new());
    let mut list: Vec<(u64, Template)> = found.into_values().collect();
    list.retain(|(_, template)| known.templates().iter().any(|builtin| builtin.text == template.text));
    list.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    Ok(list
        .into_iter()
        .zip(1..)
        .map(|((_, template), key)| Template { key: Some(key), ..template })
        .collect())
}

fn add(sessions: &mut Sessions, run: &str, node: Option<&str>, report: &Report, labels: &Labels) {
    if report.block.is_empty() {
        return;
    }
    let (abnormal, kind) = match labels.get(&report.block) {
        Some(Some(label)) => label,
        Some(None) => return,
        None => {
            sessions.unlabelled += 1;
            return;
        }
    };
    let times: Vec<i64> = report.events.iter().map(|event| time_ms(&event.time)).collect();
    let tokens: Vec<Token> = report.events.iter().map(|event| event.token).collect();
    let mut ends = vec![tokens.len()];
    if node.is_some() && !abnormal {
        let silent = |pair: &[i64]| matches!(pair, [one, next] if next - one >= SILENCE_MS);
        ends.extend((1..).zip(times.windows(2)).filter(|(_, pair)| silent(pair)).map(|(at, _)| at));
    }
    for end in ends {
        sessions.add(Session {
            block: format!("{run}/{}", report.block),
            node: node.map(str::to_owned),
            abnormal: *abnormal,
            kind: kind.clone(),
            // Every block of a run is there.
            natural: true,
            count: 1,
            time_ms: times.first().copied(),
            tokens: tokens.iter().take(end).copied().collect(),
        });
    }
}

/// Milliseconds since 1970.
fn time_ms(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().map_or(0, |time| time.as_millisecond())
}

/// Every session of the logs as it is at their end.
fn reports(logs: &[&[u8]], catalogue: &[Template], tokenizer: &TokenizerSpec) -> Result<Vec<Report>> {
    let settings = Settings {
        report_all: true,
        sessions_max: 2_000_000,
        sessions_bytes_max: usize::MAX,
        // Logs of several nodes are read one after the other.
        reorder_ms: i64::MAX,
        mine: false,
        cache_max: 1,
        ..Settings::default()
    };
    let mut detector = Detector::new(nothing(catalogue, tokenizer)?, settings);
    for (log, id) in logs.iter().zip(0..) {
        detector.push(FileId(id), 0, log);
        detector.end_of_file(FileId(id));
    }
    Ok(detector.finish().collect())
}

/// A model that reads tokens and flags nothing.
fn nothing(catalogue: &[Template], tokenizer: &TokenizerSpec) -> Result<Model> {
    let metadata = Metadata {
        name: "nothing".to_owned(),
        licence: String::new(),
        catalogue: catalogue.to_vec(),
        tokenizer: tokenizer.clone(),
        decision: Decision {
            threshold: 1.0,
            novel_counts: false,
            unknown_warn: false,
            quantiles: Vec::new(),
        },
        novelty: std::collections::HashSet::new(),
        training: Training { data: String::new(), seed: 0, sessions: 0, sequences: String::new() },
        scores: Value::Null,
        golden: vec![Golden { tokens: vec![Token::PAD; tokenizer.length], score: 0.0 }],
    };
    Ok(Model::new(metadata, b"", Box::new(Nothing))?)
}

struct Nothing;

impl Score for Nothing {
    fn fork(&self) -> Box<dyn Score> {
        Box::new(Self)
    }

    fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        Ok(vec![0.0; windows.len()])
    }
}

/// Names and texts of the nodes' logs, in order of their names.
fn logs(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let failed = || format!("run {} cannot be read", folder.display());
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(node) = LOG.iter().find_map(|end| name.strip_suffix(end)) else { continue };
        let mut bytes = Vec::new();
        open(&path)?.read_to_end(&mut bytes).with_context(|| format!("{} is damaged", path.display()))?;
        logs.push((node.to_owned(), bytes));
    }
    logs.sort_unstable();
    Ok(logs)
}

fn labels(folder: &Path) -> Result<Labels> {
    let path = LABELS.iter().map(|name| folder.join(name)).find(|path| path.exists());
    let path = path.with_context(|| format!("run {} has no {}", folder.display(), LABELS[0]))?;
    let (mut reader, header) = csv_reader(open(&path)?, &path)?;
    let place = |name: &str| {
        column(&header, &[name]).with_context(|| format!("{} has no column `{name}`", path.display()))
    };
    let (block, class, kind) = (place("BlockId")?, place("Label")?, place("Kind")?);
    let mut labels = Labels::new();
    for (row, line) in reader.records().zip(2u64..) {
        let failed = || format!("{} line {line} is not usable", path.display());
        let row = row.with_context(failed)?;
        let text = |at: usize| row.get(at).unwrap_or_default();
        let known = match text(class) {
            BORDERLINE => None,
            class => Some((label(class).with_context(failed)?, text(kind).to_owned())),
        };
        labels.insert(text(block).to_owned(), known);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const NAMENODE: &str = "2026-01-01 00:00:01,000 INFO org.apache.hadoop.hdfs.StateChange: BLOCK* allocate blk_1_7, replicas=127.0.0.1:1 for /a\n\
        2026-01-01 00:00:05,000 INFO BlockStateChange: BLOCK* addStoredBlock: 127.0.0.1:1 is added to blk_1_7 (size=9)\n\
        2026-01-01 00:00:06,000 INFO org.apache.hadoop.hdfs.StateChange: BLOCK* allocate blk_2_7, replicas=127.0.0.1:1 for /b\n\
        2026-01-01 00:00:06,000 INFO org.apache.hadoop.hdfs.StateChange: BLOCK* allocate blk_3_7, replicas=127.0.0.1:1 for /c\n\
        2026-01-01 00:00:11,000 INFO BlockStateChange: BLOCK* addStoredBlock: 127.0.0.1:1 is added to blk_3_7 (size=9)\n";
    const DATANODE: &str = "2026-01-01 00:00:02,000 INFO org.apache.hadoop.hdfs.server.datanode.DataNode: Receiving BP-1-127.0.0.1-2:blk_1_7 src: /127.0.0.1:2 dest: /127.0.0.1:1\n";

    #[test]
    fn a_run_is_read_whole_and_by_node_without_what_is_borderline() {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, text: &str| {
            let bytes = zstd::encode_all(text.as_bytes(), 1).unwrap();
            fs::write(folder.path().join(name), bytes).unwrap();
        };
        write("namenode.log.zst", NAMENODE);
        write("dn1.log.zst", DATANODE);
        write(
            "labels.csv.zst",
            "BlockId,Label,Kind\nblk_1,Anomaly,kill_client\nblk_2,Borderline,\nblk_3,Normal,\n",
        );
        fs::write(folder.path().join("faults.ndjson"), "").unwrap();
        let folders = [folder.path().to_path_buf()];
        let templates = templates(&folders, None).unwrap();
        assert_eq!(templates.iter().map(|template| template.key.unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        let vocabulary: Vec<_> = templates.iter().map(Template::id).collect();
        let spec = TokenizerSpec::plain(8, vocabulary);
        let runs = read(&folders, &templates, &spec).unwrap();
        assert_eq!(runs.borderline, 1);
        let [whole, healthy] = runs.wholes.list.as_slice() else { panic!("two blocks are labelled") };
        assert!(!healthy.abnormal && healthy.kind.is_empty());
        assert!(whole.abnormal && whole.block.ends_with("/blk_1") && whole.kind == "kill_client");
        let token = |start: &str| {
            let found = templates.iter().find(|template| template.text.starts_with(start)).unwrap();
            spec.tokenizer().token(found.id())
        };
        let (allocate, receiving, stored) =
            (token("BLOCK* allocate"), token("Receiving"), token("BLOCK* addStoredBlock"));
        assert_eq!(whole.tokens, [allocate, receiving, stored]);
        let nodes: Vec<_> =
            runs.nodes.list.iter().map(|it| (it.node.as_deref().unwrap(), it.tokens.clone())).collect();
        let namenode = |tokens: &[Token]| ("namenode", tokens.to_vec());
        let open = [namenode(&[allocate, stored]), namenode(&[allocate, stored]), namenode(&[allocate])];
        assert_eq!(nodes, [[("dn1", vec![receiving])].as_slice(), &open].concat());
    }
}
