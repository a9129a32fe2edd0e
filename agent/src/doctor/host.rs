//! Who runs, and what the kernel allows: inotify watches and open files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustix::process::{Resource, geteuid, getrlimit};

use super::agent::Running;
use super::files::name_of;
use super::finding::Finding;
use crate::files::Found;

/// Open files that the agent needs beside the logs: store, sockets, model, pipes.
const FILES_OWN: u64 = 32;
/// Where a unit of systemd may be, the one that counts first.
const UNITS: [&str; 3] = [
    "/etc/systemd/system/blocksift-agent.service",
    "/usr/lib/systemd/system/blocksift-agent.service",
    "/lib/systemd/system/blocksift-agent.service",
];

/// Finding `user`.
pub(super) fn user() -> Finding {
    let uid = geteuid();
    let name = name_of("/etc/passwd", uid.as_raw()).unwrap_or_else(|| uid.as_raw().to_string());
    if !uid.is_root() {
        return Finding::ok("user", format!("checked as `{name}`"));
    }
    let unit_user = UNITS.iter().find_map(|unit| user_of_unit(&fs::read_to_string(unit).ok()?));
    let user = unit_user.as_deref().unwrap_or("blocksift");
    let what = "checked as root, who may read and write everything";
    Finding::warn("user", what, format!("check as the agent's user: sudo -u {user} blocksift-agent doctor"))
}

/// The `User=` of a unit.
fn user_of_unit(unit: &str) -> Option<String> {
    unit.lines().find_map(|line| line.strip_prefix("User=")).map(|user| user.trim().to_owned())
}

/// Finding `inotify`.
pub(super) fn watches(found: &[Found]) -> Finding {
    let folders: BTreeSet<&Path> = found.iter().filter_map(|found| found.path.parent()).collect();
    let limit = |name: &str| number(&format!("/proc/sys/fs/inotify/{name}"));
    judge_watches(
        folders.len() + found.len(),
        instances_used(),
        limit("max_user_watches"),
        limit("max_user_instances"),
    )
}

fn judge_watches(needed: usize, used: u64, watches: Option<u64>, instances: Option<u64>) -> Finding {
    let polling = "until then files are only polled";
    let (Some(watches), Some(instances)) = (watches, instances) else {
        return Finding::warn(
            "inotify",
            "this kernel has no inotify",
            "files are only polled, which costs a little more",
        );
    };
    if watches < needed as u64 {
        let what = format!("up to {needed} watches are needed, fs.inotify.max_user_watches is {watches}");
        return Finding::warn(
            "inotify",
            what,
            format!("sysctl -w fs.inotify.max_user_watches={}; {polling}", needed * 2),
        );
    }
    if used >= instances {
        let what = format!("{used} of {instances} inotify instances of this user are in use");
        let hint = format!("sysctl -w fs.inotify.max_user_instances={}; {polling}", instances * 2);
        return Finding::warn("inotify", what, hint);
    }
    Finding::ok(
        "inotify",
        format!("{watches} watches and {instances} instances allowed, {needed} and 1 needed at most"),
    )
}

/// inotify instances of the processes that this user may look into.
fn instances_used() -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let descriptors =
        processes.flat_map(|process| fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten());
    let is_inotify = |target: &Path| target.as_os_str() == "anon_inode:inotify";
    descriptors.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| is_inotify(&target))).count() as u64
}

/// Finding `open_files`: the limit of the running agent, or of this process, which has the same where it was started
/// in the same way.
pub(super) fn open_files(files: usize, running: Option<&Running>) -> Finding {
    let limit = running.and_then(Running::open_files_max).or_else(|| getrlimit(Resource::Nofile).current);
    let needed = files as u64 + FILES_OWN;
    match limit {
        Some(limit) if limit < needed => {
            let what = format!("{needed} open files are needed, {limit} are allowed");
            Finding::fail(
                "open files",
                what,
                format!("set LimitNOFILE={} in the unit, or raise ulimit -n", needed * 2),
            )
        }
        Some(limit) => Finding::ok("open files", format!("{limit} allowed, {needed} needed at most")),
        None => Finding::ok("open files", "no limit"),
    }
}

/// The number that a file of the kernel holds.
pub(super) fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn the_user_of_a_unit_is_named() {
        assert_eq!(user_of_unit("[Service]\nUser=hdfs\nGroup=hadoop\n").as_deref(), Some("hdfs"));
        assert_eq!(user_of_unit("[Service]\n"), None);
    }

    #[test]
    fn limits_that_are_too_low_are_told() {
        let judge = |used, watches, instances| judge_watches(100, used, Some(watches), Some(instances));
        assert_eq!(judge(3, 8_192, 128).status, Status::Ok);
        assert!(judge(3, 64, 128).hint.contains("max_user_watches=200"));
        assert!(judge(128, 8_192, 128).hint.contains("max_user_instances=256"));
        assert_eq!(judge_watches(1, 0, None, None).status, Status::Warn);
    }

    #[test]
    fn more_files_than_may_be_open_is_a_failure() {
        assert_eq!(open_files(usize::MAX / 4, None).status, Status::Fail);
        assert_eq!(open_files(1, None).status, Status::Ok);
    }
}
