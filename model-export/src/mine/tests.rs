//! Tests of mining: what is written matches what it was mined from, in whatever order.

use std::fs;
use std::io::Write as _;

use clap::Parser;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::mine::lines::read;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

const LOG4J: &str = "\
2024-05-01 10:00:00,000 INFO org.apache.Server: Served blk_1_2 to /10.0.0.1:50 in 5 ms
2024-05-01 10:00:01,000 WARN org.apache.Server: Served BP-1-10.0.0.1-2:blk_-7_2 to /10.0.0.2:51 in -1 ms
2024-05-01 10:00:01,100 INFO org.apache.Server: pipeline 10.0.0.1:50, 10.0.0.2:51 is up
java.io.IOException: not a head
2024-05-01 10:00:02,000 INFO org.apache.Server: pipeline 10.0.0.1:50 is up
2024-05-01 10:00:02,000 INFO org.apache.Auth: user=ann runs job_1-2 \x1b[31m on 10.0.0.1
2024-05-01 10:00:03,000 INFO org.apache.Auth: user=bob runs job_3-4 \x1b[31m on 10.0.0.7
2024-05-01 10:00:03,000 INFO org.apache.Auth: 5 6
2024-05-01 10:00:03,000 INFO org.apache.Auth: literal <n> and <blk> once
";
const HDFS_V1: &str = "081109 203615 148 INFO dfs.DataNode: Served blk_3 to /10.0.0.3:52 in 7 ms\n";

fn args(folder: &TempDir, more: &[&str]) -> Args {
    let path = |name| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("plain.log"), LOG4J).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(HDFS_V1.as_bytes()).unwrap();
    fs::write(path("gzip.log"), gzip.finish().unwrap()).unwrap();
    fs::write(path("zstd.log"), zstd::encode_all(HDFS_V1.as_bytes(), 1).unwrap()).unwrap();
    let mut given = vec!["mine".to_owned()];
    given.extend(more.iter().map(|word| word.replace("DIR", folder.path().to_str().unwrap())));
    Cli::try_parse_from(given).unwrap().args
}

/// The catalogue, which must match every message of the logs but those of the texts left out.
fn checked(args: &Args, left_out: &[&str]) -> Vec<Template> {
    run(args).unwrap();
    let templates = catalogue::read(args.out.as_deref()).unwrap();
    let compiled = Catalogue::new(templates.clone());
    for log in &args.logs {
        let bar = indicatif::ProgressBar::hidden();
        let all = |head: &Head<'_>| {
            let message = String::from_utf8_lossy(head.message);
            assert_eq!(compiled.find(head.message).is_none(), left_out.contains(&&*message), "{message}");
        };
        assert!(read(log, &bar, all).unwrap().headed > 0);
    }
    templates
}

#[test]
fn logs_of_several_layouts_and_packings_make_one_catalogue() {
    let folder = TempDir::new().unwrap();
    let logs = ["DIR/plain.log", "DIR/gzip.log", "DIR/zstd.log"];
    let mask = ["--mask", r"<user>=user=\w+"];
    let json = checked(&args(&folder, &[&logs[..], &mask, &["-o", "DIR/a.json"]].concat()), &["5 6"]);
    let reversed = [logs[2], logs[1], logs[0]];
    let csv = checked(&args(&folder, &[&reversed[..], &mask, &["-o", "DIR/a.csv"]].concat()), &["5 6"]);
    assert_eq!(json, csv);
    let row = |template: &Template| format!("{} {} {}", template.level, template.logger, template.text);
    let rows: Vec<String> = json.iter().map(row).collect();
    assert_eq!(
        rows,
        [
            "INFO dfs.DataNode Served <blk> to <path>:<n> in <n> ms",
            "INFO org.apache.Auth <*> runs <*> \u{1b}[<n>m on <ip>",
            "INFO org.apache.Server pipeline <node>:<port> is up",
            "INFO org.apache.Auth literal <*> and <*> once",
        ]
    );
    let keys: Vec<Option<u32>> = json.iter().map(|template| template.key).collect();
    assert_eq!(keys, [Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn what_is_left_out_is_said() {
    let folder = TempDir::new().unwrap();
    let found = mine(&args(&folder, &["DIR/plain.log", "--depth", "3", "--min-count", "2"])).unwrap();
    assert_eq!((found.messages, found.headless, found.rare, found.vague), (8, 1, (2, 2), (0, 0)));
    let text = table::render(&found);
    assert!(text.contains("3 templates of 8 messages; 1 lines without a head continue others"), "{text}");
    assert!(text.contains("left out: 2 templates seen too rarely, 2 messages in all"), "{text}");
    assert!(text.contains("\nevery other message matches the catalogue"), "{text}");
    assert!(text.contains(r"<*> runs <*> \u{1b}[<n>m on <ip>") && !text.contains('\u{1b}'), "{text}");
    let found = mine(&args(&folder, &["DIR/plain.log", "--templates-max", "1"])).unwrap();
    assert_eq!(found.evicted, 7);
    let found = mine(&args(&folder, &["DIR/plain.log"])).unwrap();
    assert_eq!(found.vague, (1, 1));
}

#[test]
fn long_and_broken_messages_match_what_they_were_mined_into() {
    let folder = TempDir::new().unwrap();
    let args = args(&folder, &["DIR/odd.log", "-o", "DIR/odd.csv"]);
    let head = b"2024-05-01 10:00:00,000 INFO a.B: ";
    let long = [&head[..], b"long ", &vec![b'x'; 10_000], b" end\n"].concat();
    let broken = [&head[..], b"broken \xff\xfe text\xc3\n"].concat();
    let numbers = [&head[..], b"numbers ", "1.".repeat(600).as_bytes(), b"\n"].concat();
    fs::write(&args.logs[0], [long, broken, numbers].concat()).unwrap();
    assert_eq!(checked(&args, &[]).len(), 3);
}

#[test]
fn what_cannot_be_mined_is_said() {
    let folder = TempDir::new().unwrap();
    let error = |more: &[&str]| format!("{:#}", mine(&args(&folder, more)).unwrap_err());
    fs::write(folder.path().join("other.log"), "no head\n").unwrap();
    assert!(error(&["DIR/other.log"]).contains("other.log has no line whose head is known"));
    assert!(error(&["DIR/none.log"]).contains("none.log cannot be read"));
    assert!(error(&["DIR/plain.log", "--similarity", "2"]).contains("similarity 2 is not from 0 to 1"));
    assert!(error(&["DIR/plain.log", "--mask", "<a>=("]).contains("regex `(` of mask `<a>`"));
    assert!(Cli::try_parse_from(["mine", "x", "--mask", "a"]).is_err());
    assert!(Cli::try_parse_from(["mine"]).is_err());
}

#[test]
fn the_public_log_matches_the_catalogue_mined_from_it() {
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hdfs/loghub_2k_lines.log.gz");
    if !log.is_file() {
        // Not by a macro: the output of a test that passes is not shown.
        let skipped = b"SKIPPED: ../shared/data/hdfs is not here; nothing is mined from the public log\n";
        std::io::stderr().write_all(skipped).unwrap();
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut args = args(&folder, &["DIR/plain.log", "-o", "DIR/public.json"]);
    args.logs = vec![log];
    assert_eq!(checked(&args, &[]).len(), 13);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_matches_the_catalogue_or_is_counted_as_left_out(
        messages in prop::collection::vec("(user|<n>|<blk>| |,|\\.|/a|:|blk_|-|[0-9]{1,3}|_|\u{fffd}|é|10\\.0\\.0\\.1|:80){1,12}", 1..20),
    ) {
        let folder = TempDir::new().unwrap();
        let mut args = args(&folder, &["DIR/any.log"]);
        args.depth = 3;
        args.similarity = 0.5;
        let lines = messages.iter().map(|text| format!("2024-05-01 10:00:00,000 INFO a.B: {text}\n"));
        fs::write(&args.logs[0], lines.collect::<String>()).unwrap();
        let found = mine(&args).unwrap();
        prop_assert_eq!(found.unmatched, 0);
        let listed: u64 = found.templates.iter().map(|row| row.count).sum();
        prop_assert_eq!(listed + found.vague.1, found.messages);
        let compiled = Catalogue::new(found.templates.iter().map(|row| row.template.clone()).collect());
        let mut unmatched = 0;
        let count = |head: &Head<'_>| unmatched += u64::from(compiled.find(head.message).is_none());
        read(&args.logs[0], &indicatif::ProgressBar::hidden(), count).unwrap();
        prop_assert!(unmatched <= found.vague.1);
    }
}
