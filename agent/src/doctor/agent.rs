//! The agent that runs on this configuration's store, if one does: known by the lock that it holds, so that it need not
//! be asked, and its limits by what the kernel says of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

use super::finding::Finding;
use super::host::number;
use crate::config::Config;
use crate::state::FILE_NAME;

/// Bytes that the agent takes beside its sessions.
const BASE_BYTES: u64 = 32 * 1_024 * 1_024;
const MIB: u64 = 1_024 * 1_024;

/// A process that has the store open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// Process id; none where this user cannot see it.
    id: Option<u32>,
}

impl Running {
    /// The process that has the store in `directory` open.
    pub(super) fn on(directory: &Path) -> Option<Self> {
        let store = fs::metadata(directory.join(FILE_NAME)).ok()?;
        let device = format!("{:02x}:{:02x}", major(store.dev()), minor(store.dev()));
        let running = of_locks(&fs::read_to_string("/proc/locks").ok()?, &device, store.ino())?;
        Some(Self { id: running.id.or_else(|| holder(&store)) })
    }

    /// Files that it may have open.
    pub(super) fn open_files_max(&self) -> Option<u64> {
        let limits = self.read("limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Bytes of memory that it takes.
    fn rss_bytes(&self) -> Option<u64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1_024)
    }

    /// What the kernel says of the process, as far as this user may know.
    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/{name}", self.id?)).ok()
    }
}

/// The process that has a file open, as far as this user may see: a lock that belongs to an open file names none.
fn holder(file: &fs::Metadata) -> Option<u32> {
    let is_file = |fd: fs::DirEntry| {
        fs::metadata(fd.path()).is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let id = process.file_name().to_str()?.parse().ok()?;
        fs::read_dir(process.path().join("fd")).ok()?.flatten().any(is_file).then_some(id)
    })
}

/// The holder of a lock on a file: `1: FLOCK  ADVISORY  WRITE 4711 00:1f:123 0 EOF`, where `00:1f` is the device.
fn of_locks(locks: &str, device: &str, inode: u64) -> Option<Running> {
    let wanted = format!("{device}:{inode}");
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let (id, file) = (words.next()?, words.next()?);
        (file == wanted).then(|| Running { id: id.parse().ok().filter(|&id| id > 0) })
    })
}

/// Findings `agent`, `memory` and `cpu`.
pub(super) fn resources(running: Option<&Running>, config: &Config) -> Vec<Finding> {
    let Some(running) = running else {
        let what = "no agent runs on this state directory";
        let mut findings = vec![Finding::ok("agent", what)];
        findings.extend(memory(None, memory_max("self"), sessions_bytes(config)));
        return findings;
    };
    let name = running.read("comm").map(|name| name.trim().to_owned());
    let Some((id, name)) = running.id.zip(name) else {
        let what = "another process holds the store, which this one cannot see";
        return vec![Finding::warn(
            "agent",
            what,
            "run doctor in the same container and as the same user as the agent",
        )];
    };
    let mut findings = vec![if name.starts_with("blocksift") {
        Finding::ok("agent", format!("{name} runs on it as process {id}"))
    } else {
        Finding::fail(
            "agent",
            format!("process {id} ({name}) holds the store"),
            "end it, or set another state_dir",
        )
    }];
    let process = id.to_string();
    findings.extend(memory(running.rss_bytes(), memory_max(&process), sessions_bytes(config)));
    findings.extend(
        group_of(&process).and_then(|group| cpu(&fs::read_to_string(format!("{group}/cpu.stat")).ok()?)),
    );
    findings
}

fn sessions_bytes(config: &Config) -> u64 {
    u64::try_from(config.detector.sessions_bytes_max).unwrap_or(u64::MAX)
}

/// The folder of a process's control group (version 2).
fn group_of(process: &str) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
    Some(format!("/sys/fs/cgroup{path}"))
}

fn memory_max(process: &str) -> Option<u64> {
    number(&format!("{}/memory.max", group_of(process)?))
}

/// A finding if there is a limit, or an agent to look at.
fn memory(rss: Option<u64>, max: Option<u64>, sessions: u64) -> Option<Finding> {
    let needed = sessions.saturating_add(BASE_BYTES);
    let now = rss.map_or_else(String::new, |rss| format!("the agent takes {} MiB; ", rss / MIB));
    let Some(max) = max else { return rss.map(|_| Finding::ok("memory", format!("{now}no limit"))) };
    let what = format!("{now}{} MiB allowed, up to {} MiB wanted", max / MIB, needed / MIB);
    Some(if rss.is_some_and(|rss| rss > max / 10 * 9) {
        Finding::fail("memory", what, "raise MemoryMax of the unit, or lower [sessions] sessions_bytes_max")
    } else if max < needed {
        Finding::warn("memory", what, "raise MemoryMax of the unit, or lower [sessions] sessions_bytes_max")
    } else {
        Finding::ok("memory", what)
    })
}

/// A finding if the kernel holds the group back.
fn cpu(stat: &str) -> Option<Finding> {
    let count =
        |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let (periods, throttled) = (count("nr_periods ")?, count("nr_throttled ")?);
    if periods == 0 {
        return None;
    }
    let what = format!("held back in {throttled} of {periods} periods by its CPU limit");
    Some(match throttled > periods / 20 {
        true => Finding::warn("cpu", what, "raise CPUQuota of the unit; the agent falls behind until then"),
        false => Finding::ok("cpu", what),
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_by_inode() {
        let locks = "1: POSIX  ADVISORY  READ 5433 08:01:7864448 128 128\n2: FLOCK  ADVISORY  WRITE 4711 00:1f:123 0 EOF\n\
                     3: OFDLCK ADVISORY  WRITE -1 08:01:99 0 EOF\n";
        assert_eq!(of_locks(locks, "00:1f", 123), Some(Running { id: Some(4_711) }));
        assert_eq!(of_locks(locks, "08:01", 99), Some(Running { id: None }));
        assert_eq!(of_locks(locks, "08:01", 123), None);
    }

    #[test]
    fn memory_and_cpu_limits_are_judged() {
        let status = |rss, max| memory(rss, max, 64 * MIB).map(|finding| finding.status);
        assert_eq!(status(None, None), None);
        assert_eq!(status(Some(MIB), None), Some(Status::Ok));
        assert_eq!(status(Some(99 * MIB), Some(100 * MIB)), Some(Status::Fail));
        assert_eq!(status(None, Some(64 * MIB)), Some(Status::Warn));
        let stat = |throttled: u64| {
            format!("usage_usec 1\nnr_periods 100\nnr_throttled {throttled}\nthrottled_usec 1\n")
        };
        assert_eq!(cpu(&stat(50)).unwrap().status, Status::Warn);
        assert_eq!(cpu(&stat(0)).unwrap().status, Status::Ok);
        assert_eq!(cpu("usage_usec 1\n"), None);
    }
}
