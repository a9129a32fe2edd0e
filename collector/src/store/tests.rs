//! The store's promises: once per revision, the highest revision is current, and both survive a reopen.

mod join;
mod keep;
mod shared;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn row(id: i64, revision: i64, flagged: bool) -> Row {
    Row {
        id,
        revision,
        node: "dn1".to_owned(),
        block: Some(1),
        pool: String::new(),
        flagged,
        score: 0.9,
        threshold: 0.5,
        model: "m".to_owned(),
        reasons: r#"["score"]"#.to_owned(),
        start_ms: 0,
        end_ms: 1_000 * revision,
        events: revision,
        culprits: Vec::new(),
        named: Vec::new(),
        body: pack(format!("{{\"revision\":{revision}}}").as_bytes()),
    }
}

fn batch(rows: Vec<Row>) -> Batch {
    Batch { rows, nodes: Vec::new() }
}

fn stored(current: u64, older: u64, duplicates: u64) -> Stored {
    Stored { current, older, duplicates }
}

async fn list(store: &Store, flagged: Option<bool>) -> Vec<SessionHead> {
    let filter = Filter { flagged, limit: 1_000, ..Filter::default() };
    store.read(move |connection| filter.sessions(connection)).await.unwrap()
}

async fn nodes(store: &Store) -> Vec<Node> {
    store.read(|connection| Node::page(connection, "", 10)).await.unwrap()
}

/// URL of a PostgreSQL where the tests may make schemas; they use it instead of files then.
const SERVER_VARIABLE: &str = "BLOCKSIFT_POSTGRES";

/// The database of a test: a file in its folder, or a schema that is named after the folder.
pub(crate) fn place(directory: &Path) -> Place {
    let Ok(url) = std::env::var(SERVER_VARIABLE) else { return Place::File(directory.join("a.sqlite")) };
    let name = directory.file_name().unwrap().to_string_lossy().replace(|c: char| !c.is_alphanumeric(), "_");
    let on_server = |url: &str| Place::new(Path::new(url), None).unwrap();
    let server = on_server(&url);
    let create = move || {
        let Place::Server(server) = server else { panic!("{SERVER_VARIABLE} is no URL of a server") };
        let connection = server.connect(None).unwrap();
        connection.execute_batch(&format!("CREATE SCHEMA IF NOT EXISTS \"t{name}\"")).unwrap();
        name
    };
    let name = std::thread::spawn(create).join().unwrap();
    on_server(&format!("{url}?options=-csearch_path%3D%22t{name}%22"))
}

/// Whether a test that is about files has nothing to do.
fn needs_a_file() -> bool {
    let skipped = std::env::var_os(SERVER_VARIABLE).is_some();
    if skipped {
        eprintln!("skipped: it is about a database in a file");
    }
    skipped
}

/// Runs something on a connection of its own, beside the store.
pub(crate) fn beside<T: Send>(directory: &Path, run: impl FnOnce(&Connection) -> T + Send) -> T {
    let place = place(directory);
    std::thread::scope(|scope| scope.spawn(move || run(&place.open().unwrap())).join().unwrap())
}

fn open(directory: &Path) -> Store {
    Store::open(place(directory), Retention::default(), Arc::default()).unwrap()
}

#[tokio::test]
async fn a_report_is_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let twice = batch(vec![row(1, 1, true), row(1, 1, true)]);
    assert_eq!(store.write(twice.clone()).await.unwrap(), stored(1, 0, 1));
    assert_eq!(store.write(twice).await.unwrap(), stored(0, 0, 2));
    assert_eq!(list(&store, None).await.len(), 1);
    assert_eq!(nodes(&store).await[0].sessions_flagged, 1);
    store.close();
}

#[tokio::test]
async fn the_highest_revision_is_current_in_any_order_of_arrival() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        for revision in order {
            store.write(batch(vec![row(1, revision, revision != 3)])).await.unwrap();
        }
        let all = list(&store, None).await;
        assert_eq!((all.len(), all[0].revision, all[0].flagged), (1, 3, false), "{order:?}");
        assert!(list(&store, Some(true)).await.is_empty());
        assert_eq!(list(&store, Some(false)).await.len(), 1);
        let session = store.read(|connection| Session::find(connection, 1)).await.unwrap().unwrap();
        assert_eq!(session.body, "{\"revision\":3}");
        let revisions: Vec<_> =
            session.revisions.iter().map(|known| (known.revision, known.flagged)).collect();
        assert_eq!(revisions, [(3, false), (2, true), (1, true)]);
        assert!(nodes(&store).await.iter().all(|node| node.sessions_flagged == 0), "{order:?}");
        store.close();
    }
}

#[tokio::test]
async fn a_new_state_comes_first_and_paging_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let ids: Vec<i64> = (0..25).collect();
    store.write(batch(ids.iter().map(|id| row(*id, 1, true)).collect())).await.unwrap();
    store.write(batch(vec![row(3, 2, true)])).await.unwrap();
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let filter = Filter { before, limit: 7, ..Filter::default() };
        let page = store.read(move |connection| filter.sessions(connection)).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        found.extend(page.into_iter().map(|session| session.id));
    }
    assert_eq!(found[0], 3);
    found.sort();
    assert_eq!(found, ids);
    store.close();
}

#[tokio::test]
async fn filters_choose() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let other = Row { node: "dn2".to_owned(), block: Some(2), score: 0.6, ..row(2, 1, true) };
    store.write(batch(vec![row(1, 1, true), other])).await.unwrap();
    let cases = [
        (Filter { node: Some("dn2".to_owned()), ..Filter::default() }, 2),
        (Filter { block: Some(1), ..Filter::default() }, 1),
        (Filter { min_score: Some(0.9), flagged: Some(true), ..Filter::default() }, 1),
        (Filter { before: Some(2), ..Filter::default() }, 1),
    ];
    for (filter, id) in cases {
        let filter = Filter { limit: 10, ..filter };
        let found = store
            .read({
                let filter = filter.clone();
                move |connection| filter.sessions(connection)
            })
            .await
            .unwrap();
        assert_eq!(found.iter().map(|session| session.id).collect::<Vec<_>>(), [id], "{filter:?}");
    }
    store.close();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_reopen_and_after_none() {
    if needs_a_file() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.write(batch(vec![row(1, 1, true)])).await.unwrap();
    store.close();
    assert!(matches!(store.write(batch(Vec::new())).await, Err(WriteError::Closed)));
    let reopened = open(directory.path());
    assert_eq!(list(&reopened, None).await.len(), 1);
    assert_eq!(reopened.write(batch(vec![row(1, 1, true)])).await.unwrap(), stored(0, 0, 1));
    assert_eq!(reopened.write(batch(vec![row(2, 1, true)])).await.unwrap(), stored(1, 0, 0));

    // What a kill leaves: database and WAL as they are, copied while the store is open.
    let killed = tempfile::tempdir().unwrap();
    for file in ["a.sqlite", "a.sqlite-wal"] {
        std::fs::copy(directory.path().join(file), killed.path().join(file)).unwrap();
    }
    let recovered = open(killed.path());
    let ids: Vec<_> = list(&recovered, None).await.into_iter().map(|session| session.id).collect();
    assert_eq!(ids, [2, 1]);
    recovered.close();
    reopened.close();
}

#[tokio::test]
async fn a_summary_replaces_older_ones_and_says_nothing_about_what_it_leaves_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let sighting = |version: &str, time_ms: i64| Sighting {
        node: "dn1".to_owned(),
        agent_version: version.to_owned(),
        model: String::new(),
        addresses: Vec::new(),
        metrics: Some(Metrics {
            time_ms,
            since_ms: 0,
            values: format!("{{\"lines_read\":{time_ms}}}"),
            templates: Vec::new(),
        }),
    };
    for (version, time_ms) in [("1.0", 5), ("", 9), ("", 7)] {
        store.write(Batch { rows: Vec::new(), nodes: vec![sighting(version, time_ms)] }).await.unwrap();
    }
    let nodes = nodes(&store).await;
    assert_eq!((nodes.len(), nodes[0].agent_version.as_str(), nodes[0].metrics_ms), (1, "1.0", Some(9)));
    assert_eq!(nodes[0].metrics, "{\"lines_read\":9}");
    store.close();
}

#[tokio::test]
async fn concurrent_batches_share_transactions_and_all_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(directory.path()));
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..QUEUE_MAX {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.write(batch(vec![row(i64::try_from(i).unwrap(), 1, true)])).await });
    }
    while let Some(result) = tasks.join_next().await {
        assert_eq!(result.unwrap().unwrap(), stored(1, 0, 0));
    }
    assert_eq!(list(&store, None).await.len(), QUEUE_MAX);
    assert_eq!(nodes(&store).await[0].sessions_flagged, i64::try_from(QUEUE_MAX).unwrap());
    store.close();
}

#[tokio::test]
async fn a_failed_transaction_stores_nothing_and_the_next_one_works() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    // A second connection breaks the schema under the writer's feet, then mends it.
    let rename = |sql: &str| beside(directory.path(), |other| other.execute_batch(sql)).unwrap();
    rename("ALTER TABLE bodies RENAME TO away");
    assert!(matches!(store.write(batch(vec![row(1, 1, true)])).await, Err(WriteError::Failed)));
    rename("ALTER TABLE away RENAME TO bodies");
    assert!(list(&store, None).await.is_empty());
    assert_eq!(store.write(batch(vec![row(1, 1, true)])).await.unwrap(), stored(1, 0, 0));
    store.close();
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_broken_off() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (ended, end) = oneshot::channel();
    let endless = store.read(move |connection| {
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        let result = connection.prepare_cached(sql)?.query_row((), |row| row.get::<i64>(0));
        assert!(ended.send(result.is_err()).is_ok());
        Ok(())
    });
    drop(tokio::time::timeout(std::time::Duration::from_millis(100), endless).await);
    assert!(end.await.unwrap());
    store.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any arrivals, in any batches, with reopens in between, leave what a map keeps of them.
    #[test]
    fn the_store_is_a_map_of_highest_revisions(
        batches in vec((vec((0_u8..4, 1_i64..6, any::<bool>()), 0..6), any::<bool>()), 1..8)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut model: BTreeMap<i64, BTreeMap<i64, bool>> = BTreeMap::new();
        for (arrivals, reopen) in batches {
            let rows: Vec<Row> = arrivals.iter().map(|(id, revision, flag)| row(i64::from(*id), *revision, *flag)).collect();
            let mut duplicates = 0;
            for row in &rows {
                match model.entry(row.id).or_default().entry(row.revision) {
                    Entry::Vacant(place) => { place.insert(row.flagged); }
                    Entry::Occupied(_) => duplicates += 1,
                }
            }
            prop_assert_eq!(runtime.block_on(store.write(batch(rows))).unwrap().duplicates, duplicates);
            if reopen {
                store.close();
                store = open(directory.path());
            }
        }
        let found = runtime.block_on(list(&store, None));
        let found: BTreeMap<_, _> = found.into_iter().map(|session| (session.id, (session.revision, session.flagged))).collect();
        let expected = model.iter().map(|(id, known)| {
            let (revision, flagged) = known.last_key_value().unwrap();
            (*id, (*revision, *flagged))
        });
        let expected: BTreeMap<_, _> = expected.collect();
        let flagged = expected.values().filter(|(_, flagged)| *flagged).count();
        prop_assert_eq!(found, expected);
        let counted: i64 = runtime.block_on(nodes(&store)).iter().map(|node| node.sessions_flagged).sum();
        prop_assert_eq!(counted, i64::try_from(flagged).unwrap());
        store.close();
    }
}
