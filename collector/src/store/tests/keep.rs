//! What is kept and what goes: retention, marks, backup, and the upgrade of a file of the first version.

use super::*;
use crate::culprit::{Culprit, Kind};
use crate::store::marks::{Mark, page};
use crate::store::retention::Retention;
use crate::store::rollup::DAY_MS;
use crate::store::schema;
use crate::store::writer::now_ms;

fn mark() -> Mark {
    Mark { real: true, comment: "disk".to_owned(), marked_by: "eve".to_owned(), marked_ms: 5, revision: 1 }
}

async fn count(store: &Store, table: &'static str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    store
        .read(move |connection| connection.prepare_cached(&sql)?.query_row((), |row| row.get(0)))
        .await
        .unwrap()
}

/// Steps until nothing more goes; how many sessions went.
fn forget(directory: &Path, retention: Retention, now_ms: i64) -> u64 {
    beside(directory, |connection| {
        let mut gone = 0;
        loop {
            let (sessions, more) = retention.step(connection, now_ms).unwrap();
            gone += sessions;
            if !more {
                return gone;
            }
        }
    })
}

#[tokio::test]
async fn what_is_too_old_goes_but_the_newest_session_and_marks_stay() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let rows = (0..1_200).map(|id| Row { block: Some(id / 2), ..row(id, 1, true) }).collect();
    store.write(batch(rows)).await.unwrap();
    store.mark(3, Some(mark())).await.unwrap();
    let path = directory.path();
    let retention = Retention { age_days: 7, bytes_max: u64::MAX };
    assert_eq!(forget(path, retention, now_ms()), 0);
    assert_eq!(forget(path, retention, now_ms() + 8 * DAY_MS), 1_199);
    assert_eq!((count(&store, "sessions").await, count(&store, "bodies").await), (1, 1));
    // What was rolled up stays as long as there are incidents of its time.
    assert_eq!((count(&store, "incidents").await, count(&store, "minutes").await), (1, 1));
    assert_eq!(nodes(&store).await[0].sessions_flagged, 1);
    assert_eq!(count(&store, "marks").await, 1);
    // Numbers go on where they were.
    store.write(batch(vec![row(5_000, 1, true)])).await.unwrap();
    assert_eq!(list(&store, None).await[0].seq, 1_201);
    store.close();
}

#[tokio::test]
async fn roll_ups_without_incidents_go_with_age() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.write(batch(vec![Row { block: None, ..row(1, 1, true) }])).await.unwrap();
    assert_eq!(count(&store, "minutes").await, 1);
    forget(directory.path(), Retention { age_days: 7, bytes_max: u64::MAX }, now_ms());
    assert_eq!((count(&store, "minutes").await, count(&store, "sessions").await), (0, 1));
    store.close();
}

#[tokio::test]
async fn a_file_that_holds_too_much_loses_its_oldest_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let noise = |id: i64| -> Vec<u8> {
        let mut state = id.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..500).flat_map(|_| next()).collect()
    };
    for chunk in 0..4 {
        let rows =
            (0..500).map(|i| Row { body: noise(chunk * 500 + i), ..row(chunk * 500 + i, 1, true) }).collect();
        store.write(batch(rows)).await.unwrap();
    }
    let bytes_max = 5_000_000;
    assert!(store.read(Connection::used_bytes).await.unwrap() > bytes_max);
    let gone = forget(directory.path(), Retention { age_days: 1_000, bytes_max }, now_ms());
    assert!((500..=1_999).contains(&gone), "{gone}");
    assert!(store.read(Connection::used_bytes).await.unwrap() <= bytes_max);
    let left = list(&store, None).await;
    assert_eq!(left.iter().map(|session| session.id).min(), i64::try_from(gone).ok(), "the oldest went");
    store.close();
}

#[tokio::test]
async fn what_retention_takes_from_an_incident_stays_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let culprit = |name: &str| vec![Culprit { kind: Kind::Node, name: name.to_owned() }];
    let part = |id, name: &str| Row { culprits: culprit(name), ..row(id, 1, true) };
    store.write(batch(vec![part(1, "a"), part(2, "b")])).await.unwrap();
    beside(directory.path(), |connection| {
        connection.execute_batch("UPDATE sessions SET received_ms = 0 WHERE id = 1").unwrap();
    });
    assert_eq!(forget(directory.path(), Retention { age_days: 30, bytes_max: u64::MAX }, now_ms()), 1);
    // The incident changes again: what was counted of it before is taken back, no more and no less.
    store.write(batch(vec![part(3, "c")])).await.unwrap();
    let counts: Vec<(String, i64)> = store
        .read(|connection| {
            let sql = "SELECT name, CAST(sum(incidents) AS BIGINT) FROM culprits WHERE slot_ms = 600000
                 GROUP BY name ORDER BY name";
            connection.prepare_cached(sql)?.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await
        .unwrap();
    assert!(counts.iter().all(|(_, count)| (0..=1).contains(count)), "{counts:?}");
    store.close();
}

#[tokio::test]
async fn a_mark_replaces_another_and_can_be_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.write(batch(vec![row(1, 1, true), row(-2, 1, true)])).await.unwrap();
    store.mark(1, Some(mark())).await.unwrap();
    store.mark(1, Some(Mark { real: false, ..mark() })).await.unwrap();
    store.mark(-2, Some(mark())).await.unwrap();
    store.mark(77, Some(mark())).await.unwrap();
    let marks = store.read(|connection| page(connection, i64::MIN, 10)).await.unwrap();
    let found: Vec<_> = marks.iter().map(|(id, mark, body)| (*id, mark.real, body.as_str())).collect();
    assert_eq!(found, [(-2, true, "{\"revision\":1}"), (1, false, "{\"revision\":1}")]);
    store.mark(1, None).await.unwrap();
    assert_eq!(store.read(|connection| Mark::find(connection, 1)).await.unwrap(), None);
    store.close();
}

#[tokio::test]
async fn a_backup_is_whole_while_the_store_is_written() {
    if needs_a_file() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.write(batch((0..100).map(|id| row(id, 1, true)).collect())).await.unwrap();
    let copy = directory.path().join("copy.sqlite");
    backup(&directory.path().join("a.sqlite"), &copy).unwrap();
    store.write(batch(vec![row(1_000, 1, true)])).await.unwrap();
    let copied = Store::open(Place::File(copy.clone()), Retention::default(), Arc::default()).unwrap();
    assert_eq!(list(&copied, None).await.len(), 100);
    copied.close();
    let again = backup(&directory.path().join("a.sqlite"), &copy).unwrap_err();
    assert!(again.to_string().contains("exists already"), "{again}");
    assert!(backup(&directory.path().join("none.sqlite"), &directory.path().join("b")).is_err());
    assert!(!directory.path().join("b").exists() && !directory.path().join("none.sqlite").exists());
    store.close();
}

#[tokio::test]
async fn a_file_of_the_first_version_becomes_one_of_this() {
    if needs_a_file() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sqlite");
    let old = schema::tests::create_v1(&path);
    let report = crate::otlp::tests::report();
    let body = serde_json::to_string(&report).unwrap();
    old.execute_batch(
        "INSERT INTO sessions VALUES (7, '0123456789abcdef', 2, 'dn1', 'blk_-7', '', 1, 0.9, 0.5, 'm', '[\"score\"]', 1000, 61000, 2, 5);
         INSERT INTO sessions VALUES (9, 'ffffffffffffffff', 1, 'dn1', '', '', 0, 0.1, 0.5, 'm', '[]', 0, 0, 2, 6);
         INSERT INTO revisions VALUES ('0123456789abcdef', 1, 1, 0.8, 'm', 4), ('0123456789abcdef', 2, 1, 0.9, 'm', 5),
             ('ffffffffffffffff', 1, 0, 0.1, 'm', 6);
         INSERT INTO nodes VALUES ('dn1', '0.1', 'm', 1, 6, 1, '{\"lines_read\":3}', 4);",
    )
    .unwrap();
    for id in ["0123456789abcdef", "ffffffffffffffff"] {
        old.execute("INSERT INTO reports VALUES (?1, ?2)", [id, &body]).unwrap();
    }
    drop(old);
    let store = open(directory.path());
    let sessions = list(&store, None).await;
    assert_eq!(
        sessions.iter().map(|session| (session.id, session.block)).collect::<Vec<_>>(),
        [(-1, None), (0x0123_4567_89ab_cdef, Some(-7))]
    );
    let session =
        store.read(|connection| Session::find(connection, 0x0123_4567_89ab_cdef)).await.unwrap().unwrap();
    assert_eq!((session.body, session.received_ms, session.revisions.len()), (body, 5, 2));
    let nodes = nodes(&store).await;
    assert_eq!((nodes[0].sessions_flagged, nodes[0].metrics.as_str()), (1, "{\"lines_read\":3}"));
    assert_eq!((count(&store, "incidents").await, count(&store, "minutes").await), (1, 1));
    assert_eq!(store.write(batch(vec![row(-1, 1, true)])).await.unwrap(), stored(0, 0, 1));
    store.close();
}
