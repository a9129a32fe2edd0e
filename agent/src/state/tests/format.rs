//! Stores that this version did not write, or not like this: older, newer, foreign, torn.

use std::path::Path;

use blocksift_detector::{Detector, Settings};
use redb::{Database, ReadableDatabase, TableDefinition};

use super::*;
use crate::encoding::VERSION;

/// A store that an agent of the version before wrote, of two files with seven lines, two of them about one block and
/// three about another, with a dead letter; zstd.
const FORMAT_3: &[u8] = include_bytes!("format-3.redb.zst");

#[test]
fn a_store_of_the_version_before_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE_NAME), zstd::decode_all(FORMAT_3).unwrap()).unwrap();
    // The second time there is nothing to upgrade any more.
    for _ in 0..2 {
        let (store, restored) = reopen(&folder);
        assert!(!restored.rebuilt && !restored.first_run);
        let files: Vec<_> = restored
            .files
            .iter()
            .map(|(saved, state)| {
                assert_eq!((saved.id, saved.offset), (state.file, state.checkpoint));
                assert_eq!((saved.anchor.end(), saved.size), (saved.offset, saved.offset));
                (saved.path.as_path(), saved.phase, state.checkpoint, state.ledger.lines_read)
            })
            .collect();
        let path = Path::new;
        assert_eq!(
            files,
            [
                (path("/tmp/fx3/logs/dn.log.1"), Phase::Ended { since_ms: 1_795_770_907_614 }, 133, 2),
                (path("/tmp/fx3/logs/dn.log"), Phase::Followed, 271, 5),
            ]
        );
        assert_eq!((kept(&restored).len(), restored.templates.len()), (2, 1));
        let Meta { totals, time, since_ms, next_file, templates_evicted } = restored.meta;
        assert_eq!((totals.ledger.lines_read, totals.ledger.lines_in_sessions), (7, 5));
        assert_eq!((totals.sessions_flagged, next_file, templates_evicted), (2, 2, Evicted::default()));
        assert!(time.steady_ms == time.date_ms && since_ms > 0 && time.date_ms > since_ms);
        let reports = store.batch(9, u64::MAX).unwrap().reports;
        let mut reports: Vec<_> =
            reports.iter().map(|report| (report.block.as_str(), report.revision)).collect();
        reports.sort_unstable();
        assert_eq!(reports, [("blk_7", 2), ("blk_8", 1)]);
        assert_eq!(store.dead_letters().letters, 1);
        assert_eq!(goes_on(restored.sessions), ["something odd with <blk>", PACKET, PACKET]);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is set aside");
}

const PACKET: &str = "PacketResponder <n> for block <blk> terminating";

/// What a detector that goes on with these sessions has of block 7 when it is spoken of once more.
fn goes_on(sessions: Vec<SessionGroup>) -> Vec<String> {
    let mut detector =
        Detector::new(crate::model::load(Path::new(crate::model::HDFS_V1)).unwrap(), Settings::default());
    sessions.into_iter().for_each(|group| detector.restore_sessions(group));
    let line = "081109 203620 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_7 terminating\n";
    detector.push(FileId(9), 0, line.as_bytes());
    detector.close_records(FileId(9));
    let reports: Vec<_> = detector.finish().collect();
    assert_eq!(reports.len(), 1);
    reports[0].events.iter().map(|event| event.text.clone()).collect()
}

#[test]
fn a_store_of_a_newer_version_is_set_aside() {
    for table in [SESSIONS, TEMPLATES] {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = reopen(&folder);
        store.commit(&commit(1, 1)).unwrap();
        drop(store);
        let database = Database::open(folder.path().join(FILE_NAME)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(table).unwrap().insert(1, &[VERSION + 1, 1, 2][..]).unwrap();
        transaction.commit().unwrap();
        drop(database);
        assert!(reopen(&folder).1.rebuilt);
        assert!(folder.path().join("state.redb.damaged-1").exists());
        assert!(!reopen(&folder).1.rebuilt, "once");
    }
}

#[test]
fn a_database_of_another_program_is_set_aside_and_kept() {
    const META_OF_OTHERS: TableDefinition<'_, u64, u64> = TableDefinition::new("meta");
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create(folder.path().join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META_OF_OTHERS).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(reopen(&folder).1.rebuilt);
    let database = Database::open(folder.path().join("state.redb.damaged-1")).unwrap();
    let table = database.begin_read().unwrap().open_table(META_OF_OTHERS).unwrap();
    assert_eq!(table.get(1).unwrap().unwrap().value(), 2);
}

#[test]
fn a_foreign_file_is_set_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    for (turn, contents) in [&b"#!/bin/sh\n"[..], b"something else"].iter().enumerate() {
        fs::write(folder.path().join(FILE_NAME), contents).unwrap();
        let (store, restored) = reopen(&folder);
        assert!(restored.rebuilt && !restored.first_run);
        store.commit(&commit(1, 1)).unwrap();
        drop(store);
        let aside = folder.path().join(format!("state.redb.damaged-{}", turn + 1));
        assert_eq!(fs::read(aside).unwrap(), *contents);
    }
}

#[test]
fn a_torn_file_never_makes_it_panic() {
    let whole = tempfile::tempdir().unwrap();
    let (store, _) = reopen(&whole);
    for offset in 0..20 {
        store.commit(&commit(offset, 1)).unwrap();
    }
    drop(store);
    let bytes = fs::read(whole.path().join(FILE_NAME)).unwrap();
    for part in 0..16 {
        let torn = tempfile::tempdir().unwrap();
        fs::write(torn.path().join(FILE_NAME), &bytes[..bytes.len() * part / 16]).unwrap();
        let (store, restored) = reopen(&torn);
        assert!(restored.rebuilt || restored.first_run || !restored.files.is_empty(), "{part}/16");
        store.commit(&commit(1, 1)).unwrap();
    }
    for part in 0..64 {
        let mut bytes = bytes.clone();
        let start = bytes.len() * part / 64;
        bytes[start..start + 64].fill(0xa5);
        let damaged = tempfile::tempdir().unwrap();
        fs::write(damaged.path().join(FILE_NAME), &bytes).unwrap();
        let (store, _) = reopen(&damaged);
        store.commit(&commit(1, 1)).unwrap();
    }
}
