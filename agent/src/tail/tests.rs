//! Tests of tail against real files. Time is made up; no test waits.

mod copies;
mod gaps;
mod late;
pub(crate) mod model;

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

const DAY_MS: i64 = 86_400_000;

/// A folder of logs and a tail on it.
struct Scene {
    folder: TempDir,
    tail: Tail,
    now_ms: i64,
    /// Bytes of each gap told so far.
    gaps: Vec<u64>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Backfill::All, "*.log*")
    }

    fn with(backfill: Backfill, glob: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tail = Tail::new(logs(&folder, backfill, glob), Vec::new(), 0, true, DAY_MS);
        Self { folder, tail, now_ms: 1_000_000, gaps: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = File::options().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// What came in one poll, as `<file>:<text>`, with ends as `<file> ends`.
    fn poll(&mut self) -> Vec<String> {
        self.now_ms += 1_000;
        self.tail.poll(self.now_ms);
        let mut came = Vec::new();
        while let Some(read) = self.tail.read(self.now_ms) {
            match read {
                Read::Bytes { file, offset, bytes } => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    came.push(format!("{}@{offset}:{text}", file.0));
                }
                Read::Quiet(_) => {}
                Read::End(Ended { file, gap_bytes }) => {
                    self.gaps.extend(gap_bytes);
                    came.push(format!("{} ends", file.0));
                }
            }
        }
        came
    }

    /// What came in some polls, texts alone, and without waiting long.
    fn text(&mut self, polls: usize) -> String {
        let came: Vec<String> = (0..polls).flat_map(|_| self.poll()).collect();
        came.iter().filter_map(|read| read.split_once(':')).map(|(_, text)| text).collect()
    }

    /// `a.log` is compressed to `a.log.gz`, as gzip does it.
    fn gzip(&self, name: &str) {
        let text = fs::read(self.path(name)).unwrap();
        let file = File::create(self.path(&format!("{name}.gz"))).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }

    /// A new process with the memory of this one.
    fn restart(&mut self) {
        let logs = self.tail.logs.clone();
        self.tail = Tail::new(logs, self.tail.saved(), self.tail.next_id(), false, DAY_MS);
    }
}

fn logs(folder: &TempDir, backfill: Backfill, glob: &str) -> Logs {
    Logs {
        received: None,
        paths: vec![folder.path().join(glob).to_str().unwrap().to_owned()],
        exclude: vec![glob::Pattern::new("*.gz").unwrap()],
        backfill,
        poll_interval: Duration::from_secs(1),
        files_max: 100,
    }
}

#[test]
fn growth_is_read_in_pieces_and_nothing_twice() {
    let mut scene = Scene::new();
    assert!(scene.poll().is_empty());
    scene.append("a.log", "one\ntw");
    assert_eq!(scene.poll(), ["0@0:one\ntw"]);
    assert!(scene.poll().is_empty());
    scene.append("a.log", "o\n");
    assert_eq!(scene.poll(), ["0@6:o\n"]);
    assert_eq!(scene.tail.counts(), Counts { files: 1, files_unreadable: 0, lag_bytes: 0 });
}

#[test]
fn large_files_come_in_chunks() {
    let mut scene = Scene::new();
    let text = "x".repeat(CHUNK_BYTES * 2 + 5);
    scene.append("a.log", &text);
    let came = scene.poll();
    assert_eq!(came.len(), 3);
    assert_eq!(came[2], format!("0@{}:xxxxx", CHUNK_BYTES * 2));
}

#[test]
fn a_chain_of_renames_loses_and_repeats_nothing() {
    let mut scene = Scene::new();
    let mut lines = Vec::new();
    let mut came = String::new();
    for turn in 0..6 {
        scene.append("a.log", &format!("line {turn} before\n"));
        if turn % 2 == 0 {
            came.extend(scene.poll().iter().map(|read| read.split_once(':').unwrap().1.to_owned()));
        }
        scene.append("a.log", &format!("line {turn} unread at rotation\n"));
        lines.push(format!("line {turn} before\nline {turn} unread at rotation\n"));
        for number in (1..5).rev() {
            if scene.path(&format!("a.log.{number}")).exists() {
                scene.rename(&format!("a.log.{number}"), &format!("a.log.{}", number + 1));
            }
        }
        scene.rename("a.log", "a.log.1");
        if turn == 3 {
            scene.restart();
        }
    }
    came.extend(scene.poll().iter().map(|read| read.split_once(':').unwrap().1.to_owned()));
    assert_eq!(came, lines.concat());
}

#[test]
fn what_is_left_of_a_rotated_file_comes_before_its_successor() {
    let mut scene = Scene::new();
    scene.append("a.log", "1\n");
    scene.poll();
    scene.append("a.log", "2\n");
    scene.rename("a.log", "a.log.1");
    scene.append("a.log", "3\n");
    assert_eq!(scene.poll(), ["0@2:2\n", "1@0:3\n"]);
}

#[test]
fn a_file_renamed_out_of_the_globs_is_read_to_its_end_and_ends() {
    let mut scene = Scene::with(Backfill::All, "*.log");
    scene.append("a.log", "1\n");
    scene.poll();
    scene.append("a.log", "2\n");
    scene.rename("a.log", "a.log.1");
    scene.append("a.log", "3\n");
    assert_eq!(scene.poll(), ["0@2:2\n", "1@0:3\n"]);
    // Its writer has not opened the new file yet.
    scene.append("a.log.1", "late\n");
    assert_eq!(scene.poll(), ["0@4:late\n"]);
    scene.now_ms += 60_000;
    assert_eq!(scene.poll(), ["0 ends"]);
    assert!(scene.poll().is_empty());
    let (path, file) = scene.tail.open(FileId(0)).unwrap();
    assert!(path.ends_with("a.log.1") && file.is_some(), "its lines can still be read back");
}

#[test]
fn a_rotation_while_the_agent_was_stopped_is_found_by_inode() {
    let mut scene = Scene::with(Backfill::All, "*.log");
    scene.append("a.log", "1\n");
    scene.poll();
    scene.append("a.log", "2\n");
    scene.rename("a.log", "a.log.1");
    scene.append("a.log", "3\n");
    scene.restart();
    assert_eq!(scene.poll(), ["0@2:2\n", "1@0:3\n"]);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut scene = Scene::new();
    scene.append("a.log", "1\n");
    scene.poll();
    scene.append("a.log", "2\n");
    fs::remove_file(scene.path("a.log")).unwrap();
    assert_eq!(scene.poll(), ["0@2:2\n"]);
    scene.append("a.log", "new\n");
    assert_eq!(scene.poll(), ["1@0:new\n"]);
    scene.now_ms += 60_000;
    assert_eq!(scene.poll(), ["0 ends"]);
    assert!(scene.tail.open(FileId(0)).unwrap().1.is_none());
}

#[test]
fn a_file_that_was_moved_away_and_back_goes_on() {
    let mut scene = Scene::with(Backfill::All, "*.log");
    scene.append("a.log", "1\n");
    scene.poll();
    scene.rename("a.log", "hidden");
    scene.poll();
    scene.now_ms += 60_000;
    assert_eq!(scene.poll(), ["0 ends"]);
    scene.append("hidden", "2\n");
    scene.rename("hidden", "b.log");
    assert_eq!(scene.poll(), ["0@2:2\n"]);
    // Once back it is not forgotten, whatever its age.
    scene.now_ms += 2 * DAY_MS;
    assert!(scene.poll().is_empty());
    assert!(scene.poll().is_empty());
}

#[test]
fn a_file_that_is_gone_is_forgotten_in_time() {
    let mut scene = Scene::new();
    scene.append("a.log", "1\n");
    scene.poll();
    fs::remove_file(scene.path("a.log")).unwrap();
    scene.poll();
    scene.now_ms += 60_000;
    assert_eq!(scene.poll(), ["0 ends"]);
    scene.tail.take_changes();
    scene.now_ms += DAY_MS;
    scene.poll();
    assert_eq!(scene.tail.take_changes().1, [FileId(0)]);
    assert!(scene.tail.open(FileId(0)).is_none());
}

#[test]
fn reading_can_begin_at_the_end_of_what_is_there() {
    let mut scene = Scene::with(Backfill::None, "*.log");
    scene.append("a.log", "old\nhalf");
    assert_eq!(scene.poll(), ["0@4:half"]);
    scene.append("a.log", " a line\n");
    scene.append("b.log", "new file\n");
    assert_eq!(scene.poll(), ["0@8: a line\n", "1@0:new file\n"]);
}

#[test]
fn a_restart_goes_on_where_reading_stopped() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    scene.poll();
    scene.restart();
    assert!(scene.poll().is_empty());
    scene.append("a.log", "two\n");
    assert_eq!(scene.poll(), ["0@4:two\n"]);
}

#[test]
fn excluded_files_directories_and_second_names_are_not_read() {
    let mut scene = Scene::new();
    scene.append("a.log.1.gz", "compressed");
    fs::create_dir(scene.path("dir.log")).unwrap();
    scene.append("a.log", "1\n");
    std::os::unix::fs::symlink(scene.path("a.log"), scene.path("current.log")).unwrap();
    fs::hard_link(scene.path("a.log"), scene.path("hard.log")).unwrap();
    assert_eq!(scene.poll(), ["0@0:1\n"]);
    assert_eq!(scene.tail.counts().files, 1);
}

#[test]
fn beyond_files_max_the_newest_files_are_followed() {
    let mut scene = Scene::new();
    scene.tail.logs.files_max = 2;
    for (age_s, name) in [(30, "c.log"), (20, "b.log"), (10, "a.log")] {
        scene.append(name, name);
        let modified = SystemTime::now() - Duration::from_secs(age_s);
        File::options().append(true).open(scene.path(name)).unwrap().set_modified(modified).unwrap();
    }
    assert_eq!(scene.poll(), ["0@0:b.log", "1@0:a.log"]);
}

#[test]
fn the_last_record_is_closed_once_when_a_file_falls_quiet() {
    let mut scene = Scene::new();
    scene.append("a.log", "1\n");
    scene.poll();
    let mut quiet = 0;
    for _ in 0..5 {
        scene.now_ms += 1_000;
        scene.tail.poll(scene.now_ms);
        while let Some(read) = scene.tail.read(scene.now_ms) {
            assert_eq!(read, Read::Quiet(FileId(0)));
            quiet += 1;
        }
    }
    assert_eq!(quiet, 1);
}

#[test]
fn only_what_changed_is_handed_out_for_keeping() {
    let mut scene = Scene::new();
    // Alike, one might be a copy of the other.
    scene.append("a.log", "1\n");
    scene.append("b.log", "2\n");
    scene.poll();
    assert_eq!(scene.tail.take_changes().0.len(), 2);
    scene.append("b.log", "3\n");
    scene.poll();
    let (changed, _) = scene.tail.take_changes();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].offset, 4);
    assert!(changed[0].path.ends_with("b.log"));
    // Falling quiet closes the last record, which is a change.
    scene.now_ms += 10_000;
    scene.poll();
    assert_eq!(scene.tail.take_changes().0.len(), 2);
    scene.poll();
    assert!(scene.tail.take_changes().0.is_empty());
}

#[test]
fn a_file_that_cannot_be_opened_is_counted_and_tried_again() {
    use std::os::unix::fs::PermissionsExt;

    let mut scene = Scene::new();
    scene.append("a.log", "1\n");
    fs::set_permissions(scene.path("a.log"), fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(scene.path("a.log")).is_ok() {
        println!("SKIPPED: this user may open any file");
        return;
    }
    assert!(scene.poll().is_empty());
    assert!(scene.poll().is_empty());
    assert_eq!(scene.tail.counts().files_unreadable, 1);
    fs::set_permissions(scene.path("a.log"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(scene.poll(), ["0@0:1\n"]);
    assert_eq!(scene.tail.counts().files_unreadable, 0);
}

#[test]
fn the_last_record_of_a_rotated_file_is_closed_before_the_first_line_of_its_successor() {
    let reads = |scene: &mut Scene| {
        scene.tail.poll(scene.now_ms);
        let mut reads = Vec::new();
        while let Some(read) = scene.tail.read(scene.now_ms) {
            reads.push(match read {
                Read::Bytes { file, .. } => format!("{} bytes", file.0),
                Read::Quiet(file) => format!("{} complete", file.0),
                Read::End(ended) => format!("{} ends", ended.file.0),
            });
        }
        reads
    };
    let mut scene = Scene::new();
    for (age_s, file) in (0..).zip(["a.log", "a.log.2026-01-05", "b.log", "a.log.1", "a.log.2"]) {
        scene.append(file, &format!("{age_s} seconds ago\n"));
        let modified = SystemTime::now() - Duration::from_secs(age_s);
        File::options().write(true).open(scene.path(file)).unwrap().set_modified(modified).unwrap();
    }
    let found =
        ["0 bytes", "0 complete", "1 bytes", "2 bytes", "1 complete", "3 bytes", "3 complete", "4 bytes"];
    assert_eq!(reads(&mut scene), found);
    scene.append("a.log", "2\n");
    fs::remove_file(scene.path("a.log")).unwrap();
    scene.append("a.log", "3\n");
    assert_eq!(reads(&mut scene), ["4 bytes", "4 complete", "5 bytes"]);
}
