//! Tests of the feed with the embedded model, round by round; time is made up, no test waits.

use std::fs;
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A block that no healthy cluster logs like this.
fn odd(block: u32) -> String {
    format!("081109 203615 148 WARN dfs.DataNode$DataXceiver: something odd with blk_{block}\n")
}

/// A log, a configuration for it, and the processes that come and go.
struct Scene {
    folder: TempDir,
    config: Config,
    now_ms: i64,
}

/// One process; dropping it is a kill: nothing is closed.
struct Process {
    feed: Feed,
    store: Arc<Store>,
    _stop: std::sync::mpsc::Sender<Infallible>,
    status: watch::Receiver<Status>,
}

impl Scene {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        let (logs, state) = (folder.path().join("*.log*"), folder.path().join("state"));
        let text = format!(
            "node = \"dn1\"\nzone = \"UTC\"\nstate_dir = {state:?}\n{settings}\n[logs]\npaths = [{logs:?}]\n\
             [sessions]\nidle_timeout_s = 60\n"
        );
        fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap();
        Self { folder, config, now_ms: 1_000_000_000 }
    }

    fn append(&self, text: &str) {
        let path = self.folder.path().join("dn.log");
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn start(&self) -> Process {
        let (store, mut restored) = Store::open(&self.config.state_dir).unwrap();
        let store = Arc::new(store);
        if restored.meta.ticked_ms == 0 {
            restored.meta.ticked_ms = self.now_ms;
        }
        let (status, watched) = watch::channel(Status::default());
        let (stop, stopping) = std::sync::mpsc::channel();
        let model = crate::model::load(None).unwrap();
        let feed = Feed::new(&self.config, model, Arc::clone(&store), restored, status, stopping);
        Process { feed, store, _stop: stop, status: watched }
    }

    /// One round, `later_s` after the last one.
    fn round(&mut self, process: &mut Process, later_s: i64) {
        self.now_ms += later_s * 1_000;
        process.feed.round(self.now_ms).unwrap();
        process.feed.publish();
    }
}

impl Process {
    fn reports(&self) -> Vec<Report> {
        self.store.batch(1_000, u64::MAX).unwrap().reports
    }

    fn lines_read(&self) -> u64 {
        self.status.borrow().totals.ledger.lines_read
    }
}

#[test]
fn a_block_that_fell_silent_is_in_the_spool_with_its_raw_lines() {
    let mut scene = Scene::new("");
    scene.append(&odd(7));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    scene.round(&mut process, 5);
    assert!(process.reports().is_empty(), "it may still speak");
    scene.round(&mut process, 61);
    let reports = process.reports();
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].block.as_str(), reports[0].node.as_str()), ("blk_7", "dn1"));
    assert_eq!(reports[0].events[0].line.as_deref(), Some(odd(7).trim_end()));
    assert!(Path::new(&reports[0].events[0].file).ends_with("dn.log"));
}

#[test]
fn a_full_spool_stops_reading_until_it_has_room() {
    let mut scene = Scene::new("[ship]\nspool_reports_max = 1");
    scene.append(&odd(7));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    scene.round(&mut process, 5);
    scene.round(&mut process, 61);
    assert_eq!(process.store.spooled().reports, 1);
    scene.append(&odd(8));
    scene.round(&mut process, 5);
    scene.round(&mut process, 120);
    assert_eq!(process.lines_read(), 1);
    process.store.remove(&process.store.batch(1, u64::MAX).unwrap()).unwrap();
    scene.round(&mut process, 5);
    scene.round(&mut process, 5);
    scene.round(&mut process, 70);
    assert_eq!(process.lines_read(), 2);
    assert_eq!(process.reports()[0].block, "blk_8");
}

#[test]
fn kills_and_rotations_change_nothing_of_what_is_reported() {
    // Each has its own time: files that appear together may be read in any order.
    let lines: Vec<String> =
        (0..40).map(|line| odd(line % 7).replace("203615", &format!("2036{}", 15 + line))).collect();
    let run = |kill_every: usize| {
        // Commits only with reports, so that a kill throws away what was read since.
        let mut scene = Scene::new("commit_interval_ms = 60000");
        let mut process = scene.start();
        for (at, line) in lines.iter().enumerate() {
            // A line comes in two pieces.
            let (start, end) = line.split_at(at.min(line.len()));
            scene.append(start);
            scene.round(&mut process, 1);
            if at % kill_every == kill_every - 1 {
                drop(process);
                process = scene.start();
            }
            scene.append(end);
            scene.round(&mut process, 1);
            if at % 11 == 10 {
                let log = scene.folder.path().join("dn.log");
                fs::rename(&log, log.with_extension(format!("log.{at}"))).unwrap();
            }
        }
        for _ in 0..3 {
            scene.round(&mut process, 61);
        }
        let mut reports: Vec<_> = process.reports();
        reports.sort_by(|a, b| a.id.cmp(&b.id));
        // What the files are called when a report is made depends on when that is.
        for event in reports.iter_mut().flat_map(|report| &mut report.events) {
            event.file.clear();
        }
        (reports, process.feed.detector.summary().ledger)
    };
    let (undisturbed, ledger) = run(usize::MAX);
    assert_eq!((undisturbed.len(), ledger.lines_read), (7, 40));
    for kill_every in [1, 3, 8] {
        assert_eq!(run(kill_every), (undisturbed.clone(), ledger), "killed every {kill_every} lines");
    }
}

#[test]
fn a_stop_keeps_the_last_line_and_a_start_goes_on_behind_it() {
    let mut scene = Scene::new("commit_interval_ms = 60000");
    scene.append(&odd(7));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    let Process { feed, store, status, .. } = process;
    feed.close().unwrap();
    assert_eq!(status.borrow().totals.ledger.lines_read, 1);
    drop((store, status));
    let mut process = scene.start();
    scene.round(&mut process, 5);
    assert_eq!(process.lines_read(), 1);
    scene.round(&mut process, 61);
    assert_eq!(process.reports().len(), 1);
}

#[test]
fn no_session_is_scored_before_the_lines_of_the_agents_absence_are_read() {
    let mut scene = Scene::new("commit_interval_ms = 10");
    scene.append(&odd(7));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    process.feed.committed -= Duration::from_secs(1);
    scene.round(&mut process, 5);
    drop(process);
    scene.append(&odd(7));
    let mut process = scene.start();
    scene.round(&mut process, 600);
    scene.round(&mut process, 5);
    scene.round(&mut process, 70);
    let revisions: Vec<u64> = process.reports().iter().map(|report| report.revision).collect();
    assert_eq!(revisions.last(), Some(&2));
    assert!(!revisions.contains(&1), "{revisions:?}");
}
