//! Who a flagged report names: the other ends of pipelines, mirrors and sources, as the raw lines write them. Which node that
//! is, the store knows from what agents say of their addresses.

use crate::report::Report;

/// Names of one report; further ones are left out.
const NAMES_MAX: usize = 16;
/// Bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 4_096;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 255;
/// What a redacted address or host name begins with.
const REDACTED: [&str; 2] = ["addr-", "host-"];

/// Names in the lines of a flagged report, each once; nothing if it is not flagged.
pub(crate) fn of(report: &Report<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    if !report.flagged || report.block.is_empty() {
        return found;
    }
    for line in report.events.iter().filter_map(|event| event.line) {
        for name in names(line) {
            if found.len() < NAMES_MAX && !found.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                found.push(name.to_ascii_lowercase());
            }
        }
    }
    found
}

/// What looks like an IPv4 address or a host with a port.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let bytes = line.as_bytes().get(..LINE_BYTES_MAX.min(line.len())).unwrap_or_default();
    let mut start = 0;
    std::iter::from_fn(move || {
        while start < bytes.len() {
            let rest = bytes.get(start..)?;
            let mut kinds = 0;
            let length = rest.iter().take_while(|byte| {
                let kind = kind(**byte);
                kinds |= kind;
                kind != OUTSIDE
            });
            let word = start..start + length.count();
            start = word.end + 1;
            // Most words can be nothing of the kind, and most bytes of a log are looked at here.
            if kinds & MARK != 0
                && let Some(name) = line.get(word).and_then(name)
            {
                return Some(name);
            }
        }
        None
    })
}

/// What a byte can be in a name.
const OUTSIDE: u8 = 0;
const INSIDE: u8 = 1;
/// Every name has one of these.
const MARK: u8 = 2;

fn kind(byte: u8) -> u8 {
    match byte {
        b'.' | b'-' | b':' => MARK,
        b'0'..=b'9' | b'A'..=b'Z' | b'_' | b'a'..=b'z' => INSIDE,
        _ => OUTSIDE,
    }
}

fn name(word: &str) -> Option<&str> {
    // Shorter than any address, as most words are, or too long for a name.
    if !(4..=NAME_BYTES_MAX + 6).contains(&word.len()) {
        return None;
    }
    // What follows a port without a space, as in `10.251.30.85:50010:Got exception`, is none of it.
    let mut parts = word.split(':');
    let (host, port) = (parts.next()?, parts.next().unwrap_or_default());
    let has_port = (2..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_named = || {
        has_port && host.len() > 1 && !is_source(host) && host.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let is_redacted =
        || REDACTED.iter().any(|kind| host.strip_prefix(kind).is_some_and(|hash| hash.len() == 12));
    (is_v4(host) || is_redacted() || is_named()).then_some(host)
}

/// A line of a stack trace: `DataXceiver.java:123`.
fn is_source(host: &str) -> bool {
    let end = host.as_bytes().last_chunk::<5>();
    end.is_some_and(|end| end.eq_ignore_ascii_case(b".java"))
}

fn is_v4(text: &str) -> bool {
    text.as_bytes().first().is_some_and(u8::is_ascii_digit) && text.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::tests::report;

    fn of_line(text: &str) -> Vec<String> {
        let mut report = report();
        report.events.truncate(1);
        report.events[0].line = Some(text.to_owned());
        of(&(&report).into())
    }

    #[test]
    fn other_ends_are_found_however_they_are_written() {
        let cases: [(&str, &[&str]); 7] = [
            (
                "Receiving block blk_-1 src: /10.250.19.102:54106 dest: /10.250.19.102:50010",
                &["10.250.19.102"],
            ),
            ("Received block blk_1 of size 67108864 from /10.251.42.84", &["10.251.42.84"]),
            (
                "10.251.30.85:50010:Got exception while serving blk_1 to /10.251.90.64:",
                &["10.251.30.85", "10.251.90.64"],
            ),
            (
                "pipeline [DatanodeInfoWithStorage[10.0.0.1:9866,DS-1,DISK], DatanodeInfoWithStorage[DN2.example.org:9866,DS-2,DISK]]",
                &["10.0.0.1", "dn2.example.org"],
            ),
            (
                "src: /addr-0123456789ab:4711 dest: /addr-ba9876543210:9866",
                &["addr-0123456789ab", "addr-ba9876543210"],
            ),
            ("at Sender.run(Sender.java:99) version 3.4.1 at 10:15:21,123 of size 127", &[]),
            ("081109 203518 143 INFO dfs.DataNode: blk_1_1001 terminating", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(of_line(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_found_is_bounded_and_of_flagged_blocks_alone() {
        let many: String = (0..100).map(|i| format!("10.0.0.{i}:9866 ")).collect();
        assert_eq!(of_line(&many).len(), NAMES_MAX);
        let long = "é".repeat(5_000) + "10.0.0.1";
        assert!(of_line(&long).is_empty());
        let mut normal = report();
        normal.flagged = false;
        normal.events[0].line = Some("to 10.0.0.1:9866".to_owned());
        assert!(of(&(&normal).into()).is_empty());
    }
}
