//! What waits to leave: a host takes at most one record for each that it gives. Bounded in bytes; time stands still for
//! the sessions while much waits, so only sessions that have to make room can fill it. What there is no room for is
//! dropped and counted.

use std::collections::VecDeque;

/// Bytes that may wait.
const BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// Bytes from which on no session is scored that could as well be scored later.
const BYTES_MUCH: usize = 256 * 1_024;

/// Something that waits, as JSON.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) json: Vec<u8>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A report, whole.
    Report,
    /// The verdict of a report.
    Verdict,
    /// A summary.
    Summary,
}

impl Kind {
    /// What the member is called that carries it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Verdict => "verdict",
            Self::Summary => "summary",
        }
    }
}

/// The items, the next one first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// Reports there was no room for.
    pub(crate) dropped: u64,
}

impl Queue {
    /// Puts an item at the end.
    pub(crate) fn push(&mut self, item: Item) {
        if self.bytes.saturating_add(item.json.len()) > BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.bytes += item.json.len();
        self.items.push_back(item);
    }

    /// Puts an item in front of all others.
    pub(crate) fn push_first(&mut self, item: Item) {
        self.bytes += item.json.len();
        self.items.push_front(item);
    }

    /// The next item; `pop` takes it out.
    pub(crate) fn first(&self) -> Option<&Item> {
        self.items.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.json.len();
        Some(item)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether what can wait should.
    pub(crate) fn is_long(&self) -> bool {
        self.bytes >= BYTES_MUCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut queue = Queue::default();
        for _ in 0..5 {
            queue.push(Item { kind: Kind::Report, json: vec![b'x'; BYTES_MAX / 4] });
        }
        assert_eq!((queue.len(), queue.dropped, queue.is_long()), (4, 1, true));
        while queue.pop().is_some() {}
        assert_eq!((queue.bytes, queue.is_long()), (0, false));
    }
}
