//! The join and the roll-ups: whatever the order of arrival, the same incidents and the same counts.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::culprit::{Culprit, Kind};
use crate::store::overview::{self, IncidentFilter, Range};

/// A report of one of a few blocks, nodes, pools and times.
fn made(id: i64, revision: i64, choice: u8) -> Row {
    let choose = |of: &[&str], by: u8| of[usize::from(by) % of.len()].to_owned();
    let node = choose(&["dn1", "dn2", "nn"], choice);
    let culprits = vec![
        Culprit { kind: Kind::Node, name: node.clone() },
        Culprit { kind: Kind::Volume, name: format!("{node} /data/{}", choice % 2) },
    ];
    Row {
        node,
        block: (!choice.is_multiple_of(7)).then(|| i64::from(choice % 2)),
        pool: choose(&["", "A", "", "B"], choice / 4),
        flagged: !choice.is_multiple_of(5),
        score: f64::from(choice) / 256.0,
        start_ms: i64::from(choice) * 400_000,
        end_ms: i64::from(choice) * 400_000 + revision * 60_000,
        culprits,
        ..row(id, revision, true)
    }
}

/// Everything that was rolled up or joined, but for row numbers and counts that came to nothing.
fn derived(connection: &Connection) -> BTreeMap<&'static str, Vec<Vec<String>>> {
    let queries = [
        (
            "incidents",
            "block, pool, hour, start_ms, end_ms, score, sessions, flagged, nodes, node_names, culprits, slot",
            "TRUE",
        ),
        ("minutes", "minute, flagged", "flagged != 0"),
        ("culprits", "slot_ms, slot, kind, name, incidents", "incidents != 0"),
        ("nodes", "node, sessions_flagged", "sessions_flagged != 0"),
    ];
    let read = |table: &str, columns: &str, condition: &str| {
        let columns: Vec<String> =
            columns.split(", ").map(|column| format!("CAST({column} AS TEXT)")).collect();
        let sql = format!("SELECT {} FROM {table} WHERE {condition}", columns.join(", "));
        let count = columns.len();
        let rows = connection
            .prepare_cached(&sql)
            .unwrap()
            .query_map((), |row| (0..count).map(|at| row.get::<String>(at)).collect::<sql::Result<Vec<_>>>());
        let mut rows = rows.unwrap();
        rows.sort();
        rows
    };
    queries.into_iter().map(|(name, columns, condition)| (name, read(name, columns, condition))).collect()
}

fn stored_in(order: &[Vec<Row>]) -> BTreeMap<&'static str, Vec<Vec<String>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for rows in order {
        runtime.block_on(store.write(batch(rows.clone()))).unwrap();
    }
    let derived = runtime.block_on(store.read(|connection| Ok(derived(connection)))).unwrap();
    store.close();
    derived
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_arrival_gives_the_same_incidents(
        choices in vec((0_i64..8, 1_i64..4, any::<u8>()), 1..16),
        places in vec(any::<Index>(), 16),
        cut in 1_usize..5,
    ) {
        // One report for each id and revision, as agents send them.
        let reports: BTreeMap<(i64, i64), Row> =
            choices.into_iter().map(|(id, revision, choice)| ((id, revision), made(id, revision, choice))).collect();
        let reports: Vec<Row> = reports.into_values().collect();
        let mut shuffled = reports.clone();
        for (at, place) in places.iter().enumerate().take(shuffled.len()) {
            let other = place.index(shuffled.len());
            shuffled.swap(at, other);
        }
        let batches: Vec<Vec<Row>> = shuffled.chunks(cut).map(<[Row]>::to_vec).collect();
        prop_assert_eq!(stored_in(&[reports]), stored_in(&batches));
    }
}

#[tokio::test]
async fn one_block_on_three_nodes_is_one_incident_with_its_culprits_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let culprit = Culprit { kind: Kind::Volume, name: "dn1 /data/4".to_owned() };
    for (id, node) in [(1, "dn1"), (2, "dn2"), (3, "nn")] {
        let row = Row {
            node: node.to_owned(),
            culprits: vec![culprit.clone()],
            end_ms: 1_000,
            score: 0.5 + 0.1 * f64::from(i32::try_from(id).unwrap()),
            ..row(id, 1, true)
        };
        store.write(batch(vec![row])).await.unwrap();
    }
    let range = Range { from_ms: 0, to_ms: 3_600_000 };
    let (incidents, culprits, worst) = store
        .read(move |connection| {
            let filter = IncidentFilter {
                range: Some(range),
                culprit: serde_json::to_string(&culprit).ok(),
                limit: 10,
                ..IncidentFilter::default()
            };
            Ok((
                filter.incidents(connection)?,
                overview::culprits(connection, range, 10)?,
                overview::worst(connection, range, 10)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!((incidents.len(), incidents[0].nodes, incidents[0].flagged), (1, 3, 3));
    assert_eq!(incidents, worst);
    assert!((incidents[0].score - 0.8).abs() < 1e-9);
    assert_eq!(culprits, [("volume".to_owned(), "dn1 /data/4".to_owned(), 1)]);
    store.close();
}

#[tokio::test]
async fn incidents_page_by_hour_and_score_and_the_worst_are_the_worst_of_all_hours() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let rows: Vec<Row> = (0..30)
        .map(|i| Row {
            block: Some(i),
            score: f64::from(i32::try_from(i * 7 % 30).unwrap()) / 30.0,
            end_ms: i % 3 * 3_600_000 + i,
            ..row(i, 1, true)
        })
        .collect();
    store.write(batch(rows)).await.unwrap();
    let mut found: Vec<(i64, f64)> = Vec::new();
    let mut before = None;
    loop {
        let filter = IncidentFilter { before, limit: 7, ..IncidentFilter::default() };
        let page = store.read(move |connection| filter.incidents(connection)).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.hour, last.score, last.incident));
        found.extend(page.iter().map(|incident| (incident.hour, incident.score)));
    }
    assert_eq!(found.len(), 30);
    assert!(found.windows(2).all(|two| two[0].0 > two[1].0 || (two[0].0 == two[1].0 && two[0].1 > two[1].1)));
    let range = Range { from_ms: 0, to_ms: 3 * 3_600_000 };
    let worst = store.read(move |connection| overview::worst(connection, range, 5)).await.unwrap();
    let scores: Vec<f64> = worst.iter().map(|incident| (incident.score * 30.0).round()).collect();
    assert_eq!(scores, [29.0, 28.0, 27.0, 26.0, 25.0]);
    store.close();
}
