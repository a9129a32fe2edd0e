//! How the events of a session are kept: each as its difference to the one before, in a few bytes.
//!
//! An event is a row of varints (LEB128): statement and whether place follows; time; offset; and, where the file changed
//! or the record has several lines, file and length. Times are differences in seconds where those are whole ones.
//! HDFS_v1 sessions take six bytes an event.

use crate::settings::FileId;

/// Bytes that one event takes at most: six varints of 64 bits.
pub(crate) const EVENT_BYTES_MAX: usize = 60;

const MS: i64 = 1_000;

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

/// A few bytes on the stack that an event is written into.
#[derive(Debug)]
pub(crate) struct Encoded {
    bytes: [u8; EVENT_BYTES_MAX],
    len: usize,
}

impl Encoded {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let Some(place) = self.bytes.get_mut(self.len) else { return };
            self.len += 1;
            if value < 0x80 {
                *place = low_byte(value);
                return;
            }
            *place = low_byte(value) | 0x80;
            value >>= 7;
        }
    }
}

/// Writes `event`, which comes after `last`.
pub(crate) fn encode(last: Last, event: &SessionEvent) -> Encoded {
    let mut encoded = Encoded { bytes: [0; EVENT_BYTES_MAX], len: 0 };
    let place = event.file != last.file || event.bytes != 0;
    encoded.varint(u64::from(event.statement) << 1 | u64::from(place));
    let later_ms = event.time_ms.wrapping_sub(last.time_ms);
    if later_ms % MS == 0 {
        encoded.varint(zigzag(later_ms / MS) << 1 | 1);
    } else {
        // Loses the topmost bit of a difference of millions of years; times are of the years 1970 to 9999.
        encoded.varint(zigzag(later_ms) << 1);
    }
    encoded.varint(zigzag(event.offset.wrapping_sub(last.offset).cast_signed()));
    if place {
        encoded.varint(u64::from(event.file.0));
        encoded.varint(u64::from(event.bytes));
    }
    encoded
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
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, last: Last::default() }
    }

    fn varint(&mut self) -> Option<u64> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        let mut value = u64::from(first & 0x7f);
        if first < 0x80 {
            return Some(value);
        }
        let mut shift = 7;
        loop {
            let (&next, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            value |= u64::from(next & 0x7f) << (shift & 63);
            if next < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
    }
}

impl Iterator for Events<'_> {
    type Item = SessionEvent;

    fn next(&mut self) -> Option<SessionEvent> {
        let head = self.varint()?;
        let time = self.varint()?;
        let later = unzigzag(time >> 1);
        let later_ms = if time & 1 == 1 { later.wrapping_mul(MS) } else { later };
        let further = unzigzag(self.varint()?);
        let mut event = SessionEvent {
            time_ms: self.last.time_ms.wrapping_add(later_ms),
            offset: self.last.offset.wrapping_add(further.cast_unsigned()),
            file: self.last.file,
            bytes: 0,
            statement: low_word(head >> 1),
        };
        if head & 1 == 1 {
            event.file = FileId(low_word(self.varint()?));
            event.bytes = low_word(self.varint()?);
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
            let mut bytes = Vec::new();
            let mut last = Last::default();
            for event in &events {
                bytes.extend_from_slice(encode(last, event).as_slice());
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
