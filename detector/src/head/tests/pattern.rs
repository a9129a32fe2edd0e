//! Layouts by log4j pattern: what they read, and why some cannot be compiled.

use super::*;

fn parse(pattern: &str, line: &str) -> Option<Seen> {
    let layout = Layout::pattern(pattern).expect(pattern);
    seen(Heads::new(Some(layout), 65_536).parse(line.as_bytes(), &mut utc()))
}

/// Time, level, logger, thread, message.
#[track_caller]
fn assert_parsed(pattern: &str, line: &str, logger: &str, thread: &str, message: &str) {
    let got = parse(pattern, line).unwrap_or_else(|| panic!("{pattern} does not read {line}"));
    let got = (got.time.as_str(), got.level, &*got.logger, &*got.thread, &*got.message);
    assert_eq!(got, (TIME, "INFO", logger, thread, message), "{pattern}");
}

#[test]
fn patterns_as_operators_write_them() {
    let (logger, thread) = ("o.a.h.DataNode", "IPC Server [3] on 8020");
    for (pattern, line) in [
        ("%d{ISO8601} %p %c: %m%n", "2024-01-02 03:04:05,006 INFO o.a.h.DataNode: a: b"),
        ("%d{ISO8601} %-5p %c{2}:%L - %m%n", "2024-01-02 03:04:05,006 INFO  o.a.h.DataNode:12 - a: b"),
        (
            "%d{ISO8601} %5p %c (%F:%M(%L)) - %m%n",
            "2024-01-02 03:04:05,006  INFO o.a.h.DataNode (D.java:x(12)) - a: b",
        ),
        (
            "%d %level{lowerCase=true} %logger{36} - %msg%n",
            "2024-01-02 03:04:05,006 info o.a.h.DataNode - a: b",
        ),
        (
            "%-5p%d{yyyy-MM-dd'T'HH:mm:ss.SSSZ} %C#%M| %message%n%ex",
            "INFO 2024-01-02T05:04:05.006+0200 o.a.h.DataNode#x| a: b",
        ),
        (
            "%d{dd MMM yyyy HH:mm:ss,SSS} %p %-20c %m%n",
            "02 Jan 2024 03:04:05,006 INFO o.a.h.DataNode       a: b",
        ),
        ("%d{DATE} %p %.30c %x %m%n", "02 Jan 2024 03:04:05,006 INFO o.a.h.DataNode  a: b"),
        (
            "%d{EEE MMM d HH:mm:ss.SSS z yyyy}|%p|%c|%m",
            "Tue Jan 2 03:04:05.006 UTC 2024|INFO|o.a.h.DataNode|a: b",
        ),
        ("%d{M/d/yy h:mm:ss.SSS a} [%p] %c: %m", "1/2/24 3:04:05.006 AM [INFO] o.a.h.DataNode: a: b"),
        ("%d{COMPACT} %p %c %m", "20240102030405006 INFO o.a.h.DataNode a: b"),
        ("%d{UNIX_MILLIS} %p %c %m", "1704164645006 INFO o.a.h.DataNode a: b"),
        ("%d{yyyy-MM-dd HH:mm:ss,SSS}{GMT+2} %p %c %m", "2024-01-02 05:04:05,006 INFO o.a.h.DataNode a: b"),
        (
            "%r %d{ISO8601} 100%% o''clock %p %c %m",
            "12 2024-01-02T03:04:05,006 100% o''clock INFO o.a.h.DataNode a: b",
        ),
        (
            "%date{yyyy-MM-dd 'at' HH 'o''clock' mm:ss.SSS} %p %c: %m",
            "2024-01-02 at 03 o'clock 04:05.006 INFO o.a.h.DataNode: a: b",
        ),
    ] {
        assert_parsed(pattern, line, logger, "", "a: b");
    }
    for (pattern, line) in [
        (
            "%d{ISO8601} %-5p [%t] %c{2}: %m%n",
            "2024-01-02 03:04:05,006 INFO  [IPC Server [3] on 8020] o.a.h.DataNode: a: b",
        ),
        (
            "%d{ISO8601} [%X{id}] - %-5p [%t:%C{1}@%L] - %m%n",
            "2024-01-02 03:04:05,006 [a b] - INFO  [IPC Server [3] on 8020:o.a.h.DataNode@12] - a: b",
        ),
        (
            "%d (%thread) [%p - %c.%M(%F:%L)] %m%n",
            "2024-01-02 03:04:05,006 (IPC Server [3] on 8020) [INFO - o.a.h.DataNode.x(D.java:12)] a: b",
        ),
    ] {
        let logger = if pattern.contains("%c.%M") { "o" } else { logger };
        assert_parsed(pattern, line, logger, thread, "a: b");
    }
}

#[test]
fn lines_that_do_not_fit_continue_a_record() {
    let pattern = "%d{ISO8601} %-5p [%t] %c{2}: %m%n";
    for line in [
        "",
        "\tat a.B.c(B.java:1)",
        "2024-01-02 03:04:05,006 INFO  a.B: no thread",
        "2024-01-02 03:04:05,006 INFO  [t] two words: x",
        "2024-01-02 03:04:05,006 NOTE  [t] a.B: x",
        "2024-13-02 03:04:05,006 INFO  [t] a.B: x",
        r#"{"timeMillis":1,"level":"INFO","message":"x"}"#,
    ] {
        assert_eq!(parse(pattern, line), None, "{line}");
    }
    assert_eq!(parse(pattern, "2024-01-02 03:04:05,006 INFO  [t] a.B:").unwrap().message, "");
}

#[test]
fn a_pattern_is_read_within_a_wrapper_too() {
    let layout = Layout::pattern("%p %d %c| %m%n").unwrap();
    let (mut zone, mut heads) = (utc(), Heads::new(Some(layout), 65_536));
    let line = b"2024-05-06T07:08:09.1Z stdout F INFO 2024-01-02 03:04:05,006 a.B| c";
    assert_eq!(seen(heads.parse(line, &mut zone)).unwrap().message, "c");
    assert_eq!(heads.layout(), Some(Pinned { wrapper: Wrapper::Cri, form: Form::Pattern }));
}

#[test]
fn a_line_full_of_delimiters_is_given_up_soon() {
    let line = format!("2024-01-02 03:04:05,006 {}", "[".repeat(60_000) + &"] ".repeat(60_000));
    for pattern in ["%d [%t] [%x] [%X] %p %c %m", "%d %t %x %X %t %x %p %c: %m"] {
        assert_eq!(parse(pattern, &line), None);
    }
    assert_eq!(sniff(&line), None);
}

#[test]
fn what_cannot_be_compiled_says_why_and_where() {
    for (pattern, expected) in [
        ("%d{ISO8601} %p %c", "the pattern has no message (%m), which every record needs"),
        ("%p %c: %m%n", "the pattern has no date (%d) before the message, which every record needs"),
        ("%d %c: %m %p%n", "the pattern has no level (%p) before the message, which every record needs"),
        (
            "%d %p %c: %q %m%n",
            "`%q` at character 11 is no conversion word that is known here; write `%%` for a per cent sign",
        ),
        ("é%d %highlight{%p} %m", "`%highlight` at character 5 is no conversion word"),
        ("%d{ISO8601 %p %m%n", "`%d` at character 1 has a `{` that is not closed"),
        (
            "%d{ABSOLUTE} %p %m",
            "`%d{ABSOLUTE}` at character 1 cannot be used: ABSOLUTE is a time of day without a date",
        ),
        ("%d{HH:mm:ss} %p %m", "`%d{HH:mm:ss}` at character 1 cannot be used: it needs year, month and day"),
        ("%d{yyyy-MM-dd} %p %m", "`%d{yyyy-MM-dd}` at character 1 cannot be used: it needs hour and minute"),
        ("%d{yyyy-MM-dd hh:mm} %p %m", "hours of half a day"),
        ("%d{yyyy-MM-dd HH:mm:ss.S} %p %m", "`S` in its date is not known here"),
        ("%d{yyyy-MM-dd'T HH:mm} %p %m", "a single quote is not closed"),
        (
            "%d{DEFAULT}{Europe/Berlin} %p %m",
            "zone `Europe/Berlin` is no fixed offset; leave it out and name it in the `zone` setting",
        ),
        ("%d %.1p %m", "`%.1p` at character 4 cannot be used: it cuts the names of the levels"),
        (
            "%d %p{WARN=W} %m",
            "`%p{WARN=W}` at character 4 cannot be used: levels are known by their full names only",
        ),
        ("%d %p %c%m%n", "`%m` at character 9 cannot be used: it stands right behind another field"),
        ("%d %p%n%m%n", "`%n` at character 6 cannot be used: the lines behind it would have no head"),
        ("%d %9999c %p %m", "its width is above 1000"),
        ("%d %p %", "`%` at character 7 is no conversion word"),
        ("", "the pattern has no message"),
    ] {
        let error = Layout::pattern(pattern).expect_err(pattern).to_string();
        assert!(error.contains(expected), "{pattern}: {error}");
    }
}
