//! Templates of messages that the catalogue lacks: their text with everything that varies masked. Kept up to a limit;
//! beyond it all further ones share one template.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Catalogue, TemplateId};
use crate::miner::mask::{ANY as OTHER, MESSAGE_BYTES_MAX, Mask, Masks};
use crate::token::{Token, Tokenizer};

/// The masks that are used without settings.
static MASKS: LazyLock<Option<Masks>> =
    LazyLock::new(|| Masks::new(&Mask::defaults(), MESSAGE_BYTES_MAX).ok());

/// The template text of a message: blocks, addresses, paths, ids and numbers become wildcards.
#[must_use]
pub fn mask(message: &[u8]) -> String {
    MASKS.as_ref().map_or_else(|| OTHER.to_owned(), |masks| masks.mask(message))
}

/// All templates of one detector: the catalogue's first, then those it lacks in order of appearance.
#[derive(Debug)]
pub(crate) struct Templates {
    entries: Vec<Entry>,
    known: usize,
    unknown_max: usize,
    by_id: HashMap<TemplateId, u32>,
}

#[derive(Debug)]
struct Entry {
    id: TemplateId,
    text: String,
    token: Token,
}

impl Templates {
    pub(crate) fn new(catalogue: &Catalogue, tokenizer: &Tokenizer, unknown_max: usize) -> Self {
        let mut templates = Self { entries: Vec::new(), known: 0, unknown_max, by_id: HashMap::new() };
        for template in catalogue.templates() {
            templates.push(template.text.clone(), tokenizer.token(template.id()));
        }
        templates.known = templates.entries.len();
        templates
    }

    /// Position of the template with this text, which is added if there is room.
    pub(crate) fn intern(&mut self, text: &str) -> u32 {
        if let Some(&index) = self.by_id.get(&TemplateId::of(text)) {
            return index;
        }
        if self.entries.len() < self.known + self.unknown_max {
            self.push(text.to_owned(), Token::UNKNOWN)
        } else if let Some(&index) = self.by_id.get(&TemplateId::of(OTHER)) {
            index
        } else {
            self.push(OTHER.to_owned(), Token::UNKNOWN)
        }
    }

    pub(crate) fn token(&self, index: u32) -> Token {
        self.entry(index).map_or(Token::UNKNOWN, |entry| entry.token)
    }

    pub(crate) fn id(&self, index: u32) -> TemplateId {
        self.entry(index).map_or_else(|| TemplateId::of(OTHER), |entry| entry.id)
    }

    pub(crate) fn text(&self, index: u32) -> &str {
        self.entry(index).map_or(OTHER, |entry| &entry.text)
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn push(&mut self, text: String, token: Token) -> u32 {
        let id = TemplateId::of(&text);
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { id, text, token });
        // The catalogue may hold a text twice; the first one counts.
        *self.by_id.entry(id).or_insert(index)
    }
}
