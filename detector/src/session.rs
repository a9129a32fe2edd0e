//! Sessions: the ordered events of one block on one node, and which of them spoke last.
//!
//! A session is in one of two lists, both ordered by activity: [`List::Speaking`] since its last event until it is
//! scored, [`List::Quiet`] from then on until it speaks again or is forgotten.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::head::Level;
use crate::key::BlockId;
use crate::settings::FileId;

/// Room that a session's events grow by. Most sessions are short, so doubling would leave a third of it empty.
const EVENTS_STEP: usize = 8;

/// Position of a session in [`Sessions`].
pub(crate) type Slot = u32;
/// No slot: the end of a list.
const NONE: Slot = Slot::MAX;

/// A block pool, in the detector's numbering; `0` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolId(pub(crate) u16);

impl PoolId {
    /// Whether two blocks of equal id can be the same: a line may leave the pool out.
    pub(crate) fn may_be(self, other: Self) -> bool {
        self == other || self.0 == 0 || other.0 == 0
    }
}

/// Which list a session is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// Has events that no score has seen.
    Speaking,
    /// Scored, and silent since.
    Quiet,
}

/// One event of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionEvent {
    pub(crate) time_ms: i64,
    /// First byte of the record in its file.
    pub(crate) offset: u64,
    pub(crate) file: FileId,
    /// Length of the record.
    pub(crate) bytes: u32,
    /// In the detector's numbering of templates.
    pub(crate) template: u32,
    /// In the detector's numbering of loggers.
    pub(crate) logger: u16,
    pub(crate) level: Level,
}

/// Events of one block.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) block: BlockId,
    pub(crate) pool: PoolId,
    /// Stable over restarts; part of every report.
    pub(crate) id: u64,
    /// In order of time, equal times in order of arrival.
    pub(crate) events: Vec<SessionEvent>,
    /// Events that made room, by template.
    pub(crate) dropped: BTreeMap<u32, u32>,
    /// Has an event of unknown template at WARN or worse.
    pub(crate) unknown_warn: bool,
    /// Last verdict.
    pub(crate) flagged: bool,
    /// When a line last named the block, by the caller's clock.
    pub(crate) active_ms: i64,
    pub(crate) list: List,
    /// Listed among the changes that the caller has not taken yet.
    pub(crate) changed: bool,
    active_order: u64,
    previous: Slot,
    next: Slot,
}

impl Session {
    pub(crate) fn new(block: BlockId, pool: PoolId, id: u64) -> Self {
        Self {
            block,
            pool,
            id,
            events: Vec::new(),
            dropped: BTreeMap::new(),
            unknown_warn: false,
            flagged: false,
            active_ms: 0,
            list: List::Speaking,
            changed: false,
            active_order: 0,
            previous: NONE,
            next: NONE,
        }
    }

    /// Events it ever had: the revision of its reports.
    pub(crate) fn revision(&self) -> u64 {
        self.events.len() as u64 + self.events_dropped()
    }

    pub(crate) fn events_dropped(&self) -> u64 {
        self.dropped.values().map(|&count| u64::from(count)).sum()
    }

    /// Adds an event in its place. Beyond `events_max` the middle one makes room and keeps only its count.
    pub(crate) fn add(&mut self, event: SessionEvent, events_max: usize) {
        if self.events.len() == self.events.capacity() {
            self.events.reserve_exact(EVENTS_STEP.max(self.events.len() / 4));
        }
        let later = self.events.iter().rev().take_while(|other| other.time_ms > event.time_ms).count();
        self.events.insert(self.events.len() - later, event);
        if self.events.len() > events_max.max(1) {
            let middle = self.events.remove(self.events.len() / 2);
            *self.dropped.entry(middle.template).or_insert(0) += 1;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    oldest: Slot,
    newest: Slot,
}

/// All sessions that are remembered.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: Vec<Option<Session>>,
    free: Vec<Slot>,
    index: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    speaking: Ends,
    quiet: Ends,
    order: u64,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        let empty = Ends { oldest: NONE, newest: NONE };
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            speaking: empty,
            quiet: empty,
            order: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Session> {
        at(&self.slots, slot)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Session> {
        at_mut(&mut self.slots, slot)
    }

    /// The session of a block. One whose pool is not known yet takes the pool given.
    pub(crate) fn find(&mut self, block: BlockId, pool: PoolId) -> Option<Slot> {
        let hash = self.hasher.hash_one(block);
        let slots = &self.slots;
        let same = |slot: &Slot| {
            at(slots, *slot).is_some_and(|session| session.block == block && session.pool.may_be(pool))
        };
        let slot = *self.index.find(hash, same)?;
        if let Some(session) = self.get_mut(slot)
            && session.pool.0 == 0
        {
            session.pool = pool;
        }
        Some(slot)
    }

    /// Adds a session as the most recently active one of its list.
    pub(crate) fn insert(&mut self, session: Session) -> Slot {
        let hash = self.hasher.hash_one(session.block);
        let list = session.list;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot::try_from(self.slots.len() - 1).unwrap_or(NONE)
        });
        if let Some(place) = usize::try_from(slot).ok().and_then(|slot| self.slots.get_mut(slot)) {
            *place = Some(session);
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, slot, |&slot| {
            at(slots, slot).map_or(0, |session| hasher.hash_one(session.block))
        });
        self.append(slot, list);
        slot
    }

    /// Makes a session the most recently active one of `list`.
    pub(crate) fn touch(&mut self, slot: Slot, list: List, active_ms: i64) {
        self.unlink(slot);
        self.append(slot, list);
        if let Some(session) = self.get_mut(slot) {
            session.active_ms = active_ms;
        }
    }

    /// Moves a scored session to the quiet list; its activity stays what it was.
    pub(crate) fn quieten(&mut self, slot: Slot) {
        let order = self.get(slot).map_or(0, |session| session.active_order);
        self.unlink(slot);
        self.append(slot, List::Quiet);
        if let Some(session) = self.get_mut(slot) {
            session.active_order = order;
        }
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Session> {
        self.unlink(slot);
        let session = self.slots.get_mut(usize::try_from(slot).ok()?)?.take()?;
        let hash = self.hasher.hash_one(session.block);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        self.free.push(slot);
        Some(session)
    }

    /// The least recently active session of a list.
    pub(crate) fn oldest(&self, list: List) -> Option<Slot> {
        let oldest = self.ends(list).oldest;
        (oldest != NONE).then_some(oldest)
    }

    /// The least recently active session of all.
    pub(crate) fn least_recently_active(&self) -> Option<Slot> {
        let order = |slot: &Slot| self.get(*slot).map_or(u64::MAX, |session| session.active_order);
        [self.oldest(List::Quiet), self.oldest(List::Speaking)].into_iter().flatten().min_by_key(order)
    }

    fn append(&mut self, slot: Slot, list: List) {
        self.order += 1;
        let (order, newest) = (self.order, self.ends(list).newest);
        if let Some(session) = self.get_mut(slot) {
            (session.list, session.active_order) = (list, order);
            (session.previous, session.next) = (newest, NONE);
        }
        match self.get_mut(newest) {
            Some(session) => session.next = slot,
            None => self.ends_mut(list).oldest = slot,
        }
        self.ends_mut(list).newest = slot;
    }

    fn unlink(&mut self, slot: Slot) {
        let Some(session) = self.get(slot) else { return };
        let (list, previous, next) = (session.list, session.previous, session.next);
        match self.get_mut(previous) {
            Some(session) => session.next = next,
            None => self.ends_mut(list).oldest = next,
        }
        match self.get_mut(next) {
            Some(session) => session.previous = previous,
            None => self.ends_mut(list).newest = previous,
        }
    }

    fn ends(&self, list: List) -> Ends {
        match list {
            List::Speaking => self.speaking,
            List::Quiet => self.quiet,
        }
    }

    fn ends_mut(&mut self, list: List) -> &mut Ends {
        match list {
            List::Speaking => &mut self.speaking,
            List::Quiet => &mut self.quiet,
        }
    }
}

fn at(slots: &[Option<Session>], slot: Slot) -> Option<&Session> {
    slots.get(usize::try_from(slot).ok()?)?.as_ref()
}

fn at_mut(slots: &mut [Option<Session>], slot: Slot) -> Option<&mut Session> {
    slots.get_mut(usize::try_from(slot).ok()?)?.as_mut()
}

#[cfg(test)]
mod tests;
