//! A simulation that appends to one log file per node, at the pace of the wall clock, with current times.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;

use super::{Dialect, Event, Fault, LineWriter, NodeId, Pace, Plan, Simulation};

/// Lines that a block leaves on the watched nodes, on average; turns a line rate into a block rate.
const LINES_PER_BLOCK: u64 = 14;
/// How long the writer rests when it is ahead of the clock, so that a stop is seen soon.
const REST: Duration = Duration::from_millis(5);

/// What a live run has written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Lines of all files.
    pub lines: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Blocks started.
    pub blocks: u64,
    /// Ground truth of the faulty ones.
    pub faults: Vec<Fault>,
}

/// A running live simulation. Dropping it stops it.
pub struct Live {
    stop: Arc<AtomicBool>,
    lines: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<Written>>>,
}

impl Live {
    /// Starts to write the logs of `nodes` into `folder`, each in a folder of the node's name, at about
    /// `lines_per_second` lines a second over all of them.
    pub fn start(
        folder: &Path,
        nodes: &[NodeId],
        seed: u64,
        lines_per_second: u64,
        faults_per_1000: u32,
    ) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for &node in nodes {
            files.insert(node, create(&log_path(folder, node))?);
        }
        let block_interval_ms =
            i64::try_from(LINES_PER_BLOCK * 1_000 / lines_per_second.max(1)).unwrap_or(i64::MAX).max(1);
        let plan = Plan {
            seed,
            blocks_max: None,
            faults_per_1000,
            start_ms: Timestamp::now().as_millisecond(),
            pace: Pace { block_interval_ms, ..Pace::DEMO },
            dialect: Dialect::HdfsV1,
        };
        let (stop, lines) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer =
            Writer { simulation: Simulation::new(plan), files, written: LineWriter::new(plan.dialect) };
        let (seen_stop, seen_lines) = (Arc::clone(&stop), Arc::clone(&lines));
        let thread = thread::Builder::new()
            .name("simulator".to_owned())
            .spawn(move || writer.run(&seen_stop, &seen_lines))?;
        Ok(Self { stop, lines, thread: Some(thread) })
    }

    /// Lines written so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Starts no further block, plays the rest of the lives at once, and says what was written.
    pub fn finish(mut self) -> io::Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(written)) => written,
            _ => Err(io::Error::other("the simulator's thread panicked")),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Where [`Live`] writes the log of `node`.
#[must_use]
pub fn log_path(folder: &Path, node: NodeId) -> PathBuf {
    folder.join(node.name()).join(node.file_name())
}

fn create(path: &Path) -> io::Result<BufWriter<File>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(BufWriter::new(OpenOptions::new().create(true).append(true).open(path)?))
}

struct Writer {
    simulation: Simulation,
    files: BTreeMap<NodeId, BufWriter<File>>,
    written: LineWriter,
}

impl Writer {
    fn run(mut self, stop: &AtomicBool, lines: &AtomicU64) -> io::Result<Written> {
        while let Some(event) = self.simulation.next() {
            let ahead = event.at_ms > Timestamp::now().as_millisecond();
            if ahead {
                self.flush(lines)?;
                wait_until(event.at_ms, stop);
            }
            if stop.load(Ordering::Relaxed) {
                self.simulation.stop();
            }
            self.write(event)?;
        }
        self.flush(lines)?;
        Ok(Written {
            lines: self.written.lines,
            bytes: self.written.bytes,
            blocks: self.simulation.blocks(),
            faults: self.simulation.faults().to_vec(),
        })
    }

    /// Writes the event if its node's log is wanted. The time is the current one, also when the rest is played.
    fn write(&mut self, event: Event) -> io::Result<()> {
        let Some(file) = self.files.get_mut(&event.node) else {
            return Ok(());
        };
        let at_ms = event.at_ms.min(Timestamp::now().as_millisecond());
        self.written.write(&Event { at_ms, ..event }, file)
    }

    fn flush(&mut self, lines: &AtomicU64) -> io::Result<()> {
        for file in self.files.values_mut() {
            file.flush()?;
        }
        lines.store(self.written.lines, Ordering::Relaxed);
        Ok(())
    }
}

fn wait_until(at_ms: i64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) && Timestamp::now().as_millisecond() < at_ms {
        thread::sleep(REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Cluster;

    #[test]
    fn every_line_that_is_counted_is_in_a_file_when_it_has_finished() {
        let folder = tempfile::tempdir().unwrap();
        let live = Live::start(folder.path(), &Cluster::WATCHED, 5, 2_000, 500).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while live.lines() < 100 && std::time::Instant::now() < deadline {
            thread::sleep(REST);
        }
        let written = live.finish().unwrap();
        let bytes: usize =
            Cluster::WATCHED.iter().map(|&node| fs::read(log_path(folder.path(), node)).unwrap().len()).sum();
        assert_eq!(bytes as u64, written.bytes);
        assert!(written.lines >= 100 && written.blocks > 0 && !written.faults.is_empty());
    }
}
