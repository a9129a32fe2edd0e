//! `model-export dataset`: sessions from whatever holds them, as one session file that the other commands read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use blocksift_detector::template::Template;
use blocksift_detector::token::{Token, Tokenizer};
use flate2::{Compression, write::GzEncoder};

use super::{Session, Source};

/// Arguments of `dataset`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Table of events (key, logger, level, template); without it that of HDFS_v1
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
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
    let catalogue = crate::catalogue::read(args.catalogue.as_deref())?;
    let vocabulary: Vec<_> = catalogue.iter().map(Template::id).collect();
    let tokenizer = Tokenizer::new(1, &vocabulary);
    let sessions = args.source.read(&catalogue, &tokenizer)?;
    let keys = keys(&catalogue, &tokenizer);
    let csv = csv(&sessions.list, &keys, &args.name, args.natural)?;
    let packed = args.out.extension().is_some_and(|extension| extension == "gz");
    let bytes = if packed {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&csv)?;
        packer.finish()?
    } else {
        csv
    };
    crate::write(&args.out, &bytes)?;
    let abnormal = sessions.list.iter().filter(|session| session.abnormal).count();
    let groups = crate::dataset::group(&sessions.list).len();
    crate::print(&format!(
        "{} written: {} sessions, {abnormal} abnormal, {groups} distinct sequences, {} events of templates that the catalogue lacks",
        args.out.display(),
        sessions.list.len(),
        sessions.events_unknown
    ));
    Ok(())
}

/// Numbers of events by token; a template without a number has its place in the catalogue.
fn keys(catalogue: &[Template], tokenizer: &Tokenizer) -> BTreeMap<Token, u32> {
    let number =
        |(template, place): (&Template, u32)| (tokenizer.token(template.id()), template.key.unwrap_or(place));
    catalogue.iter().zip(1..).map(number).collect()
}

fn csv(sessions: &[Session], keys: &BTreeMap<Token, u32>, name: &str, natural: bool) -> Result<Vec<u8>> {
    let by_node = sessions.iter().any(|session| session.node.is_some());
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    if by_node {
        csv.write_record(["block_id", "block_label", "node", "n_events", "events"])?;
    } else {
        csv.write_record(["block_id", "label", "source", "natural", "n_events", "events"])?;
    }
    for session in sessions {
        // Unknown templates are event 0, which no catalogue has.
        let events: Vec<String> =
            session.tokens.iter().map(|token| keys.get(token).copied().unwrap_or(0).to_string()).collect();
        let (events, count) = (events.join(" "), session.tokens.len().to_string());
        let label = if session.abnormal { "1" } else { "0" };
        let block = session.block.as_str();
        for _ in 0..session.count {
            if by_node {
                let node = session.node.as_deref().unwrap_or_default();
                csv.write_record([block, label, node, &count, &events])?;
            } else {
                let natural = if natural || session.natural { "1" } else { "0" };
                csv.write_record([block, label, name, natural, &count, &events])?;
            }
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
