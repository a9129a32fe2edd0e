//! `GET /metrics`: the status in the text format of Prometheus, version 0.0.4.
//!
//! Labels hold no text of logs, no paths and no blocks, so there are as many series after a year as on the first day;
//! `/status` lists files, templates and reports.

use std::fmt::{Display, Write};
use std::time::Instant;

use blocksift_detector::tally::SCORE_BOUNDS;
use serde_json::Value;

use super::{Board, process};

/// What each name begins with.
const PREFIX: &str = "blocksift_agent_";

/// The detector's totals that go down as well as up.
const GAUGES: [&str; 2] = ["sessions_open", "sessions_flagged"];

/// What the detector's totals mean.
const TOTALS: [(&str, &str); 17] = [
    ("lines_read", "Lines read, the sum of the three classes that follow."),
    ("lines_in_sessions", "Lines of records that name a block."),
    ("lines_without_key", "Lines of records that name no block."),
    ("lines_skipped", "Lines that belong to no record."),
    ("bytes_read", "Bytes of all lines read."),
    ("bytes_cut", "Bytes beyond the longest line that is looked at."),
    ("keys_dropped", "Blocks on one record beyond the most that one may count for."),
    ("sessions_open", "Sessions remembered now."),
    ("sessions_scored", "Times a session was scored."),
    ("sessions_flagged", "Sessions whose last verdict is flagged."),
    ("sessions_evicted", "Sessions scored and forgotten before their time because there was no room."),
    ("cache_hits", "Windows whose score came from the cache."),
    ("cache_misses", "Windows that were not in the cache."),
    ("score_errors", "Times a session could not be scored because the model failed."),
    ("events_unknown", "Events in sessions whose template the model's vocabulary lacks."),
    ("gaps", "Times that lines were removed before they were read."),
    ("gap_bytes", "Bytes of those lines, as far as they were seen."),
];

/// The status as text.
pub(super) fn metrics(board: &Board) -> String {
    let mut text = Text(String::with_capacity(8 * 1_024));
    about(&mut text, board);
    totals(&mut text, board);
    feed(&mut text, board);
    scores(&mut text, board);
    ship(&mut text, board);
    reloads(&mut text, board);
    process(&mut text);
    text.0
}

fn about(text: &mut Text, board: &Board) {
    let labels = [("version", board.about.version), ("model", board.about.model.as_str())];
    text.family("info", "gauge", "Version and model, always 1.");
    text.sample("info", &labels, 1);
    text.gauge(
        "start_time_seconds",
        "When the agent started, seconds since 1970.",
        seconds(board.about.started_ms),
    );
    let stuck = board.is_stuck(Instant::now());
    text.gauge("up", "1 if the feed makes rounds, as /healthz says.", u8::from(!stuck));
}

/// All of the detector's totals, also those that this file has no words for yet.
fn totals(text: &mut Text, board: &Board) {
    let totals = board.feed.borrow().totals;
    let Ok(Value::Object(fields)) = serde_json::to_value(totals) else { return };
    for (field, value) in &fields {
        let help = TOTALS
            .iter()
            .find(|(name, _)| name == field)
            .map_or("See the summary's field.", |(_, help)| *help);
        let gauge = GAUGES.contains(&field.as_str());
        let name = if gauge { field.clone() } else { format!("{field}_total") };
        text.family(&name, if gauge { "gauge" } else { "counter" }, help);
        match value {
            Value::Object(reasons) => {
                for (reason, count) in reasons {
                    text.sample(&name, &[("reason", reason.as_str())], count);
                }
            }
            count => text.sample(&name, &[], count),
        }
    }
}

fn feed(text: &mut Text, board: &Board) {
    let feed = board.feed.borrow();
    text.gauge("files", "Files being followed.", feed.files.files);
    text.gauge("files_unreadable", "Files that cannot be opened.", feed.files.files_unreadable);
    text.gauge("lag_bytes", "Bytes in files that were not read yet.", feed.files.lag_bytes);
    text.gauge(
        "lag_seconds",
        "Age of the oldest line that was not read yet, at most.",
        millis(feed.lag_ms()),
    );
    text.gauge(
        "round_time_seconds",
        "When the feed last ended a round, seconds since 1970.",
        seconds(feed.round_ms),
    );
    text.gauge("detector_memory_bytes", "Bytes that sessions, templates and caches take.", feed.memory_bytes);
    text.gauge("sessions_max", "Sessions remembered at most.", board.about.sessions_max);
}

fn scores(text: &mut Text, board: &Board) {
    let details = board.feed.borrow().details.clone();
    text.family("score", "histogram", "Scores of sessions, each counted every time it is scored.");
    let mut below = 0;
    for (bound, count) in SCORE_BOUNDS.iter().zip(details.scores.by_bound) {
        below += count;
        text.sample("score_bucket", &[("le", &bound.to_string())], below);
    }
    text.sample("score_bucket", &[("le", "+Inf")], below);
    text.sample("score_sum", &[], details.scores.sum);
    text.sample("score_count", &[], below);
    if let Some(share) = details.drift.events_unknown_share {
        let help = "Share of the last hour's events whose template the model's vocabulary lacks.";
        text.gauge("events_unknown_ratio", help, share);
    }
    if let Some(shift) = details.drift.score_shift {
        let help = "Population stability index of the last hour's scores against the model's; .25 calls for another model.";
        text.gauge("score_shift", help, shift);
    }
}

fn ship(text: &mut Text, board: &Board) {
    let (ship, spooled) = (board.ship.borrow(), board.store.spooled());
    text.gauge("spool_reports", "Reports that wait to be shipped.", spooled.reports);
    text.gauge("spool_bytes", "Bytes of the reports that wait to be shipped.", spooled.bytes);
    text.gauge(
        "spool_reports_max",
        "Reports in the spool at which reading stops.",
        board.about.spool_reports_max,
    );
    text.gauge("spool_bytes_max", "Bytes in the spool at which reading stops.", board.about.spool_bytes_max);
    text.gauge(
        "spool_full",
        "1 if lines wait for room in the spool.",
        u8::from(board.feed.borrow().spool_full),
    );
    text.counter("reports_shipped_total", "Reports that were taken.", ship.counts.reports_shipped);
    text.counter("reports_refused_total", "Reports that were refused for good.", ship.counts.reports_refused);
    let letters = board.store.dead_letters();
    text.gauge("dead_letters", "Refused reports that are kept for people to look at.", letters.letters);
    text.gauge("dead_letters_bytes", "Bytes of the refused reports that are kept.", letters.bytes);
    let help = "Refused reports that made room for later ones.";
    text.counter("dead_letters_dropped_total", help, ship.counts.dead_letters_dropped);
    text.counter("bytes_shipped_total", "Bytes of requests that were taken.", ship.counts.bytes_shipped);
    text.gauge("ship_up", "1 if the last request was taken.", u8::from(ship.failure.is_none()));
    if let Some(taken_ms) = ship.taken_ms {
        text.gauge(
            "ship_time_seconds",
            "When a request was last taken, seconds since 1970.",
            seconds(taken_ms),
        );
    }
}

fn reloads(text: &mut Text, board: &Board) {
    let reloads = &board.reloads;
    text.counter("config_reloads_total", "Times a changed configuration or model was taken.", reloads.taken);
    let help = "Times a changed configuration or model was refused; the old one goes on.";
    text.counter("config_reload_failed_total", help, reloads.refused);
    text.gauge("config_reload_ok", "1 unless the last one was refused.", u8::from(reloads.failure.is_none()));
}

/// What Prometheus' own libraries say of a process, under the same names.
fn process(text: &mut Text) {
    let Some(process) = process::Process::now() else { return };
    text.bare("process_cpu_seconds_total", "counter", "CPU time of user and system.", process.cpu_seconds);
    text.bare("process_resident_memory_bytes", "gauge", "Resident memory.", process.resident_bytes);
}

/// Text under way.
struct Text(String);

impl Text {
    /// Begins a metric; its samples follow at once.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{PREFIX}{name}{labels} {value}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// A metric whose name is not ours.
    fn bare(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A string takes whatever is written.
        writeln!(self.0, "{line}").ok();
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(time_ms: i64) -> f64 {
    millis(u64::try_from(time_ms).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 need 41 bits")]
fn millis(duration_ms: u64) -> f64 {
    duration_ms as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::super::tests::board;
    use super::*;
    use crate::summary::{Details, Drift};

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let (board, _senders) = board();
        let text = metrics(&board);
        let mut families = HashSet::new();
        let mut samples = HashSet::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(line) = line.strip_prefix("# HELP ") {
                let (name, help) = line.split_once(' ').unwrap();
                assert!(families.insert(name) && help.ends_with('.'), "{line}");
                family = name;
            } else if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').unwrap();
                assert!(name == family && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(samples.insert(series) && value.parse::<f64>().is_ok(), "{line}");
                assert!(series.starts_with(family), "{line} is not of {family}");
            }
        }
        assert!(families.contains("blocksift_agent_lines_read_total"), "{text}");
        assert!(text.contains("blocksift_agent_score_bucket{le=\"+Inf\"} 0\n"), "{text}");
    }

    #[test]
    fn every_total_of_the_detector_is_there() {
        let (board, _senders) = board();
        let text = metrics(&board);
        let totals = serde_json::to_value(blocksift_detector::Summary::default()).unwrap();
        for field in totals.as_object().unwrap().keys() {
            assert!(text.contains(&format!("# HELP {PREFIX}{field}")), "{field} is missing");
        }
    }

    #[test]
    fn alerts_and_dashboard_ask_for_what_there_is() {
        let (board, (_folder, feed, ship)) = board();
        let drift = Drift { events_unknown_share: Some(0.0), score_shift: Some(0.0) };
        feed.send_modify(|feed| feed.details = Arc::new(Details { drift, ..Details::default() }));
        ship.send_modify(|ship| ship.taken_ms = Some(1));
        let text = metrics(&board);
        let alerts = include_str!("../../../deploy/prometheus/blocksift.rules.yml");
        let dashboard = include_str!("../../../deploy/grafana/blocksift-agents.json");
        for used in [alerts, dashboard] {
            let names: HashSet<&str> = used
                .match_indices(PREFIX)
                .filter_map(|(at, _)| used.get(at..))
                .map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap())
                .collect();
            assert!(names.len() > 5, "{names:?}");
            for name in names {
                let there = text
                    .lines()
                    .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
                assert!(there, "{name} is not measured");
            }
        }
        let bound = "_bucket{le=\"0.5\"}";
        assert!(text.contains(bound), "the dashboard asks for it");
    }

    #[test]
    fn labels_cannot_break_a_line() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
