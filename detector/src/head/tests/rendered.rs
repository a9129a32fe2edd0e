//! Properties: what was rendered is read back, wrapped or not, and any bytes are accepted.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Patterns with what renders a line in each: by time, level, logger, thread, message.
type Render = fn(&str, &str, &str, &str, &str) -> String;

const RENDERED: &[(&str, Render)] = &[
    ("%d{ISO8601} %p %c: %m%n", |d, p, c, _, m| format!("{d},006 {p} {c}: {m}")),
    ("%d{ISO8601} %5p [%t] %c: %m%n", |d, p, c, t, m| format!("{d},006 {p:>5} [{t}] {c}: {m}")),
    ("%d{ISO8601} [%t] %-5p %c: %m%n", |d, p, c, t, m| format!("{d},006 [{t}] {p:<5} {c}: {m}")),
    ("%d{DEFAULT_PERIOD} %-5p [%t] %c - %m%n", |d, p, c, t, m| format!("{d}.006 {p:<5} [{t}] {c} - {m}")),
    ("%d %p %c (%F:%M(%L)) - %m%n", |d, p, c, _, m| format!("{d},006 {p} {c} (A.java:b(1)) - {m}")),
    ("%d %p %C:%L - %m%n", |d, p, c, _, m| format!("{d},006 {p} {c}:12 - {m}")),
    ("%d{yyyy-MM-dd HH:mm:ss,SSSXXX} %p %c: %m%n", |d, p, c, _, m| format!("{d},006+00:00 {p} {c}: {m}")),
];

const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

fn json_line(d: &str, p: &str, c: &str, t: &str, m: &str) -> String {
    json!({"@timestamp": format!("{d}.006Z"), "log.level": p, "log.logger": c, "process.thread.name": t, "message": m})
        .to_string()
}

/// Ways to wrap a line, whole or in two parts.
const WRAPPED: &[fn(&str, &str) -> Vec<String>] = &[
    |first, rest| vec![cri("F", &[first, rest].concat())],
    |first, rest| vec![cri("P", first), cri("F", rest)],
    |first, rest| vec![docker(&[first, rest, "\n"].concat())],
    |first, rest| vec![docker(first), docker(&format!("{rest}\n"))],
    |first, rest| vec![format!("<13>Nov 21 12:16:28 dn1 hadoop[1]: {first}{rest}")],
];

fn cri(tag: &str, text: &str) -> String {
    format!("2024-05-06T07:08:09.1Z stdout {tag} {text}")
}

fn docker(text: &str) -> String {
    json!({"log": text, "stream": "stdout", "time": "2024-05-06T07:08:09Z"}).to_string()
}

prop_compose! {
    fn parts()(
        time in 0_i64..4_102_444_800,
        level in 0_usize..6,
        logger in "[a-z]{1,8}(\\.[A-Z][A-Za-z$]{0,9}){0,3}",
        thread in "[a-zA-Z0-9:/_. -]{0,12}(\\[[a-z :]{0,9}\\])?",
        message in "[!-~]([ -~]{0,40}[!-~])?",
    ) -> (String, &'static str, String, String, String) {
        (rfc3339(time * 1_000).replace('T', " ").replace(".000Z", ""), LEVELS[level], logger, thread.trim().to_owned(), message)
    }
}

proptest! {
    #[test]
    fn what_was_rendered_is_read_back((time, level, logger, thread, message) in parts()) {
        let time_ms = format!("{}.006Z", time.replace(' ', "T"));
        for (pattern, render) in RENDERED {
            let line = render(&time, level, &logger, &thread, &message);
            let thread = if pattern.contains("%t") { thread.clone() } else { String::new() };
            let expected = Seen { time: time_ms.clone(), level, logger: logger.clone(), thread, message: message.clone(), trace: String::new() };
            for layout in [None, Some(Layout::Log4j), Some(Layout::pattern(pattern).unwrap())] {
                let mut heads = Heads::new(layout, 65_536);
                let got = seen(heads.parse(line.as_bytes(), &mut utc()));
                prop_assert_eq!(got.as_ref(), Some(&expected), "{} {}", pattern, line);
            }
        }
    }

    #[test]
    fn json_with_any_text_is_read_back(
        (time, level, logger, _, _) in parts(),
        thread in any::<String>(),
        message in any::<String>(),
        twice in any::<bool>(),
    ) {
        let mut line = json_line(&time, level, &logger, &thread, &message);
        if twice {
            line = line.replacen('{', r#"{"message":"\u0000first","log.level":"TRACE","x":[{"a":"]"}],"#, 1);
        }
        let got = sniff(&line).unwrap();
        let message = message.trim_end_matches(|letter: char| letter.is_ascii_whitespace());
        prop_assert_eq!((got.level, got.logger, got.thread, got.message), (level, logger, thread, message.to_owned()));
    }

    #[test]
    fn wrapped_lines_are_as_if_they_were_not((time, level, logger, thread, message) in parts(), cut in 0_usize..200) {
        let mut lines: Vec<String> = RENDERED.iter().map(|(_, render)| render(&time, level, &logger, &thread, &message)).collect();
        lines.push(json_line(&time, level, &logger, &thread, &message));
        lines.push(format!("\tat {logger}: {message}"));
        for line in &lines {
            let (mut plain, mut zone) = (sniffing(), utc());
            plain.parse(lines[0].as_bytes(), &mut zone);
            let expected = plain.parse(line.as_bytes(), &mut zone);
            for wrap in WRAPPED {
                let (mut wrapped, mut zone) = (sniffing(), utc());
                wrapped.parse(wrap("", &lines[0]).last().unwrap().as_bytes(), &mut zone);
                let (first, rest) = line.split_at(cut.min(line.len()));
                let parts = wrap(first, rest);
                let (last, parts) = parts.split_last().unwrap();
                for part in parts {
                    prop_assert_eq!(wrapped.parse(part.as_bytes(), &mut zone), Parsed::Partial);
                }
                prop_assert_eq!(wrapped.parse(last.as_bytes(), &mut zone), expected, "{}", last);
            }
        }
    }

    #[test]
    fn what_is_pinned_does_not_change_a_head((time, level, logger, thread, message) in parts()) {
        let lines: Vec<String> = RENDERED.iter().map(|(_, render)| render(&time, level, &logger, &thread, &message))
            .chain([
                json_line(&time, level, &logger, &thread, &message),
                format!("110203 040506 147 {level} {logger}: {message}"),
                format!("24/01/02 03:04:05 {level} {logger}: {message}"),
            ])
            .collect();
        for before in &lines {
            for line in &lines {
                let (mut zone, mut heads) = (utc(), sniffing());
                heads.parse(before.as_bytes(), &mut zone);
                prop_assert_eq!(seen(heads.parse(line.as_bytes(), &mut zone)), sniff(line));
            }
        }
    }

    #[test]
    fn any_bytes_are_accepted(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..4),
        start in prop::sample::select(STARTS),
        layout in prop::sample::select(&["hdfs_v1", "log4j", "console", "json", "%d [%t] %p %c: %m", "%p %x %d{d MMM yy K:m a z} %-9C %m", ""][..]),
    ) {
        let mut heads = Heads::new(layout.parse().ok(), 32);
        let mut zone = utc();
        zone.set_now_ms(0);
        for line in lines {
            let line = [start.as_bytes(), &line[..]].concat();
            if let Parsed::Continuation(text) = heads.parse(&line, &mut zone) {
                prop_assert!(text.len() <= line.len().max(32));
            }
        }
    }

    #[test]
    fn any_pattern_compiles_or_says_why(pattern in "(%[-]?[0-9]{0,2}(\\.[0-9])?[a-zA-Z]{1,3}(\\{[a-zA-Z': ,.-]{0,9}\\}?)?|[ %:\\[\\]é'{}-]){0,9}") {
        match Layout::pattern(&pattern) {
            Ok(layout) => prop_assert_eq!(layout.as_str(), pattern),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

const STARTS: &[&str] = &[
    "",
    "110203 040506 1 ",
    "2024-01-02 03:04:05,006 ",
    "2024-01-02 03:04:05,006 INFO ",
    "2024-01-02 03:04:05,006 [",
    "24/01/02 03:04:05 WARN ",
    "{\"level\":",
    "{\"level\":\"INFO\",\"time\":1,\"thrown\":{\"message\":\"\\u",
    "{\"log\":\"",
    "2024-01-02T03:04:05.006Z stdout P ",
    "2024-01-02T03:04:05.006Z stderr F ",
    "<13>Nov 21 12:16:28 host tag: ",
    "<13>1 2024-01-02T03:04:05.006Z h a p m [",
    "WARN 02 Jan 24 3:04 ",
];
