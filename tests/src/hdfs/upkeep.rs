//! What operators do to a healthy cluster, so that its traces are known as healthy: blocks are moved between volumes and
//! nodes, and a DataNode is decommissioned and taken back.
//!
//! Blocks are moved by Hadoop's Mover and not by its Balancer, which asks for nodes that differ by a percent of their disks.
//! Both give their moves to the DataNodes by the same code, and the DataNodes say the same of them.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use super::Site;
use super::artifacts::Artifacts;
use super::client::Client;
use crate::process::poll;

/// DataNodes that are to be decommissioned, one a line, in the folder of the configuration.
pub const EXCLUDED: &str = "exclude";
/// What is moved to the volumes for old data and back: what one of the clients wrote.
const MOVED: &str = "/load/1";
/// How long Hadoop's program that moves blocks may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Moves the files of a client onto other volumes and back.
///
/// # Errors
/// If the NameNode does not answer or the Mover cannot be started.
pub fn move_blocks(site: &Site, artifacts: &Artifacts, client: &mut Client) -> io::Result<()> {
    for policy in ["COLD", "HOT"] {
        answered(client, &format!("policy {MOVED} {policy}"), "policy")?;
        // Not among the logs of the clients, of which blocks in trouble are read.
        let mut mover = artifacts.java(site, "client", &site.folder.join("mover.log"));
        mover.args(["org.apache.hadoop.hdfs.server.mover.Mover", "-p", MOVED]);
        let mut mover = mover.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Not all blocks can be moved while files are written; some is enough.
        if !poll(PATIENCE, || !matches!(mover.try_wait(), Ok(None))) {
            mover.kill()?;
            mover.wait()?;
        }
    }
    Ok(())
}

/// Decommissions a DataNode and takes it back. A busy cluster may not come to an end with it; then it is taken back half way.
///
/// # Errors
/// If the NameNode does not answer.
pub fn decommission(site: &Site, client: &mut Client, node: &str) -> io::Result<()> {
    let (port, _) = site.ports(node);
    let path = site.folder.join("conf").join(EXCLUDED);
    let steps = [(format!("{}:{port}\n", Ipv4Addr::LOCALHOST), "decommissioned"), (String::new(), "normal")];
    for (excluded, state) in steps {
        fs::write(&path, excluded)?;
        answered(client, "refresh /", "refreshed")?;
        client.ask(&format!("state / {port} {state}"))?;
    }
    Ok(())
}

/// Has the client do a command whose answer begins with `word` unless it failed.
fn answered(client: &mut Client, command: &str, word: &str) -> io::Result<()> {
    let answer = client.ask(command)?;
    if answer.starts_with(word) { Ok(()) } else { Err(io::Error::other(answer)) }
}
