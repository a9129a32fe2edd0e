//! `/healthz` and `/readyz`: whether the process works, and whether the agent does what it is there for. The body says
//! which part does not, and why.

use std::time::Instant;

use serde::Serialize;

use super::{Board, FeedStatus, ShipStatus};

/// An answer to a probe.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    /// Whether every check passed.
    pub(super) ok: bool,
    checks: Vec<Check>,
}

/// One part of the agent.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// What is wrong; empty if nothing is.
    reason: String,
}

impl Health {
    fn of(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.ok), checks }
    }

    /// Whether the feed's thread makes rounds. If not, the process has to be started anew.
    pub(super) fn alive(board: &Board, now: Instant) -> Self {
        Self::of(vec![feed(board, &board.feed.borrow(), now)])
    }

    /// Whether lines are read, remembered and shipped, or at least kept until they can be.
    pub(super) fn ready(board: &Board, now: Instant) -> Self {
        let status = board.feed.borrow().clone();
        Self::of(vec![
            feed(board, &status, now),
            store(board, &status),
            Check::new("model", Ok(())),
            files(&status),
            collector(&status, &board.ship.borrow()),
        ])
    }
}

impl Check {
    fn new(name: &'static str, result: Result<(), String>) -> Self {
        Self { name, ok: result.is_ok(), reason: result.err().unwrap_or_default() }
    }
}

fn feed(board: &Board, status: &FeedStatus, now: Instant) -> Check {
    let reason = || format!("no round for {} s: the disk may hang", board.quiet(status, now).as_secs());
    let stuck = board.quiet(status, now) > board.stuck_after;
    Check::new("feed", if stuck { Err(reason()) } else { Ok(()) })
}

fn store(board: &Board, status: &FeedStatus) -> Check {
    let written = match (board.store.is_failing(), status.progress) {
        (true, _) => Err("the disk fails or is full; no lines are read until it works".to_owned()),
        (false, None) => Err("no round was committed yet".to_owned()),
        (false, Some(_)) => Ok(()),
    };
    Check::new("store", written)
}

fn files(status: &FeedStatus) -> Check {
    let found = match (status.files.files, status.files.files_unreadable) {
        (0, 0) => {
            Err("no file matches [logs] paths; `blocksift-agent validate` shows what matches".to_owned())
        }
        (0, unreadable) => {
            Err(format!("{unreadable} files match and none can be read; check their permissions"))
        }
        _ => Ok(()),
    };
    Check::new("files", found)
}

/// A collector that is away is no reason to restart anything as long as reports can be kept.
fn collector(status: &FeedStatus, ship: &ShipStatus) -> Check {
    let reached = match (&ship.failure, status.spool_full) {
        (Some(failure), true) => Err(format!("spool is full and reports are not taken: {failure}")),
        (None, true) => Err("spool is full".to_owned()),
        (_, false) => Ok(()),
    };
    Check::new("collector", reached)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::board;
    use super::*;

    /// Names of the checks that fail.
    fn failing(health: &Health) -> Vec<&'static str> {
        assert_eq!(health.ok, health.checks.iter().all(|check| check.ok && check.reason.is_empty()));
        health.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect()
    }

    #[test]
    fn an_agent_is_ready_when_it_reads_and_can_keep_what_it_finds() {
        let (board, (_folder, feed, ship)) = board();
        let now = Instant::now();
        assert_eq!(failing(&Health::ready(&board, now)), ["store", "files"]);
        feed.send_modify(|status| {
            status.progress = Some(now);
            status.files.files = 1;
        });
        ship.send_modify(|status| status.failure = Some("connection refused".to_owned()));
        assert!(Health::ready(&board, now).ok, "reports can be kept");
        feed.send_modify(|status| status.spool_full = true);
        let health = Health::ready(&board, now);
        assert_eq!(failing(&health), ["collector"]);
        assert!(serde_json::to_string(&health).unwrap().contains("connection refused"));
        feed.send_modify(|status| {
            status.files.files = 0;
            status.files.files_unreadable = 2;
        });
        assert_eq!(failing(&Health::ready(&board, now)), ["files", "collector"]);
    }

    #[test]
    fn an_agent_that_makes_no_rounds_is_not_alive() {
        let (board, (_folder, feed, _ship)) = board();
        let later = board.started + Duration::from_secs(61);
        assert_eq!(failing(&Health::alive(&board, later)), ["feed"]);
        feed.send_modify(|status| status.progress = Some(later));
        assert!(Health::alive(&board, later).ok && !board.is_stuck(later));
        assert!(board.is_stuck(later + Duration::from_secs(61)));
    }
}
