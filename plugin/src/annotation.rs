//! What is added to a record of its own: the blocks that it names and the template that it was written by.

use blocksift_detector::Model;
use blocksift_detector::head::{Heads, Parsed};
use blocksift_detector::key::{self, BlockId};
use blocksift_detector::template::{Captures, TemplateId, mask};
use blocksift_detector::time::Zone;
use jiff::tz::TimeZone;
use memchr::memchr;

/// Blocks of one record that are named.
const BLOCKS_MAX: usize = 16;
/// Bytes of a line that are looked at, as the detector does.
const LINE_BYTES_MAX: usize = 64 * 1_024;

/// Finds blocks and template of one record after the other.
#[derive(Debug)]
pub(crate) struct Annotator {
    heads: Heads,
    /// Times do not matter here.
    zone: Zone,
    captures: Captures,
    blocks: Vec<BlockId>,
}

impl Annotator {
    pub(crate) fn new() -> Self {
        Self {
            heads: Heads::new(None, LINE_BYTES_MAX),
            zone: Zone::new(TimeZone::UTC),
            captures: Captures::new(),
            blocks: Vec::new(),
        }
    }

    /// Appends the members `block`, `blocks` where there are several, and `template`, each with a comma behind it.
    pub(crate) fn append(&mut self, model: &Model, text: &[u8], out: &mut Vec<u8>) {
        self.blocks.clear();
        for key in key::find(text) {
            if self.blocks.len() < BLOCKS_MAX && !self.blocks.contains(&key.block) {
                self.blocks.push(key.block);
            }
        }
        if let Some(first) = self.blocks.first() {
            out.extend_from_slice(format!("\"block\":\"{first}\",").as_bytes());
        }
        if self.blocks.len() > 1 {
            let blocks: Vec<String> = self.blocks.iter().map(|block| format!("\"{block}\"")).collect();
            out.extend_from_slice(format!("\"blocks\":[{}],", blocks.join(",")).as_bytes());
        }
        if let Some(template) = self.template(model, text) {
            out.extend_from_slice(format!("\"template\":\"{template}\",").as_bytes());
        }
    }

    /// The template of the record that starts with the first line; of what the catalogue lacks only where it names a
    /// block, as in sessions.
    fn template(&mut self, model: &Model, text: &[u8]) -> Option<TemplateId> {
        let line = first_line(text.get(..LINE_BYTES_MAX).unwrap_or(text));
        self.heads.forget_partial();
        let Parsed::Head(head) = self.heads.parse(line, &mut self.zone) else { return None };
        let message = first_line(head.message).trim_ascii_end();
        match model.catalogue.find_with(message, &mut self.captures) {
            Some(index) => model.catalogue.id(index),
            None => (!self.blocks.is_empty()).then(|| TemplateId::of(&mask(message))),
        }
    }
}

fn first_line(text: &[u8]) -> &[u8] {
    memchr(b'\n', text).and_then(|end| text.get(..end)).unwrap_or(text)
}
