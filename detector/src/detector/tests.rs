//! Tests of the whole path with a scorer that is easy to foresee.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::model::{Decision, Golden, Metadata, TokenizerSpec, Training};
use crate::score::{Score, ScoreError};
use crate::template::{Template, TemplateId};
use crate::token::{Token, Window};

const A: FileId = FileId(1);
const READ: &str = "Receiving block <blk>";
const FAILED: &str = "Exception in receiveBlock for block <blk> <exception>";
const DELETE: &str = "BLOCK* ask <node>:<port> to delete  <blk> <blk> ...";

/// Scores a window by the share of `FAILED`, token 3, among its four places.
struct Failures;

impl Score for Failures {
    fn fork(&self) -> Box<dyn Score> {
        Box::new(Self)
    }

    fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        let failures = |window: &Window| window.0.iter().filter(|token| token.0 == 3).count();
        Ok(windows.iter().map(|window| f32::from(u8::try_from(failures(window)).unwrap()) / 4.0).collect())
    }
}

fn model() -> Model {
    let template = |text: &str| Template {
        text: text.to_owned(),
        logger: String::new(),
        level: String::new(),
        key: None,
    };
    let texts = [READ, FAILED, DELETE];
    let metadata = Metadata {
        name: "test".to_owned(),
        licence: String::new(),
        catalogue: texts.iter().map(|text| template(text)).collect(),
        tokenizer: TokenizerSpec {
            length: 4,
            vocabulary: texts.iter().map(|text| TemplateId::of(text)).collect(),
            refinements: Vec::new(),
            node_window_ms: None,
        },
        decision: Decision { threshold: 0.25, novel_counts: false, unknown_warn: true, quantiles: vec![] },
        novelty: HashSet::new(),
        training: Training { data: String::new(), seed: 0, sessions: 0, sequences: String::new() },
        scores: serde_json::Value::Null,
        golden: vec![Golden { tokens: vec![Token(3), Token(2), Token(0), Token(0)], score: 0.25 }],
    };
    Model::new(metadata, b"file", Box::new(Failures)).unwrap()
}

fn detector(settings: Settings) -> Detector {
    Detector::new(model(), settings)
}

/// Whole run over one file in chunks of `chunk` bytes.
fn run(log: &[u8], chunk: usize, settings: Settings) -> (Vec<Report>, Summary) {
    let mut detector = detector(settings);
    for (at, bytes) in log.chunks(chunk.max(1)).enumerate() {
        detector.push(A, (at * chunk.max(1)) as u64, bytes);
    }
    detector.end_of_file(A);
    detector.finish();
    (detector.reports().collect(), detector.summary())
}

const LOG: &str = "\
garbage before the first head
110203 040506 1 INFO a.B: Receiving block blk_1
110203 040507 1 INFO a.B: no block here
  continued
110203 040508 1 WARN a.B: Exception in receiveBlock for block blk_1 java.io.IOException: x
\tat java.lang.Thread.run(Thread.java:745)
110203 040509 1 INFO a.B: Receiving block blk_2
110203 040510 1 INFO a.B: BLOCK* ask 10.0.0.1:50010 to delete  blk_2 blk_3 blk_2
110203 040511 1 ERROR a.B: never seen before: blk_4";

#[test]
fn every_line_is_in_one_class_and_flagged_sessions_are_reported() {
    let (reports, summary) = run(LOG.as_bytes(), usize::MAX >> 1, Settings::default());
    let ledger = summary.ledger;
    assert!(ledger.adds_up());
    assert_eq!((ledger.lines_read, ledger.lines_in_sessions, ledger.lines_without_key), (9, 6, 2));
    assert_eq!((ledger.lines_skipped.no_head, ledger.bytes_read), (1, LOG.len() as u64));
    assert_eq!((summary.sessions_scored, summary.sessions_flagged, summary.sessions_open), (4, 2, 4));
    let flagged: Vec<(&str, &[String])> =
        reports.iter().map(|report| (report.block.as_str(), report.reasons.as_slice())).collect();
    assert_eq!(
        flagged,
        [("blk_1", &["score".to_owned()][..]), ("blk_4", &["unknown_template".to_owned()][..])]
    );
}

#[test]
fn a_report_says_what_happened() {
    let (reports, _) = run(LOG.as_bytes(), 7, Settings { node: "dn1".to_owned(), ..Settings::default() });
    let report = &reports[0];
    assert_eq!((report.node.as_str(), report.revision, report.score), ("dn1", 2, 0.25));
    assert_eq!(report.start, "2011-02-03T04:05:06.000Z");
    assert_eq!(report.end, "2011-02-03T04:05:08.000Z");
    let failed = &report.events[1];
    assert_eq!(
        (failed.text.as_str(), failed.level.as_str(), failed.logger.as_str()),
        (FAILED, "WARN", "a.B")
    );
    assert_eq!(failed.contribution, 0.25);
    let start = usize::try_from(failed.offset).unwrap();
    let end = start + usize::try_from(failed.bytes).unwrap();
    let record = &LOG.as_bytes()[start..end];
    assert!(record.starts_with(b"110203 040508") && record.ends_with(b"745)\n"));
    let unknown = &reports[1].events[0];
    assert_eq!(unknown.text, "never seen before: <blk>");
}

#[test]
fn a_session_is_scored_when_silent_and_again_when_it_speaks() {
    let mut detector = detector(Settings { idle_timeout_ms: 100, ..Settings::default() });
    let lines = [
        "110203 040506 1 INFO a.B: Receiving block blk_1\n",
        "110203 040507 1 INFO a.B: Exception in receiveBlock for block blk_1 x\n",
        &"110203 040508 1 INFO a.B: Receiving block blk_1\n".repeat(3),
    ];
    let mut at = 0;
    let mut seen = Vec::new();
    for (step, text) in (0_i64..).zip(lines) {
        detector.tick(step * 1_000);
        detector.push(A, at, text.as_bytes());
        detector.close_records(A);
        at += text.len() as u64;
        detector.tick(step * 1_000 + 99);
        assert_eq!(detector.reports().collect::<Vec<_>>(), []);
        detector.tick(step * 1_000 + 100);
        seen.extend(
            detector.reports().collect::<Vec<_>>().iter().map(|report| (report.revision, report.flagged)),
        );
    }
    assert_eq!(seen, [(2, true), (5, true)]);
    assert_eq!(detector.checkpoint(A), at);
}

#[test]
fn a_silence_in_the_times_of_the_log_is_scored_and_a_long_one_forgotten() {
    let line = |time: &str, what: &str| format!("110203 {time} 1 WARN a.B: {what} blk_1 x\n");
    let (read, failed) = ("Receiving block", "Exception in receiveBlock for block");
    let log: String = [
        line("040500", failed),
        line("040559", failed),
        // A minute later, then a clock that was set back, then an hour later.
        line("040659", read),
        line("030659", read),
        line("030700", failed),
        line("040700", read),
    ]
    .concat();
    let scored = |settings: Settings, chunk: usize| {
        let (reports, _) = run(log.as_bytes(), chunk, Settings { reorder_ms: 0, ..settings });
        let first = reports[0].id.clone();
        reports.iter().map(|report| (report.id == first, report.revision)).collect::<Vec<_>>()
    };
    let gaps = Settings {
        score_gaps: true,
        idle_timeout_ms: 60_000,
        forget_after_ms: 3_600_000,
        ..Settings::default()
    };
    for chunk in [1, 50, 9_999] {
        // A template that the vocabulary lacks, at WARN, is flagged by itself.
        assert_eq!(scored(gaps.clone(), chunk), [(true, 2), (true, 5), (false, 1)]);
        assert_eq!(
            scored(Settings { forget_after_ms: 3_601_000, ..gaps.clone() }, chunk),
            [(true, 2), (true, 5), (true, 6)]
        );
        assert_eq!(scored(Settings { score_gaps: false, ..gaps.clone() }, chunk), [(true, 6)]);
    }
}

#[test]
fn reports_of_one_session_leave_as_they_were_made_though_a_later_one_ends_earlier() {
    let line =
        |time: &str| format!("110203 {time} 1 WARN a.B: Exception in receiveBlock for block blk_1 x\n");
    let log = [line("040500"), line("040600"), line("030000"), line("030100")].concat();
    let settings =
        Settings { score_gaps: true, idle_timeout_ms: 60_000, reorder_ms: 0, ..Settings::default() };
    let (reports, _) = run(log.as_bytes(), log.len(), settings);
    let revisions: Vec<u64> = reports.iter().map(|report| report.revision).collect();
    assert_eq!(revisions, [1, 3, 4]);
    assert!(reports[1].end < reports[0].end);
}

#[test]
fn a_flag_is_taken_back_when_more_events_make_it_normal() {
    let mut detector = detector(Settings::default());
    let line = "110203 040507 1 INFO a.B: Exception in receiveBlock for block blk_1 x\n";
    detector.push(A, 0, "110203 040506 1 INFO a.B: Receiving block blk_1\n".repeat(2).as_bytes());
    detector.push(A, 96, line.as_bytes());
    detector.close_records(A);
    detector.finish();
    let first = detector.reports().collect::<Vec<_>>();
    let more = "110203 040508 1 INFO a.B: Receiving block blk_1\n".repeat(2);
    detector.push(A, 96 + line.len() as u64, more.as_bytes());
    detector.close_records(A);
    detector.finish();
    let second = detector.reports().collect::<Vec<_>>();
    assert_eq!((first[0].flagged, second[0].flagged), (true, false));
    assert_eq!((first[0].id == second[0].id, second[0].revision), (true, 5));
    assert_eq!(second[0].reasons, [""; 0]);
    assert_eq!(detector.summary().sessions_flagged, 0);
}

#[test]
fn a_full_memory_forgets_the_least_recently_active_session_after_scoring_it() {
    let (reports, summary) = run(LOG.as_bytes(), 64, Settings { sessions_max: 1, ..Settings::default() });
    assert_eq!((summary.sessions_evicted, summary.sessions_open), (3, 1));
    assert_eq!(reports.len(), 2);
}

#[test]
fn limits_cut_and_count() {
    let settings = Settings { line_bytes_max: 80, record_lines_max: 2, keys_max: 1, ..Settings::default() };
    let long = "x".repeat(1_000);
    let log = format!(
        "110203 040506 1 INFO a.B: Receiving block blk_1\n one\n two\n three\n\
         110203 040506 1 INFO a.B: BLOCK* ask 10.0.0.1:5 to delete  blk_2 blk_3\n\
         110203 040506 1 INFO a.B: Receiving {long} blk_4\n"
    );
    for chunk in [1, 10, 5_000] {
        let (_, summary) = run(log.as_bytes(), chunk, settings.clone());
        let ledger = summary.ledger;
        assert!(ledger.adds_up());
        assert_eq!((ledger.lines_read, ledger.lines_skipped.beyond_record, ledger.keys_dropped), (6, 2, 1));
        assert_eq!((ledger.lines_without_key, ledger.bytes_read), (1, log.len() as u64));
        assert!(ledger.bytes_cut > 950, "{}", ledger.bytes_cut);
    }
}

#[test]
fn a_block_on_a_continuation_line_brings_the_record_into_its_session() {
    let log = "110203 040506 1 ERROR a.B: Exception in receiveBlock for block <blk> x\n caused by blk_9\n";
    let (reports, summary) = run(log.as_bytes(), 11, Settings::default());
    assert_eq!(summary.ledger.lines_in_sessions, 2);
    assert_eq!((reports[0].block.as_str(), reports[0].events[0].bytes), ("blk_9", 88));
}

#[test]
fn a_jump_in_the_offsets_closes_what_was_open() {
    let mut detector = detector(Settings::default());
    detector.push(A, 0, b"110203 040506 1 INFO a.B: Receiving block blk_1\n110203 04");
    detector.push(A, 1_000, b"110203 040506 1 INFO a.B: Receiving block blk_1\n");
    assert_eq!(detector.checkpoint(A), 1_000);
    let ledger = detector.end_of_file(A);
    assert!(ledger.adds_up());
    assert_eq!((ledger.lines_read, ledger.bytes_read), (3, 105));
}

/// Runs `log` with a restart from the snapshot after `cut` bytes; `tick` makes sessions quiet before it.
fn run_with_restart(log: &[u8], cut: usize, quiet: bool) -> (Vec<Report>, Summary) {
    let settings = Settings { track_changes: true, idle_timeout_ms: 1, ..Settings::default() };
    let mut first = detector(settings.clone());
    first.push(A, 0, &log[..cut]);
    if quiet {
        first.tick(10);
    }
    let mut reports = first.reports().collect::<Vec<_>>();
    let sessions = first.take_changes(usize::MAX);
    let checkpoint = first.checkpoint(A);
    let mut second = detector(settings);
    let files = vec![first.file_state(A).unwrap()];
    second.restore(Snapshot { sessions, files, summary: first.summary(), ..Snapshot::default() });
    second.push(A, checkpoint, &log[usize::try_from(checkpoint).unwrap()..]);
    second.end_of_file(A);
    second.finish();
    reports.extend(second.reports());
    (reports, second.summary())
}

proptest! {
    #[test]
    fn chunks_do_not_matter(chunk in 1_usize..200) {
        prop_assert_eq!(run(LOG.as_bytes(), chunk, Settings::default()), run(LOG.as_bytes(), 9_999, Settings::default()));
    }

    #[test]
    fn a_restart_anywhere_gives_the_same_last_reports(cut in 0_usize..LOG.len(), quiet in any::<bool>()) {
        let (reports, summary) = run_with_restart(LOG.as_bytes(), cut, quiet);
        let (expected, whole) = run(LOG.as_bytes(), 9_999, Settings::default());
        let last = |reports: &[Report]| -> Vec<Report> {
            let mut last: Vec<Report> = Vec::new();
            for report in reports {
                last.retain(|other| other.id != report.id);
                last.push(report.clone());
            }
            last.sort_by(|a, b| a.block.cmp(&b.block));
            last
        };
        prop_assert_eq!(last(&reports), last(&expected));
        prop_assert_eq!(summary.ledger, whole.ledger);
        prop_assert_eq!(summary.sessions_flagged, whole.sessions_flagged);
    }

    #[test]
    fn any_bytes_are_accounted_for(log in prop::collection::vec(any::<u8>(), 0..400), chunk in 1_usize..50) {
        let (_, summary) = run(&log, chunk, Settings::default());
        prop_assert!(summary.ledger.adds_up());
        prop_assert_eq!(summary.ledger.bytes_read, log.len() as u64);
    }
}

#[test]
fn every_session_that_is_judged_is_reported_where_that_is_asked_for() {
    let log = b"081109 203518 1 INFO dfs.DataNode: Receiving block blk_1\n";
    let mut counts = Vec::new();
    let model = model();
    for report_all in [false, true] {
        let mut detector = Detector::new(model.fork(), Settings { report_all, ..Settings::default() });
        detector.push(A, 0, log);
        detector.end_of_file(A);
        let reports: Vec<Report> = detector.finish().collect();
        assert!(reports.iter().all(|report| !report.flagged && report.reasons.is_empty()));
        counts.push(reports.len());
    }
    assert_eq!(counts, [0, 1]);
}

#[test]
fn reports_without_events_say_the_same_of_their_sessions() {
    let reports = |report_events| {
        let settings = Settings { report_all: true, report_events, ..Settings::default() };
        run(LOG.as_bytes(), 9_999, settings).0
    };
    let (with, without) = (reports(true), reports(false));
    assert!(with.iter().any(|report| report.flagged) && with.iter().all(|report| !report.events.is_empty()));
    let bare: Vec<Report> = with.into_iter().map(|report| Report { events: Vec::new(), ..report }).collect();
    assert_eq!(bare, without);
}

#[test]
fn whoever_asks_for_a_block_is_told_what_is_remembered_of_it() {
    for sessions_max in [10, 100_000] {
        let mut detector = detector(Settings { sessions_max, ..Settings::default() });
        let log = b"\
081109 203518 1 INFO dfs.DataNode: Receiving block blk_1\n\
081109 203519 1 INFO dfs.DataNode: Receiving block BP-1-a-1:blk_2_1\n\
081109 203520 1 INFO dfs.DataNode: Receiving block BP-2-b-1:blk_2_1\n\
081109 203521 1 WARN dfs.DataNode: Exception in receiveBlock for block blk_3 java.io.IOException\n";
        detector.push(A, 0, log);
        detector.end_of_file(A);
        let mut ask = |block| detector.ask(BlockId(block)).collect::<Vec<Report>>();
        assert!(ask(9).is_empty());
        let [normal] = ask(1).try_into().unwrap();
        assert_eq!(
            (normal.flagged, normal.reasons.as_slice(), normal.revision),
            (false, &["asked".to_owned()][..], 1)
        );
        assert_eq!(normal.events.len(), 1);
        let pools: Vec<String> = ask(2).into_iter().map(|report| report.pool).collect();
        assert_eq!(pools, ["BP-1-a-1", "BP-2-b-1"]);
        let [flagged] = ask(3).try_into().unwrap();
        assert!(flagged.flagged && flagged.reasons.iter().all(|reason| reason != "asked"));
        // Asking counts nothing, and what is flagged is told in its time too.
        assert_eq!((detector.summary().sessions_scored, detector.summary().sessions_flagged), (0, 1));
        let later: Vec<Report> = detector.finish().collect();
        assert_eq!(later, [flagged]);
        assert_eq!((detector.summary().sessions_scored, detector.summary().sessions_flagged), (4, 1));
    }
}
