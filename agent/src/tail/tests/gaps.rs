//! Contents that are replaced or removed: what was read before is not read again, and what was not is a gap.

use super::*;

#[test]
fn a_reused_inode_is_a_new_file() {
    let mut scene = Scene::new();
    scene.append("a.log", "old contents\n");
    scene.poll();
    scene.restart();
    // Within the same inode, which is what reuse looks like: other bytes, and more of them.
    fs::write(scene.path("a.log"), "new contents, longer\n").unwrap();
    assert_eq!(scene.poll(), ["0 ends", "1@0:new contents, longer\n"]);
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\ntwo\n");
    scene.poll();
    fs::write(scene.path("a.log"), "1\n").unwrap();
    assert_eq!(scene.poll(), ["0 ends", "1@0:1\n"]);
    assert!(scene.tail.open(FileId(0)).unwrap().1.is_none(), "what it held cannot be read back");
    scene.append("a.log", "2\n");
    scene.restart();
    assert_eq!(scene.poll(), ["1@2:2\n"]);
}

#[test]
fn a_file_truncated_while_the_agent_was_stopped_is_read_from_its_start() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\ntwo\n");
    scene.poll();
    scene.restart();
    fs::write(scene.path("a.log"), "one\n").unwrap();
    assert_eq!(scene.poll(), ["0 ends", "1@0:one\n"]);
}

#[test]
fn a_truncated_file_that_outgrew_its_old_length_is_read_from_its_start() {
    let mut scene = Scene::new();
    let banner = "ulimit -a\n".repeat(200);
    scene.append("a.log", &format!("{banner}one\n"));
    scene.poll();
    let text = format!("{banner}two, and longer\n");
    fs::write(scene.path("a.log"), &text).unwrap();
    assert_eq!(scene.text(1), text, "the head alone does not tell");
}

#[test]
fn an_inode_reused_within_a_chain_of_renames_is_a_new_file() {
    let mut scene = Scene::new();
    scene.append("a.log.1", "oldest, a long line\n");
    scene.append("a.log", "older\n");
    scene.poll();
    scene.now_ms += 60_000;
    scene.poll();
    // ext4 gives the next file the inode of the last one deleted.
    fs::rename(scene.path("a.log.1"), scene.path("deleted")).unwrap();
    scene.rename("a.log", "a.log.1");
    fs::write(scene.path("deleted"), "new\n").unwrap();
    scene.rename("deleted", "a.log");
    assert_eq!(scene.text(3), "new\n");
    scene.restart();
    assert_eq!(scene.text(3), "");
    assert!(scene.gaps.is_empty());
}

#[test]
fn what_was_seen_but_not_read_before_a_truncation_is_a_gap() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    scene.poll();
    scene.append("a.log", "not read\n");
    scene.now_ms += 1_000;
    scene.tail.poll(scene.now_ms);
    assert_eq!(scene.tail.counts().lag_bytes, 9);
    fs::write(scene.path("a.log"), "two\n").unwrap();
    assert_eq!(scene.poll(), ["0 ends", "1@0:two\n"]);
    assert_eq!(scene.gaps, [9]);
    scene.restart();
    scene.poll();
    assert_eq!(scene.gaps, [9], "counted once");
}

#[test]
fn rotation_that_outran_a_stopped_agent_is_a_gap() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    scene.poll();
    scene.append("a.log", "seen\n");
    scene.tail.poll(scene.now_ms);
    scene.restart();
    fs::remove_file(scene.path("a.log")).unwrap();
    scene.append("a.log.1", "two\n");
    scene.append("a.log", "three\n");
    assert_eq!(scene.text(1), "two\nthree\n");
    // At once if its inode is used again, else when it was missing for long enough.
    scene.now_ms += 10_000;
    scene.poll();
    assert_eq!(scene.gaps, [5]);
}

#[test]
fn a_gap_of_unknown_size_is_counted_too() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    scene.poll();
    scene.restart();
    fs::remove_file(scene.path("a.log")).unwrap();
    scene.append("a.log", "two\n");
    scene.text(1);
    scene.now_ms += 10_000;
    scene.poll();
    assert_eq!(scene.gaps, [0], "what was written after the stop went by unseen");
}

#[test]
fn a_file_truncated_while_the_agent_was_stopped_is_a_gap() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    scene.poll();
    scene.restart();
    fs::write(scene.path("a.log"), "2\n").unwrap();
    assert_eq!(scene.poll(), ["0 ends", "1@0:2\n"]);
    assert_eq!(scene.gaps, [0]);
}

#[test]
fn the_oldest_backup_that_was_read_and_deleted_is_no_gap() {
    let mut scene = Scene::new();
    scene.append("a.log.1", "one\n");
    scene.append("a.log", "two\n");
    scene.poll();
    scene.restart();
    fs::remove_file(scene.path("a.log.1")).unwrap();
    scene.rename("a.log", "a.log.1");
    scene.append("a.log", "three\n");
    assert_eq!(scene.text(1), "three\n");
    scene.now_ms += 60_000;
    scene.poll();
    assert!(scene.gaps.is_empty());
}

#[test]
fn a_stored_offset_beyond_the_end_is_noticed() {
    let mut scene = Scene::new();
    scene.append("a.log", "one\n");
    scene.poll();
    let mut saved = scene.tail.saved();
    (saved[0].offset, saved[0].size) = (1_000, 1_000);
    scene.tail = Tail::new(scene.tail.logs.clone(), saved, 1, false, DAY_MS);
    assert_eq!(scene.poll(), ["0 ends", "1@0:one\n"]);
    assert_eq!(scene.gaps.len(), 1);
}
