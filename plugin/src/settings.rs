//! What an operator decides, as it stands in a control record or on a command line: one JSON object, each key with a
//! default. It is checked as a whole; what is wrong is told key by key, and nothing of it is used then.

use blocksift_detector::{Model, Settings as DetectorSettings};
use jiff::tz::{Offset, TimeZone};
use serde::Deserialize;

use crate::fields::Fields;
use crate::filter::Mode;

/// Seconds that fit all keys that are seconds: thirty days.
const SECONDS_MAX: u32 = 2_592_000;
const MIB: u32 = 1_024 * 1_024;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 255;
/// Reports that may wait in a shard of sessions, see [`DetectorSettings::reports_max`].
const SHARD_REPORTS_MAX: usize = 8;

/// Settings of a filter. Where there are several nodes, each gets an equal part of what is bounded.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A score at or above this is flagged, `0.0..=1.0`; `None` takes the model's.
    pub threshold: Option<f32>,
    /// Name of the node of records that name none.
    pub node: String,
    /// Zone of times in the log that carry none: `UTC`, `+02:00`, or a rule as in POSIX, `CET-1CEST,M3.5.0,M10.5.0/3`.
    pub zone: String,
    /// A session is scored when no record named its block for this long.
    pub idle_timeout_s: u32,
    /// A scored session is forgotten when no record named its block for this long.
    pub forget_after_s: u32,
    /// How late an event may come, by the times in the log, to be put in its place.
    pub reorder_s: u32,
    /// Sessions remembered; beyond it the least recently active one is scored, forgotten and counted.
    pub sessions_max: u32,
    /// Bytes that they take; beyond it the same.
    pub sessions_bytes_max: u32,
    /// Events kept of a session; beyond it the middle ones keep only their counts.
    pub events_max: u32,
    /// Bytes of late lines that are kept for reports; the oldest make room. `0` keeps none.
    pub lines_bytes_max: u32,
    /// Bytes of lines in one report; the events beyond it have none.
    pub report_bytes_max: u32,
    /// Time between two summaries; `0` makes none.
    pub summary_interval_s: u32,
    /// Nodes that are told apart; records of further ones pass unchanged and are counted.
    pub nodes_max: u32,
    /// Tag of control records; any where this is empty.
    pub control_tag: String,
    /// Where the parts of a record are.
    pub fields: Fields,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: None,
            node: "localhost".to_owned(),
            zone: "UTC".to_owned(),
            idle_timeout_s: 60,
            forget_after_s: 86_400,
            reorder_s: 600,
            sessions_max: 50_000,
            sessions_bytes_max: 8 * MIB,
            events_max: 256,
            lines_bytes_max: 4 * MIB,
            report_bytes_max: 64 * 1_024,
            summary_interval_s: 60,
            nodes_max: 1,
            control_tag: String::new(),
            fields: Fields::default(),
        }
    }
}

impl Settings {
    /// What is wrong, one sentence for each key.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |is_good: bool, problem: &str| {
            if !is_good {
                problems.push(problem.to_owned());
            }
        };
        let is_name = |text: &str| text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
        let seconds = |value: u32| (1..=SECONDS_MAX).contains(&value);
        check(
            self.threshold.is_none_or(|threshold| (0.0..=1.0).contains(&threshold)),
            "`threshold` is not in 0..=1",
        );
        check(!self.node.is_empty() && is_name(&self.node), "`node` is not a name of 1 to 255 bytes");
        check(
            self.time_zone().is_some(),
            "`zone` is unknown; use `UTC`, an offset as `+02:00`, or a rule as `CET-1CEST,M3.5.0,M10.5.0/3`",
        );
        check(seconds(self.idle_timeout_s), "`idle_timeout_s` is not in 1..=2592000");
        check(
            seconds(self.forget_after_s) && self.forget_after_s >= self.idle_timeout_s,
            "`forget_after_s` is not in `idle_timeout_s`..=2592000",
        );
        check(self.reorder_s <= SECONDS_MAX, "`reorder_s` is above 2592000");
        check((1..=500_000).contains(&self.sessions_max), "`sessions_max` is not in 1..=500000");
        check(
            (MIB..=32 * MIB).contains(&self.sessions_bytes_max),
            "`sessions_bytes_max` is not in 1048576..=33554432",
        );
        check((2..=1_024).contains(&self.events_max), "`events_max` is not in 2..=1024");
        check(self.lines_bytes_max <= 32 * MIB, "`lines_bytes_max` is above 33554432");
        check(self.report_bytes_max <= MIB, "`report_bytes_max` is above 1048576");
        check(self.summary_interval_s <= SECONDS_MAX, "`summary_interval_s` is above 2592000");
        check((1..=16).contains(&self.nodes_max), "`nodes_max` is not in 1..=16");
        check(is_name(&self.control_tag), "`control_tag` is not a name of at most 255 bytes");
        self.fields.problems(&mut problems);
        problems
    }

    /// The zone; `None` if there is no such one.
    fn time_zone(&self) -> Option<TimeZone> {
        if self.zone == "UTC" {
            return Some(TimeZone::UTC);
        }
        if let Some(offset) = offset(&self.zone) {
            return Some(TimeZone::fixed(offset));
        }
        // A program may know names of zones as well, the module does not.
        TimeZone::posix(&self.zone).or_else(|_| TimeZone::get(&self.zone)).ok()
    }

    /// How long a session is silent before it is scored.
    pub(crate) fn idle_timeout_ms(&self) -> i64 {
        i64::from(self.idle_timeout_s) * 1_000
    }

    /// The detector's settings for one node. Verdicts are all that [`Mode::Annotate`] tells, but of every session.
    pub(crate) fn detector(&self, node: &str, mode: Mode) -> DetectorSettings {
        DetectorSettings {
            node: node.to_owned(),
            zone: self.time_zone().unwrap_or(TimeZone::UTC),
            idle_timeout_ms: self.idle_timeout_ms(),
            forget_after_ms: i64::from(self.forget_after_s) * 1_000,
            score_gaps: true,
            sessions_max: self.part(self.sessions_max).max(1),
            sessions_bytes_max: self.part(self.sessions_bytes_max),
            events_max: as_usize(self.events_max),
            reorder_ms: i64::from(self.reorder_s) * 1_000,
            keys_max: 100,
            cache_max: 1_024,
            unknown_max: 500,
            mine: false,
            report_all: mode == Mode::Annotate,
            report_events: mode != Mode::Annotate,
            reports_max: SHARD_REPORTS_MAX,
            ..DetectorSettings::default()
        }
    }

    /// A node's part of a bound.
    pub(crate) fn part(&self, whole: u32) -> usize {
        as_usize(whole / self.nodes_max.max(1))
    }

    /// The model with the threshold that was decided on.
    pub(crate) fn model(&self, model: &Model) -> Model {
        let mut model = model.fork();
        if let Some(threshold) = self.threshold {
            model.metadata.decision.threshold = threshold;
        }
        model
    }
}

/// `u32` always fits: the targets have 32 bits or more.
pub(crate) fn as_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// `+02:00` or `-09:30`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.as_bytes() {
        [b'+', ..] => (1, text.get(1..)?),
        [b'-', ..] => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, max: i32| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| digits && *number <= max)
    };
    Offset::from_seconds(sign * (number(hours, 23)? * 60 + number(minutes, 59)?) * 60).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(Settings::default().problems(), Vec::<String>::new());
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    }

    #[test]
    fn every_problem_is_told() {
        let wrong = Settings {
            threshold: Some(1.5),
            node: String::new(),
            zone: "Mars/Olympus".to_owned(),
            idle_timeout_s: 0,
            sessions_max: 0,
            nodes_max: 17,
            ..Settings::default()
        };
        let problems = wrong.problems();
        for key in ["threshold", "node", "zone", "idle_timeout_s", "sessions_max", "nodes_max"] {
            let name = format!("`{key}` ");
            assert_eq!(problems.iter().filter(|problem| problem.starts_with(&name)).count(), 1, "{key}");
        }
    }

    #[test]
    fn zones_are_offsets_and_rules() {
        for zone in ["UTC", "+02:00", "-09:30", "CET-1CEST,M3.5.0,M10.5.0/3"] {
            let settings = Settings { zone: zone.to_owned(), ..Settings::default() };
            assert!(settings.problems().is_empty(), "{zone}");
        }
        for zone in ["", "+2:00", "+24:00", "+02:60", "+02:0é", "02:00"] {
            let settings = Settings { zone: zone.to_owned(), ..Settings::default() };
            assert!(!settings.problems().is_empty(), "{zone}");
        }
    }
}
