//! `cargo xtask`: the set-up and the checks of blocksift. `demo` shows it at work, `test` decides whether a change is
//! good, `soak` does so at length, `simulate` writes a log to play with, `hdfs` has a real cluster write some, `bench`
//! measures, `plugin` builds the WASM module, `dist` makes a release.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line for developers speaks to its terminal"
)]

mod ansible;
mod api;
mod bench;
mod cargo;
mod demo;
mod deploy;
mod dist;
mod hdfs;
mod kafka;
mod machine;
mod packages;
mod postgres;
mod python;
mod simulate;
mod soak;
mod stop;
mod test;
mod tidy;
mod wasm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Demo and checks of blocksift", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a collector and agents on logs that a simulator writes live, or on your own.
    Demo(demo::Arguments),
    /// Check everything, or the steps that are named, in this order.
    Test(test::Arguments),
    /// Run the long forms of the tests: hundreds of kills, hours if you like.
    Soak(soak::Arguments),
    /// Build the plugin: the WASM module for Fluent Bit.
    Plugin(wasm::Arguments),
    /// Make a release: packages, plugin, models, bill of materials, checksums.
    Dist(dist::Arguments),
    /// Measure how fast it is; each figure with those of the same run that it is to be compared with.
    Bench(bench::Arguments),
    /// Run a real HDFS on this machine, put load on it and inject faults.
    Hdfs(hdfs::Arguments),
    /// Write the log of a simulated cluster and what is true of it.
    Simulate(simulate::Arguments),
    /// The part of `test ansible` that runs in namespaces of its own.
    #[command(hide = true)]
    AnsibleInside(ansible::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Plugin(arguments) => wasm::plugin(&arguments),
        Task::Dist(arguments) => dist::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Hdfs(arguments) => hdfs::run(&arguments),
        Task::Simulate(arguments) => simulate::run(&arguments),
        Task::AnsibleInside(arguments) => ansible::inside(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
