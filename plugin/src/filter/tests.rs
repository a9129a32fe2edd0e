//! What the filter promises, on the model that ships.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const TAG: &[u8] = b"hdfs.dn1";

fn model() -> Model {
    static MODEL: LazyLock<Mutex<Model>> = LazyLock::new(|| {
        let bytes = include_bytes!("../../../models/hdfs-v1.onnx");
        Mutex::new(Model::from_onnx_table(bytes).unwrap())
    });
    MODEL.lock().unwrap().fork()
}

fn filter(mode: Mode) -> Filter {
    Filter::new(mode, model(), Settings { summary_interval_s: 0, ..Settings::default() }).unwrap()
}

/// The answer as an owned record; `Ok(None)` is dropped, `Err` is unchanged.
fn take(filter: &mut Filter, second: i64, record: &str) -> Result<Option<Value>, ()> {
    match filter.take(TAG, Time::Written(second * 1_000), record.as_bytes()) {
        Answer::Unchanged => Err(()),
        Answer::Dropped => Ok(None),
        Answer::Record(record) => Ok(Some(serde_json::from_slice(record).unwrap())),
    }
}

/// A session that no model has seen the like of.
fn strange(block: i64) -> String {
    let line = format!("081109 203518 143 WARN dfs.X: strange thing about blk_{block}");
    serde_json::json!({ "log": line, "host": "dn1" }).to_string()
}

fn tick(filter: &mut Filter, second: i64) -> Result<Option<Value>, ()> {
    take(filter, second, r#"{"blocksift":{"tick":true}}"#)
}

#[test]
fn flagged_drops_lines_and_gives_reports_with_their_lines() {
    let mut filter = filter(Mode::Flagged);
    assert_eq!(take(&mut filter, 0, &strange(7)), Ok(None));
    assert_eq!(tick(&mut filter, 30), Ok(None));
    let report = tick(&mut filter, 120).unwrap().unwrap();
    let whole: Report = serde_json::from_value(report.clone()).unwrap();
    assert_eq!((whole.block.as_str(), whole.node.as_str(), whole.flagged), ("blk_7", "dn1", true));
    assert_eq!(report["events"][0]["line"], "081109 203518 143 WARN dfs.X: strange thing about blk_7");
    assert_eq!(report["events"][0]["file"], "hdfs.dn1");
    assert_eq!(filter.counts().records_read, 1);
}

#[test]
fn shadow_changes_nothing_but_adds_the_report() {
    let mut filter = filter(Mode::Shadow);
    assert_eq!(take(&mut filter, 0, &strange(7)), Err(()));
    let other = r#"{"log":"081109 203718 143 INFO dfs.X: nothing","n":[1,2]}"#;
    let mut record = take(&mut filter, 120, other).unwrap().unwrap();
    assert_eq!(record["blocksift"]["report"]["block"], "blk_7");
    record.as_object_mut().unwrap().remove("blocksift");
    assert_eq!(record, serde_json::from_str::<Value>(other).unwrap());
}

#[test]
fn annotate_names_block_and_template_and_brings_the_verdict() {
    let mut filter = filter(Mode::Annotate);
    let line = "081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block blk_-5 src: /10.0.0.1:1 dest: /10.0.0.2:50010";
    let record = take(&mut filter, 0, &serde_json::json!({ "log": line }).to_string()).unwrap().unwrap();
    assert_eq!((&record["log"], &record["blocksift"]["block"]), (&Value::from(line), &Value::from("blk_-5")));
    assert_eq!(record["blocksift"]["template"].as_str().unwrap().len(), 16);
    let record = take(&mut filter, 120, r#"{"log":"081109 203718 143 INFO dfs.X: nothing"}"#);
    let record = record.unwrap().unwrap();
    let verdict = &record["blocksift"]["verdicts"][0];
    assert_eq!(verdict["block"], "blk_-5");
    assert!((0.0..=1.0).contains(&verdict["score"].as_f64().unwrap()), "{verdict}");
}

#[test]
fn what_waits_goes_on_waiting_while_it_is_held() {
    for mode in [Mode::Annotate, Mode::Flagged, Mode::Shadow] {
        let mut filter = filter(mode);
        assert!(take(&mut filter, 0, &strange(7)).is_ok() || mode == Mode::Shadow);
        filter.hold(true);
        assert_eq!(tick(&mut filter, 120), Ok(None), "{mode:?}");
        let passes = if mode == Mode::Flagged { Ok(None) } else { Err(()) };
        assert_eq!(take(&mut filter, 121, &strange(8)), passes, "{mode:?}");
        filter.hold(false);
        assert!(tick(&mut filter, 122).unwrap().unwrap().to_string().contains("\"blk_7\""), "{mode:?}");
    }
}

#[test]
fn what_is_no_line_passes_in_every_mode() {
    for mode in [Mode::Annotate, Mode::Flagged, Mode::Shadow] {
        let mut filter = filter(mode);
        for record in ["", "null", "{\"log\":", "{\"cpu\":0.5}", "[1]", "{}"] {
            assert_eq!(take(&mut filter, 0, record), Err(()), "{mode:?} {record}");
        }
        assert_eq!(filter.counts().records_unread, 6);
    }
}

#[test]
fn a_flush_scores_everything_and_all_of_it_can_be_had() {
    let mut filter = filter(Mode::Flagged);
    for block in 0..1_000 {
        take(&mut filter, 0, &strange(block)).unwrap();
    }
    let reply = take(&mut filter, 1, r#"{"blocksift":{"flush":true}}"#).unwrap().unwrap();
    assert!(reply["blocksift"]["reply"]["flushed"]["waiting"].as_u64().unwrap() > 0, "{reply}");
    let mut blocks = std::collections::BTreeSet::new();
    while let Some(record) = filter.waiting() {
        let report: Report = serde_json::from_slice(record).unwrap();
        assert!(blocks.insert(report.block));
    }
    assert_eq!((blocks.len(), filter.waits(), filter.queue.dropped), (1_000, false, 0));
}

#[test]
fn settings_are_confirmed_or_refused_and_in_force_once() {
    let mut filter = filter(Mode::Flagged);
    take(&mut filter, 0, &strange(7)).unwrap();
    let configure = r#"{"blocksift":{"configure":{"threshold":0.25,"node":"dn9","idle_timeout_s":5}}}"#;
    let reply = take(&mut filter, 1, configure).unwrap().unwrap();
    assert_eq!(reply["blocksift"]["reply"]["configured"]["changed"], true);
    // What was open is scored.
    assert_eq!(tick(&mut filter, 1).unwrap().unwrap()["block"], "blk_7");
    take(&mut filter, 2, &strange(8).replace("\"host\":\"dn1\",", "")).unwrap();
    let again = take(&mut filter, 3, configure).unwrap().unwrap();
    assert_eq!(again["blocksift"]["reply"]["configured"]["changed"], false);
    let refused = take(&mut filter, 3, r#"{"blocksift":{"configure":{"threshold":7}}}"#).unwrap().unwrap();
    assert!(refused["blocksift"]["reply"]["refused"]["problems"][0].as_str().unwrap().contains("threshold"));
    let report = tick(&mut filter, 8).unwrap().unwrap();
    assert_eq!((&report["node"], &report["threshold"]), (&Value::from("dn9"), &Value::from(0.25)));
}

#[test]
fn only_the_tag_that_was_decided_on_controls() {
    let mut filter = filter(Mode::Flagged);
    take(&mut filter, 0, r#"{"blocksift":{"configure":{"control_tag":"secret"}}}"#).unwrap();
    assert_eq!(take(&mut filter, 0, r#"{"blocksift":{"flush":true}}"#), Err(()));
    assert_eq!(filter.counts().records_unread, 1);
    let answer = filter.take(b"secret", Time::Written(0), br#"{"blocksift":{"flush":true}}"#);
    assert!(matches!(answer, Answer::Record(_)));
}

#[test]
fn nodes_are_told_apart_as_far_as_there_is_room() {
    let settings = Settings { nodes_max: 2, ..Settings::default() };
    let mut filter = Filter::new(Mode::Flagged, model(), settings).unwrap();
    for host in ["dn1", "dn2"] {
        take(&mut filter, 0, &strange(7).replace("dn1", host)).unwrap();
    }
    assert_eq!(take(&mut filter, 0, &strange(7).replace("dn1", "dn3")), Err(()));
    filter.flush();
    let mut reports = BTreeMap::new();
    while let Some(record) = filter.waiting() {
        let report: Report = serde_json::from_slice(record).unwrap();
        reports.insert(report.node, report.id);
    }
    assert_eq!(reports.keys().collect::<Vec<_>>(), ["dn1", "dn2"]);
    assert_ne!(reports["dn1"], reports["dn2"]);
    assert_eq!(filter.counts().records_beyond_nodes, 1);
}

#[test]
fn a_node_without_a_name_makes_room_for_one_that_has_one() {
    let mut filter = filter(Mode::Flagged);
    take(&mut filter, 0, &strange(7).replace("\"host\":\"dn1\",", "")).unwrap();
    // What it has is scored, so nothing is lost.
    let report = take(&mut filter, 0, &strange(8)).unwrap().unwrap();
    assert_eq!((&report["node"], &report["block"]), (&Value::from("localhost"), &Value::from("blk_7")));
    take(&mut filter, 0, &strange(9).replace("\"host\":\"dn1\",", "")).unwrap();
    filter.flush();
    while let Some(record) = filter.waiting() {
        assert_eq!(serde_json::from_slice::<Report>(record).unwrap().node, "dn1");
    }
}

#[test]
fn a_summary_leaves_at_its_interval_and_adds_up() {
    let mut filter = Filter::new(Mode::Flagged, model(), Settings::default()).unwrap();
    for second in 0..59 {
        take(&mut filter, second, r#"{"log":"081109 203718 143 INFO dfs.X: nothing"}"#).unwrap();
    }
    let record = tick(&mut filter, 60).unwrap().unwrap();
    let summary = &record["blocksift"]["summary"];
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!((count("lines_read"), count("records_read"), count("records_dropped")), (59, 59, 59));
    assert_eq!(count("records"), 60);
}

#[test]
fn stack_traces_continue_the_record_of_their_stream() {
    let mut filter = filter(Mode::Flagged);
    let lines = [
        ("a", "081109 203518 143 WARN dfs.X: strange thing about blk_7"),
        ("b", "081109 203518 143 INFO dfs.X: another file"),
        ("a", "java.io.IOException: no"),
        ("a", "\tat a.B.c(B.java:1)"),
    ];
    for (file, line) in lines {
        take(&mut filter, 0, &serde_json::json!({ "log": line, "file": file }).to_string()).unwrap();
    }
    let report = tick(&mut filter, 120).unwrap().unwrap();
    assert_eq!(report["events"][0]["exception"], "java.io.IOException");
    let line = report["events"][0]["line"].as_str().unwrap();
    assert_eq!(line.lines().count(), 3, "{line}");
}

/// Pieces that records are made of.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let texts = prop::sample::select(vec![
        r#"{"log":""#,
        r#""}"#,
        "{",
        "}",
        ",",
        r#""message":"m","level":"WARN","#,
        r#""level":9e999"#,
        r#""blocksift":{"flush":true}"#,
        r#"{"blocksift":{"configure":{"sessions_max":1,"nodes_max":3}}}"#,
        r#"{"blocksift":{"tick":true}}"#,
        r#""host":"dn\u0000""#,
        r#""kubernetes":{"host":"k"}"#,
        "081109 203518 143 WARN dfs.X: strange blk_7 ",
        "2024-05-06 07:08:09,123 ERROR a.B: blk_-9 and BP-1-2-3:blk_8_1 ",
        r"\n\tat a.B(C.java:1)\ud800\u0000",
        "\\",
        "\u{0}",
        "\n",
        "[[[[",
    ]);
    let piece = prop_oneof![
        6 => texts.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => (0_usize..300_000).prop_map(|len| vec![b'x'; len]),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any bytes at any time: what comes out is the record, nothing, or a JSON object; every record is in one count; and
    /// the filter works afterwards.
    #[test]
    fn anything_may_come(
        mode in prop::sample::select(vec![Mode::Annotate, Mode::Flagged, Mode::Shadow]),
        records in prop::collection::vec((pieces(), any::<i64>(), any::<bool>()), 0..40),
    ) {
        let mut filter = filter(mode);
        let mut second = 1_000;
        for (record, time_ms, is_near) in &records {
            second += 7;
            let time_ms = if *is_near { second * 1_000 } else { *time_ms };
            let answer = filter.take(TAG, Time::Written(time_ms), record);
            if let Answer::Record(out) = answer {
                // An object that was broken inside stays so; one that is sound stays sound.
                if serde_json::from_slice::<Value>(record).is_ok() {
                    let value: Value = serde_json::from_slice(out).unwrap();
                    prop_assert!(value.is_object());
                }
            }
        }
        let counts = filter.counts();
        prop_assert_eq!(counts.records, records.len() as u64);
        let classes = counts.records_read + counts.records_unread + counts.records_beyond_nodes + counts.records_control;
        prop_assert_eq!(counts.records, classes);
        take(&mut filter, second, r#"{"blocksift":{"configure":{}}}"#).ok();
        while filter.waits() {
            let _ = filter.waiting();
        }
        take(&mut filter, second, &strange(70)).ok();
        filter.flush();
        let mut found = false;
        while let Some(record) = filter.waiting() {
            found |= String::from_utf8_lossy(record).contains("blk_70");
        }
        prop_assert!(found);
    }
}
