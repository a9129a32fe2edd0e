//! What the data card of committed runs says in numbers, made from their files.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::logs::{Counts, SETTINGS, Settings};

/// Tables in Markdown: the runs, and the abnormal blocks of each kind of fault.
///
/// # Errors
/// If a file of a run is missing or damaged.
pub fn tables(runs: &[PathBuf]) -> io::Result<String> {
    let mut list = Vec::new();
    for run in runs {
        let settings: Settings = serde_json::from_slice(&fs::read(run.join(SETTINGS))?)?;
        list.push((name(run), settings, Counts::of(run)?));
    }
    let mut text = String::from(
        "| run | Hadoop | seed | clients | operations/s of each | quiet s | lines | faults | normal blocks | abnormal | borderline |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, settings, counts) in &list {
        let Settings { hadoop, seed, clients, rate, quiet_s, .. } = settings;
        let Counts { lines, faults, normal, abnormal, borderline } = counts;
        let abnormal: usize = abnormal.values().sum();
        row(
            &mut text,
            &[
                name,
                hadoop,
                &seed.to_string(),
                &clients.to_string(),
                &rate.to_string(),
                &quiet_s.to_string(),
                &lines.to_string(),
                &faults.to_string(),
                &normal.to_string(),
                &abnormal.to_string(),
                &borderline.to_string(),
            ],
        );
    }
    text.push_str("\n| abnormal blocks |");
    for (name, ..) in &list {
        write!(text, " {name} |").unwrap_or_default();
    }
    text += &format!("\n|---|{}\n", "---|".repeat(list.len()));
    let kinds: BTreeSet<&String> = list.iter().flat_map(|(.., counts)| counts.abnormal.keys()).collect();
    for kind in kinds {
        let count =
            |(.., counts): &(String, Settings, Counts)| counts.abnormal.get(kind).copied().unwrap_or(0);
        let cells: Vec<String> =
            [kind.clone()].into_iter().chain(list.iter().map(|run| count(run).to_string())).collect();
        row(&mut text, &cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    Ok(text)
}

fn row(text: &mut String, cells: &[&str]) {
    *text += &format!("| {} |\n", cells.join(" | "));
}

fn name(run: &Path) -> String {
    run.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::logs::unpack;
    use super::*;

    fn runs() -> Vec<PathBuf> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/hadoop3");
        let entries = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
        let mut runs: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        runs.sort_by_key(|run| name(run).parse::<u64>().unwrap());
        assert!(!runs.is_empty());
        runs
    }

    #[test]
    fn the_cards_counts_are_those_of_the_files() {
        let card = include_str!("../../data/hadoop3/README.md");
        let tables = tables(&runs()).unwrap();
        assert!(card.contains(&tables), "the card lacks:\n{tables}");
    }

    #[test]
    fn committed_logs_say_nothing_of_the_machine_that_made_them() {
        // Where the site, Hadoop and its user are made to be.
        let known = ["/hadoop/", "/opt/hadoop/", "/home/hdfs", "/load/", "/injected/"];
        for run in runs() {
            for entry in fs::read_dir(&run).unwrap() {
                let path = entry.unwrap().path();
                if !path.to_string_lossy().ends_with(".log.zst") {
                    continue;
                }
                let log = unpack(&path).unwrap();
                for line in log.lines().filter(|line| line.contains("STARTUP_MSG:   host")) {
                    assert!(line.ends_with("= localhost/127.0.0.1"), "{line}");
                }
                for root in ["/root", "/home/", "/work", "/tmp/", "/Users/", "/mnt/"] {
                    let found = log
                        .lines()
                        .find(|line| line.contains(root) && !known.iter().any(|known| line.contains(known)));
                    assert_eq!(found, None, "{}", path.display());
                }
            }
        }
    }
}
