//! The collector and the agents of a demo: their configuration, start and end.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use blocksift_tests::process::Process;
use blocksift_tests::simulate::NodeId;

use crate::cargo;

/// Short, so that sessions are scored while people watch.
const IDLE_TIMEOUT_S: u64 = 2;
const SUMMARY_INTERVAL_S: u64 = 1;
/// From the last line of a session to its verdict at the collector, with time to spare.
pub(super) const VERDICT_AFTER: Duration = Duration::from_secs(IDLE_TIMEOUT_S + 2 * SUMMARY_INTERVAL_S + 2);
/// How long a program may take to start, and to end.
const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(30);

/// What one agent reads.
pub(super) struct NodeSetup {
    /// Name in reports; `None` is the host's.
    name: Option<String>,
    logs: Vec<PathBuf>,
    /// Zone of the logs' times; `None` is the host's.
    zone: Option<&'static str>,
}

impl NodeSetup {
    /// A node of the simulated cluster.
    pub(super) fn simulated(node: NodeId, log: PathBuf) -> Self {
        Self { name: Some(node.name().to_owned()), logs: vec![log], zone: Some("UTC") }
    }

    /// This machine, with logs of the user.
    pub(super) fn own(logs: Vec<PathBuf>) -> Self {
        Self { name: None, logs, zone: None }
    }

    fn configuration(&self, state: &Path, address: SocketAddr, model: Option<&Path>) -> String {
        let mut text = String::new();
        for (key, value) in [("node", self.name.as_deref()), ("zone", self.zone)] {
            if let Some(value) = value {
                text += &format!("{key} = {}\n", quoted(value));
            }
        }
        text += &format!("state_dir = {}\ncommit_interval_ms = 200\n", quoted(&state.to_string_lossy()));
        if let Some(model) = model {
            text += &format!("model = {}\n", quoted(&model.to_string_lossy()));
        }
        let logs: Vec<String> =
            self.logs.iter().map(|log| quoted(&glob_of(&log.to_string_lossy()))).collect();
        text += &format!("[logs]\npaths = [{}]\npoll_interval_ms = 100\n", logs.join(", "));
        // Nobody waits for the fleet but whoever watches it.
        text += "[limits]\ncpu_percent_max = 0\nio_pressure_percent_max = 0\n";
        text += &format!("[sessions]\nidle_timeout_s = {IDLE_TIMEOUT_S}\n");
        text +=
            &format!("[ship]\nendpoint = \"http://{address}\"\nsummary_interval_s = {SUMMARY_INTERVAL_S}\n");
        text += "[status]\nlisten = \"off\"\n";
        text
    }
}

/// A TOML string; JSON's escapes are valid in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A glob that matches this path alone.
fn glob_of(path: &str) -> String {
    path.chars().map(|c| if "*?[]".contains(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

/// Running programs; those still running when it is dropped are killed.
pub(super) struct Fleet {
    agents: Vec<Process>,
    collector: Process,
    address: SocketAddr,
}

impl Fleet {
    /// Starts the collector on a free port and an agent for each node, all with their files in `folder`.
    pub(super) fn start(folder: &Path, nodes: &[NodeSetup], model: Option<&Path>) -> Result<Self> {
        let programs = cargo::target_folder().join("release");
        let database = folder.join("collector.sqlite").into_os_string();
        let arguments = ["--listen".into(), "127.0.0.1:0".into(), "--database".into(), database];
        let mut collector =
            Process::start("the collector", programs.join("blocksift-collector").as_os_str(), arguments)?;
        let line = collector.wait_for_line("listening on http://", START)?;
        let address = line.rsplit('/').next().unwrap_or_default();
        let address = address.parse().with_context(|| format!("the collector said `{line}`"))?;
        let mut fleet = Self { agents: Vec::new(), collector, address };
        for (number, node) in nodes.iter().enumerate() {
            let configuration = folder.join(format!("agent{number}.toml"));
            let state = folder.join(format!("state{number}"));
            fs::write(&configuration, node.configuration(&state, address, model))?;
            let name = format!("the agent of {}", node.name.as_deref().unwrap_or("this machine"));
            let arguments = ["run".into(), "--config".into(), configuration.into_os_string()];
            let program = programs.join("blocksift-agent");
            fleet.agents.push(Process::start(&name, program.as_os_str(), arguments)?);
        }
        Ok(fleet)
    }

    /// Where the collector listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Fails with what a program printed if one has ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        for process in self.agents.iter_mut().chain([&mut self.collector]) {
            if !process.running() {
                bail!("{} ended by itself; it printed:\n{}", process.name().to_owned(), process.output());
            }
        }
        Ok(())
    }

    /// Asks the agents to end; they ship what they have.
    pub(super) fn end_agents(&mut self) -> Result<()> {
        self.agents.iter_mut().try_for_each(end)
    }

    /// Asks the collector to end.
    pub(super) fn end_collector(&mut self) -> Result<()> {
        end(&mut self.collector)
    }
}

fn end(process: &mut Process) -> Result<()> {
    let status = process.end(END)?;
    if !status.success() {
        bail!("{} failed ({status}); it printed:\n{}", process.name().to_owned(), process.output());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_survive_the_configuration() {
        let node = NodeSetup::own(vec![PathBuf::from("/tmp/a \"b\" [1].log")]);
        let text = node.configuration(Path::new("/state"), "127.0.0.1:9".parse().unwrap(), None);
        assert!(text.contains(r#"paths = ["/tmp/a \"b\" [[]1[]].log"]"#), "{text}");
        assert!(!text.contains("node =") && text.contains("endpoint = \"http://127.0.0.1:9\""));
    }
}
