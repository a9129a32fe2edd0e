//! Redaction: IP addresses, host names, paths and user names of a report are replaced by keyed hashes before it is stored
//! for shipping. Equal values have equal hashes, so what belongs together can still be joined, on one node or, with one
//! key, on all. Blocks, times, templates, classes and the node's own name as it is configured stay.
//!
//! What is found where in a text is [`find`]'s part. What is found once in a report is replaced wherever it stands as a
//! word of its own in that report, so that a user's name does not survive in another line.

mod find;
mod key;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use blocksift_detector::Report;
use regex::Regex;

use crate::config::{Redact, host_name};
use find::{Finder, Found, Kind};
use key::Key;
pub(crate) use key::KeyError;

/// Replaces what must not leave the node.
#[derive(Debug)]
pub(crate) struct Redactor {
    key: Key,
    finder: Finder,
    patterns: Vec<Regex>,
    /// Names of this host.
    own: BTreeSet<String>,
}

/// A part of a report that has to be replaced wherever it stands as a word.
type Words = BTreeSet<(String, Kind)>;

impl Redactor {
    /// Gets the key, making it in `state_dir` if none is given.
    ///
    /// # Errors
    /// If there is no key, it is too short, or it cannot be made.
    pub(crate) fn new(redact: &Redact, state_dir: &Path) -> Result<Self, KeyError> {
        let mut own = BTreeSet::new();
        if let Some(name) = host_name().filter(|name| name != "localhost") {
            own.extend(name.split('.').next().map(str::to_owned));
            own.insert(name);
        }
        Ok(Self {
            key: Key::get(&redact.key, state_dir)?,
            finder: Finder::new(),
            patterns: redact.patterns.clone(),
            own,
        })
    }

    /// Whether the key is there; makes none.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn check(redact: &Redact, state_dir: &Path) -> Result<(), KeyError> {
        Key::find(&redact.key, state_dir).map(drop)
    }

    /// What may be shown of the text of an unknown template.
    pub(crate) fn template(&self, text: &str) -> String {
        let mut words: Words = self.own.iter().map(|name| (name.clone(), Kind::Host)).collect();
        self.learn(text, &mut words);
        self.text(text, &words)
    }

    /// Replaces everything in a report.
    pub(crate) fn report(&self, report: &mut Report) {
        let mut words: Words = self.own.iter().map(|name| (name.clone(), Kind::Host)).collect();
        for event in &report.events {
            let texts = [Some(event.text.as_str()), event.line.as_deref()];
            texts.into_iter().flatten().for_each(|text| self.learn(text, &mut words));
        }
        report.pool = self.text(&report.pool, &words);
        for event in &mut report.events {
            event.text = self.text(&event.text, &words);
            event.line = event.line.as_deref().map(|line| self.text(line, &words));
            if !event.file.is_empty() {
                event.file = self.hash(Kind::Path, &event.file);
            }
            for name in [&mut event.logger, &mut event.exception, &mut event.frame] {
                // They come from the text of a line, which need not be what it looks like.
                if !find::is_class(name) {
                    *name = self.text(name, &words);
                }
            }
        }
    }

    /// Notes the names in `text` that may stand elsewhere without what they were told by here.
    fn learn(&self, text: &str, words: &mut Words) {
        self.finder.each(text, |found| {
            let Found::Replace { kind, value, .. } = found else { return };
            let word = match kind {
                Kind::User | Kind::Host => (value, kind),
                Kind::Path => match home_of(value) {
                    Some(user) => (user, Kind::User),
                    None => return,
                },
                Kind::Address | Kind::Other => return,
            };
            words.insert((word.0.to_owned(), word.1));
        });
    }

    fn text(&self, text: &str, words: &Words) -> String {
        let mut text = Cow::Borrowed(text);
        for pattern in &self.patterns {
            let replaced = pattern.replace_all(&text, |found: &regex::Captures<'_>| {
                self.hash(Kind::Other, found.get(0).map_or("", |whole| whole.as_str()))
            });
            text = Cow::Owned(replaced.into_owned());
        }
        let mut redacted = String::with_capacity(text.len());
        self.finder.each(&text, |found| match found {
            Found::Keep(part) => redacted.push_str(part),
            Found::Replace { kind, value, kept } => {
                redacted.push_str(&self.hash(kind, value));
                redacted.push_str(kept);
            }
        });
        for (word, kind) in words {
            if redacted.contains(word.as_str()) {
                redacted = find::replace_word(&redacted, word, &self.hash(*kind, word));
            }
        }
        redacted
    }

    /// What stands for a value: its kind and 48 bits of its keyed hash.
    fn hash(&self, kind: Kind, value: &str) -> String {
        let canonical = match kind {
            // One address can be written in several ways.
            Kind::Address => value.parse::<IpAddr>().map(|address| address.to_canonical().to_string()).ok(),
            Kind::Host => Some(value.to_ascii_lowercase()),
            Kind::Path | Kind::User | Kind::Other => None,
        };
        let name = kind.name();
        format!("{name}-{:012x}", self.key.hash(name, canonical.as_deref().unwrap_or(value)))
    }
}

/// Whose folder a path is in.
fn home_of(path: &str) -> Option<&str> {
    let below = path.strip_prefix("/user/").or_else(|| path.strip_prefix("/home/"))?;
    below.split('/').next().filter(|user| !user.is_empty())
}
