//! Tests of the store: what is committed is there again, whatever happens to the process or the file.

pub(crate) mod disk;
mod format;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use blocksift_detector::Ledger;
use blocksift_detector::detector::{SessionEvent, SessionState, pack_events};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::open::FILE_NAME;
use super::spool::Spooled;
use super::*;
use crate::encoding::Packer;
use crate::files::{Anchor, Fingerprint, Identity};
use crate::otlp::tests::report;
use crate::tail::Phase;

/// Sessions with these keys.
pub(super) fn group(keys: &[u64]) -> SessionGroup {
    let event = SessionEvent { time_ms: 1, offset: 2, file: FileId(3), bytes: 0, statement: 0 };
    let events = pack_events([event]);
    let session = |id: &u64| {
        json!({
            "id": id, "block": -1, "pool": 0, "of_node": false, "active_ms": 5, "order": 9, "speaking": true,
            "flagged": false, "unknown_warn": false, "events": events, "dropped": [[0, 2]],
        })
    };
    let group = json!({
        "statements": [{
            "template": "Receiving block <blk>", "bucket": 0, "level": "INFO", "logger": "DataNode",
            "exception": "", "frame": "",
        }],
        "pools": ["BP-1"],
        "sessions": keys.iter().map(session).collect::<Vec<_>>(),
        "forgotten": [],
    });
    serde_json::from_value(group).unwrap()
}

/// The same, with others forgotten.
pub(super) fn forgetting(keys: &[u64], forgotten: &[u64]) -> SessionGroup {
    let mut group = group(keys);
    group.forgotten = forgotten.to_vec();
    group
}

/// Groups as they are committed.
pub(super) fn rows<const N: usize>(groups: [SessionGroup; N]) -> SessionRows {
    SessionRows::changed(groups.into_iter(), &mut Packer::default()).unwrap()
}

fn changed(keys: &[u64]) -> SessionRows {
    rows([group(keys)])
}

fn forgotten(key: u64) -> SessionRows {
    rows([forgetting(&[], &[key])])
}

/// Keys of the sessions that there are again, in order.
pub(super) fn kept(restored: &Restored) -> Vec<u64> {
    let sessions = restored.sessions.iter().flat_map(|group| &group.sessions);
    let mut keys: Vec<u64> = sessions.map(SessionState::key).collect();
    keys.sort_unstable();
    keys
}

fn saved(id: u32, offset: u64) -> Saved {
    Saved {
        id: FileId(id),
        path: PathBuf::from(OsString::from_vec(b"/var/log/\xff.log".to_vec())),
        identity: Identity { device: 1, inode: u64::from(id) },
        fingerprint: Fingerprint::default(),
        anchor: Anchor::behind(b"read", offset),
        size: offset + 7,
        offset,
        phase: Phase::Ended { since_ms: 7 },
    }
}

fn template(key: u64) -> TextState {
    serde_json::from_value(json!({ "text": format!("a <blk> of kind {key}"), "count": 3, "order": key }))
        .unwrap()
}

fn commit(file: u32, offset: u64) -> Commit {
    let ledger = Ledger { lines_read: offset, lines_without_key: offset, ..Ledger::default() };
    let state = FileState { file: FileId(file), checkpoint: offset, ledger, continues: Some(true) };
    Commit {
        files: vec![(saved(file, offset), state)],
        sessions: changed(&[u64::from(file)]),
        templates: vec![TextChange { key: u64::from(file), state: Some(template(u64::from(file))) }],
        reports: vec![report()],
        meta: Some(Meta {
            totals: Summary { ledger, ..Summary::default() },
            time: SteadyTime { steady_ms: 3, date_ms: 4 },
            since_ms: 2,
            next_file: file + 1,
            templates_evicted: Evicted { texts: 5, messages: 6 },
        }),
        ..Commit::default()
    }
}

pub(super) fn reopen(folder: &TempDir) -> (Store, Restored) {
    Store::open(folder.path()).unwrap()
}

#[test]
fn a_commit_is_there_again_in_all_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("made/on/the/way");
    let (store, restored) = Store::open(&directory).unwrap();
    assert!(restored.first_run && restored.files.is_empty());
    let first = commit(4, 100);
    store.commit(&first).unwrap();
    drop(store);
    let (store, restored) = Store::open(&directory).unwrap();
    assert!(!restored.first_run && !restored.rebuilt);
    assert_eq!(restored.files, first.files);
    assert_eq!(restored.sessions, [group(&[4])]);
    assert_eq!(restored.templates, [template(4)]);
    assert_eq!(Some(restored.meta), first.meta);
    assert_eq!(store.batch(10, u64::MAX).unwrap().reports, [report()]);
    assert_eq!(store.spooled().reports, 1);
}

#[test]
fn what_is_forgotten_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = reopen(&folder);
    store.commit(&commit(1, 10)).unwrap();
    let forget = Commit {
        files_forgotten: vec![FileId(1)],
        sessions: forgotten(1),
        templates: vec![TextChange { key: 1, state: None }],
        ..Commit::default()
    };
    store.commit(&forget).unwrap();
    drop(store);
    let (_store, restored) = reopen(&folder);
    assert!(restored.files.is_empty() && restored.sessions.is_empty() && restored.templates.is_empty());
}

#[test]
fn the_spool_gives_the_oldest_first_within_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = reopen(&folder);
    let numbered = |revision| Report { revision, ..report() };
    store.commit(&Commit { reports: (0..5).map(numbered).collect(), ..Commit::default() }).unwrap();
    let revisions = |batch: &Batch| batch.reports.iter().map(|report| report.revision).collect::<Vec<_>>();
    let batch = store.batch(2, u64::MAX).unwrap();
    assert_eq!(revisions(&batch), [0, 1]);
    assert_eq!(revisions(&store.batch(5, 1).unwrap()), [0], "one report may exceed the limit");
    store.remove(&batch).unwrap();
    store.remove(&batch).unwrap();
    assert_eq!(revisions(&store.batch(9, u64::MAX).unwrap()), [2, 3, 4]);
    assert_eq!(store.spooled().reports, 3);
    let bytes = store.spooled().bytes;
    drop(store);
    let (store, _) = reopen(&folder);
    assert_eq!(store.spooled(), Spooled { reports: 3, bytes });
    store.commit(&Commit { reports: vec![numbered(9)], ..Commit::default() }).unwrap();
    assert_eq!(revisions(&store.batch(9, u64::MAX).unwrap()), [2, 3, 4, 9]);
}

#[test]
fn a_second_agent_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, _) = reopen(&folder);
    let error = Store::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("in use by another agent"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "and nothing is set aside");
}

#[test]
fn a_process_killed_between_commits_leaves_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = reopen(&folder);
    let crashed = tempfile::tempdir().unwrap();
    for offset in 1..4 {
        store.commit(&commit(1, offset)).unwrap();
        // The file as a kill at this instant leaves it: the store is still open, nothing was closed.
        fs::copy(folder.path().join(FILE_NAME), crashed.path().join(FILE_NAME)).unwrap();
        let (_store, restored) = reopen(&crashed);
        assert_eq!(restored.files[0].0.offset, offset);
        assert_eq!(restored.meta.totals.ledger.lines_read, offset);
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("state")).unwrap_err();
    assert!(error.to_string().contains("file/state"), "{error}");
}

/// What may happen to a store.
#[derive(Clone, Debug)]
enum Step {
    Session(u64),
    Forget(u64),
    Report(u64),
    Ship(usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..5_u64).prop_map(Step::Session),
        (0..5_u64).prop_map(Step::Forget),
        any::<u64>().prop_map(Step::Report),
        (1..4_usize).prop_map(Step::Ship),
        Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_store_is_a_map_and_a_queue(steps in proptest::collection::vec(step(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = reopen(&folder).0;
        let mut sessions = BTreeSet::new();
        let mut spool = Vec::new();
        for step in steps {
            match step {
                Step::Session(key) => {
                    sessions.insert(key);
                    store.commit(&Commit { sessions: changed(&[key]), ..Commit::default() }).unwrap();
                }
                Step::Forget(key) => {
                    sessions.remove(&key);
                    store.commit(&Commit { sessions: forgotten(key), ..Commit::default() }).unwrap();
                }
                Step::Report(revision) => {
                    spool.push(revision);
                    let report = Report { revision, ..report() };
                    store.commit(&Commit { reports: vec![report], ..Commit::default() }).unwrap();
                }
                Step::Ship(reports_max) => {
                    let batch = store.batch(reports_max, u64::MAX).unwrap();
                    spool.drain(..batch.reports.len());
                    store.remove(&batch).unwrap();
                }
                Step::Reopen => {
                    drop(store);
                    let (opened, restored) = reopen(&folder);
                    prop_assert!(kept(&restored).iter().eq(&sessions));
                    store = opened;
                }
            }
            prop_assert_eq!(store.spooled().reports, spool.len() as u64);
            let batch = store.batch(usize::MAX, u64::MAX).unwrap();
            let revisions: Vec<u64> = batch.reports.iter().map(|report| report.revision).collect();
            prop_assert_eq!(&revisions, &spool);
        }
    }
}
