//! blocksift-agent: reads Hadoop's logs where they are written and finds the blocks whose story is not normal.

mod cases;
mod compressed;
mod config;
mod dead_letters;
mod detect;
mod doctor;
mod encoding;
mod feed;
mod files;
mod filter;
mod input;
mod limits;
mod manual;
mod model;
mod notify;
mod otlp;
mod output;
mod pipe;
mod predict;
mod raw_lines;
mod redact;
mod reload;
mod replay;
mod run;
mod ship;
mod sink;
mod source;
mod state;
mod status;
mod summary;
mod tail;
mod text;
mod threads;
mod top;
mod validate;
mod wanted;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Finds abnormal HDFS blocks in the logs of this node.
///
/// BLOCKSIFT_LOG sets how much the agent says on standard error: error, warn, info (default), debug or trace.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    DeadLetters(dead_letters::Args),
    /// Find abnormal blocks in whole log files
    Detect(detect::Args),
    /// Score ready-made token windows
    Predict(predict::Args),
    Doctor(doctor::Args),
    Filter(pipe::Args),
    #[command(hide = true)]
    Manual(manual::Args),
    Replay(replay::Args),
    Run(run::Args),
    Test(cases::Args),
    Top(top::Args),
    Validate(validate::Args),
}

/// Exit code of everything that went wrong.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging();
    // The provider of every TLS connection; there is none yet, so it cannot fail.
    drop(rustls::crypto::ring::default_provider().install_default());
    let result = match cli.command {
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Detect(args) => detect::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Filter(args) => pipe::run(&args),
        Command::Manual(args) => manual::run::<Cli>(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => cases::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Validate(args) => validate::run(&args),
    };
    result.unwrap_or_else(|error| {
        say(&error);
        ExitCode::from(FAILED)
    })
}

/// Our own log goes to standard error; what we read never gets into it.
fn start_logging() {
    let filter = EnvFilter::try_from_env("BLOCKSIFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a command that failed; problems span several lines"
)]
fn say(error: &anyhow::Error) {
    eprintln!("{error:#}");
}
