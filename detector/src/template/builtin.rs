//! Templates that every model's catalogue is completed by: the log statements of Hadoop 2.7 to 3.4, from
//! `catalogue/hadoop.csv`. The file is read and compiled once, when the first model asks for it. What the file must
//! be, `builtin/tests.rs` checks: no line is left out here, no template hides another.

use std::sync::LazyLock;

use super::part::{self, Part};
use super::trie::Trie;
use super::{Facts, Template};

const HADOOP: &str = include_str!("../../catalogue/hadoop.csv");

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| Builtin::new(rows(HADOOP)));

/// The built-in templates, compiled.
#[derive(Debug)]
pub(super) struct Builtin {
    pub(super) templates: Vec<Template>,
    pub(super) facts: Vec<Facts>,
    pub(super) trie: Trie,
}

impl Builtin {
    pub(super) fn get() -> &'static Self {
        &BUILTIN
    }

    fn new(rows: impl Iterator<Item = Template>) -> Self {
        let templates: Vec<Template> = rows.collect();
        let parts: Vec<Vec<Part>> = templates.iter().map(|template| part::parts(&template.text)).collect();
        let facts = parts.iter().map(|parts| Facts::of(parts)).collect();
        Self { templates, facts, trie: Trie::new(&parts) }
    }
}

/// The templates of a file: comments, a line of names, then `level,logger,template` lines. Only templates have commas
/// or quotation marks; those stand between quotation marks, their own ones doubled.
fn rows(file: &str) -> impl Iterator<Item = Template> {
    file.lines().filter(|line| !line.starts_with('#')).skip(1).filter_map(|line| {
        let (level, rest) = line.split_once(',')?;
        let (logger, field) = rest.split_once(',')?;
        let quoted = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
        let text = quoted.map_or_else(|| field.to_owned(), |field| field.replace("\"\"", "\""));
        Some(Template { text, logger: logger.to_owned(), level: level.to_owned(), key: None })
    })
}

#[cfg(test)]
mod tests;
