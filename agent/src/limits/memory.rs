//! The cap on memory: what is resident beyond it has to come off the sessions, which are all that grows. Memory that
//! sessions gave back need not be the system's at once, so the effect of one cut is waited for before the next.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// Time from one cut to the next.
const CUT_INTERVAL: Duration = Duration::from_secs(15);
/// Sessions keep so much, whatever else takes memory: an agent without sessions is none.
const SESSIONS_BYTES_MIN: u64 = 1_024 * 1_024;
/// Share of the cap that a cut goes below it, and twice of which there has to be room before sessions may take more.
const SLACK_SHARE: u64 = 16;

/// A new limit for the sessions' bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Less than before.
    Cut(u64),
    /// More than before.
    Raise(u64),
}

impl Change {
    pub(super) fn bytes_max(self) -> u64 {
        match self {
            Self::Cut(bytes_max) | Self::Raise(bytes_max) => bytes_max,
        }
    }
}

/// The cap and what the sessions may take because of it.
#[derive(Debug)]
pub(super) struct MemoryCap {
    bytes_max: u64,
    /// What the sessions may take in any case.
    sessions_bytes_configured: u64,
    sessions_bytes_max: u64,
    changed: Option<Instant>,
}

impl MemoryCap {
    pub(super) fn new(bytes_max: u64, sessions_bytes_max: u64) -> Self {
        Self { bytes_max, sessions_bytes_configured: sessions_bytes_max, sessions_bytes_max, changed: None }
    }

    /// What the sessions may take from now on, if that changes: now so much is `resident`, of which the sessions take
    /// `sessions_bytes`.
    pub(super) fn check(&mut self, now: Instant, resident: u64, sessions_bytes: u64) -> Option<Change> {
        if self.changed.is_some_and(|changed| now.saturating_duration_since(changed) < CUT_INTERVAL) {
            return None;
        }
        let slack = self.bytes_max / SLACK_SHARE;
        let room = self.bytes_max.saturating_sub(resident);
        let limit = if resident > self.bytes_max {
            sessions_bytes.saturating_sub(resident - self.bytes_max + slack).max(SESSIONS_BYTES_MIN)
        } else if room > 2 * slack && self.sessions_bytes_max < self.sessions_bytes_configured {
            // What is left between limit and sessions is part of what the room is for.
            sessions_bytes.saturating_add(room - slack).max(self.sessions_bytes_max)
        } else {
            return None;
        };
        let limit = limit.min(self.sessions_bytes_configured);
        // A cut that changes nothing, since sessions are not what takes the memory, is not tried every second either.
        self.changed = Some(now);
        let before = std::mem::replace(&mut self.sessions_bytes_max, limit);
        match limit.cmp(&before) {
            Ordering::Less => Some(Change::Cut(limit)),
            Ordering::Equal => None,
            Ordering::Greater => Some(Change::Raise(limit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1_024 * 1_024;
    const SECOND: Duration = Duration::from_secs(1);

    /// An agent whose sessions grow by a MiB a second; memory that they give back is the system's ten seconds later.
    fn run(cap: &mut MemoryCap, seconds: u32, rest_of: impl Fn(u32) -> u64) -> (u64, u64, u32) {
        let (mut now, mut sessions, mut limit, mut cuts) = (Instant::now(), 0, u64::MAX, 0);
        let mut held = Vec::new();
        let mut resident = 0;
        for second in 0..seconds {
            now += SECOND;
            sessions = (sessions + MIB).min(limit);
            held.push(sessions);
            let kept = held.iter().rev().take(10).max().copied().unwrap_or(0);
            resident = rest_of(second) + kept;
            if let Some(change) = cap.check(now, resident, sessions) {
                cuts += u32::from(matches!(change, Change::Cut(_)));
                limit = change.bytes_max();
                sessions = sessions.min(limit);
            }
        }
        (resident, sessions, cuts)
    }

    #[test]
    fn sessions_are_cut_to_what_fits_and_not_below() {
        let mut cap = MemoryCap::new(100 * MIB, 500 * MIB);
        let (resident, sessions, cuts) = run(&mut cap, 600, |_| 30 * MIB);
        assert!(resident <= 100 * MIB, "{resident}");
        assert!(sessions >= 55 * MIB, "{sessions}");
        assert!(cuts <= 600 / 30, "{cuts}");
    }

    #[test]
    fn sessions_may_grow_again_when_something_else_has_shrunk() {
        let mut cap = MemoryCap::new(100 * MIB, 50 * MIB);
        let (_, sessions, _) = run(&mut cap, 200, |_| 80 * MIB);
        assert!(sessions <= 20 * MIB, "{sessions}");
        let (_, sessions, _) = run(&mut cap, 400, |second| if second < 100 { 80 * MIB } else { 30 * MIB });
        assert_eq!(sessions, 50 * MIB);
    }

    #[test]
    fn sessions_are_not_emptied_for_what_is_not_theirs() {
        let mut cap = MemoryCap::new(100 * MIB, 500 * MIB);
        let (_, sessions, cuts) = run(&mut cap, 600, |_| 150 * MIB);
        assert_eq!(sessions, SESSIONS_BYTES_MIN);
        assert!(cuts <= 3, "{cuts}");
    }

    #[test]
    fn below_the_cap_nothing_changes() {
        let mut cap = MemoryCap::new(100 * MIB, 50 * MIB);
        assert_eq!(run(&mut cap, 100, |_| 30 * MIB).2, 0);
    }
}
