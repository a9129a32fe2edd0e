//! Many agents at once: each keeps its connection and sends a summary a minute; every minute a hundredth of them send a hundred
//! flagged sessions each, within a few seconds, as when a switch fails. Times count from when a request was due, so that one
//! that had to wait for others is not forgotten.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use blocksift_tests::process::{Process, raise_open_files};

use super::super::figures::Figures;
use super::super::table::Table;
use super::super::usage::Usage;
use super::otlp;

/// Threads that send; each has its share of the agents.
const SENDERS: usize = 64;
/// Flagged sessions that an agent sends at once.
const BURST: u64 = 100;
/// How many agents there are for one that flags in a minute.
const AGENTS_FOR_A_BURST: usize = 100;
/// When in the minute bursts begin, and within which time.
const BURSTS_AT: Duration = Duration::from_secs(30);
const BURSTS_WITHIN: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Numbers of the flagged sessions, out of the way of others'.
const NUMBERS_FROM: u64 = 1 << 33;

/// What a request carried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Summary,
    Burst,
}

/// A request to be sent.
struct Planned {
    due: Duration,
    agent: usize,
    minute: u32,
    kind: Kind,
}

/// Runs `agents` for a minute in which they connect, then for `minutes` that count.
pub(super) fn run(
    collector: &Process,
    address: SocketAddr,
    agents: usize,
    minutes: u32,
    figures: &mut Figures,
) -> Result<()> {
    raise_open_files().context("the limit of open files cannot be raised")?;
    let start = Instant::now();
    let shares: Vec<Vec<Planned>> = (0..SENDERS).map(|sender| plan(sender, agents, minutes)).collect();
    let mut before = None;
    let sent: Vec<(Kind, Duration)> = thread::scope(|scope| {
        let senders: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || send(address, start, share))).collect();
        thread::sleep(MINUTE.saturating_sub(start.elapsed()));
        before = Some(Usage::of(collector.id()));
        let mut all = Vec::new();
        for sender in senders {
            all.extend(sender.join().unwrap_or_else(|_| bail!("a sender failed"))?);
        }
        anyhow::Ok(all)
    })?;
    let used = Usage::of(collector.id())?.since(before.context("nothing was measured")??);
    let mut table = Table::new(&["", "requests", "median ms", "p99 ms", "most ms"]);
    for (name, kind) in [("all", None), ("summaries", Some(Kind::Summary)), ("bursts", Some(Kind::Burst))] {
        let chosen = sent.iter().filter(|(of, _)| kind.is_none_or(|kind| kind == *of));
        let mut times: Vec<f64> = chosen.map(|(_, time)| time.as_secs_f64() * 1_000.0).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        let [median, p99, most] = [50, 99, 100].map(|share| at(share).copied().unwrap_or_default());
        let figure = |number: f64| format!("{number:.1}");
        table.row([name.to_owned(), times.len().to_string(), figure(median), figure(p99), figure(most)]);
        figures.set(format!("collector.fleet_{name}_p99_ms"), p99);
    }
    println!("{agents} agents for {minutes} minutes:\n{table}");
    println!("the collector took {:.1} % of a core", used.cpu_percent);
    figures.set("collector.fleet_agents", agents as u64);
    figures.set("collector.fleet_cpu_percent", used.cpu_percent);
    Ok(())
}

/// What one sender has to do, in order.
fn plan(sender: usize, agents: usize, minutes: u32) -> Vec<Planned> {
    let mut planned = Vec::new();
    for minute in 0..=minutes {
        let begin = MINUTE * minute;
        for agent in (sender..agents).step_by(SENDERS) {
            let due = begin + spread(agent, MINUTE);
            planned.push(Planned { due, agent, minute, kind: Kind::Summary });
            if minute > 0 && agent % AGENTS_FOR_A_BURST == minute as usize % AGENTS_FOR_A_BURST {
                let due = begin + BURSTS_AT + spread(agent, BURSTS_WITHIN);
                planned.push(Planned { due, agent, minute, kind: Kind::Burst });
            }
        }
    }
    planned.sort_by_key(|planned| planned.due);
    planned
}

/// A time of its own for each agent, the same in every minute.
fn spread(agent: usize, within: Duration) -> Duration {
    let hash = (agent as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    within.mul_f64(hash as f64 / f64::from(u32::MAX))
}

/// Sends a share; returns how long the requests of the minutes that count took.
fn send(address: SocketAddr, start: Instant, share: Vec<Planned>) -> Result<Vec<(Kind, Duration)>> {
    let mut connections: std::collections::HashMap<usize, TcpStream> = std::collections::HashMap::new();
    let mut took = Vec::new();
    for Planned { due, agent, minute, kind } in share {
        let node = format!("agent{agent}");
        let (path, body) = match kind {
            Kind::Summary => ("/v1/metrics", otlp::summary(&node, u64::from(minute))),
            Kind::Burst => {
                let first = NUMBERS_FROM + (u64::from(minute) * 1_000_000 + agent as u64) * BURST;
                ("/v1/logs", otlp::request(&node, first, BURST))
            }
        };
        thread::sleep(due.saturating_sub(start.elapsed()));
        let due = start + due;
        let connection = match connections.entry(agent) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(connect(address)?),
        };
        let answer = post(connection, address, path, &body)
            .with_context(|| format!("a request of agent {agent} had no answer"))?;
        if minute > 0 {
            took.push((kind, due.elapsed()));
        }
        if !answer.starts_with("http/1.1 200") {
            bail!("a request of agent {agent} was answered with:\n{answer}");
        }
    }
    Ok(took)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, PATIENCE).context("the collector takes no connection")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a request on a connection that stays open; returns the head of the answer.
fn post(stream: &mut TcpStream, address: SocketAddr, path: &str, body: &[u8]) -> io::Result<String> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let (mut answer, mut part) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut part)?;
        answer.extend_from_slice(part.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(head.to_owned());
            }
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
