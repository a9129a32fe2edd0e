//! How the events of a session are kept: each as its difference to the one before, in a few bytes.
//!
//! An event is a byte that says how long its fields are, then statement, time, offset and, where the file changed or
//! the record has several lines, file and length; all little-endian. Times are differences, in seconds where those are
//! whole ones; statement, time and offset fit into one store of 16 bytes in all but odd cases. HDFS_v1 sessions take
//! six bytes an event.

use crate::settings::FileId;

/// Bytes that one event takes at most.
pub(crate) const EVENT_BYTES_MAX: usize = 1 + 4 + 8 + 8 + 4 + 4;
/// Bytes that are written and read at once.
const WORD_BYTES: usize = 16;
/// The same where less room is left.
const HALF_BYTES: usize = 8;

const MS: i64 = 1_000;

/// Bytes of a statement, by bit 0 of the first byte.
const STATEMENT_BYTES: [u32; 2] = [1, 4];
/// Bytes of a time, by bits 1 and 2.
const TIME_BYTES: [u32; 4] = [0, 1, 3, 8];
/// Bytes of an offset, by bits 3 and 4.
const OFFSET_BYTES: [u32; 4] = [2, 3, 4, 8];
/// Set where file and length follow.
const PLACE: u8 = 1 << 5;

/// One event of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionEvent {
    pub(crate) time_ms: i64,
    /// First byte of the record in its file.
    pub(crate) offset: u64,
    pub(crate) file: FileId,
    /// Length of the record; `0` if it is one line.
    pub(crate) bytes: u32,
    /// In the detector's numbering of statements.
    pub(crate) statement: u32,
}

/// Where the last event was, which the next one is written relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) time_ms: i64,
    pub(crate) offset: u64,
    pub(crate) file: FileId,
}

/// An event as bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    bytes: [u8; 32],
    len: usize,
}

const _: () = assert!(EVENT_BYTES_MAX <= 32, "an event fits its buffer");

impl Encoded {
    /// Bytes it takes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes it to the start of `room`, which has at least as many bytes; what is behind them may change too.
    #[inline]
    pub(crate) fn write(&self, room: &mut [u8]) {
        if self.len <= WORD_BYTES
            && let (Some(place), Some(word)) =
                (room.first_chunk_mut::<WORD_BYTES>(), self.bytes.first_chunk::<WORD_BYTES>())
        {
            *place = *word;
        } else if self.len <= HALF_BYTES
            && let (Some(place), Some(half)) =
                (room.first_chunk_mut::<HALF_BYTES>(), self.bytes.first_chunk::<HALF_BYTES>())
        {
            *place = *half;
        } else if let (Some(place), Some(bytes)) = (room.get_mut(..self.len), self.bytes.get(..self.len)) {
            place.copy_from_slice(bytes);
        }
    }
}

/// Writes `event`, which comes after `last`.
#[inline]
pub(crate) fn encode(last: Last, event: &SessionEvent) -> Encoded {
    let later_ms = event.time_ms.wrapping_sub(last.time_ms);
    let (later, whole) = match later_ms % MS {
        0 => (later_ms / MS, 1),
        _ => (later_ms, 0),
    };
    // Loses the topmost bit of a difference of millions of years; times are of the years 1970 to 9999.
    let time = if later_ms == 0 { 0 } else { zigzag(later) << 1 | whole };
    let offset = zigzag(event.offset.wrapping_sub(last.offset).cast_signed());
    let statement = u64::from(event.statement);
    let (statement_code, statement_bytes) = fit(statement, STATEMENT_BYTES);
    let (time_code, time_bytes) = fit(time, TIME_BYTES);
    let (offset_code, offset_bytes) = fit(offset, OFFSET_BYTES);
    let place = event.file != last.file || event.bytes != 0;
    let head = statement_code | time_code << 1 | offset_code << 3 | if place { PLACE } else { 0 };
    let mut encoded = Encoded { bytes: [0; 32], len: 0 };
    let len = 1 + statement_bytes + time_bytes + offset_bytes;
    if len <= 16 && !place {
        let word = u128::from(head)
            | u128::from(statement) << 8
            | u128::from(time) << (8 + 8 * statement_bytes)
            | u128::from(offset) << (8 + 8 * (statement_bytes + time_bytes));
        if let Some(bytes) = encoded.bytes.first_chunk_mut() {
            *bytes = word.to_le_bytes();
        }
        encoded.len = size(len);
        return encoded;
    }
    encoded.put(u64::from(head), 1);
    encoded.put(statement, statement_bytes);
    encoded.put(time, time_bytes);
    encoded.put(offset, offset_bytes);
    if place {
        encoded.put(u64::from(event.file.0), 4);
        encoded.put(u64::from(event.bytes), 4);
    }
    encoded
}

impl Encoded {
    #[cold]
    fn put(&mut self, value: u64, bytes: u32) {
        let bytes = size(bytes);
        if let (Some(place), Some(value)) =
            (self.bytes.get_mut(self.len..self.len + bytes), value.to_le_bytes().get(..bytes))
        {
            place.copy_from_slice(value);
            self.len += bytes;
        }
    }
}

/// The first of some rising numbers of bytes that hold a value, as its position and itself.
#[inline]
fn fit<const N: usize>(value: u64, bytes: [u32; N]) -> (u8, u32) {
    let bits = u64::BITS - value.leading_zeros();
    let code: u8 = bytes.iter().map(|bytes| u8::from(bits > 8 * bytes)).sum();
    (code, bytes.get(usize::from(code)).copied().unwrap_or(8))
}

#[inline]
fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

/// Where `event` leaves the next one.
pub(crate) fn after(event: &SessionEvent) -> Last {
    Last { time_ms: event.time_ms, offset: event.offset, file: event.file }
}

/// Reads what [`encode`] wrote, event by event.
#[derive(Clone, Debug)]
pub(crate) struct Events<'a> {
    bytes: &'a [u8],
    last: Last,
}

impl<'a> Events<'a> {
    /// Reads `bytes`, which whole events end with.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, last: Last::default() }
    }

    /// Takes a field off the front; `None` where the bytes end before.
    fn take(&mut self, bytes: u32) -> Option<u64> {
        let (field, rest) = self.bytes.split_at_checked(size(bytes))?;
        self.bytes = rest;
        Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// Statement, time and offset behind the first byte.
    #[inline]
    fn fields(&mut self, [statement, time, offset]: [u32; 3]) -> Option<[u64; 3]> {
        let len = statement + time + offset;
        if len < 16
            && let Some(word) = self.bytes.first_chunk::<WORD_BYTES>()
        {
            let word = u128::from_le_bytes(*word);
            self.bytes = self.bytes.get(size(len)..)?;
            let field = |at: u32, bytes: u32| low_half(word >> (8 * at)) & ones(bytes);
            return Some([field(0, statement), field(statement, time), field(statement + time, offset)]);
        }
        Some([self.take(statement)?, self.take(time)?, self.take(offset)?])
    }
}

impl Iterator for Events<'_> {
    type Item = SessionEvent;

    #[inline]
    fn next(&mut self) -> Option<SessionEvent> {
        let (&head, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        let lengths = |all: &[u32], code: u8| all.get(usize::from(code)).copied();
        let statement = lengths(&STATEMENT_BYTES, head & 1)?;
        let time = lengths(&TIME_BYTES, head >> 1 & 3)?;
        let offset = lengths(&OFFSET_BYTES, head >> 3 & 3)?;
        let [statement, time, offset] = self.fields([statement, time, offset])?;
        let later = unzigzag(time >> 1);
        let later_ms = if time & 1 == 1 { later.wrapping_mul(MS) } else { later };
        let mut event = SessionEvent {
            time_ms: self.last.time_ms.wrapping_add(later_ms),
            offset: self.last.offset.wrapping_add(unzigzag(offset).cast_unsigned()),
            file: self.last.file,
            bytes: 0,
            statement: low_word(statement),
        };
        if head & PLACE != 0 {
            event.file = FileId(low_word(self.take(4)?));
            event.bytes = low_word(self.take(4)?);
        }
        self.last = after(&event);
        Some(event)
    }
}

/// Small numbers of either sign to small numbers.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// A mask of so many bytes.
#[inline]
fn ones(bytes: u32) -> u64 {
    u64::MAX.checked_shr(64 - 8 * bytes).unwrap_or(0)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
fn low_half(word: u128) -> u64 {
    word as u64
}

#[expect(clippy::cast_possible_truncation, reason = "a word was written")]
fn low_word(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = SessionEvent> {
        let time =
            prop_oneof![any::<i32>().prop_map(i64::from), -62_000_000_000_000_i64..253_000_000_000_000];
        (time, any::<u64>(), 0_u32..3, prop_oneof![Just(0), any::<u32>()], any::<u32>()).prop_map(
            |(time_ms, offset, file, bytes, statement)| SessionEvent {
                time_ms,
                offset,
                file: FileId(file),
                bytes,
                statement,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(events in prop::collection::vec(event(), 0..20)) {
            let mut bytes = Vec::new();
            let mut last = Last::default();
            for event in &events {
                let encoded = encode(last, event);
                let start = bytes.len();
                bytes.resize(start + encoded.len(), 0);
                encoded.write(&mut bytes[start..]);
                last = after(event);
            }
            prop_assert_eq!(Events::new(&bytes).collect::<Vec<_>>(), events);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Events::new(&bytes).for_each(drop);
        }
    }
}
