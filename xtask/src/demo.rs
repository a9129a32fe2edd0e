//! `cargo xtask demo`: a collector and three agents at work on logs that a simulator writes live, faults included, or
//! one agent on the user's own logs. At the end it says what was read and shipped and which faults were caught; the
//! figures are the collector's, the truth is the simulator's.

mod figures;
mod fleet;
mod table;

use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use blocksift_tests::process::poll;
use blocksift_tests::simulate::Cluster;
use blocksift_tests::simulate::live::{Live, Written, log_path};

use crate::{cargo, stop};
use figures::Figures;
use fleet::{Fleet, NodeSetup};

/// Blocks in a thousand that the simulator gives a fault.
const FAULTS_PER_1000: u32 = 60;
/// Time between two looks at the figures.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long the agents may take to read what was written, once nothing more is.
const CATCH_UP: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// End after this many seconds; without it at Ctrl-C.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Read these log files with one agent, from their start and on, instead of simulated ones.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    log: Vec<PathBuf>,
    /// Model for the agents; without it the one that comes with them.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Lines a second that the simulator writes, over all nodes.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// Equal seeds simulate the same blocks and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let stop = stop::flag()?;
    let logs = arguments.log.iter().map(|log| own_log(log)).collect::<Result<Vec<_>>>()?;
    let model = arguments.model.as_deref().map(|model| {
        model.canonicalize().with_context(|| format!("model `{}` cannot be read", model.display()))
    });
    // The simulator's logs are of 2008, and there are none yet when the agents start.
    let simulated = || logs.is_empty().then(|| PathBuf::from("hdfs-v1"));
    let model = model.transpose()?.or_else(simulated);
    println!("building agent and collector in release mode");
    cargo::run(cargo::cargo().args([
        "build",
        "--release",
        "-p",
        "blocksift-agent",
        "-p",
        "blocksift-collector",
    ]))?;
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let setups = if logs.is_empty() { simulated_nodes(folder.path()) } else { vec![NodeSetup::own(logs)] };
    let mut fleet = Fleet::start(folder.path(), &setups, model.as_deref())?;
    println!("watch it at http://{}/ (Ctrl-C ends the demo)", fleet.address());
    let live = if arguments.log.is_empty() {
        let start =
            Live::start(folder.path(), &Cluster::WATCHED, arguments.seed, arguments.rate, FAULTS_PER_1000);
        Some(start.context("the simulator cannot write its logs")?)
    } else {
        None
    };
    watch(&mut fleet, &stop, arguments.seconds.map(Duration::from_secs))?;
    let truth = live.map(Live::finish).transpose().context("the simulator failed")?;
    if let Some(truth) = &truth {
        settle(&mut fleet, truth)?;
    }
    fleet.end_agents()?;
    let figures = Figures::fetch(fleet.address())?;
    fleet.end_collector()?;
    println!("{}", table::render(&figures, truth.as_ref()));
    match truth {
        Some(truth) if figures.total().lines_read != truth.lines => {
            bail!("{} lines were written, {} read", truth.lines, figures.total().lines_read)
        }
        _ => Ok(()),
    }
}

fn own_log(log: &Path) -> Result<PathBuf> {
    if log.extension().is_some_and(|end| end == "gz" || end == "zst") {
        bail!("`{}` is compressed; use `blocksift-agent detect` for it, or unpack it", log.display());
    }
    log.canonicalize().with_context(|| format!("log `{}` cannot be read", log.display()))
}

fn simulated_nodes(folder: &Path) -> Vec<NodeSetup> {
    let setup = |node| NodeSetup::simulated(node, log_path(folder, node));
    Cluster::WATCHED.into_iter().map(setup).collect()
}

/// Shows the figures until it is time to end.
fn watch(fleet: &mut Fleet, stop: &AtomicBool, duration: Option<Duration>) -> Result<()> {
    let start = Instant::now();
    let terminal = stderr().is_terminal();
    while !stop.load(Ordering::Relaxed) && duration.is_none_or(|duration| start.elapsed() < duration) {
        fleet.check()?;
        if terminal {
            let total = Figures::fetch(fleet.address())?.total();
            eprint!("\r\x1b[K{:>4} s  {total}", start.elapsed().as_secs());
            stderr().flush()?;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    if terminal {
        eprintln!();
    }
    Ok(())
}

/// Waits until every line was read and the last sessions had the time to fall quiet and be scored.
fn settle(fleet: &mut Fleet, truth: &Written) -> Result<()> {
    println!("no more lines; waiting for the last sessions to be scored");
    let address = fleet.address();
    let read_all = || Figures::fetch(address).is_ok_and(|figures| figures.total().lines_read >= truth.lines);
    if !poll(CATCH_UP, read_all) {
        fleet.check()?;
        let read = Figures::fetch(address)?.total().lines_read;
        bail!("{} lines were written, but only {read} read within {} s", truth.lines, CATCH_UP.as_secs());
    }
    let all_caught = || {
        Figures::fetch(address).is_ok_and(|figures| {
            truth.faults.iter().all(|fault| figures.flags_of(fault.block).next().is_some())
        })
    };
    // A fault that is missed makes this last its whole time, which is when every verdict is there.
    poll(fleet::VERDICT_AFTER, all_caught);
    fleet.check()
}
