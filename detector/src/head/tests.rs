//! Tests of the line heads.

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::time::rfc3339;

/// Time, level, logger and message of a line, or nothing.
fn heads(line: &str) -> Option<(String, &'static str, String, String)> {
    let mut zone = Zone::new(TimeZone::UTC);
    let mut heads = Heads::new(None, 65_536);
    let Parsed::Head(head) = heads.parse(line.as_bytes(), &mut zone) else { return None };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((rfc3339(head.time_ms), head.level.name(), text(head.logger), text(head.message)))
}

#[track_caller]
fn assert_head(line: &str, time: &str, level: &str, logger: &str, message: &str) {
    let (got_time, got_level, got_logger, got_message) = heads(line).expect(line);
    assert_eq!(
        (got_time.as_str(), got_level, got_logger.as_str(), got_message.as_str()),
        (time, level, logger, message)
    );
}

#[test]
fn hdfs_v1() {
    assert_head(
        "110203 040506 147 WARN dfs.DataNode$DataXceiver: 10.0.0.1:50010:Got exception while serving blk_1 to /10.0.0.2:",
        "2011-02-03T04:05:06.000Z",
        "WARN",
        "dfs.DataNode$DataXceiver",
        "10.0.0.1:50010:Got exception while serving blk_1 to /10.0.0.2:",
    );
}

#[test]
fn log4j_as_hadoop_ships_it() {
    assert_head(
        "2017-05-31 00:09:32,563 INFO org.apache.hadoop.hdfs.server.datanode.DataNode: Receiving BP-1-10.0.0.1-2:blk_1_2 src: /10.0.0.3:1",
        "2017-05-31T00:09:32.563Z",
        "INFO",
        "org.apache.hadoop.hdfs.server.datanode.DataNode",
        "Receiving BP-1-10.0.0.1-2:blk_1_2 src: /10.0.0.3:1",
    );
}

#[test]
fn log4j_with_place_in_the_source() {
    assert_head(
        "2016-08-24 16:33:09,415 ERROR datanode.DataNode (DataXceiver.java:run(278)) - 127.0.0.1:5:DataXceiver error",
        "2016-08-24T16:33:09.415Z",
        "ERROR",
        "datanode.DataNode",
        "127.0.0.1:5:DataXceiver error",
    );
}

#[test]
fn log4j_with_a_thread_before_or_after_the_level() {
    let thread = "[DataXceiver for client DFSClient_1 at /10.0.0.1:2 [Receiving block BP-1:blk_1_2]]";
    for line in [
        format!("2024-01-02 03:04:05.006 {thread} INFO  o.a.h.DataNode: message: x"),
        format!("2024-01-02T03:04:05,006 INFO  {thread} o.a.h.DataNode: message: x"),
        format!("2024-01-02 03:04:05,006 INFO {thread} o.a.h.DataNode - message: x"),
    ] {
        assert_head(&line, "2024-01-02T03:04:05.006Z", "INFO", "o.a.h.DataNode", "message: x");
    }
}

#[test]
fn json_layouts() {
    let time = "2024-01-02T03:04:05.006Z";
    for line in [
        r#"{"instant":{"epochSecond":1704164645,"nanoOfSecond":6000000},"level":"WARN","loggerName":"x.Y","message":"a \"b\""}"#,
        r#"{"@timestamp":"2024-01-02T03:04:05.006Z","log.level":"WARN","log.logger":"x.Y","message":"a \"b\""}"#,
        r#"{"@timestamp":"2024-01-02T04:04:05.006+01:00","log":{"level":"warn","logger":"x.Y"},"message":"a \"b\""}"#,
        r#"{"name":"x.Y","time":1704164645006,"level":"WARN","message":"a \"b\""}"#,
    ] {
        assert_head(line, time, "WARN", "x.Y", "a \"b\"");
    }
}

#[test]
fn lines_without_a_head() {
    for line in [
        "",
        "java.io.IOException: Connection reset by peer",
        "\tat java.lang.Thread.run(Thread.java:745)",
        "2024-13-02 03:04:05,006 INFO x.Y: month 13",
        "2024-01-02 03:04:05,006 NOTICE x.Y: unknown level",
        "2024-01-02 03:04:05,006 INFO [unclosed x.Y: message",
        "081109 203530 147 INFO",
        "081109 203530 main INFO dfs.X: thread is not a number",
        "{\"level\":\"INFO\"}",
        "{not json",
    ] {
        assert_eq!(heads(line), None, "{line}");
    }
}

#[test]
fn a_pinned_layout_that_stops_fitting_is_found_again() {
    let mut zone = Zone::new(TimeZone::UTC);
    let mut heads = Heads::new(None, 65_536);
    assert!(matches!(heads.parse(b"110203 040506 1 INFO a.B: x", &mut zone), Parsed::Head(_)));
    assert!(matches!(heads.parse(b"2024-01-02 03:04:05,006 INFO a.B: x", &mut zone), Parsed::Head(_)));
    let mut fixed = Heads::new(Some(Layout::HdfsV1), 65_536);
    assert!(matches!(
        fixed.parse(b"2024-01-02 03:04:05,006 INFO a.B: x", &mut zone),
        Parsed::Continuation(_)
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_accepted(line in prop::collection::vec(any::<u8>(), 0..120), start in 0_usize..4) {
        let starts: [&[u8]; 4] = [b"", b"110203 040506 1 ", b"2024-01-02 03:04:05,006 ", b"{\"level\":"];
        let mut zone = Zone::new(TimeZone::UTC);
        Heads::new(None, 65_536).parse(&[starts[start], &line[..]].concat(), &mut zone);
    }
}
