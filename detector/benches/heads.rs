//! Time to recognise the head of a line, by layout. `cargo bench -p blocksift-detector --no-default-features`

use std::hint::black_box;

use blocksift_detector::head::{Heads, Parsed};
use blocksift_detector::time::Zone;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::tz::TimeZone;

/// Lines of each log; a second has ten of them.
const LINES: u64 = 1_000;

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heads");
    group.throughput(Throughput::Elements(LINES));
    for (name, line) in LAYOUTS {
        let layout = (*name == "pattern").then(|| PATTERN.parse().ok()).flatten();
        let lines: Vec<String> = (0..LINES).map(|number| render(line, number)).collect();
        group.bench_function(*name, |bencher| {
            let mut zone = Zone::new(TimeZone::UTC);
            let mut heads = Heads::new(layout.clone(), 65_536);
            heads.parse(FIRST.as_bytes(), &mut zone);
            bencher.iter(|| {
                let mut sum = 0;
                for line in &lines {
                    if let Parsed::Head(head) = heads.parse(black_box(line.as_bytes()), &mut zone) {
                        sum += head.time_ms + head.logger.len() as i64 + head.message.len() as i64;
                    }
                }
                sum
            });
        });
    }
    group.finish();
}

/// Pinned before lines are measured.
const FIRST: &str = "2024-01-02 03:04:05,006 INFO a.B: c";

/// Layout of the lines called `pattern`; the others are found out.
const PATTERN: &str = "%d{ISO8601} %-5p [%t] %c{2}: %m%n";

/// `SS` stands for the second, `NNN` for a number.
const LAYOUTS: &[(&str, &str)] = &[
    (
        "hdfs_v1",
        "081109 2035SS 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38865049064139660NNN terminating",
    ),
    (
        "log4j",
        "2024-01-02 03:04:SS,NNN INFO org.apache.hadoop.hdfs.server.datanode.DataNode: PacketResponder: BP-1-10.0.0.1-2:blk_1073741NNN_1001, type=LAST_IN_PIPELINE terminating",
    ),
    (
        "log4j_thread",
        "2024-01-02 03:04:SS,NNN [DataXceiver for client DFSClient_1 at /10.0.0.1:2 [Receiving block BP-1-10.0.0.1-2:blk_1073741NNN_1001]] INFO  datanode.DataNode (DataXceiver.java:run(278)) - Receiving BP-1-10.0.0.1-2:blk_1073741NNN_1001 src: /10.0.0.1:2 dest: /10.0.0.1:3",
    ),
    (
        "pattern",
        "2024-01-02 03:04:SS,NNN INFO  [main] datanode.DataNode: PacketResponder: BP-1-10.0.0.1-2:blk_1073741NNN_1001, type=LAST_IN_PIPELINE terminating",
    ),
    (
        "cri",
        "2024-01-02T03:04:05.006000000Z stdout F 2024-01-02 03:04:SS,NNN INFO org.apache.hadoop.hdfs.server.datanode.DataNode: PacketResponder: BP-1-10.0.0.1-2:blk_1073741NNN_1001, type=LAST_IN_PIPELINE terminating",
    ),
    (
        "docker",
        r#"{"log":"2024-01-02 03:04:SS,NNN INFO org.apache.hadoop.hdfs.server.datanode.DataNode: PacketResponder: BP-1-10.0.0.1-2:blk_1073741NNN_1001, type=LAST_IN_PIPELINE terminating\n","stream":"stdout","time":"2024-01-02T03:04:05.006000000Z"}"#,
    ),
    (
        "syslog",
        "<13>Nov 21 12:16:28 dn1 hadoop[123]: 2024-01-02 03:04:SS,NNN INFO org.apache.hadoop.hdfs.server.datanode.DataNode: PacketResponder: BP-1-10.0.0.1-2:blk_1073741NNN_1001, type=LAST_IN_PIPELINE terminating",
    ),
    (
        "continuation",
        "\tat org.apache.hadoop.hdfs.protocol.datatransfer.Receiver.opWriteBlock(Receiver.java:NNN)",
    ),
    (
        "json",
        r#"{"instant":{"epochSecond":17041646SS,"nanoOfSecond":NNN000000},"thread":"main","level":"WARN","loggerName":"org.apache.hadoop.hdfs.server.datanode.DataNode","message":"Slow \"disk\" of blk_1073741NNN_1001","endOfBatch":false,"threadId":NNN}"#,
    ),
];

fn render(line: &str, number: u64) -> String {
    line.replace("SS", &format!("{:02}", number / 10 % 60)).replace("NNN", &format!("{:03}", number % 1_000))
}

criterion_group!(all, benches);
criterion_main!(all);
