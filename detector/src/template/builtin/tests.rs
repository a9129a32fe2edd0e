//! Tests of the built-in templates: the file is whole and in order, and each template finds its own messages.

use std::collections::HashMap;
use std::io::{Read, Write, stderr};
use std::path::Path;

use super::*;
use crate::head::{Heads, Parsed};
use crate::key;
use crate::template::reference::Reference;
use crate::template::way::Is;
use crate::template::{CAPTURES_MAX, Captures, Catalogue, TemplateId};
use crate::time::Zone;

/// Each wildcard's name and a text for it.
const WILDCARDS: [(&str, &str); 12] = [
    ("<blk> <blk> ...", "blk_1073741825_1001, blk_-7_1002"),
    ("<blk>", "BP-1-10.0.0.1-2:blk_1073741825_1001"),
    ("<node>:<port>", "10.0.0.1:9866"),
    ("<node>", "10.0.0.1"),
    ("<port>", "9867"),
    ("<n>", "17"),
    ("<bytes>", "134217728"),
    ("<count>", "3"),
    ("<duration_ms>", "350"),
    ("<volume>", "/data/1/dfs"),
    ("<path>", "/data/1/a b"),
    ("<exception>", "java.io.IOException: Premature EOF"),
];

/// Texts for `<*>`.
const ANY: [&str; 3] = ["x", "DFSClient_NONMAPREDUCE_-12_1", "java.io.IOException: a, b"];

fn builtin() -> Catalogue {
    Catalogue::with_builtin(Vec::new())
}

/// A message of this template.
fn message(text: &str, any: &str) -> String {
    let all = |text: String, (name, sample): &(&str, &str)| text.replace(name, sample);
    WILDCARDS.iter().fold(text.to_owned(), all).replace("<*>", any)
}

#[test]
fn every_line_is_a_template_and_all_are_sorted_and_different() {
    let lines: Vec<&str> = HADOOP.lines().collect();
    assert!(lines[0].starts_with("# ") && lines[0].contains("Apache License 2.0"));
    assert_eq!(lines[1], "level,logger,template");
    let templates: Vec<Template> = rows(HADOOP).collect();
    assert_eq!(templates.len(), lines.len() - 2);
    for pair in templates.windows(2) {
        assert!((&pair[0].logger, &pair[0].text) < (&pair[1].logger, &pair[1].text), "{pair:?}");
    }
    let mut texts = HashMap::new();
    for (template, line) in templates.iter().zip(&lines[2..]) {
        let Template { text, logger, level, .. } = template;
        assert!(["DEBUG", "INFO", "WARN", "ERROR"].contains(&level.as_str()), "{line}");
        assert!(!logger.is_empty() && !logger.contains([' ', '"']), "{line}");
        assert_eq!(text.trim_end(), text, "{line}");
        assert_eq!(texts.insert(text, line), None, "twice: {line}");
        let field = if text.contains([',', '"']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.clone()
        };
        assert_eq!(**line, format!("{level},{logger},{field}"));
    }
}

#[test]
fn every_wildcard_is_known_and_every_template_says_enough() {
    for template in rows(HADOOP) {
        let text = &template.text;
        let constants =
            WILDCARDS.iter().fold(text.replace("<*>", " "), |text, (name, _)| text.replace(name, " "));
        let unknown = constants.split('<').skip(1).filter(|behind| {
            behind.split('>').next().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
        });
        assert_eq!(unknown.count(), 0, "{text}");
        let words =
            constants.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 1).count();
        assert!(words >= 2, "{text}");
        let parts = part::parts(text);
        if part::starts_free(&parts) {
            assert!(matches!(parts.get(1), Some(Part::Constant(text)) if text.len() >= 16), "{text}");
        }
    }
}

#[test]
fn every_template_finds_its_own_messages() {
    let catalogue = builtin();
    let mut captures = Captures::new();
    let mut faults = Vec::new();
    for (index, template) in catalogue.templates().iter().enumerate() {
        for any in ANY {
            let message = message(&template.text, any);
            let found = catalogue.find_with(message.as_bytes(), &mut captures);
            if found != Some(index) {
                let found = found.and_then(|found| catalogue.templates().get(found)).map(|other| &other.text);
                faults.push(format!("{message}\n  of   {}\n  but  {found:?}", template.text));
            }
        }
    }
    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn statements_that_name_a_block_yield_it() {
    let catalogue = builtin();
    let mut captures = Captures::new();
    let mut count = 0;
    for (index, template) in catalogue.templates().iter().enumerate() {
        let text = &template.text;
        let message = message(text, "x");
        let found = key::find(message.as_bytes()).next();
        let names_one = text.contains("<blk>") || text.contains("lockId=<n>");
        assert_eq!(found.is_some(), names_one, "{message}");
        assert_eq!(catalogue.find_with(message.as_bytes(), &mut captures), Some(index), "{message}");
        let complete = !captures.may_hide_keys() && !catalogue.constants_name_blocks(index);
        if complete {
            let captured: Vec<_> = captures.keys(message.as_bytes()).collect();
            assert_eq!(captured, key::find(message.as_bytes()).collect::<Vec<_>>(), "{message}");
        }
        if catalogue.keys_from_captures(index) {
            assert!(complete, "{message}");
        }
        count += u32::from(names_one);
    }
    assert!(count > 250, "{count}");
}

#[test]
fn given_templates_come_first_and_are_not_repeated() {
    let text = "Receiving <blk> src: /<node>:<port> dest: /<node>:<port>";
    let template = |text: &str| Template {
        text: text.to_owned(),
        logger: String::new(),
        level: String::new(),
        key: None,
    };
    let given = vec![template("Receiving <*>"), template(text)];
    let catalogue = Catalogue::with_builtin(given.clone());
    let count = rows(HADOOP).count();
    assert_eq!(catalogue.templates().len(), count + 1);
    assert_eq!(catalogue.templates()[..2], given);
    assert_eq!(catalogue.templates().iter().filter(|template| template.text == text).count(), 1);
    assert_eq!(catalogue.find(message(text, "x").as_bytes()), Some(1));
    // The built-in one would be the closer match.
    assert_eq!(catalogue.find(b"Receiving one packet for block blk_1: x"), Some(0));
    let found = catalogue.find(b"Exception for blk_1_2").unwrap();
    assert!(found >= 2);
    assert_eq!(catalogue.templates()[found].text, "Exception for <blk>");
    assert_eq!(catalogue.id(found), Some(TemplateId::of("Exception for <blk>")));
    assert!(catalogue.keys_from_captures(found) && !catalogue.constants_name_blocks(found));
    assert_eq!(Catalogue::new(given).find(b"Exception for blk_1_2"), None);
}

/// Templates that start with any text, as models have them, and so may match what built-in ones do.
const FREE: [&str; 4] = [
    "<*>Adding an already existing block <blk><*>",
    "<*>DataXceiver<*>DataXceiver<*>Block <blk> is valid, and cannot be written to.",
    "<*>Block <blk> is not valid.",
    "<*>cannot access <*> No such file or directory",
];

fn given() -> Vec<Template> {
    let template = |text: &str| Template {
        text: text.to_owned(),
        logger: String::new(),
        level: String::new(),
        key: None,
    };
    FREE.map(template).to_vec()
}

/// Over the built-in templates, whose searches are more than a walk keeps without allocating. Every message comes
/// twice, first the long way and then, as far as there is one, the short way.
#[test]
fn the_catalogue_equals_the_matcher_part_by_part() {
    let templates = rows(HADOOP).collect::<Vec<_>>();
    let (catalogue, count) = (Catalogue::with_builtin(given()), FREE.len());
    let (first, second) = (Reference::new(&given()), Reference::new(&templates));
    let (mut captures, mut expected) = (Captures::new(), Vec::new());
    let mut hidden = 0;
    for Template { text, .. } in &templates {
        let message = message(text, "x, y");
        let (half, _) = message.split_at(message.len() / 2);
        let given = message.replace("x, y", "Adding an already existing block blk_1");
        for message in [message.as_str(), half, &half.repeat(3), &message.repeat(3), &given] {
            let bytes = message.as_bytes();
            let found = first.find(bytes, &mut expected);
            hidden += usize::from(found.is_some());
            let found = found.or_else(|| Some(second.find(bytes, &mut expected)? + count));
            for _ in 0..2 {
                assert_eq!(catalogue.find_with(bytes, &mut captures), found, "{message}");
                assert_eq!(captures.as_slice(), &expected[..expected.len().min(CAPTURES_MAX)], "{message}");
            }
        }
    }
    assert!(hidden > 100, "{hidden}");
}

#[test]
fn messages_of_nearly_all_templates_go_the_short_way_from_the_second_time_on() {
    let catalogue = Catalogue::with_builtin(given());
    let long: Vec<&str> = catalogue
        .templates()
        .iter()
        .filter(|template| {
            let message = message(&template.text, ANY[0]);
            let mut captures = Captures::new();
            let found = catalogue.find_with(message.as_bytes(), &mut captures).unwrap();
            let way = catalogue.way(found);
            way.is_none_or(|way| way.is(message.as_bytes(), &mut captures) != Is::Its)
        })
        .map(|template| template.text.as_str())
        .collect();
    assert!(long.len() < catalogue.templates().len() / 20, "{}: {long:#?}", long.len());
}

#[test]
#[expect(clippy::disallowed_types, reason = "the data lie beside the repository")]
fn records_of_running_clusters_are_known() {
    let log = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/data/hdfs/modern_hadoop_excerpts.log.gz"
    ));
    let Ok(file) = std::fs::File::open(log) else {
        writeln!(stderr(), "SKIPPED: ../shared/data/hdfs is not here; no real records are matched").unwrap();
        return;
    };
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let (mut heads, mut zone) = (Heads::new(None, 64 * 1_024), Zone::new(jiff::tz::TimeZone::UTC));
    let catalogue = builtin();
    let mut count = 0;
    for line in text.lines() {
        if let Parsed::Head(head) = heads.parse(line.as_bytes(), &mut zone) {
            assert!(catalogue.find(head.message).is_some(), "{line}");
            count += 1;
        }
    }
    assert_eq!(count, 19);
}
