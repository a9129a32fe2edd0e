//! Reads MessagePack piece by piece, without copying and without recursion: what a length or a depth claims costs
//! nothing before the bytes are there.

/// Why there is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The bytes end within it.
    Incomplete,
    /// It is no MessagePack, or not what should be here.
    Wrong,
}

/// One item. Of an array or map only how many items follow: its own, keys and values alternating.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a [u8]),
    Binary(&'a [u8]),
    Extension(&'a [u8]),
    Array(usize),
    Map(usize),
}

/// How far an item goes that is still arriving: what was gone through once is not gone through again.
#[derive(Debug)]
pub(super) struct Extent {
    /// Bytes of what is known of it.
    bytes: usize,
    /// Items in it that are still to come.
    items: usize,
}

impl Default for Extent {
    fn default() -> Self {
        Self { bytes: 0, items: 1 }
    }
}

impl Extent {
    /// Length of the item at the front of `bytes`, which begin as they did at the last look.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<usize, Trouble> {
        let mut reader = Reader::new(bytes.get(self.bytes..).unwrap_or_default());
        while self.items > 0 {
            let inner = match reader.item()? {
                Item::Array(items) => items,
                Item::Map(entries) => entries.saturating_mul(2),
                _ => 0,
            };
            self.items = (self.items - 1).saturating_add(inner);
            self.bytes = bytes.len() - reader.rest().len();
        }
        Ok(self.bytes)
    }
}

/// Reads from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn item(&mut self) -> Result<Item<'a>, Trouble> {
        let tag = self.byte()?;
        Ok(match tag {
            0x00..=0x7f => Item::Int(tag.into()),
            0x80..=0x8f => Item::Map(usize::from(tag & 0x0f)),
            0x90..=0x9f => Item::Array(usize::from(tag & 0x0f)),
            0xa0..=0xbf => Item::Text(self.take(usize::from(tag & 0x1f))?),
            0xc0 => Item::Nil,
            0xc1 => return Err(Trouble::Wrong),
            0xc2 | 0xc3 => Item::Bool(tag == 0xc3),
            0xc4..=0xc6 => Item::Binary(self.sized(tag - 0xc4)?),
            0xc7..=0xc9 => {
                let length = self.length(tag - 0xc7)?;
                self.byte()?;
                Item::Extension(self.take(length)?)
            }
            0xca => Item::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Item::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Item::Int(self.byte()?.into()),
            0xcd => Item::Int(u16::from_be_bytes(self.array()?).into()),
            0xce => Item::Int(u32::from_be_bytes(self.array()?).into()),
            0xcf => Item::Int(i64::try_from(u64::from_be_bytes(self.array()?)).unwrap_or(i64::MAX)),
            0xd0 => Item::Int(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Item::Int(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Item::Int(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Item::Int(i64::from_be_bytes(self.array()?)),
            0xd4..=0xd8 => {
                self.byte()?;
                Item::Extension(self.take(1 << (tag - 0xd4))?)
            }
            0xd9..=0xdb => Item::Text(self.sized(tag - 0xd9)?),
            0xdc | 0xdd => Item::Array(self.length(tag - 0xdc + 1)?),
            0xde | 0xdf => Item::Map(self.length(tag - 0xde + 1)?),
            0xe0..=0xff => Item::Int(i64::from(tag.cast_signed())),
        })
    }

    /// Passes over one item with everything in it; the bytes of it.
    pub(super) fn skip(&mut self) -> Result<&'a [u8], Trouble> {
        let length = Extent::default().look(self.rest)?;
        self.take(length)
    }

    /// `0` to `2`: a length of 1, 2 or 4 bytes.
    fn length(&mut self, width: u8) -> Result<usize, Trouble> {
        let length = match width {
            0 => self.byte()?.into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            _ => u32::from_be_bytes(self.array()?),
        };
        usize::try_from(length).map_err(|_| Trouble::Wrong)
    }

    fn sized(&mut self, width: u8) -> Result<&'a [u8], Trouble> {
        let length = self.length(width)?;
        self.take(length)
    }

    fn byte(&mut self) -> Result<u8, Trouble> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Trouble> {
        self.take(N)?.try_into().map_err(|_| Trouble::Incomplete)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Trouble> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Trouble::Incomplete)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_item_is_read() {
        let cases: &[(&[u8], Item<'_>)] = &[
            (&[0x05], Item::Int(5)),
            (&[0xff], Item::Int(-1)),
            (&[0xd0, 0x80], Item::Int(-128)),
            (&[0xd1, 0xff, 0xfe], Item::Int(-2)),
            (&[0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0], Item::Int(i64::MAX)),
            (&[0xce, 0, 0, 1, 0], Item::Int(256)),
            (&[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], Item::Float(1.0)),
            (&[0xc0], Item::Nil),
            (&[0xc3], Item::Bool(true)),
            (&[0xa2, b'h', b'i'], Item::Text(b"hi")),
            (&[0xda, 0, 1, b'x'], Item::Text(b"x")),
            (&[0xc4, 2, 1, 2], Item::Binary(&[1, 2])),
            (&[0xd7, 0, 1, 2, 3, 4, 5, 6, 7, 8], Item::Extension(&[1, 2, 3, 4, 5, 6, 7, 8])),
            (&[0xc7, 1, 9, 7], Item::Extension(&[7])),
            (&[0x93], Item::Array(3)),
            (&[0xdc, 1, 0], Item::Array(256)),
            (&[0xdf, 0, 0, 0, 1], Item::Map(1)),
        ];
        for (bytes, item) in cases {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.item(), Ok(*item), "{bytes:?}");
            assert!(reader.rest().is_empty());
            for cut in 0..bytes.len() {
                assert_eq!(Reader::new(&bytes[..cut]).item(), Err(Trouble::Incomplete));
            }
        }
        assert_eq!(Reader::new(&[0xc1]).item(), Err(Trouble::Wrong));
    }

    #[test]
    fn nesting_and_claimed_lengths_cost_nothing() {
        let deep = vec![0x91; 1_000_000];
        assert_eq!(Reader::new(&deep).skip(), Err(Trouble::Incomplete));
        assert_eq!(Reader::new(&[0xdf, 0xff, 0xff, 0xff, 0xff]).skip(), Err(Trouble::Incomplete));
        let mut reader = Reader::new(&[0x92, 0x81, 0xa1, b'k', 0x90, 0x01, 0x02]);
        assert_eq!(reader.skip().map(<[u8]>::len), Ok(6));
        assert_eq!(reader.item(), Ok(Item::Int(2)));
    }

    #[test]
    fn an_item_that_arrives_byte_by_byte_is_found_when_it_is_complete() {
        let bytes = [0x92, 0x81, 0xa1, b'k', 0x90, 0xa2, b'h', b'i', 0x01];
        let mut extent = Extent::default();
        for cut in 0..8 {
            assert_eq!(extent.look(&bytes[..cut]), Err(Trouble::Incomplete));
        }
        assert_eq!(extent.look(&bytes), Ok(8));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let mut reader = Reader::new(&bytes);
            while reader.item().is_ok() {}
            if let Ok(item) = Reader::new(&bytes).skip() {
                prop_assert!(bytes.starts_with(item));
            }
        }
    }
}
