//! A real HDFS on this machine, each node its own JVM on loopback, and faults injected into it whose truth is known.
//! `cargo xtask hdfs` drives it; `tests/hdfs` holds what the JVMs read: versions, configuration, the clients.
//!
//! [`artifacts`] come from Maven → [`cluster`] runs the [`node`]s of a [`Site`] → [`client`]s put load on it → a
//! [`plan`] says which faults come → [`inject`] does that and records the [`truth`], between [`upkeep`] that is healthy →
//! [`logs`] gathers what the nodes wrote, in [`disguise`], with a label for each block.

pub mod artifacts;
pub mod card;
pub mod client;
pub mod cluster;
pub mod disguise;
pub mod inject;
pub mod logs;
pub mod node;
pub mod plan;
pub mod replicas;
pub mod truth;
pub mod upkeep;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Name and folder of the NameNode.
pub const NAMENODE: &str = "namenode";
/// DataNodes of a cluster: one more than replicas of a block, so that a lost one can be replaced.
pub const DATANODES: usize = 4;

/// Where a cluster lives: its folder and its ports on loopback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Everything of the cluster is below it; absolute.
    pub folder: PathBuf,
    /// Port of the NameNode's RPC.
    pub namenode: u16,
    /// Ports of each DataNode: for data, and for its own RPC.
    pub datanodes: Vec<(u16, u16)>,
}

impl Site {
    /// A new site in `folder`, on ports that are free now.
    ///
    /// # Errors
    /// If the folder holds something already or cannot be written.
    pub fn create(folder: &Path, sources: &Path) -> io::Result<Self> {
        let conf = folder.join("conf");
        fs::create_dir_all(folder)?;
        if fs::read_dir(folder)?.next().is_some() {
            return Err(io::Error::other(format!(
                "`{}` is not empty; name another folder, or remove what an earlier cluster left there",
                folder.display()
            )));
        }
        fs::create_dir_all(&conf)?;
        fs::create_dir_all(folder.join("clients"))?;
        // The servers insist on a folder for their web pages, which the jars lack.
        for pages in ["hdfs", "datanode"] {
            fs::create_dir_all(conf.join("webapps").join(pages))?;
        }
        for name in ["core-site.xml", "hdfs-site.xml", "log4j.properties"] {
            fs::copy(sources.join(name), conf.join(name))?;
        }
        fs::write(conf.join(upkeep::EXCLUDED), b"")?;
        // All are held until all are known, so that no two are equal.
        let mut held = Vec::new();
        let mut port = || -> io::Result<u16> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        let namenode = port()?;
        let mut datanodes = Vec::new();
        for _ in 0..DATANODES {
            datanodes.push((port()?, port()?));
        }
        let site = Self { folder: fs::canonicalize(folder)?, namenode, datanodes };
        fs::write(site.folder.join("site.json"), serde_json::to_vec_pretty(&site)?)?;
        Ok(site)
    }

    /// The site that was created in `folder`.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("site.json");
        let bytes = fs::read(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("no cluster in `{}` ({error})", folder.display()))
        })?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Folder of a node.
    #[must_use]
    pub fn node_folder(&self, node: &str) -> PathBuf {
        self.folder.join(node)
    }

    /// Ports of a DataNode by its name; zeros, which no node listens on, for everything else.
    #[must_use]
    pub fn ports(&self, node: &str) -> (u16, u16) {
        self.names()
            .position(|name| name == node)
            .and_then(|at| self.datanodes.get(at).copied())
            .unwrap_or((0, 0))
    }

    /// Names of the DataNodes.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.datanodes.len()).map(|number| format!("dn{number}"))
    }
}

/// Milliseconds since 1970 in UTC, by this machine's clock, which is the nodes' too.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
