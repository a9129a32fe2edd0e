//! A report's JSON as it lies in the database: packed with zstd, which takes it to a fifth or less.

use std::cell::RefCell;
use std::io::Read;

use zstd::bulk::Compressor;

/// Fast; the next level saves a few percent more.
const LEVEL: i32 = 1;
/// Bytes of a report's JSON: more than any accepted record gives.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Packs a text. Runs where requests are decoded, not in the one thread that writes.
pub(crate) fn pack(text: &str) -> Vec<u8> {
    thread_local! {
        static PACKER: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    }
    let packed = PACKER.with_borrow_mut(|packer| packer.as_mut()?.compress(text.as_bytes()).ok());
    // Only memory can be missing; the text itself is told apart by its first byte.
    packed.unwrap_or_else(|| text.as_bytes().to_vec())
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
            assert_eq!(unpack(&pack(text)).unwrap(), text);
        }
        assert_eq!(unpack(b"{\"plain\":1}").unwrap(), "{\"plain\":1}");
        assert!(pack(&"x".repeat(100_000)).len() < 200);
        assert!(unpack(b"garbage").is_err());
    }
}
