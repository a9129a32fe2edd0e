//! The join: sessions of one block, from whatever nodes, as one incident with one timeline.
//!
//! An incident is a function of the set of its sessions' current states, so the order in which reports arrive cannot
//! matter. Two known pools are two blocks. A session whose lines name no pool belongs to the block's one known pool;
//! where there are two, to an incident of its own.

use std::collections::{BTreeMap, BTreeSet};

use blocksift_detector::Report;

use crate::culprit::Culprit;

/// Sessions of a block that are joined; of more, those that ended last.
pub(crate) const PARTS_MAX: usize = 64;
/// Node names that an incident lists; all are counted.
const NODES_LISTED_MAX: usize = 8;
/// Culprits of an incident; the first by kind and name.
const CULPRITS_MAX: usize = 32;

/// The current state of one session, as far as the join needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) id: i64,
    pub(crate) node: String,
    pub(crate) pool: String,
    pub(crate) flagged: bool,
    pub(crate) score: f64,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) culprits: Vec<Culprit>,
}

/// What happened to one block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Incident {
    /// Empty where no session names one.
    pub(crate) pool: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// The highest of a flagged session; of any, where none is flagged.
    pub(crate) score: f64,
    pub(crate) sessions: usize,
    /// Sessions that are flagged now.
    pub(crate) flagged: usize,
    /// How many nodes, and the first names in order.
    pub(crate) nodes: usize,
    pub(crate) node_names: Vec<String>,
    /// The node of the flagged session with the highest score; empty where none is flagged.
    pub(crate) worst_node: String,
    /// What flagged sessions point at, sorted.
    pub(crate) culprits: Vec<Culprit>,
}

/// Incidents of one block by pool, of all its sessions.
pub(crate) fn join(parts: &[Part]) -> Vec<Incident> {
    let pools: BTreeSet<&str> =
        parts.iter().map(|part| part.pool.as_str()).filter(|pool| !pool.is_empty()).collect();
    let only = if pools.len() == 1 { pools.first().copied().unwrap_or_default() } else { "" };
    let mut by_pool: BTreeMap<&str, Vec<&Part>> = BTreeMap::new();
    for part in parts {
        let pool = if part.pool.is_empty() { only } else { part.pool.as_str() };
        by_pool.entry(pool).or_default().push(part);
    }
    by_pool.into_iter().map(|(pool, parts)| incident(pool, &parts)).collect()
}

fn incident(pool: &str, parts: &[&Part]) -> Incident {
    let flagged = || parts.iter().filter(|part| part.flagged);
    let any_flagged = flagged().next().is_some();
    let scored = parts.iter().filter(|part| part.flagged || !any_flagged);
    let nodes: BTreeSet<&str> = parts.iter().map(|part| part.node.as_str()).collect();
    // Of equal ones the first by name, whatever the order of the parts.
    let worst =
        flagged().max_by(|one, other| one.score.total_cmp(&other.score).then(other.node.cmp(&one.node)));
    let culprits: BTreeSet<&Culprit> = flagged().flat_map(|part| &part.culprits).collect();
    Incident {
        pool: pool.to_owned(),
        start_ms: parts.iter().map(|part| part.start_ms).min().unwrap_or_default(),
        end_ms: parts.iter().map(|part| part.end_ms).max().unwrap_or_default(),
        score: scored.map(|part| part.score).fold(0.0, f64::max),
        sessions: parts.len(),
        flagged: flagged().count(),
        nodes: nodes.len(),
        node_names: nodes.into_iter().take(NODES_LISTED_MAX).map(str::to_owned).collect(),
        worst_node: worst.map(|part| part.node.clone()).unwrap_or_default(),
        culprits: culprits.into_iter().take(CULPRITS_MAX).cloned().collect(),
    }
}

/// Where an event of the common timeline is: the report, and the event in it.
pub(crate) type Place = (usize, usize);

/// The events of all reports, oldest first. Events of equal time keep the order of node, session and event, whatever the
/// order of the reports.
pub(crate) fn timeline(reports: &[Report]) -> Vec<Place> {
    let mut places: Vec<(jiff::Timestamp, &str, &str, usize, usize)> = Vec::new();
    for (number, report) in reports.iter().enumerate() {
        for (event, found) in report.events.iter().enumerate() {
            let time = found.time.parse().unwrap_or(jiff::Timestamp::MIN);
            places.push((time, &report.node, &report.id, event, number));
        }
    }
    places.sort();
    places.into_iter().map(|(.., event, report)| (report, event)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::Kind;
    use crate::otlp::tests::report;

    fn part(id: i64, node: &str, pool: &str, flagged: bool) -> Part {
        let culprits = vec![Culprit { kind: Kind::Node, name: node.to_owned() }];
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let score = id as f64 / 10.0;
        Part {
            id,
            node: node.to_owned(),
            pool: pool.to_owned(),
            flagged,
            score,
            start_ms: 100 - id,
            end_ms: 100 + id,
            culprits,
        }
    }

    #[test]
    fn sessions_of_one_block_are_one_incident() {
        let found = join(&[part(1, "dn1", "A", true), part(2, "nn", "", true), part(9, "dn3", "A", false)]);
        let [incident] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (incident.pool.as_str(), incident.sessions, incident.flagged, incident.nodes),
            ("A", 3, 2, 3)
        );
        assert_eq!((incident.start_ms, incident.end_ms, incident.score), (91, 109, 0.2));
        let names: Vec<_> = incident.culprits.iter().map(|culprit| culprit.name.as_str()).collect();
        assert_eq!(names, ["dn1", "nn"]);
    }

    #[test]
    fn two_pools_are_two_blocks_and_no_pool_is_then_neither() {
        let found = join(&[part(1, "dn1", "A", true), part(2, "dn1", "B", true), part(3, "nn", "", true)]);
        let pools: Vec<_> =
            found.iter().map(|incident| (incident.pool.as_str(), incident.sessions)).collect();
        assert_eq!(pools, [("", 1), ("A", 1), ("B", 1)]);
    }

    #[test]
    fn the_timeline_does_not_depend_on_the_order_of_the_reports() {
        let one = report();
        let mut other = Report { node: "dn0".to_owned(), id: "00000000000000ff".to_owned(), ..report() };
        other.events[1].time = "2008-11-09T20:35:17Z".to_owned();
        let shown = |reports: &[Report]| -> Vec<(String, String, u64)> {
            let event = |&(report, event): &Place| {
                let report = &reports[report];
                (report.node.clone(), report.events[event].time.clone(), report.events[event].offset)
            };
            timeline(reports).iter().map(event).collect()
        };
        let forward = shown(&[one.clone(), other.clone()]);
        assert_eq!(forward, shown(&[other, one]));
        assert_eq!((forward.len(), forward[0].1.as_str()), (4, "2008-11-09T20:35:17Z"));
    }
}
