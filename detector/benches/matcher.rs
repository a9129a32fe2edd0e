//! How long a message takes to find its template and parameters: the catalogue's trie beside the part-by-part matcher
//! that it replaced, alone, with the scan for keys that the trie's captures spare, and behind a set of regexes that says
//! which templates to try. The catalogue is the shipped one, the messages are like HDFS_v1's and as frequent.
//!
//! Then messages like those of Hadoop 3, which the built-in templates match: beside masking, which they spare, and
//! beside how long all built-in templates take to compile.

#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a bench may panic, and nobody calls it"
)]

use std::hint::black_box;

use blocksift_detector::key;
use blocksift_detector::template::{Captures, Catalogue, Template, mask};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use regex::bytes::RegexSet;

use parts::Pattern;

#[path = "matcher/parts.rs"]
mod parts;

/// Messages measured: more than a branch predictor learns by heart.
const MESSAGES: usize = 20_000;

/// How often in 1,000 lines of HDFS_v1 a message comes; `#` is a number of its own.
const MIX: [(u64, &str); 16] = [
    (154, "Receiving block blk_# src: /10.#.#.#:# dest: /10.#.#.#:50010"),
    (
        154,
        "BLOCK* NameSystem.addStoredBlock: blockMap updated: 10.#.#.#:50010 is added to blk_# size 67108864",
    ),
    (153, "Received block blk_# of size 67108864 from /10.#.#.#"),
    (153, "PacketResponder ! for block blk_# terminating"),
    (125, "Deleting block blk_# file /mnt/hadoop/dfs/data/current/subdir5/blk_#"),
    (125, "BLOCK* NameSystem.delete: blk_# is added to invalidSet of 10.#.#.#:50010"),
    (51, "BLOCK* NameSystem.allocateBlock: /user/root/rand/_temporary/_task_2008_m_#_0/part-#. blk_#"),
    (37, "10.#.#.#:50010 Served block blk_# to /10.#.#.#"),
    (33, "10.#.#.#:50010:Got exception while serving blk_# to /10.#.#.#:"),
    (10, "Verification succeeded for blk_#"),
    (1, "Unexpected error trying to delete block blk_#. BlockInfo not found in volumeMap."),
    (1, "Received block blk_# src: /10.#.#.#:# dest: /10.#.#.#:50010 of size 67108864"),
    (1, "BLOCK* ask 10.#.#.#:50010 to replicate blk_# to datanode(s) 10.#.#.#:50010"),
    (1, "10.#.#.#:50010 Starting thread to transfer block blk_# to 10.#.#.#:50010"),
    (1, "10.#.#.#:50010:Transmitted block blk_# to /10.#.#.#:50010"),
    (1, "writeBlock blk_# received exception java.io.IOException: Could not read from stream"),
];

/// How often in 1,000 lines of a DataNode and a NameNode of Hadoop 3 a message comes.
const HADOOP_3: [(u64, &str); 16] = [
    (
        150,
        "Receiving BP-1182980097-10.40.0.10-1769000000000:blk_#_1001 src: /10.#.#.#:# dest: /10.#.#.#:9866",
    ),
    (
        150,
        "src: /10.#.#.#:#, dest: /10.#.#.#:9866, bytes: 134217728, op: HDFS_WRITE, cliID: \
         DFSClient_NONMAPREDUCE_-1#_1, offset: 0, srvID: 745584f6-db3e-4ce5-8f6e-4431a04ade9c, blockid: \
         BP-1182980097-10.40.0.10-1769000000000:blk_#_1001, duration(ns): 161028161#",
    ),
    (
        50,
        "PacketResponder: BP-1182980097-10.40.0.10-1769000000000:blk_#_1001, type=LAST_IN_PIPELINE terminating",
    ),
    (
        100,
        "PacketResponder: BP-1182980097-10.40.0.10-1769000000000:blk_#_1001, type=HAS_DOWNSTREAM_IN_PIPELINE, \
         downstreams=2:[10.#.#.#:9866, 10.#.#.#:9866] terminating",
    ),
    (100, "Scheduling blk_#_1001 replica FinalizedReplica, blk_1073741825_1001, FINALIZED"),
    (
        100,
        "Deleted BP-1182980097-10.40.0.10-1769000000000 blk_#_1001 URI file:/data/#/dfs/current/\
         BP-1182980097-10.40.0.10-1769000000000/current/finalized/subdir#/subdir#/blk_1073741825",
    ),
    (
        50,
        "src: /10.#.#.#:9866, dest: /10.#.#.#:#, bytes: 134217728, op: HDFS_READ, cliID: \
         DFSClient_NONMAPREDUCE_-1#_1, offset: 0, srvID: 745584f6-db3e-4ce5-8f6e-4431a04ade9c, blockid: \
         BP-1182980097-10.40.0.10-1769000000000:blk_#_1001, duration(ns): 161028161#",
    ),
    (
        80,
        "BLOCK* allocate blk_#_1001, replicas=10.#.#.#:9866, 10.#.#.#:9866, 10.#.#.#:9866 for /user/demo/job_#/part-r-#",
    ),
    (100, "BLOCK* addStoredBlock: 10.#.#.#:9866 is added to blk_#_1001 (size=134217728)"),
    (70, "DIR* completeFile: /user/demo/job_#/part-r-# is closed by DFSClient_NONMAPREDUCE_-1#_1"),
    (20, "Exception for BP-1182980097-10.40.0.10-1769000000000:blk_#_1001"),
    (
        10,
        "dn-#.example:9866:DataXceiver error processing WRITE_BLOCK operation  src: /10.#.#.#:# dst: /10.#.#.#:9866",
    ),
    (
        10,
        "Slow BlockReceiver write packet to mirror took 4#ms (threshold=300ms), downstream DNs=[10.#.#.#:9866], \
         blockId=107374#, seqno=#",
    ),
    (5, "Detected pause in JVM or host machine (eg GC): pause of approximately 1#ms"),
    (3, "PendingReconstructionMonitor timed out blk_#_1001"),
    (2, "Took 11#ms to process 1 commands from NN"),
];

/// The same numbers in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 1) % limit
    }
}

fn messages(mix: &[(u64, &str)]) -> Vec<String> {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let total: u64 = mix.iter().map(|(frequency, _)| frequency).sum();
    let mut message = || {
        let mut place = numbers.below(total);
        let (_, shape) = mix.iter().find(|(frequency, _)| {
            let here = place < *frequency;
            place = place.saturating_sub(*frequency);
            here
        })?;
        let mut message = String::new();
        for (at, byte) in shape.char_indices() {
            match byte {
                '#' if shape[..at].ends_with("blk_") => {
                    let sign = if numbers.below(2) == 0 { "-" } else { "" };
                    message += &format!("{sign}{}", numbers.below(i64::MAX as u64));
                }
                '#' if shape[..at].ends_with(':') => message += &numbers.below(65_536).to_string(),
                '#' => message += &numbers.below(256).to_string(),
                '!' => message += &numbers.below(3).to_string(),
                other => message.push(other),
            }
        }
        Some(message)
    };
    (0..MESSAGES).filter_map(|_| message()).collect()
}

/// The catalogue in the shipped model's metadata.
fn shipped() -> Vec<Template> {
    let model = include_bytes!("../../models/hdfs-v1.onnx");
    let name = memchr::memmem::find(model, b"blocksift.catalogue").unwrap();
    let start = name + model[name..].iter().position(|&byte| byte == b'[').unwrap();
    serde_json::Deserializer::from_slice(&model[start..]).into_iter().next().unwrap().unwrap()
}

/// A regex that a message of this template matches; what stands for its wildcards is not looked at closely.
fn regex(text: &str) -> String {
    let mut pattern = String::from("^");
    let mut rest = text;
    while let Some((before, (_, behind))) =
        rest.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?)))
    {
        pattern += &regex::escape(before);
        pattern += "(?s-u:.*)";
        rest = behind;
    }
    pattern + &regex::escape(rest) + "$"
}

fn matchers(criterion: &mut Criterion) {
    let (messages, templates) = (messages(&MIX), shipped());
    let catalogue = Catalogue::new(templates.clone());
    let parts = parts::Matcher::new(&templates);
    let set = RegexSet::new(templates.iter().map(|template| regex(&template.text))).unwrap();
    let patterns: Vec<Pattern> = templates.iter().map(|template| Pattern::new(&template.text)).collect();

    let mut group = criterion.benchmark_group("matcher");
    group.throughput(Throughput::Elements(messages.len() as u64));
    group.bench_function("trie", |bencher| {
        let mut captures = Captures::new();
        bencher.iter(|| {
            for message in &messages {
                black_box(catalogue.find_with(black_box(message.as_bytes()), &mut captures));
                black_box(&captures);
            }
        });
    });
    group.bench_function("parts", |bencher| {
        bencher.iter(|| {
            for message in &messages {
                black_box(parts.find(black_box(message.as_bytes())));
            }
        });
    });
    group.bench_function("parts, and a scan for keys", |bencher| {
        bencher.iter(|| {
            for message in &messages {
                let message = black_box(message.as_bytes());
                black_box(parts.find(message));
                for key in key::find(message) {
                    black_box(key);
                }
            }
        });
    });
    group.bench_function("regex set, then parts", |bencher| {
        bencher.iter(|| {
            for message in &messages {
                let message = black_box(message.as_bytes());
                let candidates = set.matches(message);
                black_box(candidates.iter().find(|&index| patterns[index].matches(message)));
            }
        });
    });
    group.finish();
}

fn builtin(criterion: &mut Criterion) {
    let messages = messages(&HADOOP_3);
    let catalogue = Catalogue::with_builtin(shipped());
    assert!(messages.iter().all(|message| catalogue.find(message.as_bytes()).is_some()));

    let mut group = criterion.benchmark_group("hadoop 3");
    group.throughput(Throughput::Elements(messages.len() as u64));
    group.bench_function("trie", |bencher| {
        let mut captures = Captures::new();
        bencher.iter(|| {
            for message in &messages {
                black_box(catalogue.find_with(black_box(message.as_bytes()), &mut captures));
                black_box(&captures);
            }
        });
    });
    group.bench_function("masking", |bencher| {
        bencher.iter(|| {
            for message in &messages {
                black_box(mask(black_box(message.as_bytes())));
            }
        });
    });
    group.finish();
    let templates = Catalogue::with_builtin(Vec::new()).templates().to_vec();
    criterion.bench_function("hadoop 3/compile", |bencher| {
        bencher.iter_with_large_drop(|| Catalogue::new(black_box(templates.clone())));
    });
}

criterion_group!(benches, matchers, builtin);
criterion_main!(benches);
