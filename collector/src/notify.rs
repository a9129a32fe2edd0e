//! Telling people of incidents: what is told, to whom, and that it arrives.
//!
//! The transaction that makes an incident also puts what is to be told into the outbox ([`crate::store::notices`]), so a
//! notification is neither lost nor made twice by a restart, and no receiver is waited for while reports are stored. One
//! task for each receiver takes from the outbox in order ([`deliver`]). A receiver that took a notification and whose
//! answer was lost gets it again, with the same content.

pub(crate) mod deliver;
pub(crate) mod http;
pub(crate) mod message;
pub(crate) mod syslog;

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::culprit::Culprit;

/// Incidents and nodes that a group names; all are counted.
pub(crate) const GROUP_NAMED_MAX: usize = 10;

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Notice {
    /// A block has become an incident.
    Incident(Subject),
    /// An incident that was told is none any more.
    TakenBack(Subject),
    /// Incidents beyond the budgets of their nodes.
    Group(Group),
}

/// An incident as it was when it was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) block: i64,
    /// Empty where no session names one.
    pub(crate) pool: String,
    /// The node of the flagged session with the highest score.
    pub(crate) node: String,
    /// Times of the log.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) score: f64,
    pub(crate) sessions: usize,
    pub(crate) sessions_flagged: usize,
    pub(crate) nodes: usize,
    /// The first ones.
    pub(crate) node_names: Vec<String>,
    pub(crate) culprits: Vec<Culprit>,
    /// When it was told, in the collector's clock.
    pub(crate) told_ms: i64,
}

/// Incidents that are told together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) incidents: u64,
    /// Nodes with the most of them, at most [`GROUP_NAMED_MAX`].
    pub(crate) nodes: Vec<(String, u64)>,
    pub(crate) nodes_total: u64,
    /// The worst of them, at most [`GROUP_NAMED_MAX`].
    pub(crate) worst: Vec<Subject>,
    pub(crate) told_ms: i64,
}

/// Who is told, and how much.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) receivers: Vec<Counts>,
    /// Notifications of single incidents for each node and day; further incidents are told in a group.
    pub(crate) budget_per_node: i64,
    /// Incidents whose last event is older when they are found are not told: logs of long ago are no news.
    pub(crate) age_max_ms: i64,
    pub(crate) group_interval_ms: i64,
    /// Incidents that were told in a group, since the start.
    pub(crate) grouped_total: AtomicU64,
}

/// One receiver, and what became of its notifications since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) name: String,
    pub(crate) sent_total: AtomicU64,
    /// Tries that failed and are made again.
    pub(crate) failed_total: AtomicU64,
    /// Notifications that were refused, became too old, or found no room.
    pub(crate) dropped_total: AtomicU64,
}

impl Policy {
    /// Whether nobody is told.
    pub(crate) fn is_silent(&self) -> bool {
        self.receivers.is_empty()
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
