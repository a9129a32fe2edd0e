//! What this process takes of the machine, from `/proc/self`.

/// Ticks of a second in which the kernel counts CPU time for programs (`USER_HZ`), on every architecture of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Of this process, now.
pub(super) struct Process {
    /// CPU time of user and system, in seconds.
    pub(super) cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub(super) resident_bytes: u64,
}

impl Process {
    /// `None` where there is no `/proc`.
    pub(super) fn now() -> Option<Self> {
        let read = |name| std::fs::read_to_string(name).ok();
        Self::parse(&read("/proc/self/stat")?, &read("/proc/self/status")?)
    }

    /// Of the texts that proc_pid_stat(5) and proc_pid_status(5) describe.
    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The second field, a name in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        // utime and stime are fields 14 and 15; the first one here is field 3.
        let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().ok());
        let cpu_seconds = ticks.sum::<Option<u32>>().map(|ticks| f64::from(ticks) / TICKS_PER_SECOND)?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident_kib: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(Self { cpu_seconds, resident_bytes: resident_kib * 1_024 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_read_over() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100 1000000 42 184467 1";
        let process = Process::parse(stat, "Name:\ta\nVmRSS:\t     42 kB\nVmData: 1 kB\n").unwrap();
        assert_eq!(process.resident_bytes, 42 * 1_024);
        assert!((process.cpu_seconds - 3.0).abs() < 1e-9);
    }

    #[test]
    fn this_process_takes_memory() {
        assert!(Process::now().unwrap().resident_bytes > 100_000);
    }
}
