//! Contents that move to another file: copytruncate, compression, backups; and files that only look alike.

use super::*;

/// Some lines, more than a fingerprint holds.
fn lines(name: &str) -> String {
    (0..200).map(|line| format!("{name} line {line}\n")).collect()
}

impl Scene {
    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    fn truncate(&self, name: &str) {
        File::options().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    /// A line more in `a.log`, which then is copied and emptied and gets a line of its own.
    fn copytruncate(&self) {
        self.append("a.log", "unread at rotation\n");
        self.copy("a.log", "a.log.1");
        self.truncate("a.log");
        self.append("a.log", "new\n");
    }
}

#[test]
fn copytruncate_between_two_looks_loses_and_repeats_nothing() {
    let mut scene = Scene::new();
    scene.append("a.log", &lines("first"));
    assert_eq!(scene.text(1), lines("first"));
    scene.copytruncate();
    assert_eq!(scene.text(3), "unread at rotation\nnew\n");
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_copy_that_is_seen_before_the_truncation_is_not_read_twice() {
    let mut scene = Scene::new();
    let text = lines("first");
    scene.append("a.log", &text);
    assert_eq!(scene.text(1), text);
    // The copy grows while it is made.
    fs::write(scene.path("a.log.1"), &text.as_bytes()[..100]).unwrap();
    assert_eq!(scene.text(1), "");
    fs::write(scene.path("a.log.1"), &text.as_bytes()[..2_000]).unwrap();
    assert_eq!(scene.text(1), "");
    scene.append("a.log", "between\n");
    scene.copy("a.log", "a.log.1");
    assert_eq!(scene.text(1), "between\n");
    scene.append("a.log", "read, but not in the copy\n");
    assert_eq!(scene.text(1), "read, but not in the copy\n");
    scene.restart();
    scene.truncate("a.log");
    scene.append("a.log", "new\n");
    assert_eq!(scene.text(3), "new\n");
    scene.restart();
    scene.now_ms += 60_000;
    assert_eq!(scene.text(3), "");
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_file_with_a_copys_inode_and_size_is_read() {
    for (first, other) in
        [(lines("first"), lines("other")), ("first line\n".to_owned(), "other line\n".to_owned())]
    {
        let mut scene = Scene::new();
        scene.append("a.log", &first);
        assert_eq!(scene.text(1), first);
        scene.copy("a.log", "a.log.1");
        assert_eq!(scene.text(1), "");
        scene.restart();
        // Its original and it were deleted meanwhile, and the next file got its inode.
        fs::remove_file(scene.path("a.log")).unwrap();
        fs::write(scene.path("a.log.1"), &other).unwrap();
        assert_eq!(scene.text(3), other);
        assert!(scene.gaps.is_empty());
    }
}

#[test]
fn a_copy_that_is_finished_and_its_original_truncated_between_two_looks_is_not_read_twice() {
    let mut scene = Scene::new();
    let text = lines("first");
    scene.append("a.log", &text);
    assert_eq!(scene.text(1), text);
    fs::write(scene.path("a.log.1"), &text.as_bytes()[..2_000]).unwrap();
    assert_eq!(scene.text(1), "");
    scene.copytruncate();
    assert_eq!(scene.text(3), "unread at rotation\nnew\n");
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_copy_that_is_found_just_when_its_original_is_truncated_is_not_read_twice() {
    let mut scene = Scene::new();
    scene.append("a.log", &lines("first"));
    assert_eq!(scene.text(1), lines("first"));
    scene.append("a.log", "unread at rotation\n");
    scene.copy("a.log", "a.log.1");
    let found = scan(&scene.tail.logs).files;
    let copy = found.iter().find(|found| found.path == scene.path("a.log.1")).unwrap();
    // The look sees the original as it was, and finds the copy when it is truncated.
    scene.tail.look(found.clone(), &mut Vec::new(), &mut BTreeSet::new(), scene.now_ms);
    scene.truncate("a.log");
    scene.append("a.log", "new\n");
    assert!(!scene.tail.follow(copy, false, scene.now_ms).unwrap(), "the next look decides");
    assert_eq!(scene.text(3), "unread at rotation\nnew\n");
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_file_that_is_truncated_between_look_and_reading_goes_on_in_its_copy() {
    let mut scene = Scene::new();
    scene.append("a.log", "first line\n");
    scene.tail.poll(scene.now_ms);
    scene.copy("a.log", "a.log.1");
    scene.truncate("a.log");
    scene.append("a.log", "other line\n");
    assert_eq!(scene.tail.read(scene.now_ms), None, "these are not the bytes that were seen");
    assert_eq!(scene.text(3), "first line\nother line\n");
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_copy_that_is_renamed_while_it_is_looked_for_is_found_at_the_next_look() {
    let mut scene = Scene::new();
    scene.append("a.log", &lines("first"));
    assert_eq!(scene.text(1), lines("first"));
    scene.copytruncate();
    let mut new = Vec::new();
    let found = scan(&scene.tail.logs).files;
    let missing = scene.tail.look(found, &mut new, &mut BTreeSet::new(), scene.now_ms);
    scene.rename("a.log.1", "a.log.2");
    assert_eq!(missing, [(FileId(0), true)]);
    assert!(!scene.tail.settle(FileId(0), true, &mut new, scene.now_ms), "the next look decides");
    assert_eq!(scene.text(3), "unread at rotation\nnew\n");
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_copy_that_was_empty_when_it_was_found_is_not_read_twice() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    assert_eq!(scene.text(1), "one\n");
    File::create(scene.path("a.log.1")).unwrap();
    assert_eq!(scene.text(1), "");
    scene.copy("a.log", "a.log.1");
    assert_eq!(scene.text(1), "");
    scene.truncate("a.log");
    scene.append("a.log", "two\n");
    assert_eq!(scene.text(3), "two\n");
}

#[test]
fn a_short_copy_is_not_read_twice_where_its_truncation_is_seen_late() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\ntwo\n");
    assert_eq!(scene.text(1), "one\ntwo\n");
    scene.copy("a.log", "a.log.1");
    assert_eq!(scene.text(1), "");
    scene.truncate("a.log");
    scene.append("a.log", "three\n");
    // Nobody looked for a minute, such as while the spool was full.
    scene.now_ms += 60_000;
    assert_eq!(scene.text(3), "three\n");
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_chain_of_copytruncates_loses_and_repeats_nothing() {
    let mut scene = Scene::new();
    let mut written = String::new();
    let mut came = String::new();
    for turn in 0..6 {
        let text = lines(&format!("turn {turn}"));
        scene.append("a.log", &text);
        written += &text;
        if turn % 2 == 0 {
            came += &scene.text(1);
        }
        for number in (1..5).rev() {
            if scene.path(&format!("a.log.{number}")).exists() {
                scene.rename(&format!("a.log.{number}"), &format!("a.log.{}", number + 1));
            }
        }
        scene.copy("a.log", "a.log.1");
        if turn == 2 {
            came += &scene.text(1);
        }
        scene.truncate("a.log");
        came += &scene.text(1);
        if turn == 3 {
            scene.restart();
        }
    }
    came += &scene.text(3);
    assert!(came == written, "{} bytes of {}", came.len(), written.len());
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_copy_outside_the_globs_gives_what_was_unread() {
    let mut scene = Scene::with(Backfill::All, "*.log");
    scene.append("a.log", &lines("first"));
    scene.text(1);
    scene.restart();
    scene.append("a.log", "written while the agent was stopped\n");
    scene.copy("a.log", "a.log-20261126");
    scene.truncate("a.log");
    scene.append("a.log", "new\n");
    assert_eq!(scene.text(3), "written while the agent was stopped\nnew\n");
    assert!(scene.gaps.is_empty());
}

#[test]
fn what_is_left_of_a_file_compressed_meanwhile_is_read_from_there() {
    let mut scene = Scene::new();
    scene.append("a.log", &lines("first"));
    scene.text(1);
    scene.restart();
    scene.append("a.log", &lines("while the agent was stopped"));
    scene.rename("a.log", "a.log.1");
    scene.gzip("a.log.1");
    scene.append("a.log", "new\n");
    assert_eq!(scene.text(1), lines("while the agent was stopped") + "new\n");
    let (path, records) = scene.tail.open(FileId(0)).unwrap();
    assert!(path.ends_with("a.log.1.gz"));
    assert_eq!(records.unwrap().record(0, 5).unwrap(), b"first");
    assert!(scene.poll().is_empty());
    scene.now_ms += 60_000;
    assert_eq!(scene.poll(), ["0 ends"]);
    scene.restart();
    assert_eq!(scene.text(3), "");
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_file_compressed_under_the_agents_hands_is_read_to_its_end_once() {
    let mut scene = Scene::new();
    scene.tail.logs.exclude.clear();
    scene.append("a.log", &lines("first"));
    scene.text(1);
    scene.append("a.log", "unread at rotation\n");
    scene.rename("a.log", "a.log.1");
    scene.gzip("a.log.1");
    scene.append("a.log", "new\n");
    assert_eq!(scene.text(3), "unread at rotation\nnew\n");
    fs::write(scene.path("a.log.2.zip"), b"PK\x03\x04 packed\n").unwrap();
    assert_eq!(scene.text(3), "");
    assert_eq!(scene.tail.counts().files_unreadable, 0);
}

#[test]
fn a_backup_of_a_log_is_not_read() {
    let mut scene = Scene::new();
    scene.append("a.log", &lines("first"));
    scene.text(1);
    scene.copy("a.log", "a.log.bak");
    scene.now_ms += 60_000;
    scene.append("a.log", "more\n");
    assert_eq!(scene.text(3), "more\n");
}

#[test]
fn two_files_with_the_same_head_are_told_apart() {
    let banner = "ulimit -a\n".repeat(200);
    let mut scene = Scene::new();
    scene.append("a.log", &format!("{banner}of a\n"));
    scene.append("b.log", &format!("{banner}of b\n"));
    let came = scene.text(1);
    assert_eq!((came.matches("of a").count(), came.matches("of b").count()), (1, 1));
    assert_eq!(came.len(), 2 * banner.len() + 10);
    scene.restart();
    scene.append("b.log", "more of b\n");
    assert_eq!(scene.text(1), "more of b\n");
}

#[test]
fn a_file_that_begins_like_another_one_is_read_whole_once_it_differs() {
    let mut scene = Scene::new();
    scene.append("a.log", "banner\nof a\n");
    scene.text(1);
    scene.append("b.log", "banner\n");
    assert_eq!(scene.text(1), "", "it may become a copy");
    scene.append("b.log", "of b\n");
    assert_eq!(scene.text(1), "banner\nof b\n");
}

#[test]
fn a_short_file_that_stays_like_the_start_of_another_one_is_read_after_all() {
    let mut scene = Scene::new();
    scene.append("a.log", "banner\nof a\n");
    scene.text(1);
    scene.append("b.log", "banner\n");
    assert_eq!(scene.text(1), "");
    scene.now_ms += 10_000;
    assert_eq!(scene.text(1), "banner\n");
}

#[test]
fn another_device_number_after_a_reboot_changes_nothing() {
    let mut scene = Scene::new();
    scene.append("a.log", &lines("first"));
    scene.text(1);
    scene.append("a.log", "more\n");
    let mut saved = scene.tail.saved();
    saved[0].identity.device += 1;
    scene.tail = Tail::new(scene.tail.logs.clone(), saved, 1, false, DAY_MS);
    assert_eq!(scene.text(3), "more\n");
    assert!(scene.gaps.is_empty());
}
