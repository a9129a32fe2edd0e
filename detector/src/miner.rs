//! A Drain miner (He et al., ICWS 2017): templates of messages that no catalogue has. Messages are masked ([`mask`]),
//! the distinct texts are kept with their counts, and groups of similar texts are the templates (`tree`).
//!
//! Unlike Drain's, the result does not depend on the order of the messages: as long as no text had to make room
//! ([`Miner::evictions`]), templates, ids, counts and who belongs to which are functions of the multiset of messages.
//! So miners of several files, threads or nodes add up ([`Miner::absorb`]) to what one miner of all would have found,
//! and a further message may join templates but never splits one.

pub mod mask;
mod snapshot;
mod tree;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use lru::LruCache;
use serde::{Deserialize, Serialize};

use crate::template::TemplateId;
use mask::{Mask, MaskError, Masks};
use snapshot::{Changes, Seen};
pub use snapshot::{Evicted, Snapshot, TextChange, TextState};
use tree::Shape;

/// Levels of Drain's tree that are not words: root, number of words, leaf.
const LEVELS_WITHOUT_WORD: u8 = 3;
/// Bytes of a masked text for each byte of a message that is looked at; what is beyond is cut. The default masks stay
/// below 3.
const TEXT_GROWTH_MAX: usize = 4;
/// Bytes that a text takes beyond its own: its entry, which is linked by pointers, and its place in the map.
const ENTRY_BYTES: usize = 128;

/// Settings of a [`Miner`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinerSettings {
    /// What is masked, in order of precedence; see [`Masks::new`]. At most 64 masks; more are an error.
    pub masks: Vec<Mask>,
    /// Depth of the tree as Drain counts it, `3..=16`: 3 tells texts apart by their number of words alone before they
    /// are compared, each further level by one more leading word.
    pub depth: u8,
    /// Share of equal words from which two texts are of one template, `0.0..=1.0`.
    pub similarity: f64,
    /// Different words by which a node of the tree branches; beyond it the node takes them all as one, since what has
    /// so many values varies.
    pub children_max: usize,
    /// Distinct masked texts kept, so templates at most; beyond it the least recently seen one makes room, and its
    /// messages are counted as evicted.
    pub templates_max: NonZeroUsize,
    /// Bytes of a message that are looked at; what is beyond is not. A masked text is cut at four times as many.
    pub message_bytes_max: usize,
}

impl Default for MinerSettings {
    fn default() -> Self {
        Self {
            masks: Mask::defaults(),
            depth: 4,
            similarity: 0.6,
            children_max: 100,
            templates_max: NonZeroUsize::MIN.saturating_add(4_095),
            message_bytes_max: mask::MESSAGE_BYTES_MAX,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MinerError {
    /// The masks cannot be used.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The tree would have too few or too many levels.
    #[error("depth {depth} is not from 3 to 16")]
    Depth {
        /// As given.
        depth: u8,
    },
    /// Not a share.
    #[error("similarity {similarity} is not from 0 to 1")]
    Similarity {
        /// As given.
        similarity: f64,
    },
}

/// A template that was mined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mined {
    /// Content hash of the text.
    pub id: TemplateId,
    /// What the messages have in common. Wildcards are those of the masks, `<*>` where messages differ beyond them, and
    /// `<name> <name> ...` for a list of one wildcard.
    pub text: String,
    /// Messages seen, evicted ones left out.
    pub count: u64,
    /// The masked text seen most often.
    pub example: String,
}

/// Mines templates from messages.
#[derive(Debug)]
pub struct Miner {
    settings: MinerSettings,
    masks: Masks,
    texts: LruCache<Box<str>, Seen>,
    /// Bytes of the texts.
    text_bytes: usize,
    evicted: Evicted,
    /// Rises with every text taken.
    order: u64,
    changes: Changes,
    /// Made when they are asked for, gone when a text comes or goes.
    groups: OnceLock<Groups>,
    /// For masking; empty between calls.
    buffer: String,
}

/// Templates and who belongs to which.
#[derive(Debug, Default)]
struct Groups {
    /// In order of their text.
    texts: Vec<(TemplateId, String)>,
    by_member: HashMap<Box<str>, usize>,
    bytes: usize,
}

impl Miner {
    /// A miner that has seen nothing.
    ///
    /// # Errors
    /// [`MinerError`] says which setting cannot be used and why.
    pub fn new(settings: MinerSettings) -> Result<Self, MinerError> {
        let MinerSettings { depth, similarity, .. } = settings;
        if !(LEVELS_WITHOUT_WORD..=16).contains(&depth) {
            return Err(MinerError::Depth { depth });
        }
        if !(0.0..=1.0).contains(&similarity) {
            return Err(MinerError::Similarity { similarity });
        }
        Ok(Self {
            masks: Masks::new(&settings.masks, settings.message_bytes_max)?,
            // Room is made before a text comes, so that the evicted are counted.
            texts: LruCache::unbounded(),
            text_bytes: 0,
            evicted: Evicted::default(),
            order: 0,
            changes: Changes::default(),
            groups: OnceLock::new(),
            buffer: String::new(),
            settings,
        })
    }

    /// Takes a message.
    pub fn learn(&mut self, message: &[u8]) {
        let mut text = std::mem::take(&mut self.buffer);
        self.masks.mask_into(message, &mut text);
        self.learn_masked(&text, 1);
        self.buffer = text;
    }

    /// Takes `count` messages that were masked by the same masks before.
    pub fn learn_masked(&mut self, masked: &str, count: u64) {
        let text = self.cut(masked);
        self.order += 1;
        if let Some(known) = self.texts.get_mut(text) {
            *known = Seen { count: known.count.saturating_add(count), order: self.order };
            return;
        }
        if count == 0 {
            return;
        }
        while self.texts.len() >= self.settings.templates_max.get()
            && let Some((victim, seen)) = self.texts.pop_lru()
        {
            self.text_bytes -= victim.len();
            self.evicted += Evicted { texts: 1, messages: seen.count };
            self.changes.evicted(&victim);
        }
        self.groups.take();
        self.text_bytes += text.len();
        self.texts.put(text.into(), Seen { count, order: self.order });
    }

    /// Takes all that `other` has seen, as if its messages came after one's own: its counts add up, and its most
    /// recently seen texts are now the most recently seen.
    pub fn absorb(&mut self, other: &Self) {
        for (text, seen) in other.texts.iter().rev() {
            self.learn_masked(text, seen.count);
        }
        self.evicted += other.evicted;
    }

    /// The templates, the most frequent first, those of one count in order of their text. Costs nothing much unless
    /// texts came or went since the last time; then up to the square of the number of texts.
    #[must_use]
    pub fn templates(&self) -> Vec<Mined> {
        let groups = self.groups();
        let mined = |(id, text): &(TemplateId, String)| Mined {
            id: *id,
            text: text.clone(),
            count: 0,
            example: String::new(),
        };
        let mut templates: Vec<(Mined, u64)> = groups.texts.iter().map(|group| (mined(group), 0)).collect();
        for (text, &Seen { count, .. }) in &self.texts {
            let Some((template, most)) = groups.by_member.get(text).and_then(|&at| templates.get_mut(at))
            else {
                continue;
            };
            template.count = template.count.saturating_add(count);
            if (count, Reverse(&**text)) > (*most, Reverse(template.example.as_str())) {
                *most = count;
                template.example.replace_range(.., text);
            }
        }
        let mut templates: Vec<Mined> = templates.into_iter().map(|(template, _)| template).collect();
        templates.sort_by_key(|template| Reverse(template.count));
        templates
    }

    /// The template that a masked text belongs to. For one that was not seen or is evicted, the most specific one that
    /// it could be of, if any.
    #[must_use]
    pub fn find(&self, masked: &str) -> Option<TemplateId> {
        let (text, groups) = (self.cut(masked), self.groups());
        if let Some(&at) = groups.by_member.get(text) {
            return groups.texts.get(at).map(|(id, _)| *id);
        }
        let wildcards = self.masks.wildcards();
        let fitting = groups.texts.iter().filter(|(_, group)| tree::fits(group, text, wildcards));
        let specific = |(_, text): &&(TemplateId, String)| {
            let anything = text.split(' ').filter(|&word| word == mask::ANY).count();
            (anything, Reverse(text.len()))
        };
        fitting.min_by_key(specific).map(|(id, _)| *id)
    }

    /// The masks, for callers that mask themselves.
    #[must_use]
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Messages taken: those of the templates and the evicted ones.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.texts.iter().fold(self.evicted.messages, |sum, (_, seen)| sum.saturating_add(seen.count))
    }

    /// Messages whose text made room for another, so that no template counts them any more.
    #[must_use]
    pub fn messages_evicted(&self) -> u64 {
        self.evicted.messages
    }

    /// Texts that made room for others. The result is independent of the order of the messages while this is zero.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evicted.texts
    }

    /// Both of these.
    #[must_use]
    pub fn evicted(&self) -> Evicted {
        self.evicted
    }

    /// Distinct masked texts held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is nothing to make templates of.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Memory that the texts take and, since the last question, the templates; the compiled masks aside.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let groups = self.groups.get().map_or(0, |groups| groups.bytes);
        self.text_bytes + self.texts.len() * ENTRY_BYTES + self.buffer.capacity() + groups
    }

    fn cut<'a>(&self, masked: &'a str) -> &'a str {
        let bytes_max = self.settings.message_bytes_max.saturating_mul(TEXT_GROWTH_MAX);
        masked.get(..masked.floor_char_boundary(bytes_max)).unwrap_or(masked)
    }

    fn groups(&self) -> &Groups {
        self.groups.get_or_init(|| {
            let shape = Shape {
                words: usize::from(self.settings.depth - LEVELS_WITHOUT_WORD),
                similarity: self.settings.similarity,
                children_max: self.settings.children_max,
            };
            let mut texts: Vec<&str> = self.texts.iter().map(|(text, _)| &**text).collect();
            texts.sort_unstable();
            let mut groups = Groups::default();
            for ((text, members), at) in
                tree::group(&texts, self.masks.wildcards(), shape).into_iter().zip(0..)
            {
                for member in members.iter().filter_map(|&member| texts.get(member)) {
                    groups.by_member.insert((*member).into(), at);
                    groups.bytes += member.len() + ENTRY_BYTES;
                }
                groups.bytes += text.len() + ENTRY_BYTES;
                groups.texts.push((TemplateId::of(&text), text));
            }
            groups
        })
    }
}

#[cfg(test)]
mod tests;
