//! Tests of the line heads: every layout with lines as Hadoop writes them, and what is true of any line.

mod excerpts;
mod pattern;
mod rendered;
mod wrapped;

use jiff::tz::TimeZone;

use super::*;
use crate::time::rfc3339;

/// What a test looks at of a head.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    time: String,
    level: &'static str,
    logger: String,
    thread: String,
    message: String,
    trace: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn seen(parsed: Parsed<'_>) -> Option<Seen> {
    let Parsed::Head(head) = parsed else { return None };
    Some(Seen {
        time: rfc3339(head.time_ms),
        level: head.level.name(),
        logger: text(head.logger),
        thread: text(head.thread),
        message: text(head.message),
        trace: text(head.trace),
    })
}

fn sniffing() -> Heads {
    Heads::new(None, 65_536)
}

fn utc() -> Zone {
    Zone::new(TimeZone::UTC)
}

fn sniff(line: &str) -> Option<Seen> {
    seen(sniffing().parse(line.as_bytes(), &mut utc()))
}

/// Time, level, logger, thread and message of a line.
#[track_caller]
fn assert_head(line: &str, time: &str, level: &str, logger: &str, thread: &str, message: &str) {
    let got = sniff(line).expect(line);
    assert_eq!(
        (got.time.as_str(), got.level, got.logger.as_str(), got.thread.as_str(), got.message.as_str()),
        (time, level, logger, thread, message),
        "{line}"
    );
    assert_eq!(got.trace, "", "{line}");
}

const TIME: &str = "2024-01-02T03:04:05.006Z";

#[test]
fn hdfs_v1() {
    assert_head(
        "110203 040506 147 WARN dfs.DataNode$DataXceiver: 10.0.0.1:50010:Got exception while serving blk_1 to /10.0.0.2:",
        "2011-02-03T04:05:06.000Z",
        "WARN",
        "dfs.DataNode$DataXceiver",
        "147",
        "10.0.0.1:50010:Got exception while serving blk_1 to /10.0.0.2:",
    );
}

#[test]
fn log4j_as_hadoop_ships_it() {
    assert_head(
        "2024-01-02 03:04:05,006 INFO org.apache.hadoop.hdfs.server.datanode.DataNode: Receiving BP-1-10.0.0.1-2:blk_1_2 src: /10.0.0.3:1",
        TIME,
        "INFO",
        "org.apache.hadoop.hdfs.server.datanode.DataNode",
        "",
        "Receiving BP-1-10.0.0.1-2:blk_1_2 src: /10.0.0.3:1",
    );
}

#[test]
fn log4j_with_any_time_of_iso_8601() {
    for (time, expected) in [
        ("2024-01-02 03:04:05,006", TIME),
        ("2024-01-02 03:04:05.006", TIME),
        ("2024-01-02T03:04:05,006", TIME),
        ("2024-01-02T03:04:05.006789", TIME),
        ("2024-01-02 03:04:05", "2024-01-02T03:04:05.000Z"),
        ("2024-01-02T03:04:05.006Z", TIME),
        ("2024-01-02T05:04:05,006+02:00", TIME),
        ("2024-01-02T05:04:05.006+0200", TIME),
        ("2024-01-02T05:04:05,006+02", TIME),
        ("2024-01-02 05:04:05,006 +0200", TIME),
        ("2024-01-01T21:34:05.006-05:30", TIME),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000Z"),
    ] {
        assert_head(&format!("{time} INFO a.B: c d"), expected, "INFO", "a.B", "", "c d");
    }
}

#[test]
fn an_offset_in_the_line_goes_before_the_zone() {
    let mut zone = Zone::new(TimeZone::fixed(jiff::tz::offset(9)));
    let mut heads = sniffing();
    for (line, expected) in [
        ("2024-01-02 03:04:05,006 INFO a.B: c", "2024-01-01T18:04:05.006Z"),
        ("2024-01-02T03:04:05,006+01:00 INFO a.B: c", "2024-01-02T02:04:05.006Z"),
        ("2024-01-02T03:04:05,006Z INFO a.B: c", TIME),
        ("2024-01-02 03:04:05,007 INFO a.B: c", "2024-01-01T18:04:05.007Z"),
    ] {
        assert_eq!(seen(heads.parse(line.as_bytes(), &mut zone)).unwrap().time, expected, "{line}");
    }
}

#[test]
fn log4j_with_place_in_the_source() {
    for place in [
        "datanode.DataNode (DataXceiver.java:run(278)) -",
        "datanode.DataNode (DataXceiver.java:<init>(278)) -",
        "datanode.DataNode:278 -",
        "datanode.DataNode:278:",
        "datanode.DataNode -",
    ] {
        let line = format!("2024-01-02 03:04:05,006 ERROR {place} 127.0.0.1:5:DataXceiver error (x) - y");
        assert_head(&line, TIME, "ERROR", "datanode.DataNode", "", "127.0.0.1:5:DataXceiver error (x) - y");
    }
}

#[test]
fn log4j_with_a_thread_before_or_after_the_level() {
    for thread in [
        "main",
        "IPC Server handler 3 on default port 8020",
        "DataXceiver for client DFSClient_1 at /10.0.0.1:2 [Receiving block BP-1:blk_1_2]",
        "Thread[x,5,main]: a - b",
        "not ] closed",
        "open [ bracket",
        "",
    ] {
        for line in [
            format!("2024-01-02 03:04:05,006 [{thread}] INFO  o.a.DataNode: [a] b: x"),
            format!("2024-01-02 03:04:05,006  [{thread}]  INFO o.a.DataNode (X.java:y(1)) - [a] b: x"),
            format!("2024-01-02T03:04:05,006 INFO  [{thread}] o.a.DataNode: [a] b: x"),
            format!("2024-01-02 03:04:05.006 INFO [{thread}] o.a.DataNode - [a] b: x"),
        ] {
            assert_head(&line, TIME, "INFO", "o.a.DataNode", thread, "[a] b: x");
        }
    }
}

#[test]
fn levels_may_be_padded() {
    for (level, name) in
        [(" INFO", "INFO"), ("INFO ", "INFO"), (" WARN", "WARN"), ("SEVERE", "ERROR"), ("WARNING", "WARN")]
    {
        let line = format!("2024-01-02 03:04:05,006 {level} a.B: c");
        assert_head(&line, TIME, name, "a.B", "", "c");
    }
}

#[test]
fn console_of_hadoop() {
    assert_head(
        "24/01/02 03:04:05 INFO namenode.NameNode: STARTUP_MSG:   host = dn1/10.0.0.1 ",
        "2024-01-02T03:04:05.000Z",
        "INFO",
        "namenode.NameNode",
        "",
        "STARTUP_MSG:   host = dn1/10.0.0.1",
    );
}

#[test]
fn an_empty_message() {
    for line in [
        "2024-01-02 03:04:05,006 INFO a.B: ",
        "2024-01-02 03:04:05,006 INFO a.B:",
        "2024-01-02 03:04:05,006 INFO a.B -",
    ] {
        assert_head(line, TIME, "INFO", "a.B", "", "");
    }
}

#[test]
fn json_layouts() {
    for line in [
        r#"{"instant":{"epochSecond":1704164645,"nanoOfSecond":6000000},"thread":"main","level":"WARN","loggerName":"x.Y","message":"a \"b\"","endOfBatch":false,"threadId":1}"#,
        r#"{"timeMillis":1704164645006,"thread":"main","level":"WARN","loggerName":"x.Y","message":"a \"b\""}"#,
        r#"{"@timestamp":"2024-01-02T03:04:05.006Z","ecs.version":"1.2.0","log.level":"WARN","message":"a \"b\"","process.thread.name":"main","log.logger":"x.Y"}"#,
        r#"{ "@timestamp" : "2024-01-02T04:04:05.006+01:00" , "log" : {"level":"warn","logger":"x.Y"}, "process":{"pid":1,"thread":{"name":"main"}}, "message":"a \u0022b\u0022" }"#,
        r#"{"name":"x.Y","time":1704164645006,"date":"2024-01-02 23:04:05,006","level":"WARN","thread":"main","message":"a \"b\""}"#,
        r#"{"@version":1,"source_host":"dn1","message":"a \"b\"","thread_name":"main","@timestamp":"2024-01-02T03:04:05.006+0000","level":"WARN","logger_name":"x.Y"}"#,
        r#"{"version":"1.1","host":"dn1","short_message":"a \"b\"","timestamp":1704164645.006,"level":4,"_thread":"main","_logger":"x.Y"}"#,
        r#"{"date":"2024-01-02 03:04:05,006","level":"Warn","logger":"x.Y","thread":"main","msg":"a \"b\"","more":[{"level":"INFO"},"]}\\"],"x":null}"#,
    ] {
        assert_head(line, TIME, "WARN", "x.Y", "main", "a \"b\"");
    }
}

#[test]
fn of_members_with_one_name_the_last_counts() {
    let line = r#"{"timeMillis":1,"timeMillis":1704164645006,"level":"INFO","level":"WARN","message":"a","message":"b","loggerName":"x.Y","name":"z"}"#;
    assert_head(line, TIME, "WARN", "x.Y", "", "b");
}

#[test]
fn stack_traces_of_json_lines() {
    let expected = "java.io.IOException: a: b\n\tat x.Y.z(Y.java:12)\nCaused by: java.io.EOFException\n\tat x.Y.q(Y.java:1)";
    let quoted = serde_json::to_string(&format!("{expected}\n")).unwrap();
    let lines = serde_json::to_string(&expected.lines().collect::<Vec<_>>()).unwrap();
    let frame = |method: &str, line: u32| {
        format!(r#"[{{"class":"x.Y","method":"{method}","file":"Y.java","line":{line},"exact":true}}]"#)
    };
    for member in [
        format!(r#""error.stack_trace":{quoted}"#),
        format!(r#""error":{{"type":"java.io.IOException","stack_trace":{quoted}}}"#),
        format!(r#""exceptionclass":"java.io.IOException","stack":{lines}"#),
        format!(r#""thrown":{{"name":"java.io.IOException","extendedStackTrace":{quoted}}}"#),
        format!(r#""exception":{{"exception_class":"java.io.IOException","stacktrace":{quoted}}}"#),
        format!(
            r#""thrown":{{"cause":{{"name":"java.io.EOFException","extendedStackTrace":{}}},"message":"a: b","name":"java.io.IOException","extendedStackTrace":{}}}"#,
            frame("q", 1),
            frame("z", 12)
        ),
    ] {
        let line = format!(r#"{{"timeMillis":1704164645006,{member},"level":"WARN","message":"m"}}"#);
        let got = sniff(&line).expect(&line);
        assert_eq!(
            (got.time.as_str(), got.message.as_str(), got.trace.as_str()),
            (TIME, "m", expected),
            "{line}"
        );
    }
    let line = r#"{"timeMillis":1,"level":"WARN","message":"m","error.type":"a.B","error.message":"c"}"#;
    assert_eq!(sniff(line).unwrap().trace, "a.B: c");
}

#[test]
fn a_json_line_that_was_cut_keeps_what_there_is() {
    let line =
        r#"{"timeMillis":1704164645006,"level":"WARN","loggerName":"x.Y","message":"started \"and then"#;
    assert_head(line, TIME, "WARN", "x.Y", "", "started \"and then");
}

#[test]
fn lines_without_a_head() {
    for line in [
        "",
        "java.io.IOException: Connection reset by peer",
        "\tat java.lang.Thread.run(Thread.java:745)",
        "Caused by: java.io.EOFException",
        "\t... 12 more",
        "2024-13-02 03:04:05,006 INFO x.Y: month 13",
        "2024-01-02 03:04:05,006 NOTICE x.Y: unknown level",
        "2024-01-02 03:04:05,006 INFO [unclosed x.Y: message",
        "2024-01-02 03:04:05,006 INFO",
        "2024-01-02 03:04:05,006",
        "24/01/02 03:04:05 x.Y: no level",
        "081109 203530 147 INFO",
        "081109 203530 main INFO dfs.X: thread is not a number",
        "INFO x.Y: no time",
        "{\"level\":\"INFO\"}",
        "{\"level\":\"INFO\",\"message\":\"no time\"}",
        "{not json",
        "{",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0 INFO x.Y: a hole in the file",
    ] {
        assert_eq!(sniff(line), None, "{line}");
    }
}

#[test]
fn records_of_many_lines_are_continued() {
    let mut heads = sniffing();
    let mut zone = utc();
    let mut count = |lines: &str| {
        let is_head = |line: &str| matches!(heads.parse(line.as_bytes(), &mut zone), Parsed::Head(_));
        lines.lines().map(is_head).collect::<Vec<_>>()
    };
    // A replica as it prints itself.
    let replica = "2024-01-02 03:04:05,006 INFO a.FsDatasetAsyncDiskService: Scheduling blk_1_2 replica FinalizedReplica, blk_1_2, FINALIZED\n  getNumBytes()     = 163\n  getBytesOnDisk()  = 163\n  getVolume()       = /data/1/dfs\n  getBlockURI()     = file:/data/1/dfs/blk_1 for deletion";
    assert_eq!(count(replica), [true, false, false, false, false]);
    let pause = "2024-01-02 03:04:05,006 WARN a.JvmPauseMonitor: Detected pause in JVM or host machine (eg GC): pause of approximately 12345ms\nGC pool 'ParNew' had collection(s): count=1 time=12000ms\nNo GCs detected";
    assert_eq!(count(pause), [true, false, false]);
    let banner = "2024-01-02 03:04:05,006 INFO a.DataNode: STARTUP_MSG: \n/************************************************************\nSTARTUP_MSG: Starting DataNode\nSTARTUP_MSG:   host = dn1/10.0.0.1\nSTARTUP_MSG:   version = 3.3.6\nSTARTUP_MSG:   build = https://example.org/hadoop.git -r 1; compiled by 'x' on 2023-06-18T08:22Z\n************************************************************/";
    assert_eq!(count(banner), [true, false, false, false, false, false, false]);
    let trace = "2024-01-02 03:04:05,006 ERROR a.DataNode: error\njava.io.IOException: e\n\tat a.B.c(B.java:1)\n\tSuppressed: java.io.IOException: f\n\t\tat a.B.d(B.java:2)\nCaused by: java.io.EOFException\n\t... 12 more\n\n2024-01-02 03:04:05,006";
    assert_eq!(count(trace), [true, false, false, false, false, false, false, false, false]);
}

#[test]
fn a_pinned_layout_that_stops_fitting_is_found_again() {
    let (mut zone, mut heads) = (utc(), sniffing());
    assert_eq!(heads.layout(), None);
    for (line, form) in [
        ("110203 040506 1 INFO a.B: x", Form::HdfsV1),
        ("2024-01-02 03:04:05,006 INFO a.B: x", Form::Log4j),
        ("24/01/02 03:04:05 INFO a.B: x", Form::Console),
        (r#"{"timeMillis":1,"level":"INFO","message":"x"}"#, Form::Json),
        ("110203 040506 1 INFO a.B: x", Form::HdfsV1),
    ] {
        assert!(matches!(heads.parse(line.as_bytes(), &mut zone), Parsed::Head(_)), "{line}");
        assert_eq!(heads.layout(), Some(Pinned { wrapper: Wrapper::None, form }));
        assert_eq!(heads.parse(b"110203 that is", &mut zone), Parsed::Continuation(b"110203 that is"));
    }
    let mut fixed = Heads::new(Some(Layout::HdfsV1), 65_536);
    for line in ["2024-01-02 03:04:05,006 INFO a.B: x", r#"{"timeMillis":1,"level":"INFO","message":"x"}"#] {
        assert_eq!(fixed.parse(line.as_bytes(), &mut zone), Parsed::Continuation(line.as_bytes()));
    }
}

#[test]
fn layouts_by_name() {
    for name in ["hdfs_v1", "log4j", "console", "json", "%d %p %c: %m%n"] {
        let layout: Layout = name.parse().unwrap();
        assert_eq!(layout.as_str(), name);
        let json = serde_json::to_string(&layout).unwrap();
        assert_eq!(serde_json::from_str::<Layout>(&json).unwrap(), layout);
    }
    let error = "log5j".parse::<Layout>().unwrap_err().to_string();
    assert!(error.starts_with("`log5j` is no layout; use hdfs_v1, log4j, console, json or"), "{error}");
}
