//! What a miner keeps over a restart: as a whole, or what changed of it since the last time.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Miner, MinerError, MinerSettings};

/// All that a miner knows, to be kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// In any order.
    pub texts: Vec<TextState>,
    /// What made room so far.
    pub evicted: Evicted,
}

/// A masked text that a miner holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextState {
    text: String,
    /// Messages seen of it.
    count: u64,
    /// Rises with what was seen last, among the texts of one miner.
    pub(super) order: u64,
}

/// What made room for other texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// Texts, each as often as it had to go.
    pub texts: u64,
    /// Their messages.
    pub messages: u64,
}

impl AddAssign for Evicted {
    fn add_assign(&mut self, other: Self) {
        self.texts = self.texts.saturating_add(other.texts);
        self.messages = self.messages.saturating_add(other.messages);
    }
}

/// A text that was seen, or made room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextChange {
    /// Hash of the text: equal for each change of one text.
    pub key: u64,
    /// Its state now; `None` if it made room.
    pub state: Option<TextState>,
}

/// How often a text was seen, and when last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) count: u64,
    pub(super) order: u64,
}

/// What changed since the caller asked last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Keys of texts that made room; `None` where nobody asks for changes.
    evicted: Option<Vec<u64>>,
    /// Texts seen after this are news.
    taken: u64,
}

impl Changes {
    /// Notes that a text made room.
    pub(super) fn evicted(&mut self, text: &str) {
        if let Some(evicted) = &mut self.evicted {
            evicted.push(key(text));
        }
    }
}

impl Miner {
    /// Goes on where the miner of `snapshot` stopped. Texts are kept as they were masked then. Where these settings
    /// allow fewer, the least recently seen ones are evicted.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn restore(settings: MinerSettings, snapshot: &Snapshot) -> Result<Self, MinerError> {
        let mut miner = Self::new(settings)?;
        let mut texts: Vec<&TextState> = snapshot.texts.iter().collect();
        texts.sort_by_key(|state| state.order);
        for state in texts {
            // Counted anew up to here; then at least as high as it was.
            miner.order = miner.order.max(state.order.min(ORDER_MAX).saturating_sub(1));
            miner.learn_masked(&state.text, state.count);
        }
        miner.evicted += snapshot.evicted;
        miner.changes.taken = miner.order;
        Ok(miner)
    }

    /// What [`restore`](Self::restore) needs.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let texts = self.texts.iter().rev().map(|(text, seen)| state(text, *seen)).collect();
        Snapshot { texts, evicted: self.evicted }
    }

    /// Notes from now on which texts change, for [`take_changes`](Self::take_changes).
    pub fn track_changes(&mut self) {
        self.changes.evicted.get_or_insert_default();
    }

    /// Texts that were seen or made room since the last call, those that made room first. What is kept by key and
    /// changed by these is what [`restore`](Self::restore) needs. Texts that made room are only noted after
    /// [`track_changes`](Self::track_changes).
    pub fn take_changes(&mut self) -> Vec<TextChange> {
        let evicted = self.changes.evicted.as_mut().map(std::mem::take).unwrap_or_default();
        let mut changes: Vec<_> = evicted.into_iter().map(|key| TextChange { key, state: None }).collect();
        let taken = std::mem::replace(&mut self.changes.taken, self.order);
        // Most recently seen first, so the news are in front.
        let news = self.texts.iter().take_while(|(_, seen)| seen.order > taken);
        changes
            .extend(news.map(|(text, &seen)| TextChange { key: key(text), state: Some(state(text, seen)) }));
        changes
    }
}

/// No order is higher than this where a snapshot is sound, so that there is room to count on.
const ORDER_MAX: u64 = 1 << 56;

fn state(text: &str, Seen { count, order }: Seen) -> TextState {
    TextState { text: text.to_owned(), count, order }
}

fn key(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}
