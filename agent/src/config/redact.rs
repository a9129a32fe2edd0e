//! `[redact]`: whether addresses, paths and user names are hashed before anything is stored for shipping.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::Check;
use super::raw::Key;

/// A checked `[redact]` that is switched on.
#[derive(Clone, Debug)]
pub(crate) struct Redact {
    /// Where the key is. Never the key itself: a configuration may be printed.
    pub(crate) key: RedactKey,
    /// What else is hashed.
    pub(crate) patterns: Vec<regex::Regex>,
}

/// Where the key for hashing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RedactKey {
    /// In a file.
    File(PathBuf),
    /// In the variable of this name.
    Variable(String),
    /// Made at random and kept in the state directory.
    Own,
}

/// `[redact]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRedact {
    /// Whether IP addresses, host names, paths and user names are replaced by keyed hashes in all that leaves the node.
    /// Equal values have equal hashes. Blocks, times, templates, classes and the name of this node stay. Default `false`.
    enabled: Key<bool>,
    /// File with the key, 16 bytes or more, without the white space around it; one for all nodes if their reports are
    /// to be compared. Default: a random key that is made in the state directory.
    key_file: Key<String>,
    /// Variable with the key, instead of a file. Default: none.
    key_env: Key<String>,
    /// Regular expressions of what else is replaced. Default: none.
    patterns: Key<Vec<Spanned<String>>>,
}

impl Check {
    /// `None` is off.
    pub(super) fn redact(&mut self, raw: RawRedact) -> Option<Redact> {
        // Checked whatever `enabled` says: what is written wrong is wrong.
        let patterns = raw.patterns.map(Spanned::into_inner).unwrap_or_default();
        let patterns = patterns.iter().filter_map(|pattern| self.expression(pattern)).collect();
        let key = match (raw.key_file, raw.key_env) {
            (None, None) => RedactKey::Own,
            (Some(file), None) => RedactKey::File(file.into_inner().into()),
            (None, Some(name)) => RedactKey::Variable(name.into_inner()),
            (Some(_), Some(name)) => {
                self.problem(Some(name.span()), "there are two keys", "set key_file or key_env, not both");
                RedactKey::Own
            }
        };
        raw.enabled.is_some_and(Spanned::into_inner).then_some(Redact { key, patterns })
    }

    fn expression(&mut self, pattern: &Spanned<String>) -> Option<regex::Regex> {
        let compiled = regex::RegexBuilder::new(pattern.get_ref()).size_limit(PATTERN_BYTES_MAX).build();
        let regex = match compiled {
            Ok(regex) => regex,
            Err(error) => {
                let fix = "https://docs.rs/regex tells the syntax; in TOML write it between single quotes";
                self.problem(Some(pattern.span()), format!("not a regular expression: {error}"), fix);
                return None;
            }
        };
        if regex.is_match("") {
            let fix = "require at least one character: `+` in place of `*`";
            self.problem(Some(pattern.span()), "this expression matches nothing at all, everywhere", fix);
            return None;
        }
        Some(regex)
    }
}

/// Bytes that one compiled expression may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;
