//! What the agent takes of its node: caps on its memory and CPU time, and standing back while the disks are busy. The
//! feed asks before a round and after each piece that it read; the log files are the buffer. Deciding is in the files
//! below, with readings as arguments; this one takes the readings.

mod cpu;
mod memory;
mod page_cache;
mod pressure;

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::config;
use cpu::CpuCap;
use memory::{Change, MemoryCap};
pub(crate) use page_cache::PageCache;
use pressure::Pressure;

/// The priority that lets everybody else go first.
const NICE: i32 = 19;
/// How often the caps on memory and the disks' pressure are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(900);

/// Counts of what the limits did since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Times that the sessions got less memory, since the agent took too much.
    pub(crate) memory_cuts: u64,
    /// Milliseconds that no line was read, for the CPU time used before.
    pub(crate) cpu_rest_ms: u64,
    /// Rounds that were left out because the disks were busy.
    pub(crate) pressure_pauses: u64,
    /// Resident memory in bytes, when it was looked at last.
    pub(crate) resident_bytes: u64,
}

/// Watches the limits.
#[derive(Debug)]
pub(crate) struct Limits {
    cpu: Option<CpuCap>,
    memory: Option<MemoryCap>,
    pressure: Option<Pressure>,
    looked: Option<Instant>,
    counts: Counts,
}

impl Limits {
    /// Enforces `limits`; without one on memory, sessions may take `sessions_bytes_max`.
    pub(crate) fn new(limits: &config::Limits, sessions_bytes_max: usize) -> Self {
        let memory = |bytes_max| MemoryCap::new(bytes_max, sessions_bytes_max as u64);
        Self {
            cpu: limits.cpu_percent_max.map(|percent| CpuCap::new(percent, Instant::now(), cpu_time())),
            memory: limits.memory_bytes_max.map(memory),
            pressure: limits.io_pressure_percent_max.map(Pressure::new),
            looked: None,
            counts: Counts::default(),
        }
    }

    /// Whether a round may be done now; if not, the disks are busy.
    pub(crate) fn may_read(&mut self) -> bool {
        let Some(pressure) = &mut self.pressure else { return true };
        let may = pressure.may_read(Instant::now(), pressure::some_avg10());
        self.counts.pressure_pauses += u64::from(!may);
        may
    }

    /// Notes that a piece was read; `true` if it is enough for this round.
    pub(crate) fn has_read(&mut self, bytes: usize) -> bool {
        self.pressure.as_mut().is_some_and(|pressure| pressure.has_read(bytes as u64))
    }

    /// How long to rest before going on; nothing most of the time.
    pub(crate) fn rest(&mut self) -> Option<Duration> {
        let rest = self.cpu.as_mut()?.rest(Instant::now(), cpu_time())?;
        self.counts.cpu_rest_ms += u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        Some(rest)
    }

    /// The new limit for the sessions' bytes, if it has to change: they take `sessions_bytes` now.
    pub(crate) fn sessions_bytes_max(&mut self, sessions_bytes: usize) -> Option<usize> {
        let now = Instant::now();
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_INTERVAL) {
            return None;
        }
        self.looked = Some(now);
        let resident_bytes = resident_bytes()?;
        self.counts.resident_bytes = resident_bytes;
        let change = self.memory.as_mut()?.check(now, resident_bytes, sessions_bytes as u64)?;
        if let Change::Cut(sessions_bytes_max) = change {
            if self.counts.memory_cuts == 0 {
                warn!(
                    resident_bytes,
                    sessions_bytes_max,
                    "memory_bytes_max is reached: the least recently active sessions are scored and forgotten"
                );
            }
            self.counts.memory_cuts += 1;
        }
        usize::try_from(change.bytes_max()).ok()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

/// Lets every other process go first, from here on and in all threads that are made later. The kernel ranks what the
/// process asks of the disks by the same number.
pub(crate) fn yield_to_others() {
    if let Err(error) = setpriority_process(None, NICE) {
        warn!(%error, "priority cannot be lowered; going on with the one given");
    }
}

/// CPU time of the process so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Bytes of memory that are resident; `None` without /proc.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_time_and_memory() {
        let memory = std::hint::black_box(vec![1_u8; 16 << 20]);
        assert!(resident_bytes().unwrap() > memory.len() as u64);
        let before = cpu_time();
        while cpu_time() - before < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn without_limits_nothing_is_held_up() {
        let none = config::Limits {
            memory_bytes_max: None,
            cpu_percent_max: None,
            idle_priority: false,
            io_pressure_percent_max: None,
        };
        let mut limits = Limits::new(&none, 1);
        assert!(limits.may_read() && !limits.has_read(usize::MAX));
        assert_eq!((limits.rest(), limits.sessions_bytes_max(usize::MAX)), (None, None));
    }
}
