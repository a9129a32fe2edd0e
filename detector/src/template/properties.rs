//! The trie equals the part-by-part matcher, and captures give the keys that a scan gives: over random catalogues with
//! messages made from their templates, and over the public HDFS_v1 lines where they are at hand.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write, stderr};

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::reference::Reference;
use super::*;
use crate::key;

/// Pieces of template texts: constants that begin alike, and what names of blocks and pools are made of.
const PIECES: [&str; 44] = [
    "<blk>",
    "<blk>",
    "<blk>",
    "<blk> <blk> ...",
    "<node>:<port>",
    "<node>",
    "<ip>",
    "<port>",
    "<n>",
    "<n>",
    "<bytes>",
    "<count>",
    "<duration_ms>",
    "<volume>",
    "<path>",
    "<exception>",
    "<*>",
    "<*>",
    "<*>",
    " ",
    " ",
    " ",
    " ",
    ": ",
    ":",
    ", ",
    "/",
    ".",
    "a",
    "ab",
    "abc",
    "b",
    "lk_",
    "blk_",
    "_",
    "-",
    "B",
    "P-",
    "BP-",
    "Receiving block ",
    "Received block ",
    " blockId=",
    "=",
    "1",
];

/// What wildcards may stand for, and some more.
const TEXTS: [&str; 36] = [
    "blk_1",
    "blk_-7_1001",
    "BP-1-10.0.0.1-2:blk_3_4",
    "BP-x:blk_5",
    "BP-b_lk_6:blk_6",
    "blk_99999999999999999999",
    "blk_000000000000000000000000012",
    "blk_9223372036854775807",
    "blk_-9223372036854775808",
    "blk_9223372036854775808",
    "10.0.0.1:50010",
    "10.251.203.149:50010",
    "dn-1.example:9866",
    "dn_1:1",
    "[fe80%eth0]:5",
    "host",
    "blockId",
    "B",
    "BP",
    "1",
    "-5",
    "-",
    "67108864",
    "12345678",
    "18446744073709551616",
    "0",
    "/a/b",
    "/user/x y/z",
    "java.io.IOException",
    "a.B$C",
    "java.io.EOFException.",
    "x: y",
    "",
    " ",
    ",",
    "blk_1 blk_2, blk_3",
];

fn template(text: &str) -> Template {
    Template { text: text.to_owned(), logger: String::new(), level: String::new(), key: None }
}

fn catalogue_texts() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    prop::collection::vec(prop::collection::vec(select(&PIECES[..]), 1..9), 1..9)
}

/// A message of a template: its pieces, with a text for each wildcard.
fn instance(pieces: &[&str], texts: &[Index]) -> Vec<u8> {
    let mut texts = texts.iter().cycle();
    let mut message = Vec::new();
    for piece in pieces {
        let fitting: &[&str] = match *piece {
            "<blk>" => &TEXTS[..10],
            "<node>:<port>" => &TEXTS[10..15],
            "<node>" | "<ip>" => &TEXTS[10..20],
            "<n>" | "<port>" | "<bytes>" | "<count>" | "<duration_ms>" => &TEXTS[19..26],
            piece if piece.starts_with('<') => &TEXTS,
            _ => std::slice::from_ref(piece),
        };
        message.extend_from_slice(texts.next().unwrap().get(fitting).as_bytes());
    }
    message
}

/// A change of a message at a place.
fn mutated(mut message: Vec<u8>, changes: &[(Index, u8, u8)]) -> Vec<u8> {
    for (place, kind, byte) in changes {
        let at = place.index(message.len() + 1);
        match kind {
            0 => message.insert(at, *byte),
            1 => message.truncate(at),
            2 => message.extend_from_within(at..),
            _ if at < message.len() => drop(message.remove(at)),
            _ => {}
        }
    }
    message
}

fn messages() -> impl Strategy<Value = (Vec<Vec<&'static str>>, Vec<Vec<u8>>)> {
    let change = (any::<Index>(), 0..12_u8, select(&b"abk_-B 1:.=/,"[..]));
    let made =
        (any::<Index>(), prop::collection::vec(any::<Index>(), 9), prop::collection::vec(change, 0..3));
    (catalogue_texts(), prop::collection::vec(made, 1..8)).prop_map(|(catalogue, made)| {
        let message = |(which, texts, changes): &(Index, Vec<Index>, Vec<_>)| {
            mutated(instance(&catalogue[which.index(catalogue.len())], texts), changes)
        };
        let messages = made.iter().map(message).collect();
        (catalogue, messages)
    })
}

/// `captures` know what was found before, so this goes the short way too.
fn check(
    catalogue: &Catalogue,
    reference: &Reference,
    message: &[u8],
    captures: &mut Captures,
) -> Result<bool, TestCaseError> {
    let mut expected = Vec::new();
    let found = catalogue.find_with(message, captures);
    prop_assert_eq!(found, reference.find(message, &mut expected));
    let kept = &expected[..expected.len().min(CAPTURES_MAX)];
    prop_assert_eq!(captures.as_slice(), kept);
    let Some(index) = found else { return Ok(false) };
    if catalogue.keys_from_captures(index) {
        prop_assert!(!captures.may_hide_keys() && !catalogue.constants_name_blocks(index));
    }
    if !captures.may_hide_keys() && !catalogue.constants_name_blocks(index) {
        prop_assert_eq!(captures.keys(message).collect::<Vec<_>>(), key::find(message).collect::<Vec<_>>());
    }
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn the_trie_equals_the_matcher_part_by_part((pieces, messages) in messages()) {
        let templates: Vec<Template> = pieces.iter().map(|pieces| template(&pieces.concat())).collect();
        let (catalogue, reference) = (Catalogue::new(templates.clone()), Reference::new(&templates));
        let mut captures = Captures::new();
        for message in messages.iter().chain(&messages) {
            check(&catalogue, &reference, message, &mut captures)?;
        }
    }

    #[test]
    fn numbers_are_read_whole(value in any::<i64>(), zeros in 0..30_usize, behind in "([a-z:, -]{0,8}[a-z])?") {
        let sign = if value < 0 { "-" } else { "" };
        let digits = value.unsigned_abs();
        let (zeros, mut captures) = ("0".repeat(zeros), Captures::new());
        let message = format!("{sign}{zeros}{digits}{behind}");
        let templates = vec![template(&format!("<n>{behind}"))];
        prop_assert_eq!(Catalogue::new(templates).find_with(message.as_bytes(), &mut captures), Some(0));
        prop_assert_eq!(captures.as_slice()[0].value, value);
    }
}

#[test]
fn captures_are_what_the_wildcards_took() {
    let catalogue = Catalogue::new(
        [
            "Received <blk> size <bytes> from /<ip> in <duration_ms> ms on <volume>: <exception>",
            "<n>",
            "<blk>",
        ]
        .map(template)
        .to_vec(),
    );
    let message =
        "Received BP-1-10.0.0.1-2:blk_-3_4 size 5 from /10.0.0.7 in 6 ms on /data/1: a.B$C: lost blk_7";
    let mut captures = Captures::new();
    assert_eq!(catalogue.find_with(message.as_bytes(), &mut captures), Some(0));
    let took = |capture: &Capture| {
        let text = message.get(capture.start as usize..capture.end as usize).unwrap();
        (capture.kind, text, capture.value)
    };
    assert_eq!(
        captures.as_slice().iter().map(took).collect::<Vec<_>>(),
        [
            (Wildcard::Block, "BP-1-10.0.0.1-2:blk_-3_4", -3),
            (Wildcard::Bytes, "5", 5),
            (Wildcard::Host, "10.0.0.7", 0),
            (Wildcard::DurationMs, "6", 6),
            (Wildcard::Volume, "/data/1", 0),
            (Wildcard::Exception, "a.B$C", 0),
        ]
    );
    assert!(captures.may_hide_keys(), "the text behind the exception names a block");
    assert_eq!(catalogue.find_with(b"18446744073709551616", &mut captures), Some(1));
    assert_eq!(captures.as_slice()[0].value, i64::MAX);
    assert_eq!(catalogue.find_with(b"blk_18446744073709551616", &mut captures), None);
    assert!(captures.as_slice().is_empty() && !captures.may_hide_keys());
}

#[test]
fn captures_beyond_the_limit_are_not_kept() {
    let catalogue = Catalogue::new(vec![template(&"<blk>, ".repeat(CAPTURES_MAX + 1))]);
    let mut captures = Captures::new();
    let message = "blk_1, ".repeat(CAPTURES_MAX + 1);
    assert_eq!(catalogue.find_with(message.trim_end().as_bytes(), &mut captures), Some(0));
    assert_eq!(captures.as_slice().len(), CAPTURES_MAX);
    assert!(captures.may_hide_keys() && !catalogue.keys_from_captures(0));
}

#[test]
fn many_searches_take_linear_time() {
    let text = "<*>a".repeat(60) + "<n>b";
    let catalogue = Catalogue::new(vec![template(&text)]);
    let message = "a".repeat(10_000);
    assert_eq!(catalogue.find(message.as_bytes()), None);
    assert_eq!(
        catalogue.find((message + "7b").as_bytes()),
        None,
        "the 16th place from the first is not that far"
    );
    assert_eq!(catalogue.find(("a".repeat(70) + "7b").as_bytes()), Some(0));
}

/// The catalogue in the shipped model, read without tract.
fn shipped() -> Vec<Template> {
    let model = include_bytes!("../../../models/hdfs-v1.onnx");
    let name = memchr::memmem::find(model, b"blocksift.catalogue").unwrap();
    let start = name + model[name..].iter().position(|&byte| byte == b'[').unwrap();
    serde_json::Deserializer::from_slice(&model[start..]).into_iter().next().unwrap().unwrap()
}

/// The lines of a file of the public data set, if it is here.
fn lines(file: &str) -> Option<Vec<String>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/hdfs/");
    #[expect(clippy::disallowed_methods, reason = "a test may read its data")]
    let Ok(packed) = std::fs::read(folder.to_owned() + file) else {
        // Not by a macro: the output of a test that passes is not shown.
        let skipped = format!("SKIPPED: ../shared/data/hdfs/{file} is not here; its lines are not matched\n");
        stderr().write_all(skipped.as_bytes()).unwrap();
        return None;
    };
    let mut text = String::new();
    MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// What follows `logger: ` in an HDFS_v1 line.
fn message(line: &str) -> &str {
    line.split_once(": ").unwrap().1.trim_ascii_end()
}

#[test]
fn public_lines_match_as_part_by_part() {
    let templates = shipped();
    let (catalogue, reference) = (Catalogue::new(templates.clone()), Reference::new(&templates));
    let mut captures = Captures::new();
    for file in ["raw_random2pct.log.gz", "loghub_2k_lines.log.gz", "raw_110_blocks.log.gz"] {
        for line in lines(file).unwrap_or_default() {
            let message = message(&line).as_bytes();
            assert!(check(&catalogue, &reference, message, &mut captures).unwrap(), "{line}");
        }
    }
}

#[test]
fn every_public_line_gets_its_key() {
    let (Some(log), Some(sessions)) = (lines("raw_random2pct.log.gz"), lines("sessions.csv.gz")) else {
        return;
    };
    let catalogue = Catalogue::new(shipped());
    let mut found: HashMap<i64, Vec<u32>> = HashMap::new();
    for line in &log {
        let index = catalogue.find(message(line).as_bytes()).unwrap();
        // A line is one event of a block however often it names it, as a delete does.
        let blocks: BTreeSet<i64> = key::find(line.as_bytes()).map(|key| key.block.0).collect();
        for block in blocks {
            found.entry(block).or_default().push(catalogue.templates()[index].key.unwrap());
        }
    }
    let mut compared = 0;
    for row in &sessions[1..] {
        let fields: Vec<&str> = row.split(',').collect();
        if fields[3] == "1" {
            let expected: Vec<u32> = fields[5].split(' ').map(|key| key.parse().unwrap()).collect();
            let block = fields[0].strip_prefix("blk_").unwrap().parse().unwrap();
            assert_eq!(found.get(&block), Some(&expected), "{}", fields[0]);
            compared += 1;
        }
    }
    assert_eq!(compared, found.len());
}
