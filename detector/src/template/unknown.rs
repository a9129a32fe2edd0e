//! Templates of messages that the catalogue lacks: their text with everything that varies masked. Kept up to a limit;
//! beyond it all further ones share one template.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{Catalogue, TemplateId};
use crate::token::{Token, Tokenizer};

/// Bytes of a message that its masked template is made of.
const MASKED_BYTES_MAX: usize = 512;
/// Text of the template that stands for all beyond the limit.
const OTHER: &str = "<*>";

/// What varies in a message, one group per wildcard; the first alternative that fits at a place wins.
static VARIABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?P<blk>(?:BP-[\w.-]+:)?blk_-?\d+(?:_\d+)?)",
        r"|(?P<node>\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?)",
        r"|(?P<path>(?:\bfile:)?/[^\s,;:()\[\]]+)",
        r"|(?P<any>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}\b|\bBP-[\w.-]+|\w+_-?\d+\w*|\b0x[0-9a-fA-F]+)",
        r"|(?P<n>-?\d+)",
    ))
    .ok()
});

/// The template text of a message: blocks, addresses, paths, ids and numbers become wildcards.
#[must_use]
pub fn mask(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message.get(..MASKED_BYTES_MAX).unwrap_or(message));
    let wildcard = |found: &Captures<'_>| {
        let names = ["blk", "node", "path", "any", "n"];
        match names.into_iter().find(|name| found.name(name).is_some()) {
            Some("any") | None => "<*>".to_owned(),
            Some(name) => format!("<{name}>"),
        }
    };
    let masked = match VARIABLE.as_ref() {
        Some(regex) => regex.replace_all(&text, wildcard),
        None => Cow::Borrowed(OTHER),
    };
    masked.into_owned()
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
