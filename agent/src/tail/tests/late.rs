//! What is seen late or for a moment only: directories to come, links that turn, NFS.

use std::os::unix::fs::{FileExt, symlink};

use super::*;

#[test]
fn a_directory_that_appears_later_is_followed() {
    let mut scene = Scene::with(Backfill::None, "hadoop*/*.log");
    assert!(scene.poll().is_empty());
    fs::create_dir(scene.path("hadoop-hdfs")).unwrap();
    scene.append("hadoop-hdfs/a.log", "one\n");
    assert_eq!(scene.poll(), ["0@0:one\n"]);
}

#[test]
fn a_link_that_turns_to_the_next_file_loses_and_repeats_nothing() {
    let mut scene = Scene::with(Backfill::All, "current.log");
    let turn = |scene: &Scene, target: &str| {
        symlink(target, scene.path("next")).unwrap();
        scene.rename("next", "current.log");
    };
    scene.append("log-1", "one\n");
    turn(&scene, "log-1");
    assert_eq!(scene.poll(), ["0@0:one\n"]);
    scene.append("log-1", "two\n");
    scene.append("log-2", "three\n");
    turn(&scene, "log-2");
    scene.restart();
    assert_eq!(scene.poll(), ["0@4:two\n", "1@0:three\n"]);
    let (path, records) = scene.tail.open(FileId(0)).unwrap();
    assert!(path.ends_with("log-1") && records.is_some());
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_link_to_a_followed_file_is_not_read_again() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    assert_eq!(scene.poll(), ["0@0:one\n"]);
    symlink("a.log", scene.path("0.log")).unwrap();
    assert!(scene.poll().is_empty());
    fs::remove_file(scene.path("0.log")).unwrap();
    scene.append("a.log", "two\n");
    assert_eq!(scene.poll(), ["0@4:two\n"]);
}

#[test]
fn bytes_that_are_not_visible_yet_are_waited_for() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\ntw\0\0\0\0\0\0\0\0");
    assert_eq!(scene.poll(), ["0@0:one\ntw"]);
    scene.now_ms += 60_000;
    assert!(scene.poll().is_empty());
    let file = File::options().write(true).open(scene.path("a.log")).unwrap();
    file.write_all_at(b"o\nthree\n", 6).unwrap();
    assert_eq!(scene.poll(), ["0@6:o\nthree\n"]);
    assert_eq!(scene.tail.counts().files, 1, "it is the same file");
}

#[test]
fn zeros_that_a_writer_left_which_did_not_notice_a_truncation_are_skipped() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\ntwo\n");
    scene.poll();
    let file = File::options().write(true).open(scene.path("a.log")).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(b"three\n", 600_000).unwrap();
    assert_eq!(scene.poll(), ["0 ends", "1@600000:three\n"]);
    scene.append("a.log", "four\n");
    assert_eq!(scene.poll(), ["1@600006:four\n"]);
    scene.append("a.log", "after a crash\n\0\0\0\0five\n");
    assert_eq!(scene.poll(), ["1@600011:after a crash\n", "1@600029:five\n"]);
    scene.restart();
    scene.append("a.log", "zero \0 in a line\n");
    assert_eq!(scene.poll(), ["1@600034:zero \0 in a line\n"]);
}

#[test]
fn a_file_that_is_missing_for_a_moment_goes_on() {
    let mut scene = Scene::with(Backfill::All, "logs/*.log");
    fs::create_dir(scene.path("logs")).unwrap();
    scene.append("logs/a.log", "one\n");
    scene.poll();
    scene.restart();
    // The whole directory, as when a mount comes late.
    scene.rename("logs", "hidden");
    assert!(scene.poll().is_empty());
    assert!(scene.poll().is_empty());
    scene.rename("hidden", "logs");
    scene.append("logs/a.log", "two\n");
    assert_eq!(scene.poll(), ["0@4:two\n"]);
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_file_that_is_empty_for_a_moment_was_not_truncated() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    scene.poll();
    File::create(scene.path("a.log")).unwrap();
    scene.tail.poll(scene.now_ms + 100);
    fs::write(scene.path("a.log"), "one\ntwo\n").unwrap();
    assert_eq!(scene.poll(), ["0@4:two\n"]);
}

#[test]
fn a_file_of_zero_bytes_alone_stays_the_same_file() {
    let mut scene = Scene::new();
    scene.append("a.log", "\0\0\0\0");
    (0..3).for_each(|_| assert!(scene.poll().is_empty()));
    assert_eq!(scene.tail.next_id(), 1);
    scene.append("a.log", "one\n");
    assert_eq!(scene.poll(), ["0@4:one\n"]);
}

#[test]
fn an_emptied_file_is_a_new_one() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    scene.poll();
    File::create(scene.path("a.log")).unwrap();
    assert!(scene.poll().is_empty());
    assert_eq!(scene.poll(), ["0 ends"]);
    scene.append("a.log", "one\n");
    assert_eq!(scene.poll(), ["2@0:one\n"], "as good as new when it gets its first bytes");
}

#[test]
fn a_last_line_without_line_end_is_counted_when_its_file_was_rotated_and_not_twice_when_it_is_completed() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\nhal");
    assert_eq!(scene.poll(), ["0@0:one\nhal"]);
    scene.rename("a.log", "a.log.1");
    scene.append("a.log", "two\n");
    assert_eq!(scene.poll(), ["1@0:two\n"]);
    // Its writer turns to the new file late.
    scene.append("a.log.1", "f\n");
    assert_eq!(scene.poll(), ["0@7:f\n"]);
    scene.append("a.log.1", "more");
    assert_eq!(scene.poll(), ["0@9:more"]);
    scene.now_ms += 10_000;
    assert_eq!(scene.poll(), ["0 ends"], "which counts the line");
    scene.restart();
    assert!(scene.poll().is_empty());
    scene.append("a.log.1", " after all\n");
    assert_eq!(scene.poll(), ["0@13: after all\n"]);
}

#[test]
fn backfill_may_leave_out_rotated_files() {
    let mut scene = Scene::with(Backfill::Current, "*.log*");
    scene.append("a.log.2026-11-25", "old\n");
    scene.append("a.log.1", "old\n");
    scene.append("a.log", "current\n");
    scene.append("b.log", "other\n");
    let mut came = scene.poll();
    came.iter_mut().for_each(|read| *read = read.split_once(':').unwrap().1.to_owned());
    came.sort();
    assert_eq!(came, ["current\n", "other\n"]);
    // Whatever appears later is read whole.
    scene.append("c.log.1", "later\n");
    scene.append("c.log", "now\n");
    assert_eq!(scene.text(1), "later\nnow\n");
}
