//! Templates: the constant text of a log statement with typed wildcards for its parameters. A [`Catalogue`] matches
//! messages against the templates it was made of; what it lacks gets a template by masking ([`mask`]).

mod matcher;
mod unknown;

use std::cmp::Reverse;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use xxhash_rust::xxh3::xxh3_64;

use matcher::Pattern;
pub(crate) use unknown::Templates;
pub use unknown::mask;

/// Content hash of a template's text, so equal on every node; written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateId(pub u64);

impl TemplateId {
    /// The id of the template with this text (xxh3, 64 bits).
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(xxh3_64(text.as_bytes()))
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for TemplateId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TemplateId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Self).map_err(D::Error::custom)
    }
}

/// A log statement. `text` holds the wildcards `<blk>`, `<node>`, `<ip>`, `<port>`, `<n>`, `<path>`, `<exception>`
/// and `<*>`. `<blk> <blk> ...` stands for one or more blocks, `<node>:<port>` and `<ip>:<port>` for one or more
/// addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Text with wildcards.
    pub text: String,
    /// Logger that writes it, for people; matching goes by the text alone.
    #[serde(default)]
    pub logger: String,
    /// Level it is written at, for people.
    #[serde(default)]
    pub level: String,
    /// Its number in the data set's table of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
}

impl Template {
    /// Content hash of the text.
    #[must_use]
    pub fn id(&self) -> TemplateId {
        TemplateId::of(&self.text)
    }
}

/// Matches messages against known templates. Where several fit, one that does not start with free text wins, then the
/// one with the most constant bytes, then the earlier one.
#[derive(Clone, Debug)]
pub struct Catalogue {
    templates: Vec<Template>,
    patterns: Vec<Pattern>,
    /// Templates to try for a message that starts with this byte, best first.
    by_first_byte: Vec<Vec<u16>>,
}

impl Catalogue {
    /// Compiles templates; those beyond 65,535 are known but never matched.
    #[must_use]
    pub fn new(templates: Vec<Template>) -> Self {
        let patterns: Vec<Pattern> = templates.iter().map(|template| Pattern::new(&template.text)).collect();
        let mut order: Vec<u16> = (0..=u16::MAX).take(patterns.len()).collect();
        order.sort_by_key(|&index| {
            let pattern = patterns.get(usize::from(index));
            pattern.map(|pattern| (pattern.starts_with_any(), Reverse(pattern.constant_bytes())))
        });
        let starts = |index: &u16, byte| {
            patterns.get(usize::from(*index)).is_some_and(|pattern| pattern.may_start_with(byte))
        };
        let by_first_byte = (0..=u8::MAX)
            .map(|byte| order.iter().copied().filter(|index| starts(index, byte)).collect())
            .collect();
        Self { templates, patterns, by_first_byte }
    }

    /// The templates, in the order given.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// The template that `message` was written by, as its position in [`templates`](Self::templates).
    #[must_use]
    pub fn find(&self, message: &[u8]) -> Option<usize> {
        let candidates = self.by_first_byte.get(usize::from(*message.first()?))?;
        candidates
            .iter()
            .map(|&index| usize::from(index))
            .find(|&index| self.patterns.get(index).is_some_and(|pattern| pattern.matches(message)))
    }
}

#[cfg(test)]
mod tests;
