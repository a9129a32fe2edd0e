//! A report's JSON as it lies in the database: packed with zstd, which takes it to a fifth or less.

use std::cell::RefCell;
use std::io::Read;

use zstd::bulk::Compressor;

use crate::report::Report;

/// Fast; the next level saves a few percent more.
const LEVEL: i32 = 1;
/// Bytes that a thread keeps for the next report's JSON.
const TEXT_BYTES_KEPT: usize = 256 * 1024;
/// Bytes of a report's JSON: more than any accepted record gives.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

thread_local! {
    /// Of a thread that decodes requests; the one thread that writes packs nothing.
    static PACKER: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Packs a report's JSON.
pub(crate) fn pack(text: &[u8]) -> Vec<u8> {
    let packed = PACKER.with_borrow_mut(|packer| packer.as_mut()?.compress(text).ok());
    // Only memory can be missing; the text itself is told apart by its first byte.
    packed.unwrap_or_else(|| text.to_vec())
}

/// Packs the JSON of a report.
///
/// # Errors
/// What serde says of it.
pub(crate) fn pack_report(report: &Report<'_>) -> serde_json::Result<Vec<u8>> {
    TEXT.with_borrow_mut(|text| {
        text.clear();
        serde_json::to_writer(&mut *text, report)?;
        let packed = pack(text);
        text.shrink_to(TEXT_BYTES_KEPT);
        Ok(packed)
    })
}

/// The text of a packed report.
///
/// # Errors
/// Says that the bytes are none; the file is damaged then.
pub(crate) fn unpack(packed: &[u8]) -> std::io::Result<String> {
    let mut text = String::new();
    if packed.first() == Some(&b'{') {
        text.push_str(std::str::from_utf8(packed).map_err(std::io::Error::other)?);
    } else {
        zstd::Decoder::new(packed)?.take(BYTES_MAX).read_to_string(&mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back() {
        for text in ["", "{}", "{\"line\":\"é<script>\"}", &"x".repeat(100_000)] {
            assert_eq!(unpack(&pack(text.as_bytes())).unwrap(), text);
        }
        assert_eq!(unpack(b"{\"plain\":1}").unwrap(), "{\"plain\":1}");
        assert!(pack("x".repeat(100_000).as_bytes()).len() < 200);
        assert!(unpack(b"garbage").is_err());
    }
}
