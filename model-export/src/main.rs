//! `model-export`: mines templates, trains, quantizes and evaluates the model of blocksift.

mod card;
mod catalogue;
mod dataset;
mod evaluate;
mod fit;
mod graph;
mod input;
mod mine;
mod net;
mod quantize;
mod sheet;
mod threshold;
mod train;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Mines templates, trains, quantizes and evaluates the model of blocksift.
#[derive(Debug, Parser)]
#[command(name = "model-export", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find the templates in logs and write them as a catalogue to train with
    Mine(mine::Args),
    /// Train a CNN on labelled sessions, quantize it to int8 and write it as one .onnx file
    Train(Box<train::Args>),
    /// Measure a model file on labelled sessions
    Evaluate(evaluate::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Mine(args) => mine::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
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
