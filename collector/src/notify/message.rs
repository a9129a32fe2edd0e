//! A notice in the words of each kind of receiver. What came from a log or a node is cleaned where it becomes part of a
//! text, is never a label, and its length is bounded.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Group, Notice, Subject};

/// Bytes of a text for people.
const TEXT_BYTES_MAX: usize = 1_024;
/// Culprits that a text names.
const CULPRITS_NAMED_MAX: usize = 3;
/// How long an alert fires if nobody takes the incident back: it happened, it is no state that could be asked for.
const FIRING_MS: i64 = 24 * 3_600_000;
const GROUP_FIRING_MS: i64 = 3_600_000;
/// Facility "daemon".
const FACILITY: u8 = 3;
const SEVERITY_WARNING: u8 = 4;
const SEVERITY_NOTICE: u8 = 5;
/// Bytes of a parameter in a syslog message.
const PARAMETER_BYTES_MAX: usize = 255;

/// One line for people.
pub(crate) fn text(notice: &Notice) -> String {
    let text = match notice {
        Notice::Incident(subject) => {
            let culprits = subject.culprits.iter().rev().take(CULPRITS_NAMED_MAX);
            let culprits: Vec<String> =
                culprits.map(|culprit| format!("{} {}", culprit.kind.name(), culprit.name)).collect();
            let points_at = if culprits.is_empty() {
                String::new()
            } else {
                format!("; points at {}", culprits.join(", "))
            };
            format!(
                "{} is abnormal: score {:.3}, {} of {} sessions flagged, on {}{points_at}",
                block(subject),
                subject.score,
                subject.sessions_flagged,
                subject.sessions,
                names(&subject.node_names, subject.nodes),
            )
        }
        Notice::TakenBack(subject) => {
            format!("{} is normal after all; its flag was taken back", block(subject))
        }
        Notice::Group(group) => {
            let nodes: Vec<String> =
                group.nodes.iter().map(|(node, incidents)| format!("{node} ({incidents})")).collect();
            format!(
                "{} more incidents, beyond the budget of their nodes: {}",
                group.incidents,
                names(&nodes, usize::try_from(group.nodes_total).unwrap_or(usize::MAX)),
            )
        }
    };
    clean(&text, TEXT_BYTES_MAX)
}

fn names(names: &[String], total: usize) -> String {
    let more = total.saturating_sub(names.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    names.join(", ") + &more
}

fn block(subject: &Subject) -> String {
    format!("blk_{}", subject.block)
}

/// Without what a terminal or a chat could take for more than text.
fn clean(text: &str, bytes_max: usize) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut cleaned = String::new();
    for character in text.chars() {
        let character = if harmful(character) { '\u{fffd}' } else { character };
        if cleaned.len() + character.len_utf8() > bytes_max {
            break;
        }
        cleaned.push(character);
    }
    cleaned
}

/// Tells incidents of one block in several pools apart without a pool's name, which comes from a log.
fn incident_id(subject: &Subject) -> String {
    if subject.pool.is_empty() {
        return block(subject);
    }
    let hash = blake3::hash(subject.pool.as_bytes()).to_hex();
    format!("{}-{}", block(subject), hash.get(..8).unwrap_or_default())
}

fn link(subject: &Subject, page: Option<&str>) -> Option<String> {
    page.map(|page| format!("{page}/#view=incident&incident={}", block(subject)))
}

fn time(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map(|time| time.to_string()).unwrap_or_default()
}

/// The body of a webhook.
pub(crate) fn webhook(notice: &Notice, page: Option<&str>) -> Value {
    let incident = |subject: &Subject| {
        json!({
            "id": incident_id(subject), "block": block(subject), "pool": subject.pool, "node": subject.node,
            "start": time(subject.start_ms), "end": time(subject.end_ms), "score": subject.score,
            "sessions": subject.sessions, "sessions_flagged": subject.sessions_flagged, "nodes": subject.nodes,
            "node_names": subject.node_names, "culprits": subject.culprits, "told": time(subject.told_ms),
            "link": link(subject, page),
        })
    };
    // `text` alone is what most chats ask for.
    let mut body = json!({ "version": 1, "text": text(notice) });
    let (kind, name, content) = match notice {
        Notice::Incident(subject) => ("incident", "incident", incident(subject)),
        Notice::TakenBack(subject) => ("taken_back", "incident", incident(subject)),
        Notice::Group(group) => ("group", "group", self::group(group, incident)),
    };
    if let Some(fields) = body.as_object_mut() {
        fields.insert("kind".to_owned(), kind.into());
        fields.insert(name.to_owned(), content);
    }
    body
}

fn group(group: &Group, incident: impl Fn(&Subject) -> Value) -> Value {
    let nodes = group.nodes.iter().map(|(node, incidents)| json!({ "node": node, "incidents": incidents }));
    json!({
        "incidents": group.incidents,
        "nodes_total": group.nodes_total,
        "nodes": nodes.collect::<Vec<_>>(),
        "worst": group.worst.iter().map(incident).collect::<Vec<_>>(),
        "told": time(group.told_ms),
    })
}

/// The body of Alertmanager's `/api/v2/alerts`.
pub(crate) fn alerts(notice: &Notice, page: Option<&str>, now_ms: i64) -> Value {
    let alert = |subject: &Subject, ends_ms: i64| {
        json!([{
            "labels": { "alertname": "BlocksiftIncident", "incident": incident_id(subject), "node": subject.node },
            "annotations": { "summary": text(notice) },
            "startsAt": time(subject.told_ms),
            "endsAt": time(ends_ms),
            "generatorURL": link(subject, page).unwrap_or_default(),
        }])
    };
    match notice {
        Notice::Incident(subject) => alert(subject, subject.told_ms.saturating_add(FIRING_MS)),
        // An alert cannot end before it began.
        Notice::TakenBack(subject) => alert(subject, now_ms.max(subject.told_ms + 1)),
        Notice::Group(group) => json!([{
            "labels": { "alertname": "BlocksiftIncidentGroup", "told": time(group.told_ms) },
            "annotations": { "summary": text(notice) },
            "startsAt": time(group.told_ms),
            "endsAt": time(group.told_ms.saturating_add(GROUP_FIRING_MS)),
            "generatorURL": page.map(|page| format!("{page}/#view=incidents")).unwrap_or_default(),
        }]),
    }
}

/// A message of RFC 5424, at most some 2 KiB.
pub(crate) fn syslog(notice: &Notice, page: Option<&str>, host: &str) -> String {
    let (severity, kind, told_ms) = match notice {
        Notice::Incident(subject) => (SEVERITY_WARNING, "incident", subject.told_ms),
        Notice::TakenBack(_) => (SEVERITY_NOTICE, "taken_back", crate::store::now_ms()),
        Notice::Group(group) => (SEVERITY_WARNING, "group", group.told_ms),
    };
    // 32473 is the number that RFC 5612 sets aside for those who have none.
    let data = match notice {
        Notice::Incident(subject) | Notice::TakenBack(subject) => format!(
            "[blocksift@32473 block=\"{}\" pool=\"{}\" node=\"{}\" score=\"{}\"{}]",
            block(subject),
            parameter(&subject.pool),
            parameter(&subject.node),
            subject.score,
            link(subject, page).map(|link| format!(" link=\"{}\"", parameter(&link))).unwrap_or_default(),
        ),
        Notice::Group(group) => format!("[blocksift@32473 incidents=\"{}\"]", group.incidents),
    };
    let priority = FACILITY * 8 + severity;
    let (time, process) = (time(told_ms), std::process::id());
    // The mark says that the text is UTF-8.
    format!(
        "<{priority}>1 {time} {host} blocksift-collector {process} {kind} {data} \u{feff}{}",
        text(notice)
    )
}

fn parameter(text: &str) -> String {
    clean(text, PARAMETER_BYTES_MAX).replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::culprit::{Culprit, Kind};

    pub(crate) fn subject() -> Subject {
        Subject {
            block: -7,
            pool: "BP-1".to_owned(),
            node: "dn1".to_owned(),
            start_ms: 0,
            end_ms: 1_000,
            score: 0.75,
            sessions: 3,
            sessions_flagged: 2,
            nodes: 9,
            node_names: vec!["dn1".to_owned(), "dn2".to_owned()],
            culprits: vec![Culprit { kind: Kind::Volume, name: "dn1 /data/4".to_owned() }],
            told_ms: 60_000,
        }
    }

    #[test]
    fn people_read_what_happened_and_what_it_points_at() {
        let told = text(&Notice::Incident(subject()));
        assert_eq!(
            told,
            "blk_-7 is abnormal: score 0.750, 2 of 3 sessions flagged, on dn1, dn2 and 7 more; points at volume dn1 /data/4"
        );
        let group = Group {
            incidents: 130,
            nodes: vec![("dn1".to_owned(), 129)],
            nodes_total: 2,
            worst: vec![subject()],
            told_ms: 0,
        };
        let told = text(&Notice::Group(group));
        assert_eq!(told, "130 more incidents, beyond the budget of their nodes: dn1 (129) and 1 more");
    }

    #[test]
    fn what_came_from_a_log_stays_text() {
        let hostile = "\u{1b}[31m\n<1>1 - - - - - ]\"\\\u{202e}".to_owned() + &"é".repeat(5_000);
        let notice = Notice::Incident(Subject { pool: hostile.clone(), node: hostile, ..subject() });
        let line = syslog(&notice, Some("https://c"), "host");
        assert!(!line.contains(|c: char| c.is_control()) && !line.contains('\u{202e}'), "{line}");
        assert!(line.len() < 3_000, "{}", line.len());
        // Quotes, brackets and backslashes within parameters are escaped.
        let pool = line.split("pool=\"").nth(1).unwrap();
        assert!(pool.contains("\\]\\\"\\\\"), "{pool}");
        let alert = alerts(&notice, None, 0);
        assert!(alert[0]["labels"]["incident"].as_str().unwrap().starts_with("blk_-7-"));
        assert!(alert[0]["annotations"]["summary"].as_str().unwrap().len() <= TEXT_BYTES_MAX);
    }

    #[test]
    fn a_resolved_alert_is_the_one_that_fired() {
        let fired = alerts(&Notice::Incident(subject()), Some("https://c:4318"), 70_000);
        let resolved = alerts(&Notice::TakenBack(subject()), Some("https://c:4318"), 70_000);
        assert_eq!(fired[0]["labels"], resolved[0]["labels"]);
        assert_eq!(fired[0]["startsAt"], resolved[0]["startsAt"]);
        assert_eq!(resolved[0]["endsAt"], "1970-01-01T00:01:10Z");
        assert_eq!(fired[0]["endsAt"], "1970-01-02T00:01:00Z");
        assert_eq!(fired[0]["generatorURL"], "https://c:4318/#view=incident&incident=blk_-7");
    }

    #[test]
    fn a_syslog_message_has_the_fields_of_rfc_5424() {
        let line = syslog(&Notice::Incident(subject()), None, "host");
        let process = std::process::id();
        let head = format!("<28>1 1970-01-01T00:01:00Z host blocksift-collector {process} incident ");
        assert!(line.starts_with(&head), "{line}");
        assert!(line.contains("[blocksift@32473 block=\"blk_-7\" pool=\"BP-1\" node=\"dn1\" score=\"0.75\"] \u{feff}blk_-7 is"), "{line}");
    }
}
