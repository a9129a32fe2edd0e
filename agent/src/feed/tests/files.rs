//! The model of `tail/tests/model.rs` against feed, detector and store: each line names a block of its own, so every
//! report is one line, and one that was read twice would have a second event.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tail::tests::model::{Action, Agent, actions, cases, play};

struct Whole {
    scene: Scene,
    process: Option<Process>,
}

impl Agent for Whole {
    fn start(&mut self, now_ms: i64) {
        self.scene.now_ms = now_ms;
        self.process = Some(self.scene.start());
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn stop(&mut self) {
        if let Some(Process { feed, .. }) = self.process.take() {
            feed.close().unwrap();
        }
    }

    fn reload(&mut self) {
        if let Some(process) = self.process.take() {
            self.process = Some(self.scene.reload(process));
        }
    }

    fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn round(&mut self, now_ms: i64, commit: bool) {
        let Some(process) = &mut self.process else { return };
        process.feed.round(HostTime { date_ms: now_ms, elapsed_ms: now_ms }).unwrap();
        if commit {
            process.feed.committed -= Duration::from_secs(60);
            process.feed.commit_if_due(false).unwrap();
        }
    }

    fn look(&mut self, now_ms: i64) {
        if let Some(process) = &mut self.process {
            process.feed.tail.poll(now_ms);
        }
    }

    fn lines(&mut self, now_ms: i64) -> BTreeMap<usize, u64> {
        // The last line of the log may have no end, and counts when the file does.
        fs::rename(self.scene.folder.path().join("dn.log"), self.scene.folder.path().join("dn.log.last"))
            .unwrap_or_default();
        for later_s in [1, 2, 3, 12, 13, 80, 150] {
            self.round(now_ms + later_s * 1_000, true);
        }
        let Some(process) = &self.process else { return BTreeMap::new() };
        let reports = process.store.batch(100_000, u64::MAX).unwrap().reports;
        let block = |report: &Report| report.block.trim_start_matches("blk_").parse().unwrap();
        let mut lines = BTreeMap::new();
        for report in &reports {
            let events = lines.entry(block(report)).or_insert(0);
            *events = report.revision.max(*events);
        }
        lines
    }

    fn gap_bytes(&self) -> u64 {
        self.process.as_ref().map_or(0, |process| process.feed.detector.summary().gap_bytes)
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn every_line_is_in_one_report_whatever_happens_to_files_and_processes(actions in actions(40)) {
        let scene = Scene::new("commit_interval_ms = 60000");
        let folder = scene.folder.path().to_owned();
        play(&folder, &mut Whole { scene, process: None }, &actions)?;
    }
}

#[test]
fn a_file_that_was_empty_is_not_taken_for_the_one_that_has_its_inode_now() {
    let write = || Action::Write { lines: 1, partial: false };
    let mut actions = vec![write(), Action::Truncate, Action::Round { commit: true }];
    actions.extend([Action::Kill, Action::Start, write(), Action::Look, Action::Stop, write()]);
    let scene = Scene::new("commit_interval_ms = 60000");
    let folder = scene.folder.path().to_owned();
    play(&folder, &mut Whole { scene, process: None }, &actions).unwrap();
}
