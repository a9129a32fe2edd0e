//! Sessions: the ordered events of one block on one node, and which of them spoke last.
//!
//! A session is in one of two lists, both in order of activity: [`List::Speaking`] since its last event until it is
//! scored, [`List::Quiet`] from then on until it speaks again or is forgotten. Events are kept as they came, encoded;
//! whoever reads them puts late ones in their place.

mod activity;
mod codec;
mod index;
mod pages;
mod slot;

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap};

use crate::key::BlockId;
use activity::Activity;
use codec::{EVENT_BYTES_MAX, Last, after, encode};
pub(crate) use codec::{Events, pack_events_to};
pub use codec::{SessionEvent, pack_events};
use index::Index;
use pages::{PIECE_BYTES_MAX, Pages, Size};
pub(crate) use slot::{Flags, List, PoolId, Session};

/// Position of a session in [`Sessions`].
pub(crate) type Slot = u32;
/// No session.
pub(crate) const NONE: Slot = Slot::MAX;
/// Low bits of a slot: its place in its block of [`SLOTS_STEP`].
const SLOTS_BITS: u32 = 8;
/// Sessions that room is made for at once.
const SLOTS_STEP: usize = 1 << SLOTS_BITS;
/// Events that a session can hold; a lower `events_max` of the settings counts.
pub(crate) const EVENTS_MAX: usize = 8_192;

/// Bytes that a count of dropped events takes, with its share of the tree.
const DROPPED_BYTES: usize = 24;

/// What a session may grow to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Beyond it the middle quarter of the events keeps only its counts.
    pub(crate) events_max: usize,
    /// How late an event may come to be put in its place by time.
    pub(crate) reorder_ms: i64,
}

/// Where the sessions of a batch of keys may be.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    hashes: Vec<u64>,
    pub(crate) slots: Vec<Slot>,
}

impl Guesses {
    /// Bytes that all this takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.hashes.capacity() * size_of::<u64>() + self.slots.capacity() * size_of::<Slot>()
    }
}

/// All sessions that are remembered.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: Vec<Box<[Session]>>,
    /// Slots that were ever used.
    used: Slot,
    free: Vec<Slot>,
    index: Index,
    hasher: DefaultHashBuilder,
    pages: Pages,
    speaking: Activity,
    quiet: Activity,
    order: u64,
    /// Events that made room, by slot and statement.
    dropped: HashMap<Slot, BTreeMap<u32, u32>>,
    scratch: Vec<SessionEvent>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            used: 0,
            free: Vec::new(),
            index: Index::new(),
            hasher: DefaultHashBuilder::default(),
            pages: Pages::new(),
            speaking: Activity::default(),
            quiet: Activity::default(),
            order: 0,
            dropped: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes that all this takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let dropped: usize = self.dropped.values().map(|counts| counts.len() * DROPPED_BYTES).sum();
        self.slots.len() * SLOTS_STEP * size_of::<Session>()
            + self.slots.capacity() * size_of::<Box<[Session]>>()
            + self.free.capacity() * size_of::<Slot>()
            + self.index.memory_bytes()
            + self.pages.memory_bytes()
            + self.speaking.memory_bytes()
            + self.quiet.memory_bytes()
            + self.dropped.allocation_size()
            + dropped
            + self.scratch.capacity() * size_of::<SessionEvent>()
    }

    /// Bytes of the sessions that are remembered, without what is kept ready for others.
    pub(crate) fn data_bytes(&self) -> usize {
        self.pages.taken() + self.len() * (size_of::<Session>() + 2 * size_of::<Slot>())
    }

    /// Gives back the memory of events that is only kept ready for others.
    pub(crate) fn give_back(&mut self) {
        self.pages.give_back();
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Session> {
        at(&self.slots, slot).filter(|session| session.flags.has(Flags::LIVE))
    }

    /// All sessions, in no order that means anything.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..self.used).filter(|&slot| self.get(slot).is_some())
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Session> {
        at_mut(&mut self.slots, slot).filter(|session| session.flags.has(Flags::LIVE))
    }

    /// Looks for the sessions of many blocks at once, so that the waits for memory overlap. What is found is a guess
    /// for [`find`](Self::find): sessions may come and go meanwhile.
    pub(crate) fn guess(&self, keys: impl Iterator<Item = BlockId>, Guesses { hashes, slots }: &mut Guesses) {
        hashes.clear();
        hashes.extend(keys.map(|block| self.hasher.hash_one(block)));
        // First all places in the index, then all sessions: a wait for one is a wait for all.
        std::hint::black_box(hashes.iter().fold(0, |all, &hash| all ^ self.index.touch(hash)));
        slots.clear();
        slots.extend(hashes.iter().map(|&hash| self.index.all(hash).next().unwrap_or(NONE)));
        std::hint::black_box(
            slots.iter().filter_map(|&slot| at(&self.slots, slot)).fold(0, |all, it| all ^ it.id),
        );
    }

    /// The session of a block, which is at `guess` if that is still right. One whose pool is not known yet takes the
    /// pool given; where several pools have the block and none is given, it is the session that was active last.
    pub(crate) fn find(&mut self, block: BlockId, pool: PoolId, guess: Slot) -> Option<Slot> {
        // A session without a pool is the only one of its block.
        let is_sure = |session: &Session| session.pool == pool || session.pool.0 == 0;
        let guessed = self.get(guess).filter(|session| session.is_of(block, pool));
        let slot = if guessed.is_some_and(is_sure) { guess } else { self.look_up(block, pool)? };
        if let Some(session) = self.get_mut(slot)
            && session.pool.0 == 0
        {
            session.pool = pool;
        }
        Some(slot)
    }

    /// The sessions of a block, one for each pool, in the order in which they began.
    pub(crate) fn of_block(&self, block: BlockId) -> Vec<Slot> {
        let its =
            |slot| self.get(slot).filter(|session| session.block == block && session.pool != PoolId::NODE);
        let slots = self.index.all(self.hasher.hash_one(block));
        let mut found: Vec<(u64, Slot)> = slots.filter_map(|slot| Some((its(slot)?.order, slot))).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, slot)| slot).collect()
    }

    fn look_up(&self, block: BlockId, pool: PoolId) -> Option<Slot> {
        let its = |slot| at(&self.slots, slot).filter(|session| session.is_of(block, pool));
        let slots = self.index.all(self.hasher.hash_one(block));
        // Not the first one found: that would depend on what came and went before.
        slots.filter_map(|slot| Some((its(slot)?.order, slot))).max().map(|(_, slot)| slot)
    }

    /// Adds a session without events, which speaks.
    pub(crate) fn insert(&mut self, block: BlockId, pool: PoolId, id: u64) -> Slot {
        self.order += 1;
        let slot = self.place(block, pool, id, self.order);
        self.enter(slot, List::Speaking);
        slot
    }

    fn place(&mut self, block: BlockId, pool: PoolId, id: u64, order: u64) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| self.fresh());
        let piece = self.pages.take(Size::SMALLEST);
        if let Some(session) = at_mut(&mut self.slots, slot) {
            let mut flags = session.flags;
            flags.0 &= Flags::ENTERED_SPEAKING | Flags::ENTERED_QUIET;
            flags.set(Flags::LIVE, true);
            *session = Session { block, id, order, piece, pool, flags, ..Session::FREE };
        }
        let hash = self.hasher.hash_one(block);
        self.index.insert(hash, slot);
        slot
    }

    fn fresh(&mut self) -> Slot {
        if usize::try_from(self.used).unwrap_or(usize::MAX) == self.slots.len() * SLOTS_STEP {
            self.slots.push(vec![Session::FREE; SLOTS_STEP].into_boxed_slice());
        }
        self.used += 1;
        self.used - 1
    }

    /// Adds an event to a session, which speaks from then on. Beyond `events_max` the middle quarter of its events
    /// makes room and keeps only its counts.
    pub(crate) fn add(&mut self, slot: Slot, event: &SessionEvent, active_ms: i64, limits: Limits) {
        let is_full = |session: &Session| {
            usize::from(session.events) >= limits.events_max.clamp(1, EVENTS_MAX)
                || usize::from(session.bytes) + EVENT_BYTES_MAX > PIECE_BYTES_MAX
        };
        if at(&self.slots, slot).is_some_and(is_full) {
            self.drop_middle(slot, limits.reorder_ms);
        }
        self.order += 1;
        let Some(session) = at_mut(&mut self.slots, slot) else { return };
        (session.order, session.active_ms) = (self.order, active_ms);
        append(session, &mut self.pages, event);
        if session.flags.has(Flags::QUIET) {
            session.flags.set(Flags::QUIET, false);
            self.enter(slot, List::Speaking);
        }
    }

    /// Adds a session as it was, with its events in the order in which they came.
    pub(crate) fn restore(
        &mut self,
        (block, pool, id): (BlockId, PoolId, u64),
        list: List,
        (active_ms, order): (i64, u64),
        events: &[SessionEvent],
    ) -> Slot {
        self.order = self.order.max(order);
        let slot = self.place(block, pool, id, order);
        if let Some(session) = at_mut(&mut self.slots, slot) {
            session.active_ms = active_ms;
            session.flags.set(Flags::QUIET, list == List::Quiet);
            for event in events.iter().take(EVENTS_MAX) {
                append(session, &mut self.pages, event);
            }
        }
        self.enter(slot, list);
        slot
    }

    /// The events of a session in the order in which they came.
    pub(crate) fn events(&self, session: &Session) -> impl Iterator<Item = SessionEvent> {
        Events::new(
            self.pages.get(session.piece, session.size).get(..usize::from(session.bytes)).unwrap_or_default(),
        )
    }

    /// Events that made room, by statement.
    pub(crate) fn dropped(&self, slot: Slot) -> Option<&BTreeMap<u32, u32>> {
        self.dropped.get(&slot)
    }

    /// Counts events of a session as dropped.
    pub(crate) fn count_dropped(&mut self, slot: Slot, counts: impl Iterator<Item = (u32, u32)>) {
        for (statement, count) in counts {
            let sum = self.dropped.entry(slot).or_default().entry(statement).or_insert(0);
            *sum = sum.saturating_add(count);
        }
    }

    /// Events a session ever had: the revision of its reports.
    pub(crate) fn revision(&self, slot: Slot) -> u64 {
        let kept = self.get(slot).map_or(0, |session| u64::from(session.events));
        kept + self.events_dropped(slot)
    }

    pub(crate) fn events_dropped(&self, slot: Slot) -> u64 {
        self.dropped(slot).map_or(0, |counts| counts.values().map(|&count| u64::from(count)).sum())
    }

    /// Moves a scored session to the quiet list; its activity stays what it was.
    pub(crate) fn quieten(&mut self, slot: Slot) {
        if let Some(session) = at_mut(&mut self.slots, slot) {
            session.flags.set(Flags::QUIET, true);
            self.enter(slot, List::Quiet);
        }
    }

    /// Forgets a session; what it was.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Session> {
        let session = *self.get(slot)?;
        let hash = self.hasher.hash_one(session.block);
        self.index.remove(hash, slot);
        self.pages.free(session.piece, session.size);
        self.dropped.remove(&slot);
        if let Some(session) = at_mut(&mut self.slots, slot) {
            session.flags.set(Flags::LIVE, false);
        }
        self.free.push(slot);
        Some(session)
    }

    /// Takes up to `count` of the least recently active sessions of some lists off those lists, for the caller to move
    /// or to forget. Only sessions that were not active after `since_ms` are taken.
    pub(crate) fn take_oldest(&mut self, lists: &[List], since_ms: i64, count: usize, slots: &mut Vec<Slot>) {
        slots.clear();
        while slots.len() < count {
            let oldest = lists
                .iter()
                .filter_map(|&list| Some((self.oldest_with_order(list)?, list)))
                .min_by_key(|it| it.0);
            let Some(((_, slot), list)) = oldest else { break };
            let Some(session) = at_mut(&mut self.slots, slot).filter(|session| session.active_ms <= since_ms)
            else {
                break;
            };
            session.flags.set(Flags::entered(list), false);
            match list {
                List::Speaking => self.speaking.pop(),
                List::Quiet => self.quiet.pop(),
            }
            slots.push(slot);
        }
        // Reads the events of all, so that the waits for memory overlap.
        let first = |&slot: &Slot| self.events(at(&self.slots, slot)?).next();
        std::hint::black_box(slots.iter().filter_map(first).fold(0, |all, event| all ^ event.offset));
    }

    fn oldest_with_order(&mut self, list: List) -> Option<(u64, Slot)> {
        let slots = &mut self.slots;
        let order_of = |slot| {
            let session = at_mut(slots, slot)?;
            if session.flags.has(Flags::LIVE) && session.list() == list {
                return Some(session.order);
            }
            session.flags.set(Flags::entered(list), false);
            None
        };
        match list {
            List::Speaking => self.speaking.oldest(order_of),
            List::Quiet => self.quiet.oldest(order_of),
        }
    }

    fn enter(&mut self, slot: Slot, list: List) {
        let Some(session) = at_mut(&mut self.slots, slot) else { return };
        if session.flags.has(Flags::entered(list)) {
            return;
        }
        session.flags.set(Flags::entered(list), true);
        match list {
            List::Speaking => self.speaking.push(slot, session.order),
            List::Quiet => self.quiet.push(slot, session.order),
        }
    }

    /// Drops the middle quarter of a session's events, in order of time, but for their counts.
    fn drop_middle(&mut self, slot: Slot, reorder_ms: i64) {
        let Some(session) = self.get(slot).copied() else { return };
        let mut events = std::mem::take(&mut self.scratch);
        events.clear();
        events.extend(self.events(&session));
        if session.flags.has(Flags::UNORDERED) {
            in_time_order(&mut events, reorder_ms);
        }
        let gone = (events.len() / 4).max(1);
        let start = (events.len() - gone) / 2;
        let counts = events.drain(start..start + gone).map(|event| (event.statement, 1));
        self.count_dropped(slot, counts.collect::<Vec<_>>().into_iter());
        if let Some(session) = at_mut(&mut self.slots, slot) {
            (session.bytes, session.events) = (0, 0);
            session.set_last(Last::default());
            for event in &events {
                append(session, &mut self.pages, event);
            }
        }
        self.scratch = events;
    }
}

/// Writes an event behind those of a session, in a larger piece if it has to be.
fn append(session: &mut Session, pages: &mut Pages, event: &SessionEvent) {
    let encoded = encode(session.last(), event);
    let used = usize::from(session.bytes);
    let end = used + encoded.len();
    if end > session.size.bytes() {
        let Some(size) = Size::holding(end) else { return };
        let piece = pages.take(size);
        pages.copy((session.piece, session.size), (piece, size));
        pages.free(session.piece, session.size);
        (session.piece, session.size) = (piece, size);
    }
    if let Some(room) = pages.get_mut(session.piece, session.size).get_mut(used..) {
        encoded.write(room);
    }
    if event.time_ms < session.last_time_ms && session.events > 0 {
        session.flags.set(Flags::UNORDERED, true);
    }
    session.bytes = u16::try_from(end).unwrap_or(u16::MAX);
    session.events += 1;
    session.set_last(after(event));
}

/// Puts events that came late in their place by time; equal times stay as they came. One that is more than
/// `reorder_ms` behind the latest one before it stays where it is: there the clock was set back.
pub(crate) fn in_time_order(events: &mut [SessionEvent], reorder_ms: i64) {
    let mut latest_ms = i64::MIN;
    for at in 0..events.len() {
        let Some((before, [event, ..])) = events.split_at_mut_checked(at) else { return };
        let time_ms = event.time_ms;
        if time_ms < latest_ms && latest_ms.saturating_sub(time_ms) <= reorder_ms {
            let later = before.iter().rev().take_while(|other| other.time_ms > time_ms).count();
            if let Some(from) = events.get_mut(at - later..=at) {
                from.rotate_right(1);
            }
        }
        latest_ms = latest_ms.max(time_ms);
    }
}

fn place(slot: Slot) -> (usize, usize) {
    let slot = usize::try_from(slot).unwrap_or(usize::MAX);
    (slot >> SLOTS_BITS, slot & (SLOTS_STEP - 1))
}

fn at(slots: &[Box<[Session]>], slot: Slot) -> Option<&Session> {
    let (block, place) = place(slot);
    slots.get(block)?.get(place)
}

fn at_mut(slots: &mut [Box<[Session]>], slot: Slot) -> Option<&mut Session> {
    let (block, place) = place(slot);
    slots.get_mut(block)?.get_mut(place)
}

#[cfg(test)]
mod tests;
