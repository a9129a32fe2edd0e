//! Sessions in the store: groups, one behind the other, with the sessions that changed since the groups before. The last
//! that is said of a session counts. So a commit writes what changed in a few pieces, and not a page for each session
//! wherever its key happens to lie. When the groups have grown to several times what is remembered, all sessions are
//! written anew and the groups before are dropped.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use blocksift_detector::detector::SessionGroup;
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};

use super::error::Opening;
use super::{SESSIONS, StateError, Store};
use crate::encoding::{Packer, unpack};

/// Groups are not written anew below so many bytes.
const BYTES_MIN: u64 = 4 * 1_024 * 1_024;
/// How many times as large as all sessions, written at once, the groups may grow.
const GROWTH_MAX: u64 = 4;
/// Sessions of one group: so few that what is in memory of them at once is small beside what is remembered.
pub(crate) const GROUP_SESSIONS: usize = 1_024;

/// Groups of sessions for the store.
#[derive(Debug, Default)]
pub(crate) struct SessionRows {
    /// Packed, the oldest first.
    rows: Vec<Vec<u8>>,
    /// They hold all that is remembered.
    all: bool,
}

impl SessionRows {
    /// Groups of what changed, packed by `packer`.
    ///
    /// # Errors
    /// When a group has no encoding.
    pub(crate) fn changed(
        groups: impl Iterator<Item = SessionGroup>,
        packer: &mut Packer,
    ) -> Result<Self, StateError> {
        let rows = groups.map(|group| packer.pack(&group)).collect::<Result<_, _>>()?;
        Ok(Self { rows, all: false })
    }

    /// Groups of everything, packed by `packer`.
    ///
    /// # Errors
    /// When a group has no encoding.
    pub(crate) fn all(
        groups: impl Iterator<Item = SessionGroup>,
        packer: &mut Packer,
    ) -> Result<Self, StateError> {
        Ok(Self { all: true, ..Self::changed(groups, packer)? })
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.all
    }

    fn bytes(&self) -> u64 {
        self.rows.iter().map(|row| row.len() as u64).sum()
    }
}

/// How much the store has.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Number of the next group.
    next: AtomicU64,
    /// Of all groups.
    bytes: AtomicU64,
    /// Of all groups when all sessions were written last; 0 if that was before the store was opened.
    whole_bytes: AtomicU64,
}

impl Groups {
    /// Looks at what a database has.
    pub(super) fn look(&self, database: &Database) -> Result<(), redb::Error> {
        let table = database.begin_read()?.open_table(SESSIONS)?;
        let (mut next, mut bytes) = (0, 0);
        for entry in table.iter()? {
            let (number, row) = entry?;
            next = number.value() + 1;
            bytes += row.value().len() as u64;
        }
        self.next.store(next, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Writes groups; what is to be called when the transaction is done.
    pub(super) fn write<'a>(
        &'a self,
        transaction: &WriteTransaction,
        rows: &'a SessionRows,
    ) -> Result<impl FnOnce() + 'a, redb::Error> {
        let mut table = transaction.open_table(SESSIONS)?;
        if rows.all {
            table.retain(|_, _| false)?;
        }
        let mut next = self.next.load(Ordering::Relaxed);
        for row in &rows.rows {
            table.insert(next, row.as_slice())?;
            next += 1;
        }
        Ok(move || {
            self.next.store(next, Ordering::Relaxed);
            if rows.all {
                self.bytes.store(rows.bytes(), Ordering::Relaxed);
                self.whole_bytes.store(rows.bytes(), Ordering::Relaxed);
            } else {
                self.bytes.fetch_add(rows.bytes(), Ordering::Relaxed);
            }
        })
    }
}

impl Store {
    /// Whether the next commit had better hold all sessions.
    pub(crate) fn wants_all_sessions(&self) -> bool {
        let whole = self.groups.whole_bytes.load(Ordering::Relaxed);
        self.groups.bytes.load(Ordering::Relaxed) > (whole * GROWTH_MAX).max(BYTES_MIN)
    }
}

/// What the groups of a database say in the end.
pub(super) fn load(database: &Database) -> Result<Vec<SessionGroup>, Opening> {
    let transaction = database.begin_read().map_err(Opening::read)?;
    let table = transaction.open_table(SESSIONS).map_err(Opening::read)?;
    let (mut groups, mut known) = (Vec::new(), HashSet::new());
    for entry in table.iter().map_err(Opening::read)?.rev() {
        let mut group: SessionGroup = unpack(entry.map_err(Opening::read)?.1.value())?;
        group.sessions.retain(|session| known.insert(session.key()));
        known.extend(std::mem::take(&mut group.forgotten));
        group.sessions.shrink_to_fit();
        if !group.is_empty() {
            groups.push(group);
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::super::Commit;
    use super::super::tests::{forgetting, group, kept, reopen, rows};
    use super::*;

    #[test]
    fn the_last_that_was_said_of_a_session_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = reopen(&folder);
        let (gone, anew) = (forgetting(&[], &[1, 2]), forgetting(&[3], &[3]));
        for group in [group(&[1, 2, 3]), group(&[4]), gone, group(&[2]), anew] {
            store.commit(&Commit { sessions: rows([group]), ..Commit::default() }).unwrap();
        }
        drop(store);
        assert_eq!(kept(&reopen(&folder).1), [2, 3, 4]);
    }

    #[test]
    fn groups_are_written_anew_when_they_have_grown() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = reopen(&folder);
        let keys: Vec<u64> = (0..20_000).map(|key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let mut turns = 0;
        while !store.wants_all_sessions() {
            let sessions = rows([group(&keys)]);
            store.commit(&Commit { sessions, ..Commit::default() }).unwrap();
            turns += 1;
        }
        assert!(turns > 4, "{turns}");
        drop(store);
        store = reopen(&folder).0;
        assert!(store.wants_all_sessions());
        let sessions = SessionRows::all(keys.chunks(9_000).map(group), &mut Packer::default()).unwrap();
        store.commit(&Commit { sessions, ..Commit::default() }).unwrap();
        assert!(!store.wants_all_sessions());
        drop(store);
        let (store, restored) = reopen(&folder);
        assert!(!store.wants_all_sessions());
        assert_eq!((kept(&restored).len(), restored.sessions.len()), (keys.len(), 3));
    }

    #[test]
    fn nothing_remembered_is_written_too() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = reopen(&folder);
        let sessions = rows([group(&[1])]);
        store.commit(&Commit { sessions, ..Commit::default() }).unwrap();
        let sessions = SessionRows::all(std::iter::empty(), &mut Packer::default()).unwrap();
        assert!(!sessions.is_empty());
        store.commit(&Commit { sessions, ..Commit::default() }).unwrap();
        drop(store);
        assert!(kept(&reopen(&folder).1).is_empty());
    }
}
