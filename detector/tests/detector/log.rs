//! Logs as DataNodes and NameNodes write them, in every layout, with the faults that real files have.

/// Blocks that a log is about, unless it says otherwise.
const BLOCKS: u64 = 40;
/// Kinds of records there are.
pub(crate) const KINDS: u8 = 22;
/// Kinds of records that one layout has: what a real file holds.
pub(crate) const HDFS_V1: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// Hadoop 3 in log4j's layout.
pub(crate) const HADOOP_3: [u8; 7] = [8, 9, 10, 11, 12, 13, 19];

/// Writes a log, record by record.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) bytes: Vec<u8>,
    /// Seconds since the first of the month.
    pub(crate) clock: u64,
    /// Blocks that it is about.
    pub(crate) blocks: u64,
    state: u64,
}

impl Log {
    pub(crate) fn new(seed: u64) -> Self {
        Self { bytes: Vec::new(), clock: 3_600, blocks: BLOCKS, state: seed }
    }

    /// A log of about `bytes` bytes of records of `kinds`.
    pub(crate) fn of(seed: u64, kinds: &[u8], bytes: usize) -> Vec<u8> {
        let mut log = Self::new(seed);
        while log.bytes.len() < bytes {
            let kind = kinds[log.below(kinds.len() as u64) as usize];
            log.record(kind);
        }
        log.bytes
    }

    /// A log of the given records: kind and choices of each.
    pub(crate) fn with(records: &[(u8, u32)]) -> Vec<u8> {
        let mut log = Self::new(0);
        for &(kind, choices) in records {
            log.state = u64::from(choices);
            log.record(kind);
        }
        log.bytes
    }

    /// A number below `bound` (splitmix64).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }

    /// Writes a record of a kind below [`KINDS`].
    pub(crate) fn record(&mut self, kind: u8) {
        self.clock += self.below(3);
        let number = self.below(self.blocks);
        let block = format!("blk_{}", block_id(number));
        let pooled = format!("BP-1-10.0.0.9-1488507853695:{block}_{}", 1_001 + number);
        let size = self.below(67_108_865);
        let (thread, hour_ago) = (self.below(9_000), self.clock.saturating_sub(self.below(2_400)));
        let ms = self.below(1_000);
        match kind {
            0 => self.v1("INFO", "dfs.DataNode$DataXceiver", thread, &format!("Receiving block {block} src: /10.0.0.1:50010 dest: /10.0.0.2:50010")),
            1 => self.v1("INFO", "dfs.DataNode$PacketResponder", thread, &format!("Received block {block} of size {size} from /10.0.0.1")),
            2 => self.v1("INFO", "dfs.DataNode$PacketResponder", thread, &format!("PacketResponder {} for block {block} terminating", thread % 3)),
            3 => self.v1("INFO", "dfs.FSDataset", thread, &format!("Deleting block {block} file /mnt/hadoop/dfs/data/current/subdir{}/{block}", thread % 64)),
            4 => self.v1("WARN", "dfs.DataNode$BlockReceiver", thread, &format!("Exception in receiveBlock for block {block} java.io.IOException: Connection reset by peer")),
            5 => self.v1("INFO", "dfs.FSNamesystem", thread, &format!("BLOCK* ask 10.0.0.1:50010 to delete  {block} blk_{} blk_7", block_id(size % 9))),
            6 => self.v1("INFO", "dfs.DataNode", thread, "Starting Periodic block scanner."),
            7 => {
                self.v1("ERROR", "dfs.DataNode$DataXceiver", thread, &format!("10.0.0.1:50010:DataXceiver {block}"));
                self.trace(thread);
            }
            8 => self.log4j("INFO", ms, &format!("Receiving {pooled} src: /10.0.0.1:50010 dest: /10.0.0.2:50010")),
            9 => self.log4j("INFO", ms, &format!("Received {pooled} size {size} from /10.0.0.1")),
            10 => self.log4j("INFO", ms, &format!("PacketResponder: {pooled}, type=LAST_IN_PIPELINE terminating")),
            11 => self.log4j("INFO", ms, &format!("Scheduling {block}_1 file /d/{block} for deletion")),
            12 => {
                self.log4j("ERROR", ms, &format!("dn1:9866:DataXceiver error processing WRITE_BLOCK operation {pooled}"));
                self.trace(thread);
            }
            13 => self.log4j("INFO", ms, "Slow BlockReceiver write data to disk cost:301ms (threshold=300ms)"),
            14 => {
                let stamp = self.stamp(self.clock);
                self.line(&format!("{} INFO datanode.DataNode: Received block {block} of size {size} from /10.0.0.1", stamp.replace('-', "/").get(2..).unwrap_or_default()));
            }
            15 => self.json(thread, &format!("Receiving {pooled} src: /10.0.0.1:1 dest: /10.0.0.2:2")),
            16 => self.docker(thread, ms, &format!("Receiving {pooled} src: /10.0.0.1:1 dest: /10.0.0.2:2")),
            17 => self.cri(ms, &format!("Received {pooled} size {size} from /10.0.0.1")),
            18 => self.garbage(thread),
            19 => {
                let stamp = self.stamp(hour_ago);
                self.line(&format!("{stamp},{ms:03} WARN a.b.Late: PacketResponder: {pooled}, type=HAS_DOWNSTREAM terminating"));
            }
            20 => {
                let text = "x".repeat(50 + thread as usize % 900);
                self.v1("INFO", "dfs.Long", thread, &format!("Received block {block} {text} blk_3\r"));
            }
            _ => self.line(&format!("  about {block} there is more to say, and of blk_{}", block_id(number / 2))),
        }
    }

    /// A line of Hadoop of 2008.
    pub(crate) fn v1(&mut self, level: &str, logger: &str, thread: u64, message: &str) {
        let (day, time) = (1 + self.clock / 86_400 % 28, self.clock % 86_400);
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        self.line(&format!(
            "0811{day:02} {hour:02}{minute:02}{second:02} {thread} {level} {logger}: {message}"
        ));
    }

    /// A line of Hadoop 3.
    pub(crate) fn log4j(&mut self, level: &str, ms: u64, message: &str) {
        let stamp = self.stamp(self.clock);
        let logger = "org.apache.hadoop.hdfs.server.datanode.DataNode";
        self.line(&format!("{stamp},{ms:03} {level} {logger}: {message}"));
    }

    /// A line in log4j2's JSON layout; some have a stack trace.
    pub(crate) fn json(&mut self, thread: u64, message: &str) {
        let stamp = self.stamp(self.clock).replace(' ', "T");
        let trace = if thread.is_multiple_of(5) {
            r#","error.stack_trace":"java.io.IOException: \"x\"\n\tat a.B.c(B.java:1)\n""#
        } else {
            ""
        };
        self.line(&format!(
            r#"{{"@timestamp":"{stamp}.250Z","log.level":"INFO","process.thread.name":"t\"{thread}","log.logger":"a.B","message":"{message}"{trace}}}"#
        ));
    }

    /// A line in Docker's wrapper; some are split.
    fn docker(&mut self, thread: u64, ms: u64, message: &str) {
        let stamp = self.stamp(self.clock);
        let line = format!("{stamp},{ms:03} INFO a.B: {message}");
        let (first, second) = line.split_at(line.len() / 2);
        let time = stamp.replace(' ', "T");
        let wrapped = |text: &str| format!(r#"{{"log":"{text}","stream":"stdout","time":"{time}.1Z"}}"#);
        if thread.is_multiple_of(3) {
            self.line(&wrapped(first));
            self.line(&wrapped(&format!("{second}\\n")));
        } else {
            self.line(&wrapped(&format!("{line}\\n")));
        }
    }

    fn cri(&mut self, ms: u64, message: &str) {
        let stamp = self.stamp(self.clock);
        let time = stamp.replace(' ', "T");
        self.line(&format!("{time}.5Z stdout P {stamp},{ms:03} INFO"));
        self.line(&format!("{time}.6Z stdout F  a.B: {message}"));
    }

    fn trace(&mut self, thread: u64) {
        self.line("java.io.EOFException: Premature EOF: no length prefix available");
        for frame in 0..thread % 6 {
            self.line(&format!("\tat org.apache.hadoop.hdfs.Frame{frame}.run(Frame.java:{frame})"));
        }
        self.line("Caused by: java.net.SocketException: Connection reset by blk_5");
        self.line("\t... 12 more");
    }

    fn garbage(&mut self, count: u64) {
        for _ in 0..count % 60 {
            let byte = self.below(256) as u8;
            self.bytes.push(byte);
        }
        self.bytes.push(b'\n');
    }

    fn stamp(&self, clock: u64) -> String {
        let (day, time) = (1 + clock / 86_400 % 28, clock % 86_400);
        format!("2024-05-{day:02} {:02}:{:02}:{:02}", time / 3_600, time / 60 % 60, time % 60)
    }

    pub(crate) fn line(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'\n');
    }
}

/// Ids as HDFS of 2008 gave them: of either sign and spread over all of 64 bits.
pub(crate) fn block_id(number: u64) -> i64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).cast_signed()
}

/// Text of a block.
pub(crate) fn block(number: u64) -> String {
    format!("blk_{}", block_id(number))
}
