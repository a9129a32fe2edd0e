//! Lines that a container runtime or syslog wrapped.

use super::*;

const LINE: &str = "2024-01-02 03:04:05,006 INFO a.B: c \"d\"";

/// Wraps a line in each of the ways there are.
fn wrappings(line: &str) -> Vec<(Wrapper, String)> {
    let docker = serde_json::to_string(&format!("{line}\n")).unwrap();
    let quiet = if line.is_empty() { "" } else { " " };
    vec![
        (
            Wrapper::Docker,
            format!(r#"{{"log":{docker},"stream":"stdout","time":"2024-05-06T07:08:09.123456789Z"}}"#),
        ),
        (
            Wrapper::Docker,
            format!(
                r#"{{"log":{docker},"stream":"stderr","attrs":{{"a":"b"}},"time":"2024-05-06T07:08:09Z"}}"#
            ),
        ),
        (Wrapper::Cri, format!("2024-05-06T07:08:09.123456789Z stdout F {line}")),
        (Wrapper::Cri, format!("2024-05-06T09:08:09.123456789+02:00 stderr F {line}")),
        (Wrapper::Cri, format!("2024-05-06T07:08:09Z stdout F:tag{quiet}{line}")),
        (Wrapper::Syslog, format!("<13>Nov 21 12:16:28 dn1 hadoop[123]:{quiet}{line}")),
        (Wrapper::Syslog, format!("Nov  1 12:16:28 dn1.example.org hadoop-hdfs-datanode: {line}")),
        (Wrapper::Syslog, format!("2024-05-06T07:08:09.123456+02:00 dn1 hadoop[123]: {line}")),
        (Wrapper::Syslog, format!("<165>1 2024-05-06T07:08:09.003Z dn1 hadoop 123 ID47 - {line}")),
        (
            Wrapper::Syslog,
            format!(
                "<165>1 2024-05-06T07:08:09.003Z dn1 hadoop - - [a@1 b=\"c ] \\\" d\"][e] \u{feff}{line}"
            ),
        ),
    ]
}

#[test]
fn wrapped_lines_are_as_if_they_were_not() {
    let inner = [
        LINE,
        "110203 040506 147 WARN dfs.DataNode: x",
        "24/01/02 03:04:05 INFO a.B: x",
        r#"{"timeMillis":1704164645006,"level":"WARN","loggerName":"x.Y","message":"a \"b\"\n\\n","error.stack_trace":"a.B: c\n\tat d"}"#,
    ];
    for line in inner {
        let expected = sniff(line).unwrap();
        for (wrapper, wrapped) in wrappings(line) {
            let (mut zone, mut heads) = (utc(), sniffing());
            assert_eq!(
                seen(heads.parse(wrapped.as_bytes(), &mut zone)).as_ref(),
                Some(&expected),
                "{wrapped}"
            );
            assert_eq!(heads.layout().unwrap().wrapper, wrapper);
        }
    }
}

#[test]
fn lines_that_continue_are_unwrapped() {
    for continuation in
        ["\tat a.B.c(B.java:1)", "Caused by: a.B: \"c\" \\ d", "", "  getNumBytes()     = 163"]
    {
        for ((_, head), (_, wrapped)) in wrappings(LINE).into_iter().zip(wrappings(continuation)) {
            let (mut zone, mut heads) = (utc(), sniffing());
            assert!(matches!(heads.parse(head.as_bytes(), &mut zone), Parsed::Head(_)));
            let got = heads.parse(wrapped.as_bytes(), &mut zone);
            assert_eq!(got, Parsed::Continuation(continuation.as_bytes()), "{wrapped}");
        }
    }
}

#[test]
fn a_line_without_a_time_takes_the_wrappers() {
    let lines = ["WARN a.B: c", "WARN  [main] a.B - c", r#"{"level":"WARN","logger":"a.B","message":"c"}"#];
    for line in lines {
        for (_, wrapped) in wrappings(line) {
            let mut zone = utc();
            zone.set_now_ms(1_735_689_600_000); // 2025-01-01
            let got = seen(sniffing().parse(wrapped.as_bytes(), &mut zone)).expect(&wrapped);
            assert_eq!(
                (got.level, got.logger.as_str(), got.message.as_str()),
                ("WARN", "a.B", "c"),
                "{wrapped}"
            );
            let known =
                ["2024-05-06T07:08:09", "2024-05-06T05:08:09", "2024-11-21T12:16:28", "2024-11-01T12:16:28"];
            assert!(known.iter().any(|time| got.time.starts_with(time)), "{wrapped}: {}", got.time);
        }
    }
}

#[test]
fn where_lines_have_times_those_without_continue_them() {
    let (mut zone, mut heads) = (utc(), sniffing());
    let wrap = |line: &str| format!("2024-05-06T07:08:09.123456789Z stdout F {line}");
    assert!(matches!(heads.parse(wrap(LINE).as_bytes(), &mut zone), Parsed::Head(_)));
    assert_eq!(heads.parse(wrap("WARN a.B: c").as_bytes(), &mut zone), Parsed::Continuation(b"WARN a.B: c"));
}

#[test]
fn syslog_without_a_year_needs_to_know_the_time() {
    let line = "<13>Nov 21 12:16:28 dn1 hadoop[123]: WARN a.B: c";
    assert_eq!(sniffing().parse(line.as_bytes(), &mut utc()), Parsed::Continuation(b"WARN a.B: c"));
}

#[test]
fn tabs_that_rsyslog_escaped_are_taken_off() {
    let line = "<13>Nov 21 12:16:28 dn1 hadoop[123]: #011at a.B.c(B.java:1)";
    assert_eq!(sniffing().parse(line.as_bytes(), &mut utc()), Parsed::Continuation(b"at a.B.c(B.java:1)"));
}

#[test]
fn a_line_that_was_split_is_put_together() {
    let (mut zone, mut heads) = (utc(), sniffing());
    let cri = |stream: &str, tag: &str, text: &str| format!("2024-05-06T07:08:09.1Z {stream} {tag} {text}");
    let docker = |stream: &str, text: &str| {
        let text = serde_json::to_string(text).unwrap();
        format!(r#"{{"log":{text},"stream":"{stream}","time":"2024-05-06T07:08:09.1Z"}}"#)
    };
    let files = [
        [
            cri("stdout", "P", "2024-01-02 03:04:05,006 INFO "),
            cri("stderr", "P", "of "),
            cri("stdout", "P:x", "a.B:"),
            cri("stderr", "F", "another"),
            cri("stdout", "F", " c"),
        ],
        [
            docker("stdout", "2024-01-02 03:04:05,006 INFO "),
            docker("stderr", "of "),
            docker("stdout", "a.B:"),
            docker("stderr", "another\n"),
            docker("stdout", " c\r\n"),
        ],
    ];
    for lines in files {
        for (index, line) in lines.iter().enumerate() {
            let got = heads.parse(line.as_bytes(), &mut zone);
            match index {
                3 => assert_eq!(got, Parsed::Continuation(b"of another")),
                4 => assert_eq!(seen(got), sniff("2024-01-02 03:04:05,006 INFO a.B: c")),
                _ => assert_eq!(got, Parsed::Partial, "{line}"),
            }
        }
    }
}

#[test]
fn what_is_kept_of_a_split_line_is_bounded_and_can_be_forgotten() {
    let (mut zone, mut heads) = (utc(), Heads::new(None, 5));
    let part = b"2024-05-06T07:08:09.1Z stdout P abc";
    let end = b"2024-05-06T07:08:09.1Z stdout F def";
    for _ in 0..9 {
        assert_eq!(heads.parse(part, &mut zone), Parsed::Partial);
    }
    assert_eq!(heads.parse(end, &mut zone), Parsed::Continuation(b"abcab"));
    assert_eq!(heads.parse(end, &mut zone), Parsed::Continuation(b"def"));
    assert_eq!(heads.parse(part, &mut zone), Parsed::Partial);
    heads.forget_partial();
    assert_eq!(heads.parse(end, &mut zone), Parsed::Continuation(b"def"));
}

#[test]
fn what_only_looks_wrapped() {
    for line in [
        r#"{"log":"a line"}"#,
        r#"{"log":"cut off"#,
        "2024-05-06T07:08:09Z stdin F x",
        "2024-05-06T07:08:09Z stdout X x",
        "<>Nov 21 12:16:28 dn1 hadoop: x",
        "<1a>Nov 21 12:16:28 dn1 hadoop: x",
        "Nov 41 12:16:28 dn1",
        "Nov 21 12:16:28 dn1 hadoop x",
        "<13>1 2024-05-06T07:08:09Z dn1 hadoop - - [unclosed x",
    ] {
        assert_eq!(sniffing().parse(line.as_bytes(), &mut utc()), Parsed::Continuation(line.as_bytes()));
    }
    // A file that is not syslog's may hold what looks like it.
    let (mut zone, mut heads) = (utc(), sniffing());
    heads.parse(LINE.as_bytes(), &mut zone);
    let line = b"<13>Nov 21 12:16:28 dn1 hadoop: x";
    assert_eq!(heads.parse(line, &mut zone), Parsed::Continuation(line));
}
