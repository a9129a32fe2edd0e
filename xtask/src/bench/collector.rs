//! `cargo xtask bench collector`: flagged sessions that the release binary stores a second, by wall clock and by CPU time of
//! its own, in requests of 100 over HTTP with SQLite on the disk; how it stands a fleet of agents ([`fleet`]); then, with many
//! more sessions stored, how long it takes to answer what the page asks.

mod fleet;
pub(crate) mod otlp;

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use blocksift_tests::http;
use blocksift_tests::process::Process;

use super::binaries;
use super::figures::Figures;
use super::table::Table;
use super::usage::Usage;
use crate::cargo;

/// How long the collector may take to start or end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Sessions of one request.
const BATCH: u64 = 100;
/// Connections that send at once: what waits is stored in one transaction, and a fleet that flags has many senders.
const SENDERS: u64 = 16;
/// Requests that are written before the time is taken; they are sent once each.
const PREPARED: u64 = 500;
/// Times that each question is asked.
const ASKED: usize = 21;
/// What the page asks, and its name among the figures. The sessions are of November 2023.
const QUESTIONS: [(&str, &str); 5] = [
    ("overview of 30 days", "/api/overview?from=2023-11-14T00:00:00Z&to=2023-12-14T00:00:00Z"),
    ("overview of a day", "/api/overview?from=2023-11-14T22:00:00Z&to=2023-11-15T22:00:00Z"),
    ("incidents", "/api/incidents?limit=100"),
    ("sessions", "/api/sessions?limit=100"),
    ("sessions of a node", "/api/sessions?node=dn7&limit=100"),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Sessions whose storing is measured.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    sessions: u64,
    /// Sessions that are there when the questions are asked; those beyond the measured ones are small.
    #[arg(long, default_value_t = 0)]
    stored: u64,
    /// Agents that send at once; none if 0.
    #[arg(long, default_value_t = 10_000)]
    agents: usize,
    /// Minutes for which their requests are measured, after one in which they connect.
    #[arg(long, default_value_t = 2)]
    minutes: u32,
}

pub(crate) fn run(arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let binaries = binaries(&["blocksift-collector"])?;
    // Not in /tmp, which may be memory.
    let target = cargo::target_folder().join("bench");
    fs::create_dir_all(&target)?;
    let folder = tempfile::tempdir_in(&target).context("no temporary folder can be made")?;
    let (mut collector, address) = start(&binaries, folder.path())?;
    let stored = store(&collector, address, 0..arguments.sessions, otlp::request)?;
    let mut table = Table::new(&[
        "",
        "sessions/s",
        "sessions/s per core of the collector",
        "bytes a session on the disk",
    ]);
    let bytes = fs::metadata(folder.path().join("collector.sqlite"))?.len() / stored.sessions;
    table.row([
        format!("{} sessions in requests of {BATCH}", stored.sessions),
        format!("{:.0}", stored.sessions as f64 / stored.wall_s),
        format!("{:.0}", stored.sessions as f64 / stored.cpu_s),
        bytes.to_string(),
    ]);
    figures.set("collector.sessions_per_second", stored.sessions as f64 / stored.wall_s);
    figures.set("collector.sessions_per_core_second", stored.sessions as f64 / stored.cpu_s);
    figures.set("collector.bytes_per_session", bytes);
    println!("{table}");
    if arguments.agents > 0 {
        fleet::run(&collector, address, arguments.agents, arguments.minutes, figures)?;
    }
    if arguments.stored > stored.sessions {
        let filled = store(&collector, address, stored.sessions..arguments.stored, otlp::small_request)?;
        println!("{} more sessions with one event each, {:.0} s", filled.sessions, filled.wall_s);
    }
    figures.set("collector.sessions_stored", arguments.stored.max(stored.sessions));
    let mut table = Table::new(&["", "median ms", "most ms"]);
    for (name, path) in QUESTIONS {
        let times = ask(address, path)?;
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let most = times.last().copied().unwrap_or_default();
        table.row([name.to_owned(), format!("{median:.1}"), format!("{most:.1}")]);
        figures.set(format!("collector.{}_ms", name.replace(' ', "_")), median);
    }
    println!("{table}");
    if !collector.end(PATIENCE)?.success() {
        bail!("the collector failed; it printed:\n{}", collector.output());
    }
    Ok(())
}

/// Starts a collector of these binaries on a free port, with its database in `folder`.
pub(crate) fn start(binaries: &Path, folder: &Path) -> Result<(Process, SocketAddr)> {
    let program = binaries.join("blocksift-collector");
    let database = folder.join("collector.sqlite").into_os_string();
    let arguments = ["--listen".into(), "127.0.0.1:0".into(), "--database".into(), database];
    let mut collector = Process::start("the collector", program.as_os_str(), arguments)?;
    let line = collector.wait_for_line("listening on http://", PATIENCE)?;
    let address = line.rsplit('/').next().unwrap_or_default();
    let address = address.parse().with_context(|| format!("the collector said `{line}`"))?;
    Ok((collector, address))
}

struct Stored {
    sessions: u64,
    wall_s: f64,
    cpu_s: f64,
}

/// Sends the sessions of these numbers, in rounds: what a round sends is written before its time is taken.
fn store(
    collector: &Process,
    address: SocketAddr,
    numbers: Range<u64>,
    request: fn(&str, u64, u64) -> Vec<u8>,
) -> Result<Stored> {
    let mut stored = Stored { sessions: 0, wall_s: 0.0, cpu_s: 0.0 };
    while numbers.start + stored.sessions < numbers.end {
        let first = numbers.start + stored.sessions;
        let count = PREPARED.min((numbers.end - first).div_ceil(BATCH));
        let requests: Vec<Vec<u8>> =
            (0..count).map(|at| request(&format!("dn{}", at % 200), first + at * BATCH, BATCH)).collect();
        let (before, start) = (Usage::of(collector.id())?, Instant::now());
        send(address, &requests)?;
        stored.wall_s += start.elapsed().as_secs_f64();
        let taken = Usage::of(collector.id())?.since(before);
        stored.cpu_s += taken.cpu_percent / 100.0 * taken.seconds;
        stored.sessions += count * BATCH;
    }
    Ok(stored)
}

fn send(address: SocketAddr, requests: &[Vec<u8>]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let take = || -> Result<()> {
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer =
                http::post(address, "/v1/logs", &[("Content-Type", "application/x-protobuf")], request)?;
            // An empty answer: everything was taken.
            if answer.status != 200 || !answer.body.is_empty() {
                bail!("a request was answered with {}: {}", answer.status, answer.text());
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(take)).collect();
        senders.into_iter().try_for_each(|sender| sender.join().unwrap_or_else(|_| bail!("a sender failed")))
    })
}

/// How long each of several answers took, in ms, shortest first.
fn ask(address: SocketAddr, path: &str) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let start = Instant::now();
        let answer = http::get(address, path)?;
        if answer.status != 200 {
            bail!("{path} was answered with {}: {}", answer.status, answer.text());
        }
        times.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
