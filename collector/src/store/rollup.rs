//! Roll-ups: what the overview shows, added up while it arrives. Changes of a transaction are gathered in memory and
//! added to the tables once, so a burst of reports in one minute is one update.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Metrics;
use super::sql::{Result, Transaction, params};
use crate::culprit::{Culprit, Kind};

/// Length of a slot of scores and culprits.
pub(crate) const SLOT_MS: i64 = 600_000;
pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
/// Lengths of the slots that culprits are counted by: a range is read in few of them, whatever its length.
pub(crate) const CULPRIT_SLOTS_MS: [i64; 3] = [SLOT_MS, HOUR_MS, DAY_MS];
/// The first summary of a node counts as a whole if its counts began at most this long before; else they are of the past.
const FIRST_SUMMARY_MAX_MS: i64 = HOUR_MS;

/// Changes that are not in the tables yet.
#[derive(Debug, Default)]
pub(super) struct Rollups {
    /// By minute: flagged, scored.
    minutes: HashMap<i64, (i64, i64)>,
    scores: HashMap<(i64, String), i64>,
    /// By length of the slot, slot, kind and name.
    culprits: HashMap<(i64, i64, Kind, String), i64>,
    template_hours: HashMap<(i64, i64), i64>,
    nodes: HashMap<String, i64>,
}

impl Rollups {
    /// Counts a session that is flagged now, or is no longer.
    pub(super) fn flagged(&mut self, end_ms: i64, change: i64) {
        self.minutes.entry(end_ms.div_euclid(MINUTE_MS)).or_default().0 += change;
    }

    /// Counts a flag on its node; says whether the node was counted before in this transaction.
    pub(super) fn node_flagged(&mut self, node: &str, change: i64) -> bool {
        if let Some(count) = self.nodes.get_mut(node) {
            *count += change;
            return true;
        }
        self.nodes.insert(node.to_owned(), change);
        false
    }

    /// Counts an incident under what it points at, or takes it back.
    pub(super) fn culprits(&mut self, slot: i64, culprits: &[Culprit], change: i64) {
        let start_ms = slot.saturating_mul(SLOT_MS);
        let slots = CULPRIT_SLOTS_MS.map(|slot_ms| (slot_ms, start_ms.div_euclid(slot_ms)));
        for culprit in culprits {
            for (slot_ms, slot) in slots {
                let key = (slot_ms, slot, culprit.kind, culprit.name.clone());
                *self.culprits.entry(key).or_default() += change;
            }
        }
    }

    /// Counts events of a template.
    pub(super) fn template(&mut self, template: i64, time_ms: i64, events: i64) {
        *self.template_hours.entry((template, time_ms.div_euclid(HOUR_MS))).or_default() += events;
    }

    /// Counts what a summary has more than the one before it. Its numbers are cumulative; one that fell began anew.
    pub(super) fn summary(&mut self, before: Option<&str>, metrics: &Metrics) {
        let before: Option<Map<String, Value>> = before.and_then(|text| serde_json::from_str(text).ok());
        if before.is_none() && metrics.time_ms.saturating_sub(metrics.since_ms) > FIRST_SUMMARY_MAX_MS {
            return;
        }
        let Ok(now) = serde_json::from_str::<Map<String, Value>>(&metrics.values) else { return };
        let number = |value: Option<&Value>| value.and_then(Value::as_i64).unwrap_or(0);
        let was = |name: &str| before.as_ref().and_then(|before| before.get(name));
        let scored = more(number(was("sessions_scored")), number(now.get("sessions_scored")));
        if scored > 0 {
            self.minutes.entry(metrics.time_ms.div_euclid(MINUTE_MS)).or_default().1 += scored;
        }
        let Some(Value::Object(scores)) = now.get("scores") else { return };
        let old = was("scores").and_then(Value::as_object);
        // If one range fell, all of them began anew.
        let restarted = scores
            .iter()
            .any(|(bound, count)| number(Some(count)) < number(old.and_then(|old| old.get(bound))));
        let old = if restarted { None } else { old };
        for (bound, count) in scores {
            let sessions = number(Some(count)) - number(old.and_then(|old| old.get(bound)));
            if sessions > 0 {
                let slot = metrics.time_ms.div_euclid(SLOT_MS);
                *self.scores.entry((slot, bound.clone())).or_default() += sessions;
            }
        }
    }

    /// Adds the changes to the tables.
    pub(super) fn store(self, transaction: &Transaction<'_>) -> Result<()> {
        let mut minutes = transaction.prepare_cached(
            "INSERT INTO minutes (minute, flagged, scored) VALUES (?1, ?2, ?3) ON CONFLICT (minute) DO UPDATE
             SET flagged = minutes.flagged + excluded.flagged, scored = minutes.scored + excluded.scored",
        )?;
        for (minute, (flagged, scored)) in self.minutes {
            minutes.execute(params![minute, flagged, scored])?;
        }
        let mut scores = transaction.prepare_cached(
            "INSERT INTO scores (slot, bound, sessions) VALUES (?1, ?2, ?3)
             ON CONFLICT (slot, bound) DO UPDATE SET sessions = scores.sessions + excluded.sessions",
        )?;
        for ((slot, bound), sessions) in self.scores {
            scores.execute(params![slot, bound, sessions])?;
        }
        let mut culprits = transaction.prepare_cached(
            "INSERT INTO culprits (slot_ms, slot, kind, name, incidents) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (slot_ms, slot, kind, name) DO UPDATE SET incidents = culprits.incidents + excluded.incidents",
        )?;
        for ((slot_ms, slot, kind, name), incidents) in self.culprits {
            if incidents != 0 {
                culprits.execute(params![slot_ms, slot, kind.name(), name, incidents])?;
            }
        }
        let mut hours = transaction.prepare_cached(
            "INSERT INTO template_hours (template, hour, events) VALUES (?1, ?2, ?3)
             ON CONFLICT (template, hour) DO UPDATE SET events = template_hours.events + excluded.events",
        )?;
        for ((template, hour), events) in self.template_hours {
            hours.execute(params![template, hour, events])?;
        }
        let mut nodes = transaction
            .prepare_cached("UPDATE nodes SET sessions_flagged = sessions_flagged + ?2 WHERE node = ?1")?;
        for (node, change) in self.nodes {
            if change != 0 {
                nodes.execute(params![node, change])?;
            }
        }
        Ok(())
    }
}

/// How much a cumulative count has grown; all of it where it fell, since it began anew.
pub(super) fn more(before: i64, now: i64) -> i64 {
    if now < before { now } else { now - before }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(time_ms: i64, since_ms: i64, values: &str) -> Metrics {
        Metrics { time_ms, since_ms, values: values.to_owned(), templates: Vec::new() }
    }

    fn scored(rollups: &Rollups) -> i64 {
        rollups.minutes.values().map(|(_, scored)| scored).sum()
    }

    #[test]
    fn summaries_count_what_is_new() {
        let mut rollups = Rollups::default();
        let first = r#"{"sessions_scored":10,"scores":{"0.5":8,"1":2}}"#;
        rollups.summary(None, &metrics(60_000, 0, first));
        rollups.summary(
            Some(first),
            &metrics(120_000, 0, r#"{"sessions_scored":15,"scores":{"0.5":12,"1":3}}"#),
        );
        assert_eq!((rollups.minutes[&1].1, rollups.minutes[&2].1), (10, 5));
        assert_eq!((rollups.scores[&(0, "0.5".to_owned())], rollups.scores[&(0, "1".to_owned())]), (12, 3));
    }

    #[test]
    fn a_restart_begins_anew_and_a_first_summary_of_long_ago_counts_nothing() {
        let mut rollups = Rollups::default();
        let before = r#"{"sessions_scored":100,"scores":{"0.5":90,"1":10}}"#;
        rollups
            .summary(Some(before), &metrics(60_000, 0, r#"{"sessions_scored":4,"scores":{"0.5":4,"1":20}}"#));
        assert_eq!(scored(&rollups), 4);
        assert_eq!(rollups.scores.values().sum::<i64>(), 24);
        let mut rollups = Rollups::default();
        rollups.summary(None, &metrics(HOUR_MS + 1, 0, before));
        assert_eq!(scored(&rollups), 0);
    }

    #[test]
    fn a_node_is_told_apart_the_first_time() {
        let mut rollups = Rollups::default();
        assert!(!rollups.node_flagged("dn1", 1) && rollups.node_flagged("dn1", -1));
        assert_eq!(rollups.nodes["dn1"], 0);
    }
}
