//! The state directory: may it be written, and is there room.

use std::path::Path;

use rustix::fs::statvfs;

use super::finding::Finding;
use crate::config::Config;
use crate::validate::{can_be_made, nearest_existing};

/// Bytes that offsets and sessions may take beside the spool.
const STORE_BYTES: u64 = 256 * 1_024 * 1_024;
/// Free bytes below which an agent hardly starts.
const FREE_BYTES_MIN: u64 = 16 * 1_024 * 1_024;
const MIB: u64 = 1_024 * 1_024;

/// Findings `state` and `disk`.
pub(super) fn directory(config: &Config) -> Vec<Finding> {
    let directory = &config.state_dir;
    let shown = directory.display();
    if let Err(error) = can_be_made(directory) {
        let hint =
            format!("install -d -o USER `{shown}`, or set state_dir to a directory of the agent's user");
        return vec![Finding::fail("state", format!("`{shown}` cannot be written: {error}"), hint)];
    }
    let exists = if directory.exists() { "can be written" } else { "can be made" };
    let mut findings = vec![Finding::ok("state", format!("`{shown}` {exists}"))];
    if let Some(free) = free_bytes(nearest_existing(directory)) {
        findings.push(judge_free(free, config.ship.spool_bytes_max + STORE_BYTES));
    }
    findings
}

fn free_bytes(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn judge_free(free: u64, wanted: u64) -> Finding {
    let what = format!("{} MiB free for the state, up to {} MiB wanted", free / MIB, wanted / MIB);
    let hint = "make room, or lower [ship] spool_bytes_max; with a full disk the agent stops reading";
    if free < FREE_BYTES_MIN {
        Finding::fail("disk", what, hint)
    } else if free < wanted {
        Finding::warn("disk", what, hint)
    } else {
        Finding::ok("disk", what)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn a_disk_that_fills_up_is_told() {
        let told = |free| judge_free(free, 512 * MIB).status;
        assert_eq!([1, 100 * MIB, 512 * MIB].map(told), [Status::Fail, Status::Warn, Status::Ok]);
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
    }
}
