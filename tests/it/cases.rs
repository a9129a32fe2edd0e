//! `blocksift-agent test`: sample lines get the verdicts that a file of cases expects, or it says where they do not.

use std::fs;
use std::path::Path;

use blocksift_tests::simulate::batch;
use tempfile::TempDir;

use crate::harness::{Said, detect, run};

fn test(cases: &Path) -> Said {
    run("blocksift-agent", ["test".as_ref(), cases.as_os_str()])
}

#[test]
fn the_shipped_cases_are_as_expected() {
    let said = test(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/cases.toml")));
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("0 not"), "{}", said.stdout);
}

#[test]
fn a_case_of_a_file_has_the_verdict_and_score_of_detect() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, batch(51, 300).log).unwrap();
    let detected = detect(&[&log]);
    let (block, score) = detected.flags().into_iter().next().expect("a fault is simulated");
    let case = |name: &str, flagged: bool| {
        format!(
            "[[case]]\nname = \"{name}\"\nfile = \"hdfs.log\"\nblock = \"{block}\"\nflagged = {flagged}\n\
             score_min = {:.6}\nscore_max = {:.6}\n",
            score - 1e-5,
            (score + 1e-5).min(1.0)
        )
    };
    let cases = folder.path().join("cases.toml");
    fs::write(&cases, case("right", true) + &case("wrong", false)).unwrap();
    let said = test(&cases);
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    assert!(
        said.stdout.contains("ok   right: flagged") && said.stdout.contains("FAIL wrong"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("cases.toml:12:11: ") && said.stdout.contains(&block), "{}", said.stdout);
    assert!(said.stdout.contains("2 cases, 1 as expected, 1 not"), "{}", said.stdout);
}

#[test]
fn what_cannot_be_used_is_told_and_is_no_failed_case() {
    let folder = TempDir::new().unwrap();
    let cases = folder.path().join("cases.toml");
    fs::write(&cases, "[[case]]\nname = \"a\"\nflagged = true\nfile = \"absent.log\"\n").unwrap();
    let said = test(&cases);
    assert_eq!(said.code, 2, "{}", said.stdout);
    assert!(said.stderr.contains("absent.log") && said.stderr.contains("case \"a\""), "{}", said.stderr);
    fs::write(&cases, "[[case]]\nname = 7\n").unwrap();
    let said = test(&cases);
    assert!(said.code == 2 && said.stderr.contains("cases.toml:2:8"), "{}", said.stderr);
}
