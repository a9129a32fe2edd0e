//! Protobuf's wire format, as far as it is read and written by hand: fields one after the other.
//! <https://protobuf.dev/programming-guides/encoding>

use prost::encoding::{WireType, decode_varint, encode_key, encode_varint};

/// The bytes are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Held<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message, each with its number. Ends after the first that is broken.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Held<'a>), Broken>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Broken))
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn field(&mut self) -> Option<(u64, Held<'a>)> {
        let key = self.varint()?;
        let held = match key & 7 {
            0 => Held::Varint(self.varint()?),
            1 => Held::Fixed64(self.fixed()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Held::Bytes(bytes)
            }
            5 => Held::Fixed32(self.fixed()?),
            _ => return None,
        };
        Some((key >> 3, held))
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        match *self.0 {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(byte))
            }
            _ => decode_varint(&mut self.0).ok(),
        }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

/// Appends a message as a field of the one that encloses it.
pub(super) fn put(number: u32, message: &[u8], enclosing: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, enclosing);
    encode_varint(u64::try_from(message.len()).unwrap_or(u64::MAX), enclosing);
    enclosing.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_field_is_read_and_what_is_cut_off_is_broken() {
        let bytes = [0x08, 0xac, 0x02, 0x12, 2, b'a', b'b', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let fields: Vec<_> = Fields(&bytes).collect::<Result<_, _>>().unwrap();
        let expected = [
            (1, Held::Varint(300)),
            (2, Held::Bytes(b"ab")),
            (3, Held::Fixed32([1, 0, 0, 0])),
            (4, Held::Fixed64([2, 0, 0, 0, 0, 0, 0, 0])),
        ];
        assert_eq!(fields, expected);
        for cut in [1, 2, 4, 6, 9, 15, 20] {
            assert_eq!(Fields(&bytes[..cut]).last(), Some(Err(Broken)), "{cut}");
        }
        let mut written = Vec::new();
        put(2, b"ab", &mut written);
        assert_eq!(written, bytes[3..7]);
        // A group, which nobody writes any more.
        assert_eq!(Fields(&[0x0b]).next(), Some(Err(Broken)));
    }
}
