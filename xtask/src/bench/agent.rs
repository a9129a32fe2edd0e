//! `cargo xtask bench agent`: what the agent takes of its node. The release binary tails a DataNode's log that is written
//! at a fixed rate, with as many sessions remembered as the settings allow, and ships to a collector; then nothing is
//! written any more, and what it takes when idle is measured.

mod load;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use blocksift_tests::http;
use blocksift_tests::process::{Process, poll};
use serde_json::Value;

use super::binaries;
use super::figures::Figures;
use super::table::Table;
use super::usage::{Resident, Taken, Usage};
use crate::cargo;
use load::{Load, Writer};

/// Name of the node.
const NODE: &str = "bench";
/// Silence after which a session is scored. Shorter than an operator's minute, so that most of the remembered sessions
/// have been scored and what speaks again is scored again.
const IDLE_TIMEOUT_S: u64 = 10;
/// How long a program may take to start or end, and the agent to catch up.
const PATIENCE: Duration = Duration::from_secs(120);
/// From the end of the load to the first look at the idle agent: every session has been scored, files count as quiet,
/// and threads without work have ended.
const SETTLE: Duration = Duration::from_secs(IDLE_TIMEOUT_S + 15);
/// Time between two looks at the memory.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long the load lasts; the goals are set for 10.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// How long the idle agent is watched.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    idle: u32,
    /// Lines a second.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Sessions remembered.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// Blocks in a thousand with a fault; 30 as in HDFS_v1.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(..=1_000))]
    faults: u32,
    /// A file with further lines of the agent's configuration, sections of its own.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What was seen.
struct Seen {
    busy: Taken,
    resident: Resident,
    /// The most that was resident under load, once the log had been caught up with.
    resident_max: u64,
    idle: Taken,
    /// The agent's last summary.
    summary: Value,
    lines_per_second: f64,
}

pub(crate) fn run(arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let binaries = binaries(&["blocksift-agent", "blocksift-collector"])?;
    // Not in /tmp, which may be memory: what the agent writes to the disk is counted.
    let target = cargo::target_folder().join("bench");
    fs::create_dir_all(&target)?;
    let folder = tempfile::tempdir_in(&target).context("no temporary folder can be made")?;
    let seen = measure(arguments, &binaries, folder.path())?;
    println!("{}", tell(arguments, &seen, figures)?);
    Ok(())
}

fn measure(arguments: &Arguments, binaries: &Path, folder: &Path) -> Result<Seen> {
    let logs = folder.join("logs");
    fs::create_dir(&logs)?;
    let load = Load { lines_per_second: arguments.rate.into(), faults_per_1000: arguments.faults };
    let mut writer = Writer::create(&logs.join("hadoop-hdfs-datanode-bench.log"), load)?;
    // Some more than are remembered: every place is taken when the load begins.
    let before = writer.write_blocks(u64::from(arguments.sessions) * 6 / 5)?;
    let (mut collector, address) = start_collector(binaries, folder)?;
    let mut agent = start_agent(arguments, binaries, folder, address)?;
    catch_up(&mut agent, address, before.lines)?;
    let opened = count(&summary(address)?, "sessions_open");
    if opened < u64::from(arguments.sessions) * 9 / 10 {
        bail!("the agent remembers {opened} sessions instead of {}", arguments.sessions);
    }

    println!("{} lines read, {opened} sessions remembered; the load begins", before.lines);
    let log = writer.start()?;
    let (usage, start) = (Usage::of(agent.id())?, Instant::now());
    let mut resident_max = 0;
    while start.elapsed() < Duration::from_secs(u64::from(arguments.minutes) * 60) {
        thread::sleep(LOOK_INTERVAL);
        resident_max = resident_max.max(Resident::of(agent.id())?.now);
    }
    let busy = Usage::of(agent.id())?.since(usage);
    let lines_per_second = (log.lines() - before.lines) as f64 / busy.seconds;
    let written = log.finish().context("the log cannot be written")?;

    println!("{} lines written, {} blocks; now nothing more", written.lines, written.blocks);
    catch_up(&mut agent, address, written.lines)?;
    thread::sleep(SETTLE);
    let usage = Usage::of(agent.id())?;
    thread::sleep(Duration::from_secs(arguments.idle.into()));
    let idle = Usage::of(agent.id())?.since(usage);
    let resident = Resident::of(agent.id())?;
    end(&mut agent)?;
    let summary = summary(address)?;
    end(&mut collector)?;
    Ok(Seen { busy, resident, resident_max, idle, summary, lines_per_second })
}

pub(super) fn start_collector(binaries: &Path, folder: &Path) -> Result<(Process, SocketAddr)> {
    let program = binaries.join("blocksift-collector");
    let database = folder.join("collector.sqlite").into_os_string();
    let arguments = ["--listen".into(), "127.0.0.1:0".into(), "--database".into(), database];
    let mut collector = Process::start("the collector", program.as_os_str(), arguments)?;
    let line = collector.wait_for_line("listening on http://", PATIENCE)?;
    let address = line.rsplit('/').next().unwrap_or_default();
    let address = address.parse().with_context(|| format!("the collector said `{line}`"))?;
    Ok((collector, address))
}

/// Starts the agent with the settings that it has without a configuration, but for those of the bench.
fn start_agent(
    arguments: &Arguments,
    binaries: &Path,
    folder: &Path,
    collector: SocketAddr,
) -> Result<Process> {
    let state = folder.join("state");
    let logs = folder.join("logs/*.log*");
    let mut text = format!(
        "model = \"hdfs-v1\"\nnode = \"{NODE}\"\nzone = \"UTC\"\nstate_dir = \"{}\"\n[logs]\npaths = [\"{}\"]\n\
         [sessions]\nidle_timeout_s = {IDLE_TIMEOUT_S}\nsessions_max = {}\n\
         [ship]\nendpoint = \"http://{collector}\"\nsummary_interval_s = 10\n",
        state.display(),
        logs.display(),
        arguments.sessions
    );
    if let Some(path) = &arguments.config {
        let more = fs::read_to_string(path);
        text += &more.with_context(|| format!("`{}` cannot be read", path.display()))?;
    }
    let configuration = folder.join("agent.toml");
    fs::write(&configuration, text)?;
    let program = binaries.join("blocksift-agent");
    let arguments = ["run".into(), "--config".into(), configuration.into_os_string()];
    let mut agent = Process::start("the agent", program.as_os_str(), arguments)?;
    agent.wait_for_line("agent started", PATIENCE)?;
    Ok(agent)
}

/// Waits until the agent says that it has read so many lines.
fn catch_up(agent: &mut Process, collector: SocketAddr, lines: u64) -> Result<()> {
    let read = || summary(collector).is_ok_and(|summary| count(&summary, "lines_read") >= lines);
    if !poll(PATIENCE, || read() || !agent.running()) || !agent.running() {
        bail!("the agent has not read {lines} lines; it printed:\n{}", agent.output());
    }
    Ok(())
}

/// The latest summary at the collector; null before the first.
fn summary(collector: SocketAddr) -> Result<Value> {
    let nodes = http::get_json(collector, "/api/nodes").context("the collector does not answer")?;
    let mut nodes = nodes.get("nodes").and_then(Value::as_array).into_iter().flatten();
    Ok(nodes.find(|node| node["node"] == NODE).map_or(Value::Null, |node| node["metrics"].clone()))
}

fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or(0)
}

pub(super) fn end(process: &mut Process) -> Result<()> {
    let status = process.end(PATIENCE)?;
    if !status.success() {
        bail!("{} failed ({status}); it printed:\n{}", process.name().to_owned(), process.output());
    }
    Ok(())
}

/// How a figure is written.
#[derive(Clone, Copy)]
enum Unit {
    Count,
    Percent,
    Mebibytes,
    Ratio,
}

impl Unit {
    fn write(self, figure: f64) -> String {
        match self {
            Self::Count => format!("{figure:.1}"),
            Self::Percent => format!("{figure:.2} %"),
            Self::Mebibytes => format!("{:.1} MiB", figure / (1_024.0 * 1_024.0)),
            Self::Ratio => format!("{figure:.4}"),
        }
    }
}

fn tell(arguments: &Arguments, seen: &Seen, figures: &mut Figures) -> Result<Table> {
    let (bytes_read, lines_read) = (count(&seen.summary, "bytes_read"), count(&seen.summary, "lines_read"));
    if lines_read == 0 {
        bail!("the agent has sent no summary");
    }
    let bytes_a_line = bytes_read as f64 / lines_read as f64;
    let bytes_under_load = seen.lines_per_second * seen.busy.seconds * bytes_a_line;
    let written = seen.busy.bytes_written as f64 / bytes_under_load;
    let shipped = count(&seen.summary, "bytes_shipped") as f64 / bytes_read as f64;
    let rows = [
        ("lines a second", "lines_per_second", seen.lines_per_second, Unit::Count, ""),
        ("CPU under load, of a core", "cpu_percent", seen.busy.cpu_percent, Unit::Percent, "2 %"),
        ("RSS under load, at most", "rss_bytes", seen.resident_max as f64, Unit::Mebibytes, "40 MiB"),
        ("RSS ever, catching up included", "rss_peak_bytes", seen.resident.peak as f64, Unit::Mebibytes, ""),
        (
            "RSS that no file backs",
            "rss_anonymous_bytes",
            seen.resident.anonymous as f64,
            Unit::Mebibytes,
            "",
        ),
        ("wakeups a second under load", "wakeups_per_second", seen.busy.wakeups_per_second, Unit::Count, ""),
        ("bytes written to disk per byte read", "bytes_written_per_byte_read", written, Unit::Ratio, ""),
        ("bytes shipped per byte read", "bytes_shipped_per_byte_read", shipped, Unit::Ratio, ""),
        ("CPU when idle, of a core", "idle.cpu_percent", seen.idle.cpu_percent, Unit::Percent, "0 %"),
        (
            "wakeups a second when idle",
            "idle.wakeups_per_second",
            seen.idle.wakeups_per_second,
            Unit::Count,
            "1",
        ),
    ];
    println!(
        "\n{} min of load, {} sessions remembered, {} of a thousand blocks with a fault, {} reports",
        arguments.minutes,
        count(&seen.summary, "sessions_open"),
        arguments.faults,
        count(&seen.summary, "reports_shipped")
    );
    let mut table = Table::new(&["", "measured", "goal"]);
    for (title, name, figure, unit, goal) in rows {
        table.row([title.to_owned(), unit.write(figure), goal.to_owned()]);
        figures.set(format!("agent.{name}"), figure);
    }
    Ok(table)
}
