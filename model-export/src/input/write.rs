//! `model-export dataset`: sessions from whatever holds them, as one session file that the other commands read.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Result;
use blocksift_detector::model::TokenizerSpec;
use blocksift_detector::template::Template;
use blocksift_detector::token::{Token, Tokenizer};
use flate2::{Compression, write::GzEncoder};

use super::{Keys, Session, Sessions, Source, runs};

/// Arguments of `dataset`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Folders that `cargo xtask hdfs run` wrote
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with = "input")]
    runs: Vec<PathBuf>,
    /// Table of events (key, logger, level, template); without it that of HDFS_v1, or with --runs the statements of Hadoop
    /// that occur in them
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// With --runs: write the statements that occur to this file, for `--catalogue` of further runs and of `train`
    #[arg(long, value_name = "FILE", requires = "runs", conflicts_with = "catalogue")]
    write_catalogue: Option<PathBuf>,
    /// With --runs: write what each node saw to this file, for `--node-sessions`
    #[arg(long, value_name = "FILE", requires = "runs")]
    nodes: Option<PathBuf>,
    /// With --runs: records that name no block are sessions of their node, one for each so many seconds of the log's time
    #[arg(long, value_name = "SECONDS", requires = "windows", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    node_window: Option<u32>,
    /// With --node-window: write those sessions to this file
    #[arg(long, value_name = "FILE", requires = "node_window", requires = "runs")]
    windows: Option<PathBuf>,
    /// What the column `source` says
    #[arg(long, default_value = "site")]
    name: String,
    /// The sessions have the natural class ratio: every block of a time, not a choice of blocks
    #[arg(long)]
    natural: bool,
    /// File to write; packed if its name ends in .gz
    #[arg(long, short = 'o', default_value = "sessions.csv.gz")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Says which file is not usable, and why.
pub(crate) fn run(args: &Args) -> Result<()> {
    let node_window_ms = args.node_window.and_then(|seconds| NonZeroU32::new(seconds * 1_000));
    let (catalogue, refinements) = match (args.runs.is_empty(), &args.catalogue) {
        (false, None) => (runs::templates(&args.runs, node_window_ms)?, Vec::new()),
        (_, path) => crate::catalogue::read_refined(path.as_deref())?,
    };
    if let Some(path) = &args.write_catalogue {
        crate::write(path, &crate::catalogue::encode(&catalogue, true)?)?;
    }
    let vocabulary = catalogue.iter().map(Template::id).collect();
    let spec = TokenizerSpec { refinements, node_window_ms, ..TokenizerSpec::plain(1, vocabulary) };
    let tokenizer = spec.tokenizer();
    let written = |path: &Path, sessions: &Sessions| write(args, path, sessions, &catalogue, &tokenizer);
    if args.runs.is_empty() {
        return written(&args.out, &args.source.read(&catalogue, &tokenizer)?);
    }
    let runs = runs::read(&args.runs, &catalogue, &spec)?;
    crate::print(&format!("{} blocks are borderline and left out", runs.borderline));
    written(&args.out, &runs.wholes)?;
    args.windows.as_deref().map_or(Ok(()), |path| written(path, &runs.windows))?;
    args.nodes.as_deref().map_or(Ok(()), |path| written(path, &runs.nodes))
}

fn write(
    args: &Args,
    path: &Path,
    sessions: &Sessions,
    catalogue: &[Template],
    tokenizer: &Tokenizer,
) -> Result<()> {
    let keys = Keys::new(&numbered(catalogue), tokenizer);
    let csv = csv(&sessions.list, &keys.names(), &args.name, args.natural)?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let bytes = if packed {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&csv)?;
        packer.finish()?
    } else {
        csv
    };
    crate::write(path, &bytes)?;
    let abnormal = sessions.list.iter().filter(|session| session.abnormal).count();
    let groups = crate::dataset::group(&sessions.list).len();
    crate::print(&format!(
        "{} written: {} sessions, {abnormal} abnormal, {groups} distinct sequences, {} events of templates that the catalogue lacks",
        path.display(),
        sessions.list.len(),
        sessions.events_unknown
    ));
    Ok(())
}

/// A template without a number has its place in the catalogue.
fn numbered(catalogue: &[Template]) -> Vec<Template> {
    let number = |(template, place): (&Template, u32)| Template {
        key: template.key.or(Some(place)),
        ..template.clone()
    };
    catalogue.iter().zip(1..).map(number).collect()
}

fn csv(sessions: &[Session], names: &BTreeMap<Token, &str>, name: &str, natural: bool) -> Result<Vec<u8>> {
    let by_node = sessions.iter().any(|session| session.node.is_some());
    let has_kinds = sessions.iter().any(|session| !session.kind.is_empty());
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    let mut header = if by_node {
        vec!["block_id", "block_label", "node", "n_events", "events"]
    } else {
        vec!["block_id", "label", "source", "natural", "n_events", "events"]
    };
    if has_kinds {
        header.push("kind");
    }
    csv.write_record(&header)?;
    for session in sessions {
        // Unknown templates are event 0, which no catalogue has.
        let events: Vec<&str> =
            session.tokens.iter().map(|token| names.get(token).copied().unwrap_or("0")).collect();
        let (events, count) = (events.join(" "), session.tokens.len().to_string());
        let label = if session.abnormal { "1" } else { "0" };
        let block = session.block.as_str();
        let node = session.node.as_deref().unwrap_or_default();
        let natural = if natural || session.natural { "1" } else { "0" };
        let mut row = if by_node {
            vec![block, label, node, &count, &events]
        } else {
            vec![block, label, name, natural, &count, &events]
        };
        if has_kinds {
            row.push(&session.kind);
        }
        for _ in 0..session.count {
            csv.write_record(&row)?;
        }
    }
    Ok(csv.into_inner()?)
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

    fn written(name: &str, text: &str, option: &str) -> String {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path(name), text).unwrap();
        let (input, out) = (path(name), path("out.csv"));
        run(&Cli::try_parse_from(["dataset", option, &input, "-o", &out]).unwrap().args).unwrap();
        fs::read_to_string(out).unwrap()
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let text =
            "block_id,label,source,natural,n_events,events\nblk_1,0,site,1,2,5 22\nblk_-2,1,site,0,3,5 0 7\n";
        assert_eq!(written("sessions.csv", text, "--sessions"), text);
        let kinds = "block_id,label,source,natural,n_events,events,kind\nblk_1,1,site,1,1,5,kill_client\n";
        assert_eq!(written("kinds.csv", kinds, "--sessions"), kinds);
        let nodes = "block_id,block_label,node,n_events,events\nblk_1,0,a,1,5\n";
        assert_eq!(written("nodes.csv", nodes, "--sessions"), nodes);
    }

    #[test]
    fn counted_sequences_and_traces_become_sessions() {
        let counted = written("counted.csv", "n_normal,n_abnormal,n_events,events\n2,1,1,5\n", "--sessions");
        assert_eq!(counted.lines().count(), 4);
        let traces =
            written("traces.csv", "BlockId,Label,Type,Features\nblk_1,Fail,21,\"[E5,E22]\"\n", "--traces");
        assert!(traces.ends_with("blk_1,1,site,0,2,5 22\n"), "{traces}");
    }
}
