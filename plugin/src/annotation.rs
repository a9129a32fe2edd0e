//! What is added to a record of its own: the blocks that it names and the template that it was written by.

use blocksift_detector::Model;
use blocksift_detector::head::{Head, Heads, Parsed};
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
        let template = self.read(model, text);
        if let Some(&first) = self.blocks.first() {
            out.extend_from_slice(b"\"block\":");
            append_block(first, out);
            out.push(b',');
        }
        if self.blocks.len() > 1 {
            for (at, &block) in self.blocks.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"\"blocks\":[" } else { b"," });
                append_block(block, out);
            }
            out.extend_from_slice(b"],");
        }
        if let Some(template) = template {
            out.extend_from_slice(b"\"template\":\"");
            out.extend_from_slice(&hexadecimal(template));
            out.extend_from_slice(b"\",");
        }
    }

    /// Finds the blocks, and the template of the record that starts with the first line; of what the catalogue lacks only
    /// where it names a block, as in sessions.
    fn read(&mut self, model: &Model, text: &[u8]) -> Option<TemplateId> {
        self.blocks.clear();
        let line = first_line(text.get(..LINE_BYTES_MAX).unwrap_or(text));
        self.heads.forget_partial();
        let Parsed::Head(head) = self.heads.parse(line, &mut self.zone) else {
            add_blocks(key::find(text), &mut self.blocks);
            return None;
        };
        // Only what was unescaped, and so is not part of the line, can hold line ends.
        let in_line = line.as_ptr_range().contains(&head.message.as_ptr());
        let message = if in_line { head.message } else { first_line(head.message).trim_ascii_end() };
        let found = model.catalogue.find_with(message, &mut self.captures);
        // What the wildcards took is at hand; searching the text takes longer than all else here.
        let is_captured = line.len() == text.len()
            && is_all(&head, line)
            && found.is_some_and(|index| {
                !self.captures.may_hide_keys() && !model.catalogue.constants_name_blocks(index)
            });
        if is_captured {
            add_blocks(self.captures.keys(message), &mut self.blocks);
        } else {
            add_blocks(key::find(text), &mut self.blocks);
        }
        match found {
            Some(index) => model.catalogue.id(index),
            None => (!self.blocks.is_empty()).then(|| TemplateId::of(&mask(message))),
        }
    }
}

/// Whether nothing of a line but the message can name a block: as it stands there, with no thread that looks like a name
/// of one in front, and nothing behind.
fn is_all(head: &Head<'_>, line: &[u8]) -> bool {
    line.trim_ascii_end().as_ptr_range().end == head.message.as_ptr_range().end
        && head.trace.is_empty()
        && !head.thread.contains(&b'_')
}

fn add_blocks<'a>(keys: impl Iterator<Item = key::Key<'a>>, blocks: &mut Vec<BlockId>) {
    for key in keys {
        if blocks.len() < BLOCKS_MAX && !blocks.contains(&key.block) {
            blocks.push(key.block);
        }
    }
}

/// As text of JSON. Formatting takes an interpreter several times as long.
fn append_block(block: BlockId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"blk_");
    // Memory is all that it could lack.
    serde_json::to_writer(&mut *out, &block.0).unwrap_or_default();
    out.push(b'"');
}

/// The digits of a template's id.
fn hexadecimal(template: TemplateId) -> [u8; 16] {
    let mut digits = [0; 16];
    let mut rest = template.0;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef".get((rest & 0xf) as usize).copied().unwrap_or(b'0');
        rest >>= 4;
    }
    digits
}

fn first_line(text: &[u8]) -> &[u8] {
    memchr(b'\n', text).and_then(|end| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "081109 203518 143 INFO dfs.DataNode$DataXceiver: ";

    fn annotate(text: &str) -> serde_json::Value {
        let model = Model::from_onnx_table(include_bytes!("../../models/hdfs-v1.onnx")).unwrap();
        let (mut annotator, mut added) = (Annotator::new(), b"{".to_vec());
        // The second time as the first one, though more is known by then.
        for _ in 0..2 {
            added.truncate(1);
            annotator.append(&model, text.as_bytes(), &mut added);
        }
        added.pop();
        added.push(b'}');
        serde_json::from_slice(&added).unwrap()
    }

    #[test]
    fn every_block_is_named_wherever_it_stands() {
        let receiving = "Receiving block blk_-5 src: /10.0.0.1:1 dest: /10.0.0.2:50010";
        let today = "2024-01-02 03:04:05,006 INFO [a of BP-1-10.0.0.1-2:blk_7_1] datanode.DataNode: ";
        for (text, blocks) in [
            (format!("{HEAD}{receiving}"), vec!["blk_-5"]),
            (format!("{HEAD}{receiving}\n\tat blk_8 and blk_-5"), vec!["blk_-5", "blk_8"]),
            (format!("{today}{receiving}"), vec!["blk_7", "blk_-5"]),
            (
                format!("{HEAD}BLOCK* ask 10.0.0.1:50010 to delete  blk_1 blk_-2 blk_1"),
                vec!["blk_1", "blk_-2"],
            ),
            (format!("{HEAD}what no template has of blk_3"), vec!["blk_3"]),
            ("\tat the end of blk_4".to_owned(), vec!["blk_4"]),
            (
                serde_json::json!({ "level": "INFO", "message": receiving, "thread": "of blk_9", "time": 7 })
                    .to_string(),
                vec!["blk_-5", "blk_9"],
            ),
        ] {
            let added = annotate(&text);
            assert_eq!(added["block"], blocks[0], "{text}");
            let all = if blocks.len() > 1 { serde_json::json!(blocks) } else { serde_json::Value::Null };
            assert_eq!(added["blocks"], all, "{text}");
        }
    }

    #[test]
    fn ids_of_templates_are_written_as_everywhere() {
        for id in [0, 0x0123_4567_89ab_cdef, u64::MAX] {
            let id = TemplateId(id);
            assert_eq!(hexadecimal(id).as_slice(), id.to_string().as_bytes());
        }
    }
}
