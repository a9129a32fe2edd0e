//! A shard: the sessions of a fixed part of all keys. Which key is in which shard, and so what makes room for what,
//! depends on the settings alone. So it does not matter how many threads share the shards.

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::head::Level;
use crate::judge::{Judge, Law, Outcome};
use crate::key::BlockId;
use crate::parser::{Event, NODE};
use crate::report::Report;
use crate::session::{Flags, Guesses, Limits, List, NONE, PoolId, SessionEvent, Sessions, Slot};
use crate::settings::FileId;
use crate::statement::Contents;
use crate::tally::Tally;

/// Events whose sessions are looked up together, so that the waits for memory overlap.
const GROUP: usize = 32;

/// Sessions that are judged or forgotten together, for the same reason.
const BATCH: usize = 32;

/// Sessions of a part of the keys, with what came of them.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) sessions: Sessions,
    pub(crate) totals: Totals,
    pub(crate) tally: Tally,
    pub(crate) reports: Vec<Report>,
    pub(crate) changes: Changes,
    /// Events since the last call for them whose template the vocabulary lacks, by statement.
    pub(crate) unknown: HashMap<u32, u64>,
    /// Room for sessions of this shard.
    sessions_max: usize,
    bytes_max: usize,
    guesses: Guesses,
    /// Sessions that are being judged or forgotten.
    oldest: Vec<Slot>,
}

/// Counts of what became of sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) scored: u64,
    /// Flags that were set, less those that were taken back.
    pub(crate) flagged: i64,
    pub(crate) evicted: u64,
    pub(crate) score_errors: u64,
    pub(crate) events_unknown: u64,
}

/// Sessions whose changes were not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) slots: Vec<Slot>,
    pub(crate) forgotten: Vec<u64>,
}

impl Shard {
    pub(crate) fn new(sessions_max: usize, bytes_max: usize) -> Self {
        Self {
            sessions: Sessions::new(),
            totals: Totals::default(),
            tally: Tally::default(),
            reports: Vec::new(),
            changes: Changes::default(),
            unknown: HashMap::new(),
            sessions_max: sessions_max.max(1),
            bytes_max,
            guesses: Guesses::default(),
            oldest: Vec::new(),
        }
    }

    /// Adds events, in the order of the lines.
    pub(crate) fn apply(
        &mut self,
        law: Law<'_>,
        judge: &mut Judge,
        file: FileId,
        (events, contents): (&[Event], &Contents),
        now_ms: i64,
    ) {
        for group in events.chunks(GROUP) {
            self.sessions.guess(group.iter().map(|event| event.block), &mut self.guesses);
            for (at, event) in group.iter().enumerate() {
                // Whatever an event refers to was taken up before.
                let Some(statement) = contents.known(event.statement) else { continue };
                let pool = match event.pool {
                    NODE => PoolId::NODE,
                    pool => contents.known_pool(pool).unwrap_or_default(),
                };
                let guess = self.guesses.slots.get(at).copied().unwrap_or(NONE);
                let slot = self.locate(law, judge, event, pool, guess);
                let event = SessionEvent {
                    time_ms: event.time_ms,
                    offset: event.offset,
                    file,
                    bytes: event.bytes,
                    statement: statement.number,
                };
                self.add(law, slot, &event, now_ms);
                if statement.is_unknown {
                    self.count_unknown(law, slot, statement.number);
                }
            }
        }
    }

    fn locate(&mut self, law: Law<'_>, judge: &mut Judge, event: &Event, pool: PoolId, guess: Slot) -> Slot {
        if let Some(slot) = self.sessions.find(event.block, pool, guess)
            && !(law.settings.score_gaps && self.break_off(law, judge, slot, event.time_ms))
        {
            return slot;
        }
        self.make_room(law, judge);
        self.sessions.insert(event.block, pool, session_id(law, event.block, pool, event.time_ms))
    }

    /// Scores a session in front of an event that comes after a silence by the times in the log, unless that was done
    /// when it fell silent; forgets it and says so if the silence was long enough.
    fn break_off(&mut self, law: Law<'_>, judge: &mut Judge, slot: Slot, time_ms: i64) -> bool {
        let Some(session) = self.sessions.get(slot) else { return false };
        let silent_ms = time_ms.saturating_sub(session.last_time_ms());
        if silent_ms < law.settings.idle_timeout_ms || session.events == 0 {
            return false;
        }
        if session.list() == List::Speaking {
            self.judge(law, judge, slot);
        }
        let is_over = silent_ms >= law.settings.forget_after_ms;
        if is_over {
            self.forget(law, slot);
        }
        is_over
    }

    fn add(&mut self, law: Law<'_>, slot: Slot, event: &SessionEvent, now_ms: i64) {
        let limits = Limits { events_max: law.settings.events_max, reorder_ms: law.settings.reorder_ms };
        self.sessions.add(slot, event, now_ms, limits);
        self.tally.event(event.statement);
        self.changed(law, slot);
    }

    fn count_unknown(&mut self, law: Law<'_>, slot: Slot, statement: u32) {
        self.totals.events_unknown += 1;
        *self.unknown.entry(statement).or_insert(0) += 1;
        if law.statements.level(statement) >= Level::Warn
            && let Some(session) = self.sessions.get_mut(slot)
        {
            session.flags.set(Flags::UNKNOWN_WARN, true);
        }
    }

    /// Scores and forgets the least recently active sessions until there is room for another. Several at once, which is
    /// cheaper, but not more than the fiftieth part.
    fn make_room(&mut self, law: Law<'_>, judge: &mut Judge) {
        while self.sessions.len() >= self.sessions_max || self.takes_too_much() {
            self.evict(law, judge);
        }
    }

    /// Scores and forgets the least recently active sessions until the others take no more than `bytes_max`, now and from
    /// now on.
    pub(crate) fn limit_bytes(&mut self, law: Law<'_>, judge: &mut Judge, bytes_max: usize) {
        self.bytes_max = bytes_max;
        if self.takes_too_much() {
            while self.takes_too_much() {
                self.evict(law, judge);
            }
            self.sessions.give_back();
        }
    }

    fn takes_too_much(&self) -> bool {
        self.sessions.len() > 1 && self.sessions.data_bytes() > self.bytes_max
    }

    fn evict(&mut self, law: Law<'_>, judge: &mut Judge) {
        let count = (self.sessions.len() / 50).clamp(1, BATCH);
        let mut slots = std::mem::take(&mut self.oldest);
        self.sessions.take_oldest(&[List::Quiet, List::Speaking], i64::MAX, count, &mut slots);
        for &slot in &slots {
            if self.sessions.get(slot).is_some_and(|session| session.list() == List::Speaking) {
                self.judge(law, judge, slot);
            }
            self.totals.evicted += 1;
            self.forget(law, slot);
        }
        self.oldest = slots;
    }

    /// Scores sessions that are silent since `idle_since_ms`, forgets those that are since `forgotten_since_ms`.
    pub(crate) fn tick(
        &mut self,
        law: Law<'_>,
        judge: &mut Judge,
        idle_since_ms: i64,
        forgotten_since_ms: i64,
    ) {
        self.quieten(law, judge, idle_since_ms);
        let mut slots = std::mem::take(&mut self.oldest);
        loop {
            self.sessions.take_oldest(&[List::Quiet], forgotten_since_ms, BATCH, &mut slots);
            if slots.is_empty() {
                break;
            }
            slots.iter().for_each(|&slot| self.forget(law, slot));
        }
        self.oldest = slots;
    }

    /// Scores every session that speaks.
    pub(crate) fn finish(&mut self, law: Law<'_>, judge: &mut Judge) {
        self.quieten(law, judge, i64::MAX);
    }

    /// Scores the sessions that speak but are silent since `since_ms`, as long as there is room for their reports.
    fn quieten(&mut self, law: Law<'_>, judge: &mut Judge, since_ms: i64) {
        let mut slots = std::mem::take(&mut self.oldest);
        loop {
            let room = law.settings.reports_max.saturating_sub(self.reports.len());
            self.sessions.take_oldest(&[List::Speaking], since_ms, room.min(BATCH), &mut slots);
            if slots.is_empty() {
                break;
            }
            for &slot in &slots {
                self.judge(law, judge, slot);
                self.sessions.quieten(slot);
            }
        }
        self.oldest = slots;
    }

    /// Scores a session and reports it if somebody has to know.
    fn judge(&mut self, law: Law<'_>, judge: &mut Judge, slot: Slot) {
        match judge.judge(law, &self.sessions, slot, false) {
            Ok(Some(outcome)) => {
                self.totals.scored += 1;
                self.tally.scores.add(outcome.score, &law.metadata.decision.quantiles);
                self.settle(slot, outcome);
            }
            Ok(None) => {}
            Err(_) => self.totals.score_errors += 1,
        }
        self.changed(law, slot);
    }

    /// Reports the sessions of a block as they are now, whatever the verdicts. They count as scored when they fall silent.
    pub(crate) fn ask(&mut self, law: Law<'_>, judge: &mut Judge, block: BlockId) {
        for slot in self.sessions.of_block(block) {
            match judge.judge(law, &self.sessions, slot, true) {
                Ok(Some(outcome)) => self.settle(slot, outcome),
                Ok(None) => {}
                Err(_) => self.totals.score_errors += 1,
            }
            self.changed(law, slot);
        }
    }

    /// Keeps the report, and whether it is flagged, to be taken back one day.
    fn settle(&mut self, slot: Slot, outcome: Outcome) {
        self.reports.extend(outcome.report);
        if let Some(session) = self.sessions.get_mut(slot) {
            let was_flagged = session.flags.has(Flags::FLAGGED);
            self.totals.flagged += i64::from(outcome.flagged) - i64::from(was_flagged);
            session.flags.set(Flags::FLAGGED, outcome.flagged);
        }
    }

    fn changed(&mut self, law: Law<'_>, slot: Slot) {
        if law.settings.track_changes
            && let Some(session) = self.sessions.get_mut(slot)
            && !session.flags.has(Flags::CHANGED)
        {
            session.flags.set(Flags::CHANGED, true);
            self.changes.slots.push(slot);
        }
    }

    fn forget(&mut self, law: Law<'_>, slot: Slot) {
        if let Some(session) = self.sessions.remove(slot)
            && law.settings.track_changes
        {
            self.changes.forgotten.push(session.id);
        }
    }

    /// Bytes that all this takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.sessions.memory_bytes()
            + self.guesses.memory_bytes()
            + self.unknown.allocation_size()
            + self.tally.memory_bytes()
            + self.oldest.capacity() * size_of::<Slot>()
            + self.changes.slots.capacity() * size_of::<Slot>()
            + self.changes.forgotten.capacity() * size_of::<u64>()
    }
}

/// Equal for equal lines, and new when a forgotten block speaks again (xxh3, 64 bits).
fn session_id(law: Law<'_>, block: BlockId, pool: PoolId, first_ms: i64) -> u64 {
    let mut content = [0; 17];
    let (numbers, node) = content.split_at_mut(16);
    let (first, second) = numbers.split_at_mut(8);
    first.copy_from_slice(&block.0.to_le_bytes());
    second.copy_from_slice(&first_ms.to_le_bytes());
    node.fill(u8::from(pool == PoolId::NODE));
    xxh3_64_with_seed(&content, law.node_seed)
}
