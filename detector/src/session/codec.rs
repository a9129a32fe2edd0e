//! How the events of a session are kept: each as its difference to the one before, in a few bytes.
//!
//! An event is a byte that says how long its fields are, and for the first statements which one it is; then statement,
//! time and offset, little-endian, each in as many bytes as it needs. Times are differences, in seconds where those are
//! whole ones. All of it fits one store of 16 bytes. Events that need more (another file, several lines, a jump of
//! centuries) are written in full. HDFS_v1 sessions take five to six bytes an event.

use crate::settings::FileId;

/// Bytes that one event takes at most: its first byte and five numbers, three of 32 bits and two of 64.
pub(crate) const EVENT_BYTES_MAX: usize = 1 + 3 * 5 + 2 * 10;
/// Bytes that a short event is written and read with at once.
const WORD_BYTES: usize = 16;

const MS: i64 = 1_000;

/// Bytes of a time, by the lowest two bits of the first byte.
const TIME_BYTES: [u32; 4] = [0, 1, 2, 6];
/// Bytes of an offset, by the next two.
const OFFSET_BYTES: [u32; 4] = [2, 3, 4, 5];
/// In the highest four bits: a statement of one byte follows. Below it they are the statement.
const STATEMENT: u8 = 14;
/// In the highest four bits: statement, file, length, time and offset follow as varints (LEB128), and none is a
/// difference.
const FULL: u8 = 15;

/// One event of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionEvent {
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// First byte of the record in its file.
    pub offset: u64,
    /// Which file.
    pub file: FileId,
    /// Length of the record; `0` if it is one line.
    pub bytes: u32,
    /// What it says: a number in a detector, a position among the statements of a
    /// [`SessionGroup`](crate::detector::SessionGroup).
    pub statement: u32,
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
pub(crate) enum Encoded {
    /// At most [`WORD_BYTES`].
    Short {
        /// First byte, statement and time, zeros behind.
        head: u64,
        /// Where the offset begins.
        at: usize,
        offset: u64,
        len: usize,
    },
    Full {
        bytes: [u8; EVENT_BYTES_MAX],
        len: usize,
    },
}

impl Encoded {
    /// Bytes it takes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Short { len, .. } | Self::Full { len, .. } => *len,
        }
    }

    /// Writes it to the start of `room`, which has at least as many bytes; what is behind them may change too.
    #[inline]
    pub(crate) fn write(&self, room: &mut [u8]) {
        match self {
            Self::Short { head, at, offset, len } => match room.first_chunk_mut::<WORD_BYTES>() {
                Some(room) => put(room, *head, *at, *offset),
                None => {
                    let mut word = [0; WORD_BYTES];
                    put(&mut word, *head, *at, *offset);
                    copy(room, &word, *len);
                }
            },
            Self::Full { bytes, len } => copy(room, bytes, *len),
        }
    }
}

/// Writes a short event: two words, of which the second one covers what the first one has beyond it.
#[inline]
fn put(room: &mut [u8; WORD_BYTES], head: u64, at: usize, offset: u64) {
    if let Some(place) = room.first_chunk_mut() {
        *place = head.to_le_bytes();
    }
    if let Some(place) = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = offset.to_le_bytes();
    }
}

fn copy(room: &mut [u8], bytes: &[u8], len: usize) {
    if let (Some(room), Some(bytes)) = (room.get_mut(..len), bytes.get(..len)) {
        room.copy_from_slice(bytes);
    }
}

/// Writes `event`, which comes after `last`.
#[inline]
pub(crate) fn encode(last: Last, event: &SessionEvent) -> Encoded {
    let later_ms = event.time_ms.wrapping_sub(last.time_ms);
    let time = if later_ms == 0 {
        0
    } else if later_ms % MS == 0 {
        zigzag(later_ms / MS) << 1 | 1
    } else {
        zigzag(later_ms).checked_shl(1).unwrap_or(u64::MAX)
    };
    let offset = zigzag(event.offset.wrapping_sub(last.offset).cast_signed());
    let (time_code, time_bytes) = fit(time, TIME_BYTES);
    let (offset_code, offset_bytes) = fit(offset, OFFSET_BYTES);
    let fits = zigzag(later_ms) < 1 << 47 && offset < 1 << 40 && event.statement < 1 << 8;
    if !fits || event.file != last.file || event.bytes != 0 {
        return full(event);
    }
    let statement = u64::from(event.statement);
    let (code, statement_bytes) = match u8::try_from(statement) {
        Ok(statement) if statement < STATEMENT => (statement, 0),
        _ => (STATEMENT, 1),
    };
    let head = u64::from(time_code | offset_code << 2 | code << 4)
        | if statement_bytes == 0 { 0 } else { statement << 8 }
        | time << (8 + 8 * statement_bytes);
    let at = size(1 + statement_bytes + time_bytes);
    Encoded::Short { head, at, offset, len: at + size(offset_bytes) }
}

/// An event that does not fit the short form: no field depends on the one before.
#[cold]
fn full(event: &SessionEvent) -> Encoded {
    let mut writer = Writer { bytes: [0; EVENT_BYTES_MAX], len: 0 };
    writer.byte(FULL << 4);
    writer.varint(event.statement.into());
    writer.varint(event.file.0.into());
    writer.varint(event.bytes.into());
    writer.varint(zigzag(event.time_ms));
    writer.varint(event.offset);
    Encoded::Full { bytes: writer.bytes, len: writer.len }
}

struct Writer {
    bytes: [u8; EVENT_BYTES_MAX],
    len: usize,
}

impl Writer {
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn varint(&mut self, value: u64) {
        let mut rest = value;
        while rest >= 0x80 {
            self.byte(low_byte(rest) | 0x80);
            rest >>= 7;
        }
        self.byte(low_byte(rest));
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

/// All of `events`, as a [`SessionGroup`](crate::detector::SessionGroup) has those of a session: for callers that kept them
/// in another form.
#[must_use]
pub fn pack_events(events: impl IntoIterator<Item = SessionEvent>) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack_events_to(&mut bytes, events);
    bytes
}

/// As [`pack_events`], behind what there is.
pub(crate) fn pack_events_to(bytes: &mut Vec<u8>, events: impl IntoIterator<Item = SessionEvent>) {
    let mut last = Last::default();
    for event in events {
        let encoded = encode(last, &event);
        let start = bytes.len();
        bytes.resize(start + encoded.len(), 0);
        if let Some(room) = bytes.get_mut(start..) {
            encoded.write(room);
        }
        last = after(&event);
    }
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

    fn varint(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            value |= u64::from(byte & 0x7f) << (shift & 63);
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
    }

    /// Statement, time and offset behind the first byte.
    #[inline]
    fn fields(&mut self, [statement, time, offset]: [u32; 3]) -> Option<[u64; 3]> {
        let len = statement + time + offset;
        if len < 16
            && let Some(word) = self.bytes.first_chunk::<WORD_BYTES>()
        {
            let half = |at: u32| Some(u64::from_le_bytes(*word.get(size(at)..)?.first_chunk()?));
            let field = |at: u32, bytes: u32| Some(half(at)? & ones(bytes));
            let fields = [field(0, statement)?, field(statement, time)?, field(statement + time, offset)?];
            self.bytes = self.bytes.get(size(len)..)?;
            return Some(fields);
        }
        Some([self.take(statement)?, self.take(time)?, self.take(offset)?])
    }
}

impl Events<'_> {
    #[cold]
    fn full(&mut self) -> Option<SessionEvent> {
        let [statement, file, bytes] = [self.varint()?, self.varint()?, self.varint()?].map(low_word);
        let (time_ms, offset) = (unzigzag(self.varint()?), self.varint()?);
        Some(SessionEvent { time_ms, offset, file: FileId(file), bytes, statement })
    }

    #[inline]
    fn short(&mut self, head: u8) -> Option<SessionEvent> {
        let code = head >> 4;
        let lengths = |all: [u32; 4], code: u8| all.get(usize::from(code & 3)).copied().unwrap_or(0);
        let (time, offset) = (lengths(TIME_BYTES, head), lengths(OFFSET_BYTES, head >> 2));
        let [statement, time, offset] = self.fields([u32::from(code == STATEMENT), time, offset])?;
        let later = unzigzag(time >> 1);
        let later_ms = if time & 1 == 1 { later.wrapping_mul(MS) } else { later };
        Some(SessionEvent {
            time_ms: self.last.time_ms.wrapping_add(later_ms),
            offset: self.last.offset.wrapping_add(unzigzag(offset).cast_unsigned()),
            file: self.last.file,
            bytes: 0,
            statement: if code == STATEMENT { low_word(statement) } else { u32::from(code) },
        })
    }
}

impl Iterator for Events<'_> {
    type Item = SessionEvent;

    #[inline]
    fn next(&mut self) -> Option<SessionEvent> {
        let (&head, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        let event = if head >> 4 == FULL { self.full()? } else { self.short(head)? };
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

#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is asked for")]
fn low_byte(value: u64) -> u8 {
    value as u8
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
            let bytes = pack_events(events.iter().copied());
            prop_assert_eq!(Events::new(&bytes).collect::<Vec<_>>(), events);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Events::new(&bytes).for_each(drop);
        }
    }
}
