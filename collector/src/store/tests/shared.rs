//! Several collectors on one PostgreSQL. Without a server there is nothing to test here; `cargo xtask test` starts one.

use super::*;

/// Two stores in one place, unless there is no server.
fn two(directory: &Path) -> Option<[Store; 2]> {
    if std::env::var_os(SERVER_VARIABLE).is_none() {
        eprintln!("skipped: {SERVER_VARIABLE} names no PostgreSQL");
        return None;
    }
    Some([open(directory), open(directory)])
}

async fn leaders(stores: &[Store; 2], expected: usize) {
    let mut commits = stores.each_ref().map(Store::commits);
    while stores.iter().filter(|store| store.leads()).count() != expected {
        let [one, other] = &mut commits;
        tokio::select! {
            changed = one.changed() => changed.unwrap(),
            changed = other.changed() => changed.unwrap(),
        }
    }
}

#[tokio::test]
async fn what_two_collectors_are_sent_at_once_is_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stores) = two(directory.path()) else { return };
    let stores = stores.map(Arc::new);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20_i64 {
        for store in &stores {
            let store = Arc::clone(store);
            let rows = (0..10).map(|i| Row { block: Some(i), ..row(number / 2 * 10 + i, 1, true) }).collect();
            tasks.spawn(async move { store.write(batch(rows)).await.unwrap() });
        }
    }
    let mut sum = Stored::default();
    while let Some(stored) = tasks.join_next().await {
        let stored = stored.unwrap();
        sum.current += stored.current;
        sum.duplicates += stored.duplicates;
    }
    assert_eq!(sum, stored(100, 0, 300));
    for store in &stores {
        assert_eq!(list(store, None).await.len(), 100);
        assert_eq!(nodes(store).await[0].sessions_flagged, 100);
        store.close();
    }
}

#[tokio::test]
async fn one_tells_of_incidents_and_another_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stores) = two(directory.path()) else { return };
    leaders(&stores, 1).await;
    let (first, second) = if stores[0].leads() { (0, 1) } else { (1, 0) };
    stores[first].close();
    let mut commits = stores[second].commits();
    while !stores[second].leads() {
        commits.changed().await.unwrap();
    }
    stores[second].close();
}

#[tokio::test]
async fn what_one_writes_is_news_to_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stores) = two(directory.path()) else { return };
    leaders(&stores, 1).await;
    let mut commits = stores[1].commits();
    stores[0].write(batch(vec![row(1, 1, true)])).await.unwrap();
    while list(&stores[1], None).await.is_empty() {
        commits.changed().await.unwrap();
    }
    commits.changed().await.unwrap();
    stores.iter().for_each(Store::close);
}

#[tokio::test]
async fn a_collector_goes_on_once_the_server_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let Some([store, other]) = two(directory.path()) else { return };
    other.close();
    store.write(batch(vec![row(1, 1, true)])).await.unwrap();
    assert_eq!(list(&store, None).await.len(), 1);
    // Every connection of this schema's collectors is cut.
    beside(directory.path(), |connection| {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_stat_activity USING (pid)
             WHERE locktype = 'advisory' AND pid != pg_backend_pid() AND objid::bigint = hashtext(current_schema())::bigint & 4294967295";
        let cut: i64 = connection.prepare_cached(cut).unwrap().query_row((), |row| row.get(0)).unwrap();
        assert_eq!(cut, 1);
    });
    assert_eq!(store.write(batch(vec![row(2, 1, true)])).await.unwrap(), stored(1, 0, 0));
    assert_eq!(list(&store, None).await.len(), 2);
    store.close();
}
