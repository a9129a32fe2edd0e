//! When reports are committed.

use super::*;

fn reports_after_three_rounds(settings: &str) -> (Scene, Process) {
    let mut scene = Scene::new(&format!("commit_interval_ms = 60000\n{settings}"));
    scene.append(&odd_at(1, 0));
    let mut process = scene.start();
    for _ in 0..3 {
        scene.round(&mut process, 63);
    }
    (scene, process)
}

#[test]
fn they_do_not_wait_for_the_interval() {
    assert_eq!(reports_after_three_rounds("").1.reports().len(), 1);
}

#[test]
fn they_wait_for_the_interval_if_told_to() {
    let (mut scene, mut process) = reports_after_three_rounds("commit_on_flag = false");
    assert!(process.reports().is_empty());
    process.feed.committed -= Duration::from_secs(60);
    scene.round(&mut process, 1);
    assert_eq!(process.reports().len(), 1);
}
