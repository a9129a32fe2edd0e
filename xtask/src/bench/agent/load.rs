//! The log of a busy DataNode, written line by line at a fixed rate, rotated as Hadoop's RollingFileAppender does.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use blocksift_tests::simulate::{Dialect, LineWriter, NodeId, Pace, Plan, Simulation};

/// Whose log it is.
const NODE: NodeId = NodeId(1);
/// Bytes at which a log is rotated, and how many rotated ones are kept.
const ROTATE_BYTES: u64 = 256 * 1_024 * 1_024;
const BACKUPS: u32 = 2;
/// How long the writer rests between two looks at the clock.
const REST: Duration = Duration::from_millis(5);
/// From write to reads and from reads to delete in blocks, as each starts a millisecond after the one before: less than
/// are remembered, and so long that most blocks have been scored meanwhile.
const SILENCE_BLOCKS: i64 = 30_000;

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) lines_per_second: u64,
    pub(super) faults_per_1000: u32,
}

/// Counts of what was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) lines: u64,
    pub(super) blocks: u64,
}

/// A log that is being written. Dropping it stops it.
pub(super) struct Log {
    stop: Arc<AtomicBool>,
    lines: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<Written>>>,
}

impl Log {
    /// Lines written so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Stops writing.
    pub(super) fn finish(mut self) -> io::Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(written)) => written,
            _ => Err(io::Error::other("the thread that writes the log panicked")),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Writes a log.
pub(super) struct Writer {
    path: PathBuf,
    load: Load,
    simulation: Simulation,
    text: LineWriter,
    record: Vec<u8>,
    file: File,
    /// Bytes of `file`.
    bytes: u64,
}

impl Writer {
    pub(super) fn create(path: &Path, load: Load) -> io::Result<Self> {
        let plan = Plan {
            seed: 1,
            blocks_max: None,
            faults_per_1000: load.faults_per_1000,
            start_ms: now_ms(),
            pace: Pace { block_interval_ms: 1, write_ms: 2_000, silence_ms: SILENCE_BLOCKS },
            dialect: Dialect::HdfsV1,
        };
        Ok(Self {
            path: path.to_owned(),
            load,
            simulation: Simulation::new(plan),
            text: LineWriter::new(plan.dialect),
            record: Vec::new(),
            file: open(path)?,
            bytes: 0,
        })
    }

    /// Writes, as fast as it goes, until so many blocks were begun.
    pub(super) fn write_blocks(&mut self, blocks: u64) -> io::Result<Written> {
        let mut out = BufWriter::with_capacity(1 << 20, self.file.try_clone()?);
        while self.simulation.blocks() < blocks {
            self.next_record()?;
            out.write_all(&self.record)?;
            self.bytes += self.record.len() as u64;
        }
        out.flush()?;
        Ok(self.written())
    }

    /// Goes on at the rate of the load, each record with a write of its own, as log4j does it.
    pub(super) fn start(mut self) -> io::Result<Log> {
        let (stop, lines) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(self.text.lines)));
        let (seen_stop, seen_lines) = (Arc::clone(&stop), Arc::clone(&lines));
        let run = move || self.run(&seen_stop, &seen_lines);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(run)?;
        Ok(Log { stop, lines, thread: Some(thread) })
    }

    fn run(&mut self, stop: &AtomicBool, lines: &AtomicU64) -> io::Result<Written> {
        let (start, lines_before) = (Instant::now(), self.text.lines);
        while !stop.load(Ordering::Relaxed) {
            let due = start.elapsed().as_secs_f64() * self.load.lines_per_second as f64;
            while ((self.text.lines - lines_before) as f64) < due {
                self.next_record()?;
                self.file.write_all(&self.record)?;
                self.bytes += self.record.len() as u64;
                if self.bytes >= ROTATE_BYTES {
                    self.rotate()?;
                }
            }
            lines.store(self.text.lines, Ordering::Relaxed);
            thread::sleep(REST);
        }
        Ok(self.written())
    }

    /// The next record of the node, as if it happened now.
    fn next_record(&mut self) -> io::Result<()> {
        self.record.clear();
        for mut event in self.simulation.by_ref() {
            if event.node == NODE {
                event.at_ms = now_ms();
                return self.text.write(&event, &mut self.record);
            }
        }
        Err(io::Error::other("the simulation has ended"))
    }

    fn rotate(&mut self) -> io::Result<()> {
        let backup = |number: u32| self.path.with_extension(format!("log.{number}"));
        for number in (1..BACKUPS).rev() {
            if backup(number).exists() {
                fs::rename(backup(number), backup(number + 1))?;
            }
        }
        fs::rename(&self.path, backup(1))?;
        self.file = open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }

    fn written(&self) -> Written {
        Written { lines: self.text.lines, blocks: self.simulation.blocks() }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_node_is_written_and_a_full_log_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        let mut writer =
            Writer::create(&path, Load { lines_per_second: 1_000, faults_per_1000: 30 }).unwrap();
        let written = writer.write_blocks(500).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count() as u64, text.len() as u64), (written.lines, writer.bytes));
        assert!(written.blocks == 500 && !text.contains("NameSystem"));
        writer.rotate().unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("node.log.1")).unwrap(), text);
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }
}
