//! Where the session of a block is: an open-addressing table with linear probing (Knuth, vol. 3, 6.4, algorithms L and
//! R). One place is eight bytes, half of them from the hash, so that a look-up reads one line of memory, a batch of look-ups
//! can ask for all of theirs before it waits for the first, and nothing here reads a session to move it.

use super::Slot;

/// Places that a table has at least.
const PLACES_MIN: usize = 16;
/// No place is taken beyond this many in ten.
const TAKEN_IN_TEN: usize = 8;

/// Slots by hash.
#[derive(Debug)]
pub(super) struct Index {
    /// A part of the hash above the slot; `EMPTY` where there is none. A power of two of them.
    places: Vec<u64>,
    len: usize,
}

const EMPTY: u64 = u64::MAX;

impl Index {
    pub(super) fn new() -> Self {
        Self { places: vec![EMPTY; PLACES_MIN], len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that all this takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<u64>()
    }

    /// Reads where the search for a hash starts.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        self.places.get(self.home(hash)).copied().unwrap_or(EMPTY)
    }

    /// The slots with this hash.
    #[inline]
    pub(super) fn all(&self, hash: u64) -> impl Iterator<Item = Slot> {
        let mut at = self.home(hash);
        std::iter::from_fn(move || {
            loop {
                let place = *self.places.get(at).filter(|place| **place != EMPTY)?;
                at = self.behind(at);
                if tag(place) == tag(hash) {
                    return Some(slot(place));
                }
            }
        })
    }

    /// Adds a slot.
    pub(super) fn insert(&mut self, hash: u64, slot: Slot) {
        if (self.len + 1) * 10 > self.places.len() * TAKEN_IN_TEN {
            let larger = vec![EMPTY; self.places.len() * 2];
            let taken = std::mem::replace(&mut self.places, larger);
            taken.into_iter().filter(|place| *place != EMPTY).for_each(|place| self.put(place));
        }
        self.put(hash & TAG | u64::from(slot));
        self.len += 1;
    }

    fn put(&mut self, place: u64) {
        let mut at = self.home(place);
        while let Some(old) = self.places.get_mut(at) {
            if *old == EMPTY {
                *old = place;
                return;
            }
            at = self.behind(at);
        }
    }

    /// Takes a slot out, and moves those up that had to go further because of it.
    pub(super) fn remove(&mut self, hash: u64, slot: Slot) {
        let mut at = self.home(hash);
        loop {
            match self.places.get(at) {
                None | Some(&EMPTY) => return,
                Some(&place) if self::slot(place) == slot => break,
                Some(_) => at = self.behind(at),
            }
        }
        self.len -= 1;
        let mut next = at;
        loop {
            next = self.behind(next);
            let moved = match self.places.get(next) {
                None | Some(&EMPTY) => break,
                Some(&place) => place,
            };
            let home = self.home(moved);
            // It may not go before its home; all this is modulo the number of places.
            let mask = self.places.len() - 1;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(at) & mask {
                self.set(at, moved);
                at = next;
            }
        }
        self.set(at, EMPTY);
    }

    fn set(&mut self, at: usize, place: u64) {
        if let Some(old) = self.places.get_mut(at) {
            *old = place;
        }
    }

    /// Where the search for a hash, or for what is in a place, starts.
    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash >> u32::BITS).unwrap_or(0) & (self.places.len() - 1)
    }

    fn behind(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }
}

/// The upper half of a hash, all of it that counts.
const TAG: u64 = !(u32::MAX as u64);

fn tag(hash: u64) -> u64 {
    hash & TAG
}

fn slot(place: u64) -> Slot {
    Slot::try_from(place & !TAG).unwrap_or(Slot::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Hashes of few bits, so that many slots share a home, also at the end of the table.
        #[test]
        fn slots_come_and_go_as_in_a_set(
            steps in prop::collection::vec((any::<bool>(), 0_u32..80), 1..300), bits in 0_u32..6,
        ) {
            let hash = |slot: Slot| (u64::from(slot) % (1 << bits)) * 0x1_0000_0000 + (13 << 32);
            let (mut index, mut all) = (Index::new(), BTreeSet::new());
            for (insert, slot) in steps {
                if insert && all.insert(slot) {
                    index.insert(hash(slot), slot);
                } else if !insert {
                    all.remove(&slot);
                    index.remove(hash(slot), slot);
                }
                prop_assert_eq!(index.len(), all.len());
                for slot in 0..80 {
                    let found = index.all(hash(slot)).find(|&other| other == slot);
                    prop_assert_eq!(found, all.get(&slot).copied());
                }
            }
        }
    }
}
