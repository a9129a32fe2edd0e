//! Reports that are committed ahead of what they came from.

use super::*;

/// Commits its reports alone, but for the first time.
fn started(scene: &mut Scene) -> Process {
    scene.append(&odd_at(1, 0));
    let mut process = scene.start();
    for _ in 0..3 {
        scene.round(&mut process, 63);
    }
    assert_eq!(process.reports().len(), 1);
    process
}

#[test]
fn a_kill_behind_them_makes_them_again() {
    let mut scene = Scene::new("commit_interval_ms = 60000");
    let mut process = started(&mut scene);
    for block in 2..5 {
        scene.append(&odd_at(block, i64::from(block) * 100));
        for _ in 0..3 {
            scene.round(&mut process, 63);
        }
    }
    let (shipped, lines_read) = (process.reports(), process.lines_read());
    assert_eq!((shipped.len(), lines_read), (4, 4));
    drop(process);
    let mut process = scene.start();
    assert_eq!(process.reports(), shipped, "they are in the store");
    assert_eq!(process.feed.detector.summary().ledger.lines_read, 1, "what they came from is not");
    for _ in 0..3 {
        scene.round(&mut process, 63);
    }
    let again = process.reports();
    assert_eq!(again[4..], shipped[1..], "equal ones, which a receiver takes for the same");
    assert_eq!(process.lines_read(), lines_read);
}

#[test]
fn they_wait_for_the_interval_if_told_to() {
    let mut scene = Scene::new("commit_interval_ms = 60000\ncommit_on_flag = false");
    scene.append(&odd_at(1, 0));
    let mut process = scene.start();
    for _ in 0..3 {
        scene.round(&mut process, 63);
    }
    assert!(process.reports().is_empty());
    process.feed.committed -= Duration::from_secs(60);
    scene.round(&mut process, 1);
    assert_eq!(process.reports().len(), 1);
}
