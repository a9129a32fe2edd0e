//! Tests of the feed with the embedded model, round by round; time is made up, no test waits.

mod early;
mod files;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::state::tests::disk::Disk;

/// A block that no healthy cluster logs like this.
fn odd(block: u32) -> String {
    format!("081109 203615 148 WARN dfs.DataNode$DataXceiver: something odd with blk_{block}\n")
}

/// The same at a time, in seconds from 20:00:00 on.
fn odd_at(block: u32, second: i64) -> String {
    let (minute, second) = (second / 60, second % 60);
    odd(block).replace("203615", &format!("{:02}{:02}{second:02}", 20 + minute / 60, minute % 60))
}

/// A log, a configuration for it, and the processes that come and go.
struct Scene {
    folder: TempDir,
    config: Config,
    now_ms: i64,
    /// How much the host's clock was set forward since the beginning.
    clock_set_ms: i64,
}

/// One process; dropping it is a kill: nothing is closed.
struct Process {
    feed: Feed,
    store: Arc<Store>,
    _orders: Orders,
    status: watch::Receiver<FeedStatus>,
}

impl Scene {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        let (logs, state) = (folder.path().join("*.log*"), folder.path().join("state"));
        // How busy this machine is must not matter.
        let limits = match settings.contains("[limits]") {
            true => "",
            false => "[limits]\nmemory_bytes_max = 0\ncpu_percent_max = 0\nio_pressure_percent_max = 0\n",
        };
        let text = format!(
            "node = \"dn1\"\nzone = \"UTC\"\nstate_dir = {state:?}\n{settings}\n{limits}[logs]\npaths = [{logs:?}]\n\
             [sessions]\nidle_timeout_s = 60\n"
        );
        fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap();
        Self { folder, config, now_ms: 1_000_000_000, clock_set_ms: 0 }
    }

    fn append(&self, text: &str) {
        let path = self.folder.path().join("dn.log");
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn start(&self) -> Process {
        self.start_with(Store::open(&self.config.state_dir).unwrap())
    }

    fn start_with(&self, (store, restored): (Store, Restored)) -> Process {
        let store = Arc::new(store);
        let (status, watched) = watch::channel(FeedStatus::default());
        let (orders, ordered) = Orders::new(std::sync::mpsc::channel().1);
        let model = crate::model::load(Path::new(crate::model::HDFS_V1)).unwrap();
        let redact = self.config.redact.as_ref();
        let redactor =
            redact.map(|redact| Redactor::new(redact, &self.config.state_dir)).transpose().unwrap();
        let feed =
            Feed::new(&self.config, redactor, model, Arc::clone(&store), (restored, None), status, ordered);
        Process { feed, store, _orders: orders, status: watched }
    }

    /// What a new configuration does: another feed goes on with the store and the files.
    fn reload(&self, process: Process) -> Process {
        let Process { feed, store, .. } = process;
        let Ended::Paused(tail) = feed.pause().unwrap() else { panic!("not paused") };
        let restored = store.restored().unwrap();
        let (status, watched) = watch::channel(FeedStatus::default());
        let (orders, ordered) = Orders::new(std::sync::mpsc::channel().1);
        let model = crate::model::load(Path::new(crate::model::HDFS_V1)).unwrap();
        let feed = Feed::new(
            &self.config,
            None,
            model,
            Arc::clone(&store),
            (restored, Some(*tail)),
            status,
            ordered,
        );
        Process { feed, store, _orders: orders, status: watched }
    }

    /// One round, `later_s` after the last one.
    fn round(&mut self, process: &mut Process, later_s: i64) {
        self.now_ms += later_s * 1_000;
        let now = HostTime { date_ms: self.now_ms + self.clock_set_ms, elapsed_ms: self.now_ms };
        process.feed.round(now).unwrap();
        process.feed.publish();
    }
}

impl Process {
    fn reports(&self) -> Vec<Report> {
        self.store.batch(1_000, u64::MAX).unwrap().reports
    }

    fn lines_read(&self) -> u64 {
        self.ledger().lines_read
    }

    fn ledger(&self) -> Ledger {
        self.status.borrow().totals.ledger
    }

    /// What the collector tells reports apart by, and their scores.
    fn scored(&self) -> BTreeSet<(String, u64, u32)> {
        self.reports()
            .into_iter()
            .map(|report| (report.id, report.revision, report.score.to_bits()))
            .collect()
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
    scene.round(&mut process, 63);
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
    scene.round(&mut process, 63);
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
            scene.round(&mut process, 63);
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
fn a_pause_in_the_midst_of_a_line_changes_nothing_of_what_is_reported() {
    let lines: Vec<String> = (0..40)
        .map(|line| odd(line % 7).replace("203615", &format!("2036{}", 15 + line)) + "\tat a.b.C(D.java:1)\n")
        .collect();
    let run = |pause_every: usize| {
        let mut scene = Scene::new("commit_interval_ms = 60000");
        let mut process = scene.start();
        for (at, line) in lines.iter().enumerate() {
            let (start, end) = line.split_at(at * 3 % line.len());
            scene.append(start);
            scene.round(&mut process, 1);
            if at % pause_every == pause_every - 1 {
                process = scene.reload(process);
            }
            if at == 20 {
                // Its end is read through the handle that is open alone.
                fs::remove_file(scene.folder.path().join("dn.log")).unwrap();
            }
            scene.append(end);
            scene.round(&mut process, 1);
        }
        for _ in 0..3 {
            scene.round(&mut process, 63);
        }
        let mut reports: Vec<_> = process.reports();
        reports.sort_by(|a, b| (&a.id, a.revision).cmp(&(&b.id, b.revision)));
        for event in reports.iter_mut().flat_map(|report| &mut report.events) {
            event.file.clear();
        }
        (reports, process.feed.detector.summary().ledger)
    };
    let (undisturbed, ledger) = run(usize::MAX);
    assert!(ledger.lines_read >= 79 && !undisturbed.is_empty(), "{ledger:?}");
    for pause_every in [1, 2, 7] {
        assert!(run(pause_every) == (undisturbed.clone(), ledger), "paused every {pause_every} lines");
    }
}

#[test]
fn what_was_read_is_told_with_its_templates() {
    let mut scene = Scene::new("");
    scene.append(&odd(7));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    scene.round(&mut process, 5);
    process.feed.detailed = None;
    scene.round(&mut process, 63);
    let status = process.status.borrow().clone();
    assert_eq!(status.details.unknown.list[0].text, "something odd with <blk>");
    assert_eq!((status.details.unknown.list[0].events, status.details.scores.total()), (1, 1));
    assert_eq!((status.listed[0].lag_bytes, status.lag_ms()), (0, 0));
    assert_eq!(status.reports.len(), 1);
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
    scene.round(&mut process, 63);
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

/// Times of lines and their blocks: blocks that go on, that fall silent and speak again, that end.
fn talk() -> Vec<(i64, u32)> {
    let mut lines = Vec::new();
    for turn in 0..6 {
        for block in 0..5 {
            let start = i64::from(block) * 7 + turn * [20, 69, 70, 72, 400][block as usize];
            lines.extend((0..3).map(|line| (start + line * 5, block)));
        }
    }
    lines.sort_unstable();
    lines
}

/// Which revisions are scored of [`talk`] with a kill after every so many lines, and a look every so many seconds in
/// which nothing is written.
fn scored(kill_every: usize, look_every_s: i64) -> (BTreeSet<(String, u64, u32)>, Ledger) {
    let mut scene = Scene::new("commit_interval_ms = 60000");
    let mut process = scene.start();
    let mut second = 0;
    for (at, (time, block)) in talk().into_iter().enumerate() {
        while second + look_every_s < time {
            second += look_every_s;
            scene.round(&mut process, look_every_s);
        }
        scene.append(&odd_at(block, time));
        scene.round(&mut process, time - second);
        second = time;
        if at % kill_every == kill_every - 1 {
            drop(process);
            process = scene.start();
        }
    }
    for _ in 0..3 {
        scene.round(&mut process, 63);
    }
    (process.scored(), process.ledger())
}

#[test]
fn neither_kills_nor_the_times_of_looks_decide_which_revisions_are_scored() {
    let (expected, ledger) = scored(usize::MAX, 1);
    let revisions = expected.iter().filter(|(_, revision, _)| *revision < 18).count();
    // Silences of 10, 59, 60, 62 and 390 seconds, five of each.
    assert_eq!((revisions, expected.len(), ledger.lines_read), (15, 20, 90), "{expected:?}");
    for (kill_every, look_every_s) in [(usize::MAX, 10_000), (1, 1), (1, 10_000), (4, 3), (7, 30)] {
        let found = scored(kill_every, look_every_s);
        assert_eq!(found, (expected.clone(), ledger), "{kill_every} {look_every_s}");
    }
}

#[test]
fn a_clock_that_is_set_back_neither_hurries_nor_holds_up_a_session() {
    let mut scene = Scene::new("");
    scene.append(&odd_at(7, 7_200));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    scene.round(&mut process, 5);
    scene.clock_set_ms = -3_600_000;
    scene.append(&odd_at(8, 3_610));
    scene.append(&odd_at(7, 3_611));
    scene.round(&mut process, 5);
    scene.round(&mut process, 50);
    assert_eq!(process.scored(), BTreeSet::new(), "no minute has passed");
    // Nor does a restart look at the clock alone.
    process.feed.close().unwrap();
    drop((process.store, process.status));
    scene.clock_set_ms = -7_200_000;
    let mut process = scene.start();
    scene.round(&mut process, 2);
    assert_eq!(process.scored(), BTreeSet::new());
    scene.round(&mut process, 63);
    let revisions: Vec<(String, u64)> =
        process.reports().into_iter().map(|report| (report.block, report.revision)).collect();
    assert_eq!(revisions, [("blk_8".to_owned(), 1), ("blk_7".to_owned(), 2)]);
    assert_eq!(process.lines_read(), 3);
}

#[test]
fn lines_that_continue_a_record_of_an_earlier_process_count_with_it() {
    let mut scene = Scene::new("commit_interval_ms = 10");
    scene.append(&odd(7));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    process.feed.committed -= Duration::from_secs(1);
    scene.round(&mut process, 5);
    drop(process);
    scene.append("java.io.IOException: x\n\tat a.B.c(D.java:1)\n");
    let mut process = scene.start();
    scene.round(&mut process, 1);
    scene.round(&mut process, 5);
    let ledger = process.ledger();
    assert_eq!((ledger.lines_read, ledger.lines_in_sessions, ledger.lines_skipped.no_head), (3, 3, 0));
}

#[test]
fn templates_that_were_mined_are_known_after_a_kill() {
    let mut scene = Scene::new("commit_interval_ms = 10");
    scene.append(&odd(7));
    scene.append(&odd(8));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    process.feed.committed -= Duration::from_secs(1);
    scene.round(&mut process, 5);
    drop(process);
    let mut process = scene.start();
    scene.round(&mut process, 5);
    let mined = process.feed.detector.unknown_templates();
    let mined: Vec<_> = mined.iter().map(|mined| (mined.text.as_str(), mined.count)).collect();
    assert_eq!(mined, [("something odd with <blk>", 2)]);
}

#[test]
fn a_disk_that_fails_stops_reading_until_it_works_and_loses_nothing() {
    let disk = Disk::default();
    let mut scene = Scene::new("commit_interval_ms = 10");
    let mut process = scene.start_with(disk.open(&scene.config.state_dir));
    scene.append(&odd(7));
    scene.round(&mut process, 0);
    disk.set(0);
    process.feed.committed -= Duration::from_secs(1);
    scene.round(&mut process, 5);
    assert!(process.store.is_failing());
    scene.append(&odd(8));
    for _ in 0..30 {
        scene.round(&mut process, 10);
    }
    assert_eq!(process.lines_read(), 1);
    disk.set(i64::MAX);
    for _ in 0..4 {
        scene.round(&mut process, 63);
    }
    assert!(!process.store.is_failing());
    let blocks: BTreeSet<String> = process.reports().into_iter().map(|report| report.block).collect();
    assert_eq!((process.lines_read(), blocks), (2, ["blk_7".to_owned(), "blk_8".to_owned()].into()));
}

#[test]
fn a_stop_while_the_disk_fails_says_so_and_the_next_run_reads_again() {
    let disk = Disk::default();
    let mut scene = Scene::new("");
    let mut process = scene.start_with(disk.open(&scene.config.state_dir));
    scene.append(&odd(7));
    scene.round(&mut process, 0);
    disk.set(0);
    let error = process.feed.close().unwrap_err();
    assert!(error.may_pass(), "{error}");
    drop((process.store, process.status));
    let mut process = scene.start();
    scene.round(&mut process, 5);
    scene.round(&mut process, 5);
    assert_eq!(process.lines_read(), 1);
}

#[test]
fn what_is_to_be_redacted_does_not_get_into_the_spool() {
    let mut scene = Scene::new("[redact]\nenabled = true");
    let line = odd(7).replace("blk_7", "blk_7 from /10.250.19.102:54106 by user=alice for /user/alice/x");
    scene.append(&(line.clone() + &line));
    let mut process = scene.start();
    scene.round(&mut process, 0);
    scene.round(&mut process, 5);
    scene.round(&mut process, 63);
    let reports = process.reports();
    let text = format!("{reports:?}");
    assert!(text.contains("blk_7") && !text.contains("10.250.19.102") && !text.contains("alice"), "{text}");
    assert!(!text.contains("dn.log"), "{text}");
    let lines: Vec<_> = reports[0].events.iter().map(|event| event.line.clone().unwrap()).collect();
    assert_eq!(lines[0], lines[1], "equal values have equal hashes");
    assert!(
        lines[0].contains("addr-") && lines[0].contains("user-") && lines[0].contains("path-"),
        "{lines:?}"
    );
}

#[test]
fn sessions_are_forgotten_where_the_agent_takes_more_memory_than_it_may() {
    let limits = "[limits]\nmemory_bytes_max = 16777216\ncpu_percent_max = 0\nio_pressure_percent_max = 0";
    let mut scene = Scene::new(limits);
    let receiving = |block: u32| {
        format!("081109 203615 148 INFO dfs.DataNode$DataXceiver: Receiving block blk_{block} x\n")
    };
    scene.append(&(0..9_000).map(receiving).collect::<String>());
    let mut process = scene.start();
    scene.round(&mut process, 0);
    let status = process.status.borrow().clone();
    // This process takes more than 16 MiB whatever its sessions do, so they get the least.
    assert_eq!(status.limits.memory_cuts, 1);
    assert!(process.feed.detector.sessions_bytes() <= 1_024 * 1_024);
    assert!(status.totals.sessions_evicted > 500, "{status:?}");
    // The last record still waits for lines that continue it.
    assert_eq!(status.totals.sessions_evicted + status.totals.sessions_open, 8_999);
    assert!(status.totals.ledger.adds_up());
}
