//! A disk that fails while the store is in use: nothing that was committed is lost, what was not is tried again, and no
//! restart is needed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageBackend};

use super::*;

/// Says how many writes still work; below zero none does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    writes_left: Arc<AtomicI64>,
}

/// A file on a [`Disk`].
#[derive(Debug)]
struct OnDisk {
    file: FileBackend,
    disk: Disk,
}

impl Disk {
    pub(crate) fn set(&self, writes_left: i64) {
        self.writes_left.store(writes_left, Ordering::Relaxed);
    }

    /// Opens a store on it, when it works.
    pub(crate) fn open(&self, directory: &Path) -> (Store, Restored) {
        self.set(i64::MAX);
        let disk = self.clone();
        Store::open_with(directory, Box::new(move |path| disk.create(path))).unwrap()
    }

    fn write(&self) -> io::Result<()> {
        match self.writes_left.fetch_sub(1, Ordering::Relaxed) {
            left if left > 0 => Ok(()),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn create(&self, path: &Path) -> Result<Database, DatabaseError> {
        let file = fs::File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = FileBackend::new(file.unwrap())?;
        Database::builder().create_with_backend(OnDisk { file, disk: self.clone() })
    }
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.write()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.write()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // A full disk takes a part of what is written.
        if let Err(error) = self.disk.write() {
            self.file.write(offset, data.get(..data.len() / 2).unwrap())?;
            return Err(error);
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[test]
fn a_disk_that_fails_at_any_write_loses_nothing_and_needs_no_restart() {
    for writes in 0..200 {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (store, _) = disk.open(folder.path());
        store.commit(&commit(1, 10)).unwrap();
        disk.set(writes);
        let Err(error) = store.commit(&commit(2, 20)) else {
            assert!(writes > 3);
            return;
        };
        assert!(error.may_pass(), "{error}");
        assert!(store.is_failing());
        // The spool seems empty and full at the same time: nothing is shipped, nothing is read.
        assert!(store.batch(9, u64::MAX).unwrap().is_empty());
        assert_eq!(store.spooled().reports, 1);
        assert!(matches!(store.commit(&commit(2, 20)), Err(StateError::Closed)));
        assert!(store.reopen().is_err() || store.commit(&commit(2, 20)).is_err());
        disk.set(i64::MAX);
        store.reopen().unwrap();
        assert!(store.is_failing(), "that it opens does not say that it can be written");
        store.commit(&commit(2, 20)).unwrap();
        assert!(!store.is_failing());
        // Where the disk failed after the transaction was done, its report is there twice, which the collector sees.
        assert!((2..=3).contains(&store.spooled().reports), "{:?}", store.spooled());
        drop(store);
        let (_, restored) = disk.open(folder.path());
        assert!(!restored.rebuilt);
        assert_eq!(restored.files.len(), 2, "after {writes} writes");
        assert_eq!(kept(&restored), [1, 2]);
    }
    panic!("a commit takes more writes than were tried");
}

#[test]
fn what_cannot_be_taken_out_of_the_spool_is_shipped_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (store, _) = disk.open(folder.path());
    store.commit(&commit(1, 10)).unwrap();
    let batch = store.batch(9, u64::MAX).unwrap();
    disk.set(0);
    store.remove(&batch).unwrap();
    assert!(store.is_failing());
    disk.set(i64::MAX);
    store.reopen().unwrap();
    store.touch().unwrap();
    assert!(!store.is_failing());
    assert_eq!(store.spooled().reports, 1);
    store.remove(&store.batch(9, u64::MAX).unwrap()).unwrap();
    assert_eq!(store.spooled().reports, 0);
}

#[test]
fn a_store_that_was_damaged_meanwhile_is_left_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (store, _) = disk.open(folder.path());
    disk.set(0);
    store.commit(&commit(1, 10)).unwrap_err();
    disk.set(i64::MAX);
    fs::write(folder.path().join(FILE_NAME), "something else").unwrap();
    let error = store.reopen().unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }) && !error.may_pass(), "{error}");
    drop(store);
    assert!(reopen(&folder).1.rebuilt);
}
