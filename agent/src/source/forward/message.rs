//! One message of the forward protocol: whose lines it holds, the lines, and the id to acknowledge it by.
//! All of its modes are read: one entry, an array of entries, packed entries, and compressed packed entries.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Number, Value};

use super::MESSAGE_BYTES_MAX;
use super::msgpack::{Item, Reader, Trouble};

/// Keys of a record under which shippers put the line that they read, best first.
const LINE_KEYS: [&[u8]; 2] = [b"log", b"message"];
/// How deeply nested a record may be to become JSON.
const DEPTH_MAX: usize = 16;

/// A message as received.
#[derive(Debug, PartialEq)]
pub(super) struct Message<'a> {
    /// What the shipper calls the stream.
    pub(super) tag: &'a [u8],
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// Records that had nothing to make a line of.
    pub(super) empty: u64,
    /// Id to acknowledge the message by, if the shipper wants that.
    pub(super) chunk: Option<&'a [u8]>,
}

/// Reads the message that `whole` is.
pub(super) fn read(whole: &[u8]) -> Result<Message<'_>, Trouble> {
    // Nothing can be incomplete: what ends too soon is wrong.
    parse(whole).map_err(|_| Trouble::Wrong)
}

fn parse(whole: &[u8]) -> Result<Message<'_>, Trouble> {
    let mut reader = Reader::new(whole);
    let Item::Array(items @ 2..=4) = reader.item()? else { return Err(Trouble::Wrong) };
    let (Item::Text(tag) | Item::Binary(tag)) = reader.item()? else { return Err(Trouble::Wrong) };
    let mut message = Message { tag, lines: Vec::new(), empty: 0, chunk: None };
    let entries = reader.skip()?;
    match Reader::new(entries).item()? {
        Item::Array(count) => {
            let options = options(&mut reader, items - 2)?;
            message.chunk = options.chunk;
            let mut entries = Reader::new(entries);
            entries.item()?;
            for _ in 0..count {
                message.entry(&mut entries)?;
            }
        }
        Item::Binary(packed) | Item::Text(packed) => {
            let options = options(&mut reader, items - 2)?;
            message.chunk = options.chunk;
            if options.compressed {
                message.entries(&decompress(packed)?)?;
            } else {
                message.entries(packed)?;
            }
        }
        // Not an array of entries but the time of a single one.
        Item::Int(_) | Item::Float(_) | Item::Extension(_) if items > 2 => {
            message.record(&mut reader)?;
            message.chunk = options(&mut reader, items - 3)?.chunk;
        }
        _ => return Err(Trouble::Wrong),
    }
    Ok(message)
}

#[derive(Default)]
struct Options<'a> {
    chunk: Option<&'a [u8]>,
    compressed: bool,
}

/// What follows the entries, if there is something.
fn options<'a>(reader: &mut Reader<'a>, items: usize) -> Result<Options<'a>, Trouble> {
    let mut options = Options::default();
    if items == 0 {
        return Ok(options);
    }
    let Item::Map(entries) = reader.item()? else { return Ok(options) };
    for _ in 0..entries {
        let key = reader.item()?;
        let mut value = Reader::new(reader.skip()?);
        match (key, value.item()?) {
            (Item::Text(b"chunk"), Item::Text(chunk) | Item::Binary(chunk)) => options.chunk = Some(chunk),
            (Item::Text(b"compressed"), Item::Text(b"gzip")) => options.compressed = true,
            (Item::Text(b"compressed"), Item::Text(b"text") | Item::Nil) => {}
            (Item::Text(b"compressed"), _) => return Err(Trouble::Wrong),
            _ => {}
        }
    }
    Ok(options)
}

fn decompress(packed: &[u8]) -> Result<Vec<u8>, Trouble> {
    let mut entries = Vec::new();
    let mut decoder = MultiGzDecoder::new(packed).take(MESSAGE_BYTES_MAX as u64 + 1);
    decoder.read_to_end(&mut entries).map_err(|_| Trouble::Wrong)?;
    if entries.len() > MESSAGE_BYTES_MAX { Err(Trouble::Wrong) } else { Ok(entries) }
}

impl Message<'_> {
    fn entries(&mut self, packed: &[u8]) -> Result<(), Trouble> {
        let mut entries = Reader::new(packed);
        while !entries.rest().is_empty() {
            self.entry(&mut entries)?;
        }
        Ok(())
    }

    /// `[time, record]`; the time is in the line too. It may come with metadata: `[[time, metadata], record]`.
    fn entry(&mut self, entries: &mut Reader<'_>) -> Result<(), Trouble> {
        let Item::Array(items @ 2..) = entries.item()? else { return Err(Trouble::Wrong) };
        entries.skip()?;
        self.record(entries)?;
        for _ in 2..items {
            entries.skip()?;
        }
        Ok(())
    }

    /// The line that the record holds as the shipper read it; otherwise the record as JSON, which is a layout of lines
    /// too.
    fn record(&mut self, reader: &mut Reader<'_>) -> Result<(), Trouble> {
        let record = reader.skip()?;
        let mut fields = Reader::new(record);
        let Item::Map(count) = fields.item()? else { return Err(Trouble::Wrong) };
        let mut line: Option<(usize, &[u8])> = None;
        for _ in 0..count {
            let key = fields.item()?;
            let mut value = Reader::new(fields.skip()?);
            if let (Item::Text(key), Item::Text(text) | Item::Binary(text)) = (key, value.item()?)
                && let Some(rank) = LINE_KEYS.iter().position(|known| *known == key)
                && line.is_none_or(|(best, _)| rank < best)
            {
                line = Some((rank, text));
            }
        }
        let before = self.lines.len();
        match line {
            // Beside a line that was taken apart by a parser, `message` is only a part of it.
            Some((rank, text)) if rank == 0 || count == 1 => self.lines.extend_from_slice(text),
            _ => {
                let json = json(&mut Reader::new(record), DEPTH_MAX)?;
                self.lines.extend_from_slice(json.to_string().as_bytes());
            }
        }
        match self.lines.last() {
            _ if self.lines.len() == before => self.empty += 1,
            Some(b'\n') => {}
            _ => self.lines.push(b'\n'),
        }
        Ok(())
    }
}

/// An item as JSON. What JSON does not know is null.
fn json(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Trouble> {
    let text = |bytes| Value::String(String::from_utf8_lossy(bytes).into_owned());
    if depth == 0 {
        reader.skip()?;
        return Ok(Value::Null);
    }
    Ok(match reader.item()? {
        Item::Nil | Item::Extension(_) => Value::Null,
        Item::Bool(value) => Value::Bool(value),
        Item::Int(value) => Value::Number(value.into()),
        Item::Float(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
        Item::Text(bytes) | Item::Binary(bytes) => text(bytes),
        Item::Array(count) => {
            Value::Array((0..count).map(|_| json(reader, depth - 1)).collect::<Result<_, _>>()?)
        }
        Item::Map(count) => {
            let mut fields = Map::new();
            for _ in 0..count {
                let key = match json(reader, 1)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                fields.insert(key, json(reader, depth - 1)?);
            }
            Value::Object(fields)
        }
    })
}
