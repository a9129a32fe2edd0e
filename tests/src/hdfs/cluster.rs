//! The nodes of a site as children of this process. A node that ends is started again, as an init system would do,
//! unless it is held.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::artifacts::Artifacts;
use super::node::{self, Known};
use super::{NAMENODE, Site};
use crate::process::poll;

/// How often the nodes are looked after.
const LOOK: Duration = Duration::from_millis(100);
/// How long nodes may take to end when asked to.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running cluster; dropped, its nodes are killed.
pub struct Cluster {
    site: Site,
    artifacts: Artifacts,
    /// Nodes by name, the NameNode first.
    nodes: Vec<(String, Option<Child>)>,
}

impl Cluster {
    /// Formats the NameNode and starts every node. The thread that calls this and [`tend`](Self::tend) has to outlive
    /// the nodes: they die with it.
    ///
    /// # Errors
    /// If a program cannot be started.
    pub fn start(site: &Site, artifacts: &Artifacts) -> io::Result<Self> {
        for node in site.names().chain([NAMENODE.to_owned()]) {
            fs::create_dir_all(site.node_folder(&node).join("logs"))?;
        }
        let namenode = site.node_folder(NAMENODE);
        let output = artifacts
            .java(site, NAMENODE, &namenode.join("format.log"))
            .args(["org.apache.hadoop.hdfs.server.namenode.NameNode", "-format", "-nonInteractive"])
            .output()?;
        if !output.status.success() {
            let log = namenode.join("format.log");
            return Err(io::Error::other(format!(
                "the NameNode cannot be formatted; see `{}`",
                log.display()
            )));
        }
        let names = [NAMENODE.to_owned()].into_iter().chain(site.names());
        let nodes = names.map(|name| (name, None)).collect();
        let mut cluster = Self { site: site.clone(), artifacts: artifacts.clone(), nodes };
        cluster.tend()?;
        Ok(cluster)
    }

    /// Starts what does not run and is not held.
    ///
    /// # Errors
    /// If a node cannot be started at all.
    pub fn tend(&mut self) -> io::Result<()> {
        for (name, child) in &mut self.nodes {
            if let Some(running) = child
                && running.try_wait()?.is_some()
            {
                *child = None;
            }
            if child.is_none() && !node::held(&self.site.node_folder(name)) {
                *child = Some(start(&self.site, &self.artifacts, name)?);
            }
        }
        Ok(())
    }

    /// Looks after the nodes until `is_over`.
    ///
    /// # Errors
    /// As [`tend`](Self::tend).
    pub fn look_after(&mut self, is_over: impl Fn() -> bool) -> io::Result<()> {
        while !is_over() {
            self.tend()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Asks all nodes to end, DataNodes first, and kills what does not.
    ///
    /// # Errors
    /// If a child cannot be waited for.
    pub fn end(mut self) -> io::Result<()> {
        for (_, child) in self.nodes.iter_mut().rev() {
            let Some(running) = child else { continue };
            // It may have ended by itself, or be stopped.
            if let Ok(known) = Known::of(running.id()) {
                known.signal(Signal::CONT).and_then(|()| known.signal(Signal::TERM)).unwrap_or_default();
            }
            if !poll(PATIENCE, || !matches!(running.try_wait(), Ok(None))) {
                running.kill()?;
                running.wait()?;
            }
            *child = None;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for running in self.nodes.iter_mut().filter_map(|(_, child)| child.as_mut()) {
            // Both fail only if it has ended already.
            drop(running.kill());
            drop(running.wait());
        }
    }
}

fn start(site: &Site, artifacts: &Artifacts, name: &str) -> io::Result<Child> {
    let folder = site.node_folder(name);
    let (role, class) = match name {
        NAMENODE => ("namenode", "org.apache.hadoop.hdfs.server.namenode.NameNode"),
        _ => ("datanode", "org.apache.hadoop.hdfs.server.datanode.DataNode"),
    };
    // The name that Hadoop's own scripts give it: hadoop-<user>-<role>-<host>.log.
    let log = folder.join("logs").join(format!("hadoop-hdfs-{role}-{name}.log"));
    let printed = File::options().create(true).append(true).open(folder.join("printed"))?;
    let mut java: Command = artifacts.java(site, name, &log);
    java.arg(class).stdout(printed.try_clone()?).stderr(printed).process_group(0);
    let child = java.spawn()?;
    Known::of(child.id())?.note(&folder)?;
    Ok(child)
}
