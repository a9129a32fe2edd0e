//! Programs under test, their files, and what they said. Everything ends with the test that started it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use blocksift_tests::binaries::binary;
use blocksift_tests::http;
use blocksift_tests::process::{Process, poll};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything: far more than a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a program said that ran to its end.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end, with nothing on its standard input.
pub(crate) fn run<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Said {
    run_with_input(name, arguments, Stdio::null())
}

/// Runs a program to its end.
pub(crate) fn run_with_input<A: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = A>,
    input: Stdio,
) -> Said {
    let output = Command::new(binary(name)).args(arguments).stdin(input).output().unwrap();
    let said = Said {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    said
}

/// Block and score of every flagged session.
pub(crate) type Flags = BTreeMap<String, f32>;

/// What `blocksift-agent detect` made of some files.
#[derive(Debug)]
pub(crate) struct Detected {
    pub(crate) code: i32,
    pub(crate) reports: Vec<Value>,
    pub(crate) summary: Value,
    pub(crate) stderr: String,
}

impl Detected {
    pub(crate) fn flags(&self) -> Flags {
        self.reports.iter().map(block_and_score).collect()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        count(&self.summary, name)
    }
}

/// Runs `detect` on the files and checks that its ledger adds up.
pub(crate) fn detect(logs: &[&Path]) -> Detected {
    detect_with(&[], logs)
}

/// As [`detect`], with further arguments.
pub(crate) fn detect_with(further: &[&OsStr], logs: &[&Path]) -> Detected {
    let folder = TempDir::new().unwrap();
    let summary = folder.path().join("summary.json");
    let mut arguments: Vec<OsString> = vec!["detect".into(), "--zone".into(), "UTC".into()];
    arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
    arguments.extend(logs.iter().map(|log| log.as_os_str().to_owned()));
    arguments.extend(["--summary".into(), summary.clone().into()]);
    let said = run("blocksift-agent", arguments);
    let summary = fs::read_to_string(summary).unwrap_or_else(|_| panic!("no summary: {}", said.stderr));
    let summary = serde_json::from_str(&summary).unwrap();
    assert_adds_up(&summary);
    let reports = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Detected { code: said.code, reports, summary, stderr: said.stderr }
}

/// `lines_read` is the sum of its parts.
pub(crate) fn assert_adds_up(summary: &Value) {
    let skipped: u64 =
        summary["lines_skipped"].as_object().into_iter().flatten().map(|(_, n)| n.as_u64().unwrap()).sum();
    let parts = count(summary, "lines_in_sessions") + count(summary, "lines_without_key") + skipped;
    assert_eq!(count(summary, "lines_read"), parts, "{summary}");
}

pub(crate) fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("`{name}` is missing in {summary}"))
}

pub(crate) fn block_and_score(report: &Value) -> (String, f32) {
    let score = report["score"].as_f64().unwrap() as f32;
    (report["block"].as_str().unwrap().to_owned(), score)
}

/// A running collector.
pub(crate) struct Collector {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Collector {
    /// Starts one with its database in `folder`, on a free port.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_on(folder, "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_on(folder: &Path, address: SocketAddr) -> Self {
        let database = folder.join("collector.sqlite");
        let address = address.to_string();
        let arguments = ["--listen".as_ref(), address.as_ref(), "--database".as_ref(), database.as_os_str()];
        let program = binary("blocksift-collector");
        let mut process = Process::start("the collector", program.as_os_str(), arguments).unwrap();
        let line = process.wait_for_line("listening on http://", PATIENCE).unwrap();
        let address = line.rsplit('/').next().unwrap().parse().unwrap();
        Self { process, address }
    }

    /// Sessions that are flagged now.
    pub(crate) fn flags(&self) -> Flags {
        self.sessions().iter().map(block_and_score).collect()
    }

    /// Id, revision and score of every report that arrived; the score in bits.
    pub(crate) fn revisions(&self) -> BTreeSet<(String, u64, u32)> {
        let mut all = BTreeSet::new();
        for session in self.sessions_of("any") {
            let id = session["id"].as_str().unwrap();
            let whole = http::get_json(self.address, &format!("/api/sessions/{id}")).unwrap();
            for revision in whole["revisions"].as_array().unwrap() {
                let score = revision["score"].as_f64().unwrap() as f32;
                all.insert((id.to_owned(), revision["revision"].as_u64().unwrap(), score.to_bits()));
            }
        }
        all
    }

    pub(crate) fn sessions(&self) -> Vec<Value> {
        self.sessions_of("true")
    }

    fn sessions_of(&self, flagged: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut before = String::new();
        loop {
            let path = format!("/api/sessions?flagged={flagged}&limit=200{before}");
            let page = http::get_json(self.address, &path).unwrap();
            all.extend(page["sessions"].as_array().unwrap().iter().cloned());
            match page["next"].as_i64() {
                Some(next) => before = format!("&before={next}"),
                None => return all,
            }
        }
    }

    /// The latest summary of a node, null before the first.
    pub(crate) fn summary(&self, node: &str) -> Value {
        let nodes = http::get_json(self.address, "/api/nodes").unwrap();
        let mut nodes = nodes["nodes"].as_array().unwrap().iter();
        nodes.find(|other| other["node"] == node).map_or(Value::Null, |found| found["metrics"].clone())
    }

    /// Waits until the node's `name` is at least `least`.
    pub(crate) fn wait_for(&self, node: &str, name: &str, least: u64) {
        let reached = || self.summary(node)[name].as_u64().is_some_and(|count| count >= least);
        assert!(poll(PATIENCE, reached), "`{name}` does not reach {least}: {}", self.summary(node));
    }

    /// Waits until the flagged sessions are those of `flags`.
    pub(crate) fn wait_for_flags(&self, flags: &Flags) {
        if !poll(PATIENCE, || self.flags() == *flags) {
            assert_eq!(self.flags(), *flags);
        }
    }

    pub(crate) fn end(mut self) {
        assert!(self.process.end(PATIENCE).unwrap().success());
    }
}

/// An address where nobody listens now.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A node with a log folder, a state and an agent's configuration.
pub(crate) struct Node {
    name: String,
    folder: TempDir,
}

impl Node {
    /// Name in reports, unless another is given.
    pub(crate) const NAME: &str = "node1";

    /// Its agent reads `hdfs.log*` and ships to `collector`; `sessions` are further lines of that section.
    pub(crate) fn new(collector: SocketAddr, sessions: &str) -> Self {
        Self::named(Self::NAME, collector, sessions)
    }

    pub(crate) fn named(name: &str, collector: SocketAddr, sessions: &str) -> Self {
        Self::made(name, collector, 1, sessions)
    }

    pub(crate) fn with_idle_timeout(collector: SocketAddr, idle_timeout_s: i64) -> Self {
        Self::made(Self::NAME, collector, idle_timeout_s, "")
    }

    /// One that follows a log of another program, and its rotations, and takes the model that fits.
    pub(crate) fn following(name: &str, collector: SocketAddr, log: &Path) -> Self {
        let node = Self::made(name, collector, 5, "");
        node.reconfigure("model = \"hdfs-v1\"\n", "");
        node.reconfigure(&node.log().display().to_string(), &log.display().to_string());
        node
    }

    fn made(name: &str, collector: SocketAddr, idle_timeout_s: i64, sessions: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let node = Self { name: name.to_owned(), folder };
        let configuration = format!(
            "model = \"hdfs-v1\"\nnode = \"{}\"\nzone = \"UTC\"\nstate_dir = \"{}\"\ncommit_interval_ms = 50\n\
             [logs]\npaths = [\"{}*\"]\npoll_interval_ms = 20\n\
             [sessions]\nidle_timeout_s = {idle_timeout_s}\n{sessions}\n\
             [status]\nlisten = \"unix:{}\"\n\
             [limits]\nidle_priority = false\ncpu_percent_max = 0\nio_pressure_percent_max = 0\n\
             [ship]\nendpoint = \"http://{collector}\"\nsummary_interval_s = 1\nbackoff_max_s = 1\n",
            node.name,
            node.folder.path().join("state").display(),
            node.log().display(),
            node.socket().display(),
        );
        fs::write(node.configuration(), configuration).unwrap();
        node
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
    }

    /// Lets its agent keep its state elsewhere.
    pub(crate) fn set_state_dir(&self, path: &Path) {
        let text = fs::read_to_string(self.configuration()).unwrap();
        let line = text.lines().find(|line| line.starts_with("state_dir")).unwrap();
        let text = text.replace(line, &format!("state_dir = \"{}\"", path.display()));
        fs::write(self.configuration(), text).unwrap();
    }

    /// Puts `new` in the place of `old` in the configuration, or before all if `old` is empty.
    pub(crate) fn reconfigure(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.configuration()).unwrap();
        assert!(text.contains(old), "`{old}` is not in\n{text}");
        // In one step, as tools that manage configurations do.
        let path = self.folder.path().join("agent.toml.new");
        fs::write(&path, text.replacen(old, new, 1)).unwrap();
        fs::rename(path, self.configuration()).unwrap();
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("logs/hdfs.log")
    }

    /// Where the agent says how it is doing.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// What the agent says about itself at `/status`; null if it cannot be asked.
    pub(crate) fn status(&self) -> Value {
        let answer = http::get_unix(&self.socket(), "/status");
        answer.ok().and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default()
    }

    /// Starts the agent and waits until it has read its configuration and state.
    pub(crate) fn start_agent(&self) -> Process {
        self.start_agent_with(&[])
    }

    /// As [`Self::start_agent`], with further variables in its environment.
    pub(crate) fn start_agent_with(&self, environment: &[(&str, &OsStr)]) -> Process {
        let mut agent = self.spawn_agent_with(environment);
        agent.wait_for_line("agent started", PATIENCE).unwrap();
        agent
    }

    /// Starts the agent.
    pub(crate) fn spawn_agent(&self) -> Process {
        self.spawn_agent_with(&[])
    }

    fn spawn_agent_with(&self, environment: &[(&str, &OsStr)]) -> Process {
        let configuration = self.configuration();
        let arguments = ["run".as_ref(), "--config".as_ref(), configuration.as_os_str()];
        let program = binary("blocksift-agent");
        Process::start_with("the agent", program.as_os_str(), arguments, environment).unwrap()
    }
}

/// Ends an agent as an operator does.
pub(crate) fn end(mut agent: Process) {
    assert!(agent.end(PATIENCE).unwrap().success(), "{}", agent.output());
    assert!(!agent.output().contains("panicked"), "{}", agent.output());
}

/// Cuts a log into `parts` pieces of whole records.
pub(crate) fn cut(log: &[u8], parts: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = log;
    for left in (2..=parts).rev() {
        let mut at = rest.len() / left;
        // A record starts with its date.
        while at < rest.len() && !(rest[at - 1] == b'\n' && rest[at].is_ascii_digit()) {
            at += 1;
        }
        let (piece, after) = rest.split_at(at);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}
