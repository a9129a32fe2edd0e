//! Who was active least recently. A session is entered once and not moved when it speaks: only when its entry comes to
//! the front is it filed anew by when it spoke last. So a line costs nothing here, and the order is exact all the same.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::Slot;

/// Orders that share a bucket: `2^12`.
const BUCKET_BITS: u32 = 12;
/// Emptied buckets that are kept to be used again: as one is emptied another one fills.
const SPARE_MAX: usize = 2;

/// Entries by activity.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Entries by the bucket of the order they had when they were filed; buckets rise.
    buckets: VecDeque<(u64, Vec<Slot>)>,
    /// The bucket that is worked off, which is before all of `buckets`: place of the order in the bucket, and slot.
    front: BinaryHeap<Reverse<(u32, Slot)>>,
    front_bucket: u64,
    /// Emptied buckets, to be used again.
    spare: Vec<Vec<Slot>>,
}

impl Activity {
    /// Enters a slot that was last active at `order`.
    pub(super) fn push(&mut self, slot: Slot, order: u64) {
        let bucket = order >> BUCKET_BITS;
        if self.front.is_empty() || bucket > self.front_bucket {
            self.file(slot, bucket);
        } else if bucket == self.front_bucket {
            self.front.push(Reverse((self.within(order), slot)));
        } else {
            let mut front = std::mem::take(&mut self.front);
            for Reverse((_, slot)) in front.drain() {
                self.file(slot, self.front_bucket);
            }
            self.front = front;
            self.file(slot, bucket);
        }
    }

    /// The place of an order in the bucket that is worked off.
    fn within(&self, order: u64) -> u32 {
        u32::try_from(order.saturating_sub(self.front_bucket << BUCKET_BITS)).unwrap_or(u32::MAX)
    }

    fn file(&mut self, slot: Slot, bucket: u64) {
        // Nearly always it is the last one or a new one behind it.
        let at = match self.buckets.back() {
            Some((last, _)) if *last == bucket => Ok(self.buckets.len() - 1),
            Some((last, _)) if *last > bucket => self.buckets.binary_search_by_key(&bucket, |(its, _)| *its),
            _ => Err(self.buckets.len()),
        };
        let at = at.unwrap_or_else(|at| {
            self.buckets.insert(at, (bucket, self.spare.pop().unwrap_or_default()));
            at
        });
        if let Some((_, slots)) = self.buckets.get_mut(at) {
            slots.push(slot);
        }
    }

    /// The least recently active entry. `order_of` says when a slot was active last; `None` takes its entry out.
    pub(super) fn oldest(&mut self, mut order_of: impl FnMut(Slot) -> Option<u64>) -> Option<(u64, Slot)> {
        loop {
            while let Some(&Reverse((filed, slot))) = self.front.peek() {
                match order_of(slot) {
                    Some(order) if self.within(order) == filed => return Some((order, slot)),
                    now => {
                        self.front.pop();
                        if let Some(order) = now {
                            self.push(slot, order);
                        }
                    }
                }
            }
            let (bucket, mut slots) = self.buckets.pop_front()?;
            self.front_bucket = bucket;
            for slot in slots.drain(..) {
                match order_of(slot) {
                    Some(order) if order >> BUCKET_BITS <= bucket => {
                        self.front.push(Reverse((self.within(order), slot)));
                    }
                    Some(order) => self.file(slot, order >> BUCKET_BITS),
                    None => {}
                }
            }
            if self.spare.len() < SPARE_MAX {
                self.spare.push(slots);
            }
        }
    }

    /// Takes out the entry that [`oldest`](Self::oldest) gave last.
    pub(super) fn pop(&mut self) {
        self.front.pop();
    }

    /// Bytes that all this takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let buckets = self.buckets.iter().map(|(_, slots)| slots);
        let slots: usize = buckets.chain(&self.spare).map(Vec::capacity).sum();
        slots * size_of::<Slot>()
            + self.buckets.capacity() * size_of::<(u64, Vec<Slot>)>()
            + self.spare.capacity() * size_of::<Vec<Slot>>()
            + self.front.capacity() * size_of::<Reverse<(u32, Slot)>>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_leave_in_the_order_of_activity(
            steps in prop::collection::vec((0_u8..8, 0_u32..40, 1_u64..6_000), 1..600),
        ) {
            let (mut activity, mut orders, mut order) = (Activity::default(), HashMap::new(), 0);
            let mut entered = std::collections::HashSet::new();
            for (step, slot, later) in steps {
                order += later;
                if step == 0 {
                    let oldest = activity.oldest(|slot| orders.get(&slot).copied());
                    let expected = orders.iter().map(|(&slot, &order)| (order, slot)).min();
                    prop_assert_eq!(oldest, expected);
                    if let Some((_, slot)) = oldest {
                        activity.pop();
                        orders.remove(&slot);
                        entered.remove(&slot);
                    }
                } else {
                    orders.insert(slot, order);
                    if entered.insert(slot) {
                        activity.push(slot, order);
                    }
                }
            }
        }
    }
}
