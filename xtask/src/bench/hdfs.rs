//! `cargo xtask bench hdfs`: what a client of HDFS notices of the agents. A real cluster under load, an agent with its
//! default limits on each of its nodes; files are written one after the other and timed, in turns with agents and without.
//! An agent that starts reads what was written while it was away, so its turns hold its work for both.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use blocksift_tests::hdfs::artifacts::{Artifacts, HADOOP};
use blocksift_tests::hdfs::client::{self, Client};
use blocksift_tests::hdfs::{DATANODES, NAMENODE, Site};
use blocksift_tests::process::Process;

use super::agent::{end, start_collector};
use super::binaries;
use super::figures::Figures;
use super::table::Table;
use super::usage::Usage;
use crate::{cargo, hdfs};

const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a file: a tenth of a block, so that it is the pipeline that takes the time and not the disk.
const FILE_BYTES: u32 = 100_000;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Turns with agents, and as many without.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    /// Files timed in a turn.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// Files a second that are begun.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Clients beside it, each with five operations a second.
    #[arg(long, default_value_t = 1)]
    clients: u32,
}

/// What was seen of turns of one kind.
#[derive(Default)]
struct Seen {
    /// Microseconds that a file took.
    took_us: Vec<u64>,
    seconds: f64,
    /// Of one core, all agents together.
    cpu_seconds: f64,
}

pub(crate) fn run(arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let artifacts = Artifacts::fetch(&hdfs::sources(), &cargo::target_folder(), HADOOP)?;
    let binaries = binaries(&["blocksift-agent", "blocksift-collector"])?;
    let target = cargo::target_folder().join("bench");
    fs::create_dir_all(&target)?;
    let folder = tempfile::tempdir_in(&target).context("no temporary folder can be made")?;
    let mut seen = [Seen::default(), Seen::default()];
    hdfs::tended(&folder.path().join("site"), &artifacts, |site, _| {
        measure(arguments, &binaries, folder.path(), site, &artifacts, &mut seen)
    })?;
    println!("{}", tell(arguments, seen, figures));
    Ok(())
}

fn measure(
    arguments: &Arguments,
    binaries: &Path,
    folder: &Path,
    site: &Site,
    artifacts: &Artifacts,
    seen: &mut [Seen; 2],
) -> Result<()> {
    let mut client = Client::serving(site, artifacts, "measure")?;
    client.ask(&format!("nodes / {DATANODES}"))?;
    let (mut collector, address) = start_collector(binaries, folder)?;
    let mut beside = Vec::new();
    for number in 1..=arguments.clients {
        let words = ["mix".to_owned(), number.to_string(), "1".into(), "5".into(), "86400".into()];
        let mixing = Client::start(site, artifacts, &format!("mix-{number}"), &words)?;
        mixing.line(PATIENCE)?;
        beside.push(mixing);
    }
    let command = format!("measure /measured {} {FILE_BYTES} {}", arguments.files, arguments.rate);
    // Not counted: the JVMs compile what is called often.
    client.ask(&command)?;
    for turn in 0..arguments.turns * 2 {
        let with = turn % 2 == 1;
        let mut agents = if with { start_agents(binaries, folder, site, address)? } else { Vec::new() };
        let usage = agents.iter().map(|agent| Usage::of(agent.id())).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        let answer = client.ask(&command)?;
        let Some(seen) = seen.get_mut(usize::from(with)) else { continue };
        seen.took_us.extend(client::blocks(&answer).into_iter().filter_map(|took| u64::try_from(took).ok()));
        seen.seconds += begun.elapsed().as_secs_f64();
        for (agent, before) in agents.iter().zip(usage) {
            let taken = Usage::of(agent.id())?.since(before);
            seen.cpu_seconds += taken.cpu_percent / 100.0 * taken.seconds;
        }
        println!(
            "turn {} of {}: {} files written {}",
            turn + 1,
            arguments.turns * 2,
            arguments.files,
            if with { "with agents" } else { "without" }
        );
        agents.iter_mut().try_for_each(end)?;
    }
    for mixing in beside {
        client::finish(mixing)?;
    }
    end(&mut collector)
}

/// One on each node, with its own state and the settings that it has without a configuration.
fn start_agents(binaries: &Path, folder: &Path, site: &Site, collector: SocketAddr) -> Result<Vec<Process>> {
    let mut agents = Vec::new();
    for name in [NAMENODE.to_owned()].into_iter().chain(site.names()) {
        let own = folder.join(format!("agent-{name}"));
        fs::create_dir_all(&own)?;
        let text = format!(
            "node = \"{name}\"\nzone = \"UTC\"\nstate_dir = \"{}\"\n[logs]\npaths = [\"{}/*.log*\"]\n\
             [status]\nlisten = \"unix:{}\"\n[ship]\nendpoint = \"http://{collector}\"\n",
            own.join("state").display(),
            site.node_folder(&name).join("logs").display(),
            own.join("status.sock").display(),
        );
        let configuration = own.join("agent.toml");
        fs::write(&configuration, text)?;
        let program = binaries.join("blocksift-agent");
        let arguments: [OsString; 3] = ["run".into(), "--config".into(), configuration.into_os_string()];
        let mut agent = Process::start(&name, program.as_os_str(), arguments)?;
        agent.wait_for_line("agent started", PATIENCE)?;
        agents.push(agent);
    }
    Ok(agents)
}

fn tell(arguments: &Arguments, seen: [Seen; 2], figures: &mut Figures) -> Table {
    println!(
        "\nfiles of {FILE_BYTES} bytes on three DataNodes each, {} turns of {} files with and without agents, {} clients beside",
        arguments.turns, arguments.files, arguments.clients
    );
    let mut table = Table::new(&["", "files", "p50 ms", "p99 ms", "CPU of all agents"]);
    for (mut seen, (title, name)) in seen.into_iter().zip([("without", "without"), ("with agents", "with")]) {
        seen.took_us.sort_unstable();
        let percentile = |percent: usize| {
            let at = (percent * seen.took_us.len()).div_ceil(100);
            seen.took_us.get(at.saturating_sub(1)).map_or(0.0, |us| *us as f64 / 1_000.0)
        };
        let (half, most, cpu) = (percentile(50), percentile(99), 100.0 * seen.cpu_seconds / seen.seconds);
        let cells = [title.to_owned(), seen.took_us.len().to_string()];
        let measured = [format!("{half:.2}"), format!("{most:.2}"), format!("{cpu:.2} % of a core")];
        table.row(cells.into_iter().chain(measured));
        figures.set(format!("hdfs.write.{name}.p50_ms"), half);
        figures.set(format!("hdfs.write.{name}.p99_ms"), most);
        figures.set(format!("hdfs.agents.{name}.cpu_percent"), cpu);
    }
    table
}
