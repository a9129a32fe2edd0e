//! Does the faults of a plan to a running cluster and says of each what it touched. What that is is seen on the disks and
//! told by the clients, never by the nodes' logs, which are what is to be judged.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, prlimit};

use super::artifacts::Artifacts;
use super::client::{Client, blocks};
use super::node::{self, Known};
use super::plan::{Kind, Planned};
use super::replicas::{self, being_written, finalized};
use super::truth::Fault;
use super::{NAMENODE, Site, now_ms};
use crate::process::poll;

/// How long a node may take to start.
const PATIENCE: Duration = Duration::from_secs(90);
/// A node that is slow stops for this long and runs for [`RUN`]; DataNodes call 300 ms slow.
const STOP: Duration = Duration::from_millis(450);
const RUN: Duration = Duration::from_millis(150);
/// Stops that a block has to see to count as touched.
const STOPS_MIN: usize = 3;
/// Bytes of a file beyond which writes fail: above the size of a log file, below that of a block.
const FILE_BYTES_MAX: u64 = 700_000;
/// Bytes of a file of three blocks.
const THREE_BLOCKS: u64 = 2_600_000;
/// Reads of a damaged file: each takes one of three replicas first.
const READS: u32 = 10;
/// Streams that are more than the 48 that a DataNode takes.
const STREAMS: usize = 60;

/// Injects faults, one after the other.
pub struct Injector {
    site: Site,
    artifacts: Artifacts,
    client: Client,
    number: usize,
}

impl Injector {
    /// One with a client of its own; waits until all DataNodes are live.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn new(site: &Site, artifacts: &Artifacts) -> io::Result<Self> {
        let mut client = Client::serving(site, artifacts, "injector")?;
        wait_for_all(site, &mut client)?;
        let number = usize::try_from(now_ms() / 1_000).unwrap_or_default() * 1_000;
        Ok(Self { site: site.clone(), artifacts: artifacts.clone(), client, number })
    }

    /// Injects one, and waits until it is over and the cluster whole again.
    ///
    /// # Errors
    /// If the cluster cannot be brought into the state that the fault needs.
    pub fn inject(&mut self, planned: &Planned) -> io::Result<Fault> {
        self.number += 1;
        let node = format!("dn{}", planned.node);
        let length = Duration::from_millis(planned.length_ms);
        let mut fault = Fault::new(planned.kind, &node);
        match planned.kind {
            Kind::KillDatanode | Kind::LoseDatanode => {
                self.kill_datanode(planned, &node, length, &mut fault)?
            }
            Kind::HangDatanode | Kind::PauseDatanode => {
                self.stop_datanode(planned, &node, length, &mut fault)?
            }
            Kind::SlowDatanode => self.slow_datanode(planned, &node, length, &mut fault)?,
            Kind::DeleteBlock | Kind::CorruptBlock | Kind::CorruptMeta => {
                self.damage(planned, &node, &mut fault)?;
            }
            Kind::LoseVolume => self.lose_volume(planned, &node, &mut fault)?,
            Kind::FailWrites => self.fail_writes(planned, &node, &mut fault)?,
            Kind::KillClient | Kind::RecoverLease => self.kill_client(planned, &node, &mut fault)?,
            Kind::ExceedXceivers => {
                let answer = self.hold(STREAMS, 5, &node)?;
                fault.beside = blocks(&answer);
                self.client.ask("wait /")?;
            }
            Kind::RestartNamenode => self.restart_namenode(planned, &node, length, &mut fault)?,
        }
        wait_for_all(&self.site, &mut self.client)?;
        fault.end_ms = now_ms();
        Ok(fault)
    }

    fn kill_datanode(
        &mut self,
        planned: &Planned,
        node: &str,
        length: Duration,
        fault: &mut Fault,
    ) -> io::Result<()> {
        self.hold(planned.files, 6, node)?;
        let before = self.kill(node, fault)?;
        fault.blocks = being_written(&self.site, node);
        if planned.kind == Kind::LoseDatanode {
            fault.beside = finalized(&self.site, node);
        }
        thread::sleep(length);
        node::hold(&self.site.node_folder(node), false)?;
        self.client.ask("wait /")?;
        wait_for_start(&self.site, node, before)
    }

    fn stop_datanode(
        &mut self,
        planned: &Planned,
        node: &str,
        length: Duration,
        fault: &mut Fault,
    ) -> io::Result<()> {
        let process = self.busy(planned, node, length, fault)?;
        process.signal(Signal::STOP)?;
        let touched = being_written(&self.site, node);
        // Writes go on after a pause as if nothing had been, some with a line that says so.
        if planned.kind == Kind::HangDatanode {
            fault.blocks = touched;
        } else {
            fault.beside = touched;
        }
        thread::sleep(length);
        process.signal(Signal::CONT)?;
        self.client.ask("wait /").map(drop)
    }

    fn slow_datanode(
        &mut self,
        planned: &Planned,
        node: &str,
        length: Duration,
        fault: &mut Fault,
    ) -> io::Result<()> {
        let process = self.busy(planned, node, length, fault)?;
        let mut seen = std::collections::BTreeMap::<i64, usize>::new();
        let end = Instant::now() + length;
        while Instant::now() < end {
            process.signal(Signal::STOP)?;
            for block in being_written(&self.site, node) {
                *seen.entry(block).or_default() += 1;
            }
            thread::sleep(STOP);
            process.signal(Signal::CONT)?;
            thread::sleep(RUN);
        }
        for (block, stops) in seen {
            let list = if stops >= STOPS_MIN { &mut fault.blocks } else { &mut fault.beside };
            list.push(block);
        }
        self.client.ask("wait /").map(drop)
    }

    fn damage(&mut self, planned: &Planned, node: &str, fault: &mut Fault) -> io::Result<()> {
        fault.begin_ms = now_ms();
        for file in 0..planned.files {
            for block in blocks(&self.create(file, node)?) {
                // A favour, no promise: a block may have gone elsewhere.
                let Ok((data, checksums)) = replicas::files(&self.site, node, block) else { continue };
                match planned.kind {
                    Kind::DeleteBlock => fs::remove_file(data)?,
                    Kind::CorruptBlock => overwrite(&data, 1_000, 4_096)?,
                    _ => overwrite(&checksums, 0, 64)?,
                }
                fault.blocks.push(block);
            }
            self.client.ask(&format!("read {} {READS}", self.path(file)))?;
        }
        Ok(())
    }

    /// Where replicas that are being written belong there is a file.
    fn lose_volume(&mut self, planned: &Planned, node: &str, fault: &mut Fault) -> io::Result<()> {
        let folder = self.site.node_folder(node);
        let pool = replicas::pools(&self.site, node).next();
        let pool = pool.ok_or_else(|| io::Error::other(format!("{node} has no volume")))?;
        let (place, away) = (pool.join("rbw"), pool.join("rbw.away"));
        fault.begin_ms = now_ms();
        fault.beside = finalized(&self.site, node);
        fs::rename(&place, &away)?;
        fs::write(&place, b"")?;
        for file in 0..planned.files {
            self.create(file, node)?;
        }
        node::hold(&folder, true)?;
        let process = Known::noted(&folder)?;
        process.signal(Signal::TERM)?;
        if !poll(PATIENCE, || !process.running()) {
            process.signal(Signal::KILL)?;
        }
        fs::remove_file(&place)?;
        fs::rename(&away, &place)?;
        node::hold(&folder, false)?;
        wait_for_start(&self.site, node, process)
    }

    fn fail_writes(&mut self, planned: &Planned, node: &str, fault: &mut Fault) -> io::Result<()> {
        let id = Known::noted(&self.site.node_folder(node))?.id();
        let before =
            prlimit(Some(id), Resource::Fsize, Rlimit { current: Some(FILE_BYTES_MAX), maximum: None })?;
        fault.begin_ms = now_ms();
        for file in 0..planned.files {
            self.create(file, node)?;
        }
        prlimit(Some(id), Resource::Fsize, before)?;
        Ok(())
    }

    fn kill_client(&mut self, planned: &Planned, node: &str, fault: &mut Fault) -> io::Result<()> {
        let victim = Client::serving(&self.site, &self.artifacts, &self.victim())?;
        let victim = self.writing(victim, planned, node, fault)?;
        fault.begin_ms = now_ms();
        drop(victim);
        if planned.kind == Kind::RecoverLease { self.recover(planned) } else { Ok(()) }
    }

    /// Its client gives up and leaves files open, whose leases are recovered then.
    fn restart_namenode(
        &mut self,
        planned: &Planned,
        node: &str,
        length: Duration,
        fault: &mut Fault,
    ) -> io::Result<()> {
        NAMENODE.clone_into(&mut fault.node);
        let victim = Client::hasty(&self.site, &self.artifacts, &self.victim())?;
        let victim = self.writing(victim, planned, node, fault)?;
        self.kill(NAMENODE, fault)?;
        fault.beside = self.site.names().flat_map(|node| being_written(&self.site, &node)).collect();
        fault.beside.retain(|block| !fault.blocks.contains(block));
        thread::sleep(length);
        node::hold(&self.site.node_folder(NAMENODE), false)?;
        wait_for_all(&self.site, &mut self.client)?;
        drop(victim);
        self.recover(planned)
    }

    /// Kills a node, which stays down for now.
    fn kill(&self, node: &str, fault: &mut Fault) -> io::Result<Known> {
        let folder = self.site.node_folder(node);
        node::hold(&folder, true)?;
        fault.begin_ms = now_ms();
        let process = Known::noted(&folder)?;
        process.signal(Signal::KILL)?;
        Ok(process)
    }

    /// Has the client write files that it will not come to close.
    fn writing(
        &self,
        mut victim: Client,
        planned: &Planned,
        node: &str,
        fault: &mut Fault,
    ) -> io::Result<Client> {
        let command = format!("hold {} {} 60 {}", self.path(0), planned.files, self.address(node));
        fault.blocks = blocks(&victim.ask(&command)?);
        Ok(victim)
    }

    /// Recovers the leases of files that nobody writes any more.
    fn recover(&mut self, planned: &Planned) -> io::Result<()> {
        for file in 0..planned.files {
            self.client.ask(&format!("recover {}/held-{file}", self.path(0)))?;
        }
        Ok(())
    }

    /// Begins a fault of the DataNode's process, which receives files for a little longer than `length`.
    fn busy(
        &mut self,
        planned: &Planned,
        node: &str,
        length: Duration,
        fault: &mut Fault,
    ) -> io::Result<Known> {
        self.hold(planned.files, 2 + length.as_secs(), node)?;
        fault.begin_ms = now_ms();
        Known::noted(&self.site.node_folder(node))
    }

    /// Has a file of three blocks written with a replica on `node`; the answer names the blocks.
    fn create(&mut self, file: usize, node: &str) -> io::Result<String> {
        let command = format!("create {} {THREE_BLOCKS} {}", self.path(file), self.address(node));
        self.client.ask(&command)
    }

    /// Has `files` files written slowly for `seconds`, with a replica on `node`.
    fn hold(&mut self, files: usize, seconds: u64, node: &str) -> io::Result<String> {
        let command = format!("hold {} {files} {seconds} {}", self.path(0), self.address(node));
        self.client.ask(&command)
    }

    fn victim(&self) -> String {
        format!("victim-{}", self.number)
    }

    fn path(&self, file: usize) -> String {
        format!("/injected/{}-{file}", self.number)
    }

    fn address(&self, node: &str) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.site.ports(node).0)
    }
}

fn wait_for_all(site: &Site, client: &mut Client) -> io::Result<()> {
    let answer = client.ask(&format!("nodes / {}", site.datanodes.len()))?;
    if answer.starts_with("nodes") { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// Waits until another process than `before` listens on the DataNode's port.
fn wait_for_start(site: &Site, node: &str, before: Known) -> io::Result<()> {
    let (folder, address) = (site.node_folder(node), (Ipv4Addr::LOCALHOST, site.ports(node).0));
    let another = || Known::noted(&folder).is_ok_and(|known| known != before);
    if poll(PATIENCE, || another() && TcpStream::connect(address).is_ok()) {
        return Ok(());
    }
    Err(io::Error::other(format!("{node} does not come back; see `{}`", folder.display())))
}

/// Other bytes in place of those from `from` on.
fn overwrite(path: &PathBuf, from: u64, bytes: usize) -> io::Result<()> {
    let mut file = fs::File::options().write(true).open(path)?;
    file.seek(SeekFrom::Start(from))?;
    file.write_all(&vec![0xEE; bytes])
}
