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
mod report;
mod sheet;
mod threshold;
mod train;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

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
