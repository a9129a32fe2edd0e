//! The miner alone, without a catalogue, on the public HDFS_v1 data, where it is at hand: its groups are those of the log
//! statements. Drain3's figure stands beside it where Drain3 is installed.

use std::collections::HashMap;
use std::fs::{File, read_to_string};
use std::io::{BufRead, BufReader, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use blocksift_detector::head::{Heads, Parsed};
use blocksift_detector::miner::{Miner, MinerSettings};
use blocksift_detector::template::TemplateId;
use blocksift_detector::time::Zone;
use flate2::read::MultiGzDecoder;
use jiff::tz::TimeZone;

/// Interpreter with Drain3; without it `python3`.
const PYTHON: &str = "BLOCKSIFT_DRAIN3_PYTHON";

#[test]
fn the_miner_alone_groups_the_public_lines_as_their_log_statements_do() {
    let folder = data();
    let log = folder.join("loghub_2k_lines.log.gz");
    if !log.is_file() {
        say("SKIPPED: ../shared/data/hdfs is not here; the miner is not measured");
        return;
    }
    let (messages, truth) = (messages(&log), Truth::read(&folder.join("templates.csv")));
    assert_eq!(messages.len(), 1_961);
    let keys: Vec<Option<u32>> = messages.iter().map(|message| truth.key(message)).collect();
    assert!(keys.iter().all(Option::is_some));
    let ours = accuracy(&groups(&messages, MinerSettings::default()), &keys);
    let theirs =
        drain3(&log).map_or("not installed".to_owned(), |found| found["grouping_accuracy"].to_string());
    say(&format!("grouping accuracy on {} lines: miner {ours:.4}, Drain3 {theirs}", messages.len()));
    assert!(ours >= 0.995, "{ours}");
    // The default similarity stands on no edge.
    for similarity in [0.5, 0.55, 0.65, 0.7] {
        let found =
            accuracy(&groups(&messages, MinerSettings { similarity, ..MinerSettings::default() }), &keys);
        assert!(found >= 0.995, "{found} with similarity {similarity}");
    }
}

/// Groups of the messages, by a miner that saw them all.
fn groups(messages: &[String], settings: MinerSettings) -> Vec<Option<TemplateId>> {
    let mut miner = Miner::new(settings).unwrap();
    for message in messages {
        miner.learn(message.as_bytes());
    }
    let group = |message: &String| miner.find(&miner.masks().mask(message.as_bytes()));
    messages.iter().map(group).collect()
}

/// Share of messages whose group has all messages of their key and no other (Zhu et al., ICSE-SEIP 2019).
fn accuracy(groups: &[Option<TemplateId>], keys: &[Option<u32>]) -> f64 {
    let (mut of_group, mut of_key, mut of_both) = (HashMap::new(), HashMap::new(), HashMap::new());
    for pair in groups.iter().zip(keys) {
        *of_group.entry(pair.0).or_insert(0u32) += 1;
        *of_key.entry(pair.1).or_insert(0u32) += 1;
        *of_both.entry(pair).or_insert(0u32) += 1;
    }
    let exact = of_both.iter().filter(|((group, key), n)| of_group[group] == **n && of_key[key] == **n);
    f64::from(exact.map(|(_, n)| n).sum::<u32>()) / keys.len() as f64
}

/// Which log statement wrote a message, by a rule that shares no code with the detector: the one whose constants the
/// message has in their order, from its start to its end; where several fit, the one with most of them.
struct Truth(Vec<(u32, Vec<String>)>);

impl Truth {
    fn read(table: &Path) -> Self {
        let mut rows: Vec<(u32, Vec<String>)> = Vec::new();
        for row in read_to_string(table).unwrap().lines().skip(1) {
            let mut fields = row.splitn(7, ',');
            let key = fields.next().unwrap().parse().unwrap();
            rows.push((key, constants(fields.last().unwrap().trim_matches('"'))));
        }
        rows.sort_by_key(|(_, constants)| std::cmp::Reverse(constants.concat().len()));
        Self(rows)
    }

    fn key(&self, message: &str) -> Option<u32> {
        self.0.iter().find(|(_, constants)| fits(constants, message)).map(|(key, _)| *key)
    }
}

/// What stands around the wildcards.
fn constants(template: &str) -> Vec<String> {
    let template = template.replace("<blk> <blk> ...", "<blk>");
    let mut parts = Vec::new();
    let mut rest = template.as_str();
    while let Some((constant, behind)) = rest.split_once('<') {
        parts.push(constant.to_owned());
        rest = behind.split_once('>').unwrap().1;
    }
    parts.push(rest.to_owned());
    parts
}

fn fits(constants: &[String], message: &str) -> bool {
    let (first, others) = constants.split_first().unwrap();
    let Some(mut rest) = message.strip_prefix(first.as_str()) else { return false };
    let Some((last, between)) = others.split_last() else { return rest.is_empty() };
    for constant in between {
        let Some((_, behind)) = rest.split_once(constant.as_str()) else { return false };
        rest = behind;
    }
    rest.ends_with(last.as_str())
}

fn messages(log: &Path) -> Vec<String> {
    let (mut heads, mut zone) = (Heads::new(None, 64 * 1_024), Zone::new(TimeZone::UTC));
    let lines = BufReader::new(MultiGzDecoder::new(File::open(log).unwrap())).lines();
    let mut messages = Vec::new();
    for line in lines {
        let line = line.unwrap();
        let Parsed::Head(head) = heads.parse(line.as_bytes(), &mut zone) else { panic!("no head: {line}") };
        messages.push(String::from_utf8_lossy(head.message).into_owned());
    }
    messages
}

/// What `tests/drain3/run.py` says of the log; `None` without Drain3.
fn drain3(log: &Path) -> Option<serde_json::Value> {
    let python = std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
    let there = Command::new(&python).args(["-c", "from drain3 import TemplateMiner"]).output();
    if !there.is_ok_and(|there| there.status.success()) {
        say(&format!(
            "SKIPPED: no Drain3 to compare with; `pip install drain3`, or name its python in {PYTHON}"
        ));
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("drain3/run.py");
    let found = Command::new(&python).arg(script).arg(log).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    Some(serde_json::from_slice(&found.stdout).unwrap())
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hdfs")
}

/// Not by a macro: the output of a test that passes is not shown.
fn say(text: &str) {
    stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

#[test]
fn constants_of_templates_and_what_they_fit() {
    let parts = constants("ask <node>:<port> to delete  <blk> <blk> ...");
    assert_eq!(parts, ["ask ", ":", " to delete  ", ""]);
    assert!(fits(&parts, "ask 10.0.0.1:5 to delete  blk_1 blk_2"));
    assert!(!fits(&parts, "ask 10.0.0.1:5 to delete blk_1"));
    assert!(fits(&constants("a <n>."), "a 5.") && !fits(&constants("a <n>."), "a 5"));
}
