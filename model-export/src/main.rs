//! `model-export`: trains, quantizes and evaluates the model of blocksift.

mod bench;
mod card;
mod catalogue;
mod dataset;
mod evaluate;
mod fit;
mod graph;
mod input;
mod inspect;
mod method;
mod net;
mod quantize;
mod sheet;
mod threshold;
mod train;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trains, quantizes and evaluates the model of blocksift.
#[derive(Debug, Parser)]
#[command(name = "model-export", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a CNN on labelled sessions, quantize it to int8 and write it as one .onnx file
    Train(Box<train::Args>),
    /// Measure a model file on labelled sessions
    Evaluate(evaluate::Args),
    /// Measure how long a model file takes for a window
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Prints a result. A reader that has gone away is no reason to fail.
fn print(text: &str) {
    writeln!(std::io::stdout(), "{text}").unwrap_or_default();
}

/// Tells the user something that is no result.
fn warn(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap_or_default();
}
