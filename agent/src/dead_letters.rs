//! `blocksift-agent dead-letters`: the reports that the receiver refused for good, and another try for them. The agent
//! must not be running: its store has one user at a time.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use serde::Serialize;

use crate::config::Config;
use crate::state::{DeadLetter, Store};

/// Show the reports that the receiver refused for good, or ship them again; the agent must be stopped.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/blocksift/agent.toml")]
    config: PathBuf,
    /// Put them back into the spool, to be shipped when the agent runs
    #[arg(long)]
    retry: bool,
}

/// One line of output.
#[derive(Serialize)]
struct Line<'a> {
    refused: String,
    reason: &'a str,
    report: &'a blocksift_detector::Report,
}

/// Prints one JSON object a dead letter, the oldest first.
///
/// # Errors
/// If there is no store, the agent runs, or the disk fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    if !Store::exists(&config.state_dir) {
        bail!(
            "there is no store in `{}`; is it the state_dir of an agent that ran?",
            config.state_dir.display()
        );
    }
    let (store, _) = Store::open(&config.state_dir)?;
    match write(&store.read_dead_letters()?, &mut io::stdout().lock()) {
        // A reader that has seen enough (`| head`) is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        outcome => outcome.context("standard output cannot be written")?,
    }
    if args.retry {
        store.retry_dead_letters()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(letters: &[DeadLetter], out: &mut impl Write) -> io::Result<()> {
    for DeadLetter { refused_ms, reason, report } in letters {
        let refused = jiff::Timestamp::from_millisecond(*refused_ms).unwrap_or_default().to_string();
        serde_json::to_writer(&mut *out, &Line { refused, reason, report })?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
