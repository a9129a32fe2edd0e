//! `[limits]`: what the agent may take of its node. Who else runs there is more important.

use serde::Deserialize;
use toml::Spanned;

use super::raw::Key;
use super::{Check, MIB};

/// A checked `[limits]`.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of memory beyond which the least recently active sessions are scored and forgotten; `None` is no limit.
    pub(crate) memory_bytes_max: Option<u64>,
    /// Share of one core in the long run, in hundredths; beyond it no lines are read for a while. `None` is no limit.
    pub(crate) cpu_percent_max: Option<u32>,
    /// Whether the agent lets every other process go first.
    pub(crate) idle_priority: bool,
    /// Share of the time that something on the node waits for its disks, beyond which the agent reads seldom;
    /// `None` is no limit.
    pub(crate) io_pressure_percent_max: Option<u32>,
}

/// `[limits]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Bytes of memory (resident) that the agent takes at most: beyond it the least recently active sessions are scored,
    /// forgotten and counted until it fits. 0 is no limit, otherwise 16 MiB to 1 TiB. Default 256 MiB.
    memory_bytes_max: Key<u64>,
    /// CPU time of the whole agent, in hundredths of one core: beyond it no lines are read for a moment, the log files
    /// being the buffer. It may save up one second. 0 is no limit, otherwise 1 to 6400. Default 50.
    cpu_percent_max: Key<u64>,
    /// Whether the agent runs at the lowest priority (nice 19), for the CPU and for the disks. Default `true`.
    idle_priority: Key<bool>,
    /// When something on the node waited for its disks during more than this share of the last ten seconds
    /// (`some avg10` of /proc/pressure/io), in hundredths, the agent reads and commits every ten seconds only, and
    /// little of what the disks would have to be asked for. 0 is no limit, otherwise 1 to 100. Default 60.
    io_pressure_percent_max: Key<u64>,
}

impl Check {
    pub(super) fn limits(&mut self, raw: RawLimits) -> Limits {
        let memory = "memory_bytes_max";
        Limits {
            memory_bytes_max: self.limit(memory, raw.memory_bytes_max, 256 * MIB, 16 * MIB..=MIB * MIB),
            cpu_percent_max: self.percent("cpu_percent_max", raw.cpu_percent_max, 50, 6_400),
            idle_priority: raw.idle_priority.is_none_or(Spanned::into_inner),
            io_pressure_percent_max: self.percent(
                "io_pressure_percent_max",
                raw.io_pressure_percent_max,
                60,
                100,
            ),
        }
    }

    fn percent(&mut self, name: &str, value: Key<u64>, default: u64, max: u64) -> Option<u32> {
        self.limit(name, value, default, 1..=max).and_then(|percent| u32::try_from(percent).ok())
    }

    /// As [`Check::number`], but 0 is no limit.
    fn limit(
        &mut self,
        name: &str,
        value: Key<u64>,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        match value {
            Some(value) if *value.get_ref() == 0 => None,
            value => Some(self.number(name, value, default, range)),
        }
    }
}
