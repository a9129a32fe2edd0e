//! Real lines of Hadoop 2 and 3, where they are at hand: which of them start a record, and what their heads say.

use std::io::{Read, Write, stderr};

use flate2::read::GzDecoder;

use super::*;
use crate::exception::Trace;

const FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/hdfs/modern_hadoop_excerpts.log.gz");

#[test]
fn every_record_of_real_logs_is_framed() {
    let Some(log) = excerpts() else { return };
    let (mut zone, mut heads) = (utc(), sniffing());
    let (mut records, mut traces): (Vec<Seen>, Vec<Trace>) = (Vec::new(), Vec::new());
    let mut starts = String::new();
    for line in log.lines() {
        let parsed = heads.parse(line.as_bytes(), &mut zone);
        starts.push(if matches!(parsed, Parsed::Head(_)) { 'H' } else { '.' });
        match parsed {
            Parsed::Continuation(text) => {
                assert_eq!(text, line.as_bytes());
                traces.last_mut().unwrap().line(text);
            }
            parsed => {
                records.push(seen(parsed).unwrap());
                let mut trace = Trace::new();
                trace.line(records.last().unwrap().message.as_bytes());
                traces.push(trace);
            }
        }
    }
    // One letter a line, in the order of the file.
    let expected = "HHHHHHH.....HHHHHH..............H.....H..........H.........H..........HH";
    assert_eq!(starts, expected);
    assert_eq!((log.lines().count(), records.len()), (72, 19));
    check_heads(&records);
    check_traces(&traces);
}

fn check_heads(records: &[Seen]) {
    let count = |of: &dyn Fn(&Seen) -> bool| records.iter().filter(|record| of(record)).count();
    assert_eq!(count(&|record| record.level == "INFO"), 15);
    assert_eq!(count(&|record| record.level == "WARN"), 2);
    assert_eq!(count(&|record| record.level == "ERROR"), 2);
    let of = |suffix: &'static str| move |record: &Seen| record.logger.ends_with(suffix);
    assert_eq!(count(&of(".DataNode")), 13);
    assert_eq!(count(&of(".DataNode.clienttrace")), 3);
    assert_eq!(count(&of(".FsDatasetAsyncDiskService")), 2);
    assert_eq!(count(&of("datanode.BlockScanner")), 1);
    assert_eq!(count(&|record| record.thread.starts_with("DataXceiver for client ")), 3);
    assert_eq!(count(&|record| record.thread.is_empty()), 16);
    assert!(records.iter().all(|record| !record.message.is_empty() && record.trace.is_empty()));
    assert_eq!(records.first().unwrap().time, "2017-05-31T00:09:32.563Z");
    assert_eq!(records.last().unwrap().time, "2020-10-23T22:41:18.345Z");
}

fn check_traces(traces: &[Trace]) {
    let all: Vec<[String; 3]> = traces
        .iter()
        .filter(|trace| !trace.is_empty())
        .map(|trace| [trace.exception(), trace.cause(), trace.frame()].map(text))
        .collect();
    let read_fully = "org.apache.hadoop.io.IOUtils.readFully";
    let expected = [
        ["java.net.SocketTimeoutException", "", "org.apache.hadoop.net.SocketIOWithTimeout.doIO"],
        ["java.io.EOFException", "", "org.apache.hadoop.hdfs.protocolPB.PBHelper.vintPrefixed"],
        ["java.lang.IndexOutOfBoundsException", "", "java.io.FileOutputStream.writeBytes"],
        ["", "", "org.apache.hadoop.hdfs.server.datanode.fsdataset.impl.FsDatasetImpl.getTmpInputStreams"],
        ["java.io.IOException", "", read_fully],
    ];
    assert_eq!(all, expected);
}

#[expect(clippy::disallowed_methods, reason = "the fence is for the library; this is a test's data")]
fn excerpts() -> Option<String> {
    let Ok(packed) = std::fs::read(FILE) else {
        // Not by a macro: the output of a test that passes is not shown.
        let skipped = b"SKIPPED: ../shared/data/hdfs is not here; real Hadoop 3 lines are not read\n";
        stderr().write_all(skipped).unwrap();
        return None;
    };
    let mut log = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut log).unwrap();
    Some(log)
}
