//! The catalogue that training starts from: log statements with their numbers in the data set. Its file is a CSV, or a
//! JSON list of templates as a model file holds them; which of both, its first byte says.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, Result, bail};
use blocksift_detector::score::onnx;
use blocksift_detector::template::Template;
use blocksift_detector::token::Refinement;
use serde::{Deserialize, Serialize};

/// The shipped model, whose catalogue holds the log statements of HDFS_v1; the numbers up to 29 are LogHub's E1 to E29.
pub(crate) const HDFS_V1: &[u8] = include_bytes!("../../models/hdfs-v1.onnx");

#[derive(Deserialize, Serialize)]
struct Row {
    key: u32,
    #[serde(default)]
    logger: String,
    #[serde(default)]
    level: String,
    #[serde(alias = "text")]
    template: String,
}

/// A statement as JSON has it: a template, and what its events are told apart by, if by anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    text: String,
    #[serde(default)]
    logger: String,
    #[serde(default)]
    level: String,
    key: Option<u32>,
    #[serde(default)]
    parameter: usize,
    #[serde(default)]
    bounds: Vec<i64>,
    #[serde(default)]
    gaps_ms: Vec<i64>,
    /// Which versions have it; for people.
    #[serde(default, rename = "versions")]
    _versions: String,
}

/// Loggers of the NameNode: those of HDFS_v1, then those of today.
const NAMENODE: [&str; 4] = [
    "dfs.FSNamesystem",
    "dfs.PendingReplicationBlocks",
    "BlockStateChange",
    "org.apache.hadoop.hdfs.StateChange",
];
/// Packages of the NameNode.
const NAMENODE_PACKAGES: [&str; 2] =
    ["org.apache.hadoop.hdfs.server.namenode.", "org.apache.hadoop.hdfs.server.blockmanagement."];

/// Whether the NameNode writes it.
#[must_use]
pub(crate) fn is_namenode(template: &Template) -> bool {
    let logger = template.logger.as_str();
    NAMENODE.contains(&logger) || NAMENODE_PACKAGES.iter().any(|package| logger.starts_with(package))
}

/// Reads `path`, or takes the catalogue of the shipped model of HDFS_v1.
///
/// # Errors
/// Says which file, which line and what is wrong with it.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<Template>> {
    Ok(read_refined(path)?.0)
}

/// As [`read`], with what events of the statements are told apart by.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_refined(path: Option<&Path>) -> Result<(Vec<Template>, Vec<Refinement>)> {
    match path {
        Some(path) => parse(crate::input::open(path)?)
            .with_context(|| format!("catalogue {} is not usable", path.display())),
        None => {
            let (metadata, _) = onnx::load(HDFS_V1).context("built-in model is not usable")?;
            Ok((metadata.catalogue, metadata.tokenizer.refinements))
        }
    }
}

/// A file that [`read`] reads.
///
/// # Errors
/// None that could happen: templates can be written.
pub(crate) fn encode(templates: &[Template], json: bool) -> Result<Vec<u8>> {
    if json {
        let mut bytes = serde_json::to_vec_pretty(templates).context("templates cannot be written")?;
        bytes.push(b'\n');
        return Ok(bytes);
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (template, number) in templates.iter().zip(1..) {
        let row = Row {
            key: template.key.unwrap_or(number),
            logger: template.logger.clone(),
            level: template.level.clone(),
            template: template.text.clone(),
        };
        writer.serialize(row).context("templates cannot be written")?;
    }
    writer.into_inner().context("templates cannot be written")
}

fn parse(mut reader: impl BufRead) -> Result<(Vec<Template>, Vec<Refinement>)> {
    let json = reader.fill_buf()?.trim_ascii_start().starts_with(b"[");
    let mut refinements = Vec::new();
    let (mut templates, unit) = if json {
        let list: Result<Vec<Entry>, _> = serde_json::from_reader(reader);
        let list = list.context("a list of objects with text, logger, level and key is needed")?;
        (list.into_iter().map(|entry| entry.template(&mut refinements)).collect(), "template")
    } else {
        (rows(reader)?, "line")
    };
    let mut keys = BTreeMap::new();
    for (template, place) in templates.iter_mut().zip(if json { 1.. } else { 2.. }) {
        let Some(key) = template.key else { bail!("{unit} {place} has no key") };
        if let Some(first) = keys.insert(key, place) {
            bail!("{unit}s {first} and {place} both have key {key}; give each template its own");
        }
        if template.text.is_empty() {
            bail!("{unit} {place} has no text");
        }
        for known in [&mut template.logger, &mut template.level] {
            known.truncate(known.trim_end_matches('?').len());
        }
    }
    if templates.is_empty() {
        bail!("it lists no templates");
    }
    Ok((templates, refinements))
}

impl Entry {
    fn template(self, refinements: &mut Vec<Refinement>) -> Template {
        let Self { text, logger, level, key, parameter, bounds, gaps_ms, .. } = self;
        let template = Template { text, logger, level, key };
        if !bounds.is_empty() || !gaps_ms.is_empty() {
            refinements.push(Refinement { template: template.id(), parameter, bounds, gaps_ms });
        }
        template
    }
}

fn rows(reader: impl BufRead) -> Result<Vec<Template>> {
    let mut templates = Vec::new();
    for row in csv::Reader::from_reader(reader).into_deserialize::<Row>() {
        let Row { key, logger, level, template: text } =
            row.context("columns key, logger, level and template are needed")?;
        templates.push(Template { text, logger, level, key: Some(key) });
    }
    Ok(templates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_has_loghubs_29_events_and_4_more() {
        let templates = read(None).unwrap();
        assert_eq!(templates.len(), 33);
        assert_eq!(templates[21].key, Some(22));
        assert!(templates[21].text.contains("allocateBlock"));
        assert!(templates.iter().all(|template| !template.level.contains('?')));
    }

    #[test]
    fn a_key_given_twice_is_an_error_naming_both_lines() {
        let text = "key,logger,level,template\n1,a,INFO,x <blk>\n1,a,INFO,y <blk>\n";
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("lines 2 and 3"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_in_both_forms() {
        let template = |text: &str, key| Template {
            text: text.to_owned(),
            logger: "a.B".to_owned(),
            level: "WARN".to_owned(),
            key: Some(key),
        };
        let templates = [template("x \"<blk>\", y", 3), template(" two\nlines <*>", 1)];
        for json in [false, true] {
            let bytes = encode(&templates, json).unwrap();
            assert_eq!(parse(bytes.as_slice()).unwrap().0, templates);
        }
    }

    #[test]
    fn a_statement_may_be_told_apart_by_ranges() {
        let json = r#"[{"text": "took <n> ms", "key": 1, "bounds": [300]}, {"text": "x", "key": 2}]"#;
        let (templates, refinements) = parse(json.as_bytes()).unwrap();
        let [refinement] = refinements.as_slice() else { panic!("one of them is") };
        assert_eq!((refinement.template, refinement.bounds.as_slice()), (templates[0].id(), &[300][..]));
    }

    #[test]
    fn json_that_is_no_catalogue_is_an_error_that_says_why() {
        for (text, expected) in [
            (r#"[{"text": "x"}]"#, "template 1 has no key"),
            (r#"[{"text": "x", "key": 1}, {"text": "y", "key": 1}]"#, "templates 1 and 2 both have key 1"),
            (r#"[{"text": "", "key": 1}]"#, "template 1 has no text"),
            (r#" [{"txt": ""}]"#, "unknown field `txt`"),
            ("[]", "lists no templates"),
        ] {
            let error = format!("{:#}", parse(text.as_bytes()).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
