//! Records of all kinds, those that no host should give among them: lines in every form that is read, mutations of
//! them, pieces of JSON in any order, any bytes, numbers out of range, names twice, huge ones, and control records.

use blocksift_tests::simulate::{Dialect, Plan, batch_with};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::START_S;
use super::hosts::Record;

/// Bytes of the largest records, as many as the module has room for in one piece.
const HUGE_BYTES: usize = 32 * 1_024 * 1_024 - 64;
/// One of so many records is huge, and one large.
const HUGE_EVERY: u64 = 20_000;
const LARGE_EVERY: u64 = 500;
/// Records that one second brings.
const RECORDS_A_SECOND: u64 = 100;
/// Blocks of the logs that lines are taken from.
const BLOCKS: u64 = 40;
/// What records are pieced together from.
const PIECES: [&[u8]; 22] = [
    b"{\"log\":\"",
    b"\"}",
    b"{",
    b"}",
    b"[[[[",
    b"]",
    b",",
    b":",
    b"\\u12",
    b"\\ud800\\n\\tat a.B.c(D.java:1)",
    b"\"message\":\"m\",\"level\":9e999",
    b"\"message\":\"m\",\"level\":\"WARN\",\"time\":-1e400",
    b"\"log\":\"a\",\"log\":7,\"log\":\"081109 203518 143 WARN dfs.X: strange blk_7\"",
    b"081109 203518 143 WARN dfs.X: strange blk_99999999999999999999 ",
    b"\"kubernetes\":{\"host\":\"k\",\"host\":\"l\"},",
    b"\"host\":\"dn\"",
    b"\"blocksift\":{}",
    b"null",
    b"18446744073709551616",
    b"\0",
    b"\xff\xfe",
    b"\xf0\x9f\xa6\x80",
];
/// What a control record may ask for; a number takes the place of `#`.
const CONTROLS: [&str; 12] = [
    r#"{"tick":true}"#,
    r#"{"tick":true}"#,
    r#"{"flush":true}"#,
    r#"{"flush":true,"restart":1}"#,
    r#"{"configure":{"threshold":1e999}}"#,
    r#"{"configure":{"idle_timeout_s":#}}"#,
    r#"{"configure":{"nodes_max":4,"idle_timeout_s":1,"sessions_max":9,"events_max":2}}"#,
    r#"{"configure":{"sessions_bytes_max":33554432,"lines_bytes_max":33554432,"sessions_max":500000,"report_bytes_max":1048576,"nodes_max":1}}"#,
    r#"{"configure":{"summary_interval_s":1,"reorder_s":#,"report_bytes_max":#}}"#,
    r#"{"configure":{"threshold":0.0,"idle_timeout_s":1,"idle_timeout_s":2}}"#,
    r#"{"configure":{"fields":{"line":["log","kubernetes.host"],"message":[],"node":["host"]}}}"#,
    r#"{"configure":[#,{"a":null}]}"#,
];

/// Records without an end.
pub(crate) struct Hostile {
    random: ChaCha8Rng,
    lines: Vec<String>,
    number: u64,
}

impl Hostile {
    pub(crate) fn new(seed: u64) -> Self {
        let log = |dialect| batch_with(Plan::archive_of(dialect, seed, BLOCKS), |_| true).log;
        let logs = Dialect::ALL.map(log).concat();
        let lines = String::from_utf8_lossy(&logs).lines().map(str::to_owned).collect();
        Self { random: ChaCha8Rng::seed_from_u64(seed), lines, number: 0 }
    }

    /// What is random beside the records.
    pub(crate) fn random(&mut self) -> &mut ChaCha8Rng {
        &mut self.random
    }

    /// The next record, with its time: one of twenty is of any.
    pub(crate) fn record(&mut self) -> Record {
        self.number += 1;
        let near = START_S + u32::try_from(self.number / RECORDS_A_SECOND).unwrap();
        let seconds = if self.random.random_range(0..20) == 0 { self.random.random() } else { near };
        let time = (seconds, self.random.random());
        Record { time, bytes: self.bytes() }
    }

    fn bytes(&mut self) -> Vec<u8> {
        if self.number.is_multiple_of(HUGE_EVERY) {
            return self.large(HUGE_BYTES);
        }
        if self.number.is_multiple_of(LARGE_EVERY) {
            let bytes = self.random.random_range(1_000..300_000);
            return self.large(bytes);
        }
        match self.random.random_range(0..1_000) {
            0..450 => self.sound(),
            450..700 => self.mutated(),
            700..920 => self.pieced(),
            920..993 => self.any(200),
            // Seldom, so that there is something to lose.
            _ => self.control(),
        }
    }

    /// A line in one of the forms that are read.
    fn sound(&mut self) -> Vec<u8> {
        let line = self.lines[self.random.random_range(0..self.lines.len())].clone();
        let (block, node) = (self.number % 90_000, self.number % 6);
        let warning = format!("081109 203518 143 WARN dfs.X: strange {} blk_{block}", self.number % 7);
        let record: Value = match self.random.random_range(0..6) {
            0 => json!({ "log": warning, "host": format!("dn{node}") }),
            1 => {
                json!({ "level": "WARN", "logger": "a.B", "message": warning, "time": self.number, "thread": "main" })
            }
            2 => {
                json!({ "log": format!("{line}\n\tat a.B.c(D.java:{block})\n"), "kubernetes": { "host": format!("dn{node}") } })
            }
            3 => json!({ "message": line, "path": format!("/var/log/{}", self.number % 400) }),
            _ => json!({ "log": line, "stream": "stdout" }),
        };
        record.to_string().into_bytes()
    }

    /// A sound record with bytes changed, left out, added or repeated.
    fn mutated(&mut self) -> Vec<u8> {
        let mut bytes = if self.random.random_range(0..50) == 0 { self.control() } else { self.sound() };
        for _ in 0..self.random.random_range(1..6) {
            let at = self.random.random_range(0..=bytes.len());
            let end = (at + self.random.random_range(0..20)).min(bytes.len());
            match self.random.random_range(0..6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.insert(at, self.random.random()),
                3 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
                4 => bytes.splice(at..at, self.pieced()).for_each(drop),
                _ => bytes[at..end].fill(self.random.random()),
            }
        }
        bytes
    }

    fn pieced(&mut self) -> Vec<u8> {
        let count = self.random.random_range(0..8);
        (0..count).flat_map(|_| PIECES[self.random.random_range(0..PIECES.len())].iter().copied()).collect()
    }

    fn any(&mut self, bytes_max: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.random.random_range(0..bytes_max)];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// One long line, one long value that is not looked at, or nothing but an opening bracket.
    fn large(&mut self, bytes: usize) -> Vec<u8> {
        let (start, fill, end): (&[u8], u8, &[u8]) = match self.random.random_range(0..4) {
            0 => (b"{\"log\":\"081109 203518 143 WARN dfs.X: blk_7 ", b'x', b"\"}"),
            1 => (b"{\"log\":\"", b'\\', b"\"}"),
            2 => (b"{\"other\":\"", b' ', b"\",\"log\":\"081109 203518 143 WARN dfs.X: blk_7\"}"),
            _ => (b"{\"log\":", b'[', b""),
        };
        let mut record = start.to_vec();
        record.resize(bytes.saturating_sub(end.len()), fill);
        record.extend_from_slice(end);
        record
    }

    fn control(&mut self) -> Vec<u8> {
        let control = CONTROLS[self.random.random_range(0..CONTROLS.len())];
        let number: u64 = self.random.random();
        let number = number >> self.random.random_range(0..64);
        format!("{{\"blocksift\":{}}}", control.replace('#', &number.to_string())).into_bytes()
    }
}
