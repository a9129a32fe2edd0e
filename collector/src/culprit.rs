//! What a flagged report points at: the node that had the trouble, a volume of it, or the link to a peer.
//!
//! Decided from the events that made the report flagged: those that raise the score, name an exception or are of level
//! WARN or worse. Their raw lines name volumes and peers; addresses and paths that the agent has redacted are hashes and
//! serve as well as names. A NameNode speaks about others: its reports name no node.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::report::{Event, Report};

/// Culprits of one report; further ones are left out.
const CULPRITS_MAX: usize = 8;
/// An event that raises the score by at least this is looked at.
const CONTRIBUTION_MIN: f32 = 0.02;
/// Bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 2_048;
/// Bytes of a volume or an address.
const NAME_BYTES_MAX: usize = 128;

/// What kind of thing is pointed at; the more specific one is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A node, by its name.
    Node,
    /// Two ends of a connection, as `from → to`.
    Link,
    /// A node's disk, as `node /path`.
    Volume,
}

impl Kind {
    /// As it is stored and shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Link => "link",
            Self::Volume => "volume",
        }
    }
}

/// Something that may be at fault.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Culprit {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

/// What a report points at, sorted; nothing if it is not flagged.
pub(crate) fn of(report: &Report<'_>) -> Vec<Culprit> {
    let mut found = Vec::new();
    if !report.flagged {
        return found;
    }
    for event in suspects(report) {
        if !is_name_node(event) {
            add(&mut found, Kind::Node, report.node.to_owned());
        }
        let Some(line) = event.line.map(bounded) else { continue };
        if let Some(path) = volume(line) {
            add(&mut found, Kind::Volume, format!("{} {path}", report.node));
        }
        if let Some((from, to)) = link(line) {
            add(&mut found, Kind::Link, format!("{} → {to}", from.unwrap_or(report.node)));
        }
    }
    found.sort();
    found
}

/// Events to look at: those that stand out, else the one that raises the score most.
fn suspects<'a, 'b>(report: &'b Report<'a>) -> Vec<&'b Event<'a>> {
    let stands_out = |event: &&Event<'_>| {
        event.contribution >= CONTRIBUTION_MIN
            || !event.exception.is_empty()
            || matches!(event.level, "WARN" | "ERROR" | "FATAL")
    };
    let found: Vec<_> = report.events.iter().filter(stands_out).collect();
    if found.is_empty() {
        let most = report.events.iter().max_by(|one, other| one.contribution.total_cmp(&other.contribution));
        return most.into_iter().collect();
    }
    found
}

fn is_name_node(event: &Event<'_>) -> bool {
    let logger = event.logger.to_ascii_lowercase();
    ["namenode", "namesystem", "blockstatechange", "blockmanagement"].iter().any(|word| logger.contains(word))
}

fn add(found: &mut Vec<Culprit>, kind: Kind, name: String) {
    let culprit = Culprit { kind, name };
    if found.len() < CULPRITS_MAX && !found.contains(&culprit) {
        found.push(culprit);
    }
}

/// The start of a line, up to a whole character.
fn bounded(line: &str) -> &str {
    let end = (0..=LINE_BYTES_MAX.min(line.len())).rev().find(|&end| line.is_char_boundary(end));
    line.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// The data directory that a line names: what comes before `/current/` and the like, or after `volume`.
fn volume(line: &str) -> Option<&str> {
    #[expect(clippy::unwrap_used, reason = "a constant expression, which the tests use")]
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?x) (?: ^|[\s\[(=,:'`] ) (/[^\s\[\]()=,:'`]*?) /(?:current|tmp|detach|finalized|rbw|in_use\.lock)(?:/|\b)
            | \bvolume[s]?[:\s]+ (/[^\s\[\]()=,:'`]+)").unwrap()
    });
    let captures = PATTERN.captures(line)?;
    let path = captures.get(1).or_else(|| captures.get(2))?.as_str().trim_end_matches(['/', ';', '.']);
    (1..=NAME_BYTES_MAX).contains(&path.len()).then_some(path)
}

/// The two ends of a connection that a line names, without ports; `from` is missing where it names one end alone.
fn link(line: &str) -> Option<(Option<&str>, &str)> {
    #[expect(clippy::unwrap_used, reason = "a constant expression, which the tests use")]
    static ENDS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\bsrc: ?/?([^\s,:/]+)(?::\d+)?,? dest: ?/?([^\s,:/]+)").unwrap());
    #[expect(clippy::unwrap_used, reason = "a constant expression, which the tests use")]
    static ADDRESS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?:^|[\s/\[(,=])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}):\d*").unwrap());
    let short = |text: &str| text.len() <= NAME_BYTES_MAX;
    if let Some(captures) = ENDS.captures(line)
        && let (Some(from), Some(to)) = (captures.get(1), captures.get(2))
    {
        let (from, to) = (from.as_str(), to.as_str());
        return (from != to && short(from) && short(to)).then_some((Some(from), to));
    }
    let mut addresses: Vec<&str> = Vec::new();
    for captures in ADDRESS.captures_iter(line) {
        if let Some(address) = captures.get(1)
            && !addresses.contains(&address.as_str())
        {
            addresses.push(address.as_str());
        }
    }
    // A list of more is a pipeline, which does not say between whom it broke.
    match *addresses.as_slice() {
        [to] => Some((None, to)),
        [from, to] => Some((Some(from), to)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use blocksift_detector::{Event, Report};

    use super::{CULPRITS_MAX, of};
    use crate::otlp::tests::report;

    fn names(change: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = report();
        report.events.truncate(1);
        change(&mut report);
        of(&(&report).into())
            .into_iter()
            .map(|culprit| format!("{} {}", culprit.kind.name(), culprit.name))
            .collect()
    }

    fn line(text: &str) -> Vec<String> {
        names(|report| report.events[0].line = Some(text.to_owned()))
    }

    #[test]
    fn lines_name_volumes_and_links() {
        let cases = [
            (
                "081109 213008 2518 WARN dfs.DataNode$DataXceiver: 10.251.30.85:50010:Got exception while serving blk_1 to /10.251.90.64:",
                "link 10.251.30.85 → 10.251.90.64",
            ),
            (
                "IOException in receiveBlock src: /10.0.0.1:4711 dest: /10.0.0.2:9866",
                "link 10.0.0.1 → 10.0.0.2",
            ),
            ("exception to mirror 10.0.0.9:9866", "link dn1 → 10.0.0.9"),
            (
                "cannot read /data/4/dfs/dn/current/BP-1-1-1/current/finalized/subdir0/blk_1",
                "volume dn1 /data/4/dfs/dn",
            ),
            ("DataNode failed volumes: /data/7;", "volume dn1 /data/7"),
        ];
        for (text, expected) in cases {
            let found = line(text);
            assert!(found.contains(&expected.to_owned()), "{text}: {found:?}");
            assert!(found.contains(&"node dn1".to_owned()), "{found:?}");
        }
        assert_eq!(line("pipeline [10.0.0.1:9866, 10.0.0.2:9866, 10.0.0.3:9866]"), ["node dn1"]);
        assert_eq!(line("took 10.0.0.1 s"), ["node dn1"]);
    }

    #[test]
    fn a_name_node_and_a_flag_taken_back_point_at_no_node() {
        let logger = |report: &mut Report| report.events[0].logger = "dfs.FSNamesystem".to_owned();
        assert!(names(logger).is_empty());
        assert!(names(|report| report.flagged = false).is_empty());
    }

    #[test]
    fn what_is_found_is_bounded() {
        let many: Vec<String> = (0..100).map(|i| format!("to mirror 10.0.0.{i}:9866")).collect();
        let found = names(|report| {
            let event = report.events[0].clone();
            report.events =
                many.iter().map(|text| Event { line: Some(text.clone()), ..event.clone() }).collect();
        });
        assert_eq!(found.len(), CULPRITS_MAX);
        assert!(line(&format!("{}/current/x", "/é".repeat(5_000))).len() == 1);
        assert_eq!(line(&format!("/{}/current/x", "a".repeat(200))), ["node dn1"]);
    }
}
