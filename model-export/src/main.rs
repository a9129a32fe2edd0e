//! `model-export`: mines templates, trains, quantizes and evaluates the model of blocksift.

mod bench;
mod card;
mod catalogue;
mod compare;
mod dataset;
mod evaluate;
mod fit;
mod graph;
mod import;
mod input;
mod inspect;
mod method;
mod mine;
mod net;
mod quantize;
mod report;
mod sheet;
mod sign;
mod threshold;
mod train;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

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
    /// Write sessions from logs, LogHub files or collector marks as one session file
    Dataset(input::write::Args),
    /// Train a model on sessions and write it as one .onnx file, quantized to int8 where it is a CNN
    Train(Box<train::Args>),
    /// Make an int8 model file of a float ONNX file that maps `tokens` to `score`
    Quantize(import::Args),
    /// Measure a model file on labelled sessions
    Evaluate(Box<evaluate::Args>),
    /// Tell what a model file is
    Inspect(inspect::Args),
    /// Compare two model files on the same sessions
    Compare(compare::Args),
    /// Set the threshold of a model file
    Threshold(threshold::Args),
    /// Write the model card of a model file
    Card(card::Args),
    /// Make a pair of keys to sign models with
    NewKey(sign::NewKey),
    /// Sign a model file, for agents with `model_signed_by`
    Sign(sign::Sign),
    /// Tell whether a model file was signed with a key
    Verify(sign::Verify),
    /// Measure how long a model file takes for a window
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Mine(args) => mine::run(&args),
        Command::Dataset(args) => input::write::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Quantize(args) => import::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Threshold(args) => threshold::run(&args),
        Command::Card(args) => card::run(&args),
        Command::NewKey(args) => sign::new_key(&args),
        Command::Sign(args) => sign::sign(&args),
        Command::Verify(args) => sign::verify(&args),
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

/// A progress bar, drawn on a terminal only.
fn progress(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(&format!("{{bar:40}} {{percent}} % {template}")) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Replaces a file as a whole.
///
/// # Errors
/// If it cannot be written.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().with_context(|| format!("{} is not a file name", path.display()))?;
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = path.with_file_name(partial);
    let failed = || format!("{} cannot be written; check the directory", path.display());
    fs::write(&partial, bytes).with_context(failed)?;
    fs::rename(&partial, path).with_context(failed)
}

/// Tells the user something that is no result.
fn warn(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap_or_default();
}
