//! What a process takes of the machine, as the kernel counts it in /proc.

use std::fs;
use std::io;
use std::time::Instant;

use anyhow::{Context, Result};

/// Ticks a second of the times in /proc/PID/stat: the same on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Counts of a process since it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    at: Instant,
    cpu_seconds: f64,
    /// Times that one of its threads was woken: it had given the processor up by itself.
    wakeups: u64,
    /// Bytes that it had the disk write, as far as they were not deleted before.
    bytes_written: u64,
}

/// What a process took between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) seconds: f64,
    /// Of one core.
    pub(super) cpu_percent: f64,
    pub(super) wakeups_per_second: f64,
    pub(super) bytes_written: u64,
}

/// Bytes of memory that are resident.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resident {
    pub(super) now: u64,
    /// The most since it began.
    pub(super) peak: u64,
    /// Those of `now` that no file backs.
    pub(super) anonymous: u64,
}

impl Usage {
    pub(super) fn of(process: u32) -> Result<Self> {
        let stat = read(process, "stat")?;
        // The name of the program is in brackets and may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(Self {
            at: Instant::now(),
            cpu_seconds: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
            wakeups: wakeups(process)?,
            bytes_written: value(&read(process, "io")?, "write_bytes:"),
        })
    }

    /// What it took since `before`. Wakeups of threads that have ended since are not in it.
    pub(super) fn since(self, before: Self) -> Taken {
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        Taken {
            seconds,
            cpu_percent: (self.cpu_seconds - before.cpu_seconds) / seconds * 100.0,
            wakeups_per_second: self.wakeups.saturating_sub(before.wakeups) as f64 / seconds,
            bytes_written: self.bytes_written.saturating_sub(before.bytes_written),
        }
    }
}

impl Resident {
    pub(super) fn of(process: u32) -> Result<Self> {
        let status = read(process, "status")?;
        let bytes = |name| value(&status, name) * 1_024;
        Ok(Self { now: bytes("VmRSS:"), peak: bytes("VmHWM:"), anonymous: bytes("RssAnon:") })
    }
}

fn wakeups(process: u32) -> Result<u64> {
    let folder = format!("/proc/{process}/task");
    let mut wakeups = 0;
    for task in fs::read_dir(&folder).with_context(|| format!("`{folder}` cannot be read"))? {
        match fs::read_to_string(task?.path().join("status")) {
            Ok(status) => wakeups += value(&status, "voluntary_ctxt_switches:"),
            // It has just ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("a thread's status cannot be read"),
        }
    }
    Ok(wakeups)
}

fn read(process: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{process}/{file}");
    fs::read_to_string(&path).with_context(|| format!("`{path}` cannot be read"))
}

/// The number behind a name at the start of a line; 0 where there is none.
fn value(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::process;

    use super::*;

    #[test]
    fn time_and_memory_that_are_spent_are_seen() {
        let before = Usage::of(process::id()).unwrap();
        let memory = vec![1_u8; 32 << 20];
        let start = Instant::now();
        while start.elapsed().as_millis() < 200 {
            black_box(memory.iter().map(|&byte| u64::from(byte)).sum::<u64>());
        }
        let taken = Usage::of(process::id()).unwrap().since(before);
        assert!(taken.seconds >= 0.2 && taken.cpu_percent > 0.0, "{taken:?}");
        let resident = Resident::of(process::id()).unwrap();
        assert!(resident.anonymous >= 32 << 20 && resident.now >= resident.anonymous, "{resident:?}");
        assert!(resident.peak >= resident.now, "{resident:?}");
    }

    #[test]
    fn a_value_is_found_by_its_name() {
        let status = "VmHWM:\t  1234 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\n";
        assert_eq!(value(status, "VmHWM:"), 1_234);
        assert_eq!(value(status, "voluntary_ctxt_switches:"), 5);
        assert_eq!(value(status, "absent:"), 0);
    }
}
