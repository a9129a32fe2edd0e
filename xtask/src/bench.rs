//! `cargo xtask bench`: how fast it is. A bench prints one table and, if asked, writes the same figures as flat JSON.
//! Machines differ and are never idle, so a figure counts beside those of the same run.

mod agent;
pub(crate) mod collector;
mod detector;
mod figures;
mod hdfs;
mod plugin;
mod rivals;
mod table;
mod usage;

use std::env;
use std::path::PathBuf;

use anyhow::Result;
use blocksift_tests::binaries::FOLDER_VARIABLE;
use clap::Subcommand;

use crate::cargo;
use figures::Figures;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    bench: Bench,
    /// Write the figures to this file too, as one flat JSON object.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Bench {
    /// What the agent takes of its node: CPU, memory, wakeups, disk and network, at a fixed rate of lines and when idle.
    Agent(agent::Arguments),
    /// What the collector stores a second, and how fast its page is answered.
    Collector(collector::Arguments),
    /// The detector's stages on one core, over logs of Hadoop of 2008 and of Hadoop 3.
    Detector(detector::Arguments),
    /// What writes to a real HDFS take with and without an agent on each of its nodes, in turns.
    Hdfs(hdfs::Arguments),
    /// The plugin natively, in wasmtime and in WAMR: each record in each mode, loading, the first record, memory.
    Plugin(plugin::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut figures = Figures::of_this_machine();
    println!("{}, {} threads", figures::cpu_model(), figures::threads());
    match &arguments.bench {
        Bench::Agent(arguments) => agent::run(arguments, &mut figures)?,
        Bench::Collector(arguments) => collector::run(arguments, &mut figures)?,
        Bench::Detector(arguments) => detector::run(arguments, &mut figures)?,
        Bench::Hdfs(arguments) => hdfs::run(arguments, &mut figures)?,
        Bench::Plugin(arguments) => plugin::run(arguments, &mut figures)?,
    }
    arguments.json.as_deref().map_or(Ok(()), |path| figures.write(path))
}

/// The folder of the binaries that are measured: built in release mode, unless ready ones are named.
fn binaries(packages: &[&str]) -> Result<PathBuf> {
    if let Some(folder) = env::var_os(FOLDER_VARIABLE) {
        return Ok(folder.into());
    }
    println!("building {} in release mode", packages.join(" and "));
    let packages = packages.iter().flat_map(|package| ["-p", package]);
    cargo::run(cargo::cargo().args(["build", "--release"]).args(packages))?;
    Ok(cargo::target_folder().join("release"))
}
