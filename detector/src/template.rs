//! Templates: the constant text of a log statement with typed wildcards for its parameters. A [`Catalogue`] matches
//! messages against the templates it was made of; what it lacks gets a template by masking ([`mask`]).

mod builtin;
mod captures;
mod constant;
mod hidden;
mod overlap;
mod part;
mod program;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;
pub(crate) mod scan;
mod step;
mod trie;
mod unknown;
mod way;

use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use xxhash_rust::xxh3::xxh3_64;

use builtin::Builtin;
pub use captures::{CAPTURES_MAX, Capture, Captures};
use part::Part;
pub use part::Wildcard;
use trie::Trie;
pub use unknown::mask;
use way::{Is, Way};

/// Content hash of a template's text, so equal on every node; written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateId(pub u64);

impl TemplateId {
    /// Of no template: stands for all that there is no room for.
    pub(crate) const OTHER: Self = Self(0);

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

/// A log statement. `text` holds its constant text and wildcards; each stands for:
///
/// | wildcard | text |
/// | --- | --- |
/// | `<blk>` | a block, `[BP-<pool>:]blk_<id>[_<gs>]` |
/// | `<blk> <blk> ...` | one or more blocks, blanks or commas between |
/// | `<node>`, `<ip>` | a host name or address |
/// | `<node>:<port>`, `<ip>:<port>` | one or more hosts with their ports, blanks or commas between |
/// | `<n>`, `<port>` | a number, which may be negative |
/// | `<duration_ms>`, `<bytes>`, `<count>` | a number of milliseconds, of bytes, of anything else |
/// | `<volume>` | a directory of a DataNode, free of blanks |
/// | `<path>` | a file, not empty; its name may hold blanks |
/// | `<exception>` | a Java class name, as in `a.b.C$D`; at the end of a template `: <any text>` may follow |
/// | `<*>` | any text, also none |
///
/// `<volume>`, `<path>` and `<*>` are free: they take as little as the constant behind them allows, of which the first
/// 16 places are tried. All others take as much as they can. A free wildcard right before another wildcard takes
/// nothing if it is `<*>`, else all up to a blank.
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
/// one with the most constant bytes, then the earlier one. Built-in templates match what none of those given does.
#[derive(Clone, Debug)]
pub struct Catalogue {
    templates: Vec<Template>,
    ids: Vec<TemplateId>,
    facts: Vec<Facts>,
    /// Of the templates given.
    trie: Trie,
    builtin: Option<Behind>,
    /// The templates to be tried by themselves, by position, each compiled when it is found for the first time; `None`
    /// for those that cannot be.
    ways: Vec<OnceLock<Option<Way>>>,
}

/// The built-in templates behind those given.
#[derive(Clone, Debug)]
struct Behind {
    builtin: &'static Builtin,
    /// Where each stands in the catalogue; nowhere if its text was given, for then the given one matches first.
    positions: Vec<Option<usize>>,
}

/// What is known of a template's messages.
#[derive(Clone, Copy, Debug)]
struct Facts {
    constants_name_blocks: bool,
    keys_from_captures: bool,
}

impl Catalogue {
    /// Compiles templates.
    #[must_use]
    pub fn new(templates: Vec<Template>) -> Self {
        let parts: Vec<Vec<Part>> = templates.iter().map(|template| part::parts(&template.text)).collect();
        let facts = parts.iter().map(|parts| Facts::of(parts)).collect();
        let ids = templates.iter().map(Template::id).collect();
        let ways = vec![OnceLock::new(); templates.len()];
        Self { templates, ids, facts, trie: Trie::new(&parts), builtin: None, ways }
    }

    /// Compiles templates and puts the built-in ones behind them: the statements of Hadoop 2.7 to 3.4
    /// (`catalogue/hadoop.csv`) but those whose text is given. They match only what none of `templates` does.
    #[must_use]
    pub fn with_builtin(templates: Vec<Template>) -> Self {
        let mut all = Self::new(templates);
        let given: HashSet<TemplateId> = all.ids.iter().copied().collect();
        let builtin = Builtin::get();
        let mut positions = Vec::with_capacity(builtin.templates.len());
        for (template, facts) in builtin.templates.iter().zip(&builtin.facts) {
            let id = template.id();
            let is_new = !given.contains(&id);
            positions.push(is_new.then_some(all.templates.len()));
            if is_new {
                all.templates.push(template.clone());
                all.ids.push(id);
                all.facts.push(*facts);
            }
        }
        all.ways.resize(all.templates.len(), OnceLock::new());
        all.builtin = Some(Behind { builtin, positions });
        all
    }

    /// The templates, in the order given, the built-in ones behind them.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// The id of a template by its position.
    #[must_use]
    pub fn id(&self, index: usize) -> Option<TemplateId> {
        self.ids.get(index).copied()
    }

    /// The template that `message` was written by, as its position in [`templates`](Self::templates). An empty message,
    /// or one of 4 GiB, is none's.
    #[must_use]
    pub fn find(&self, message: &[u8]) -> Option<usize> {
        self.find_with(message, &mut Captures::new())
    }

    /// As [`find`](Self::find); `captures` holds what its wildcards took, in their order, if it matches, and nothing
    /// otherwise.
    #[must_use]
    pub fn find_with(&self, message: &[u8], captures: &mut Captures) -> Option<usize> {
        captures.clear();
        if message.is_empty() || u32::try_from(message.len()).is_err() {
            return None;
        }
        let start = way::start(message);
        for (at, position) in captures.recent.of(start).into_iter().enumerate() {
            let Some(way) = self.way(position.into()) else { break };
            match way.is(message, captures) {
                Is::NotIts => {}
                Is::ItsOrBetter => break,
                Is::Its => {
                    captures.recent.found(start, at);
                    return Some(position.into());
                }
            }
        }
        self.walk(start, message, captures)
    }

    /// The way to a template that was found before.
    fn way(&self, position: usize) -> Option<&Way> {
        self.ways.get(position)?.get()?.as_ref()
    }

    /// The long way. What is found is tried first by messages with such a start from then on, if it can be.
    #[inline(never)]
    fn walk(&self, start: usize, message: &[u8], captures: &mut Captures) -> Option<usize> {
        captures.clear();
        let mut found = self.trie.find(message, captures).map(|rank| (&self.trie, rank));
        let mut position = found.and_then(|(trie, rank)| trie.index(rank));
        if let (None, Some(behind)) = (found, &self.builtin) {
            found = behind.builtin.trie.find(message, captures).map(|rank| (&behind.builtin.trie, rank));
            let index = found.and_then(|(trie, rank)| trie.index(rank))?;
            position = behind.positions.get(index).copied().flatten();
        }
        let ((trie, rank), position) = found.zip(position)?;
        let given = if std::ptr::eq(trie, &self.trie) { &[] } else { self.trie.steps() };
        let way = self.ways.get(position)?.get_or_init(|| {
            let better = given.iter().chain(trie.steps().iter().take(rank));
            Way::new(trie.steps().get(rank)?, better.map(Vec::as_slice))
        });
        if way.is_some() {
            captures.recent.enter(start, position);
        }
        Some(position)
    }

    /// Whether a message of this template may name a block or pool by its constant text. If not, and its captures do
    /// not [hide any](Captures::may_hide_keys), [`Captures::keys`] are all that [`key::find`](crate::key::find) would
    /// find in it. `true` for a position without a template.
    #[must_use]
    pub fn constants_name_blocks(&self, index: usize) -> bool {
        self.facts.get(index).is_none_or(|facts| facts.constants_name_blocks)
    }

    /// Whether the keys of every message of this template are those of its captures: neither its constants nor any
    /// wildcard but `<blk>` can hold one.
    #[must_use]
    pub fn keys_from_captures(&self, index: usize) -> bool {
        self.facts.get(index).is_some_and(|facts| facts.keys_from_captures)
    }
}

impl Facts {
    fn of(parts: &[Part]) -> Self {
        let constants_name_blocks = hidden::names_blocks(parts);
        let wildcards = || parts.iter().filter(|part| matches!(part, Part::Wildcard(_)));
        let plain = wildcards().all(|part| {
            use Wildcard::{Block, Bytes, Count, DurationMs, Number};
            matches!(part, Part::Wildcard(Block | Number | DurationMs | Bytes | Count))
        });
        let keys_from_captures = plain && !constants_name_blocks && wildcards().count() <= CAPTURES_MAX;
        Self { constants_name_blocks, keys_from_captures }
    }
}

#[cfg(test)]
mod tests;
