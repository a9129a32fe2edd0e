//! The catalogue that training starts from: log statements with their numbers in the data set.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use blocksift_detector::score::onnx;
use blocksift_detector::template::Template;
use serde::Deserialize;

/// The shipped model, whose catalogue holds the log statements of HDFS_v1; the numbers up to 29 are LogHub's E1 to E29.
pub(crate) const HDFS_V1: &[u8] = include_bytes!("../../models/hdfs-v1.onnx");

#[derive(Deserialize)]
struct Row {
    key: u32,
    #[serde(default)]
    logger: String,
    #[serde(default)]
    level: String,
    template: String,
}

/// Reads `path`, or takes the catalogue of the shipped model of HDFS_v1.
///
/// # Errors
/// Says which file, which line and what is wrong with it.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<Template>> {
    match path {
        Some(path) => parse(crate::input::open(path)?)
            .with_context(|| format!("catalogue {} is not usable", path.display())),
        None => Ok(onnx::load(HDFS_V1).context("built-in model is not usable")?.0.catalogue),
    }
}

fn parse(reader: impl Read) -> Result<Vec<Template>> {
    let mut templates = Vec::new();
    let mut keys = BTreeMap::new();
    for (row, line) in csv::Reader::from_reader(reader).into_deserialize::<Row>().zip(2..) {
        let row = row.context("columns key, logger, level and template are needed")?;
        if let Some(first) = keys.insert(row.key, line) {
            bail!("lines {first} and {line} both have key {}; give each template its own", row.key);
        }
        if row.template.is_empty() {
            bail!("line {line} has no template");
        }
        let known = |text: String| text.trim_end_matches('?').to_owned();
        templates.push(Template {
            text: row.template,
            logger: known(row.logger),
            level: known(row.level),
            key: Some(row.key),
        });
    }
    if templates.is_empty() {
        bail!("it lists no templates");
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
}
