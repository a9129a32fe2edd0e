//! The figures and the truth, as text.

use std::collections::{BTreeSet, HashSet};

use blocksift_tests::simulate::live::Written;

use super::figures::{Figures, Flag, Sums};

/// Flagged sessions, or faults, that are listed; further ones are counted.
const LISTED_MAX: usize = 40;

/// The table at the end of a demo. `truth` is what the simulator did, if it ran.
pub(super) fn render(figures: &Figures, truth: Option<&Written>) -> String {
    let mut text = String::from("\n");
    nodes(&mut text, figures);
    text.push('\n');
    match truth {
        Some(truth) => faults(&mut text, figures, truth),
        None => flags(&mut text, figures),
    }
    text
}

fn nodes(text: &mut String, figures: &Figures) {
    line(
        text,
        format_args!(
            "{:<12} {:>12} {:>16} {:>9} {:>12} {:>14} {:>8}",
            "node", "lines read", "sessions scored", "flagged", "bytes read", "bytes shipped", "ratio"
        ),
    );
    let total = ("total".to_owned(), figures.total());
    for (name, sums) in figures.nodes.iter().chain([&total]) {
        line(
            text,
            format_args!(
                "{name:<12} {:>12} {:>16} {:>9} {:>12} {:>14} {:>8}",
                sums.lines_read,
                sums.sessions_scored,
                sums.sessions_flagged,
                sums.bytes_read,
                sums.bytes_shipped,
                ratio(sums)
            ),
        );
    }
}

/// Bytes shipped per byte read.
fn ratio(sums: &Sums) -> String {
    if sums.bytes_read == 0 {
        return "-".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let percent = sums.bytes_shipped as f64 * 100.0 / sums.bytes_read as f64;
    format!("{percent:.2} %")
}

fn faults(text: &mut String, figures: &Figures, truth: &Written) {
    let caught = truth.faults.iter().filter(|fault| figures.flags_of(fault.block).next().is_some()).count();
    line(text, format_args!("faults injected: {}, caught: {caught}", truth.faults.len()));
    for fault in truth.faults.iter().take(LISTED_MAX) {
        let verdicts: Vec<String> = figures.flags_of(fault.block).map(verdict).collect();
        let verdict = if verdicts.is_empty() {
            "MISSED".to_owned()
        } else {
            format!("caught: {}", verdicts.join("; "))
        };
        let block = format!("blk_{}", fault.block);
        line(text, format_args!("  {:<10} {block:<24} {:<23} {verdict}", fault.node.name(), fault.kind));
    }
    more(text, truth.faults.len());
    let faulty: HashSet<String> = truth.faults.iter().map(|fault| format!("blk_{}", fault.block)).collect();
    let wrong: Vec<&Flag> = figures.flags.iter().filter(|flag| !faulty.contains(&flag.block)).collect();
    let blocks: BTreeSet<&str> = wrong.iter().map(|flag| flag.block.as_str()).collect();
    let healthy = truth.blocks - u64::try_from(truth.faults.len()).unwrap_or(0);
    line(text, format_args!("false flags: {} of {healthy} healthy blocks", blocks.len()));
    list(text, &wrong);
}

fn flags(text: &mut String, figures: &Figures) {
    line(text, format_args!("flagged sessions: {}", figures.flags.len()));
    list(text, &figures.flags.iter().collect::<Vec<_>>());
}

fn list(text: &mut String, flags: &[&Flag]) {
    for flag in flags.iter().take(LISTED_MAX) {
        line(text, format_args!("  {:<24} {}", flag.block, verdict(flag)));
    }
    more(text, flags.len());
}

fn more(text: &mut String, count: usize) {
    if count > LISTED_MAX {
        line(text, format_args!("  ... and {} more", count - LISTED_MAX));
    }
}

fn verdict(flag: &Flag) -> String {
    format!("{} {:.3} ({})", flag.node, flag.score, flag.reasons.join(", "))
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.push_str(&arguments.to_string());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use blocksift_tests::simulate::{Cluster, Fault, FaultKind};

    use super::*;

    #[test]
    fn caught_missed_and_false_flags_are_told_apart() {
        let fault =
            |block| Fault { block, node: Cluster::NAME_NODE, kind: FaultKind::RedundantReport, at_ms: 0 };
        let truth = Written { lines: 50, bytes: 2_000, blocks: 4, faults: vec![fault(1), fault(-2)] };
        let flag = |block: &str| Flag {
            node: "namenode".to_owned(),
            block: block.to_owned(),
            score: 0.75,
            reasons: vec!["score".to_owned()],
        };
        let sums = Sums {
            lines_read: 50,
            bytes_read: 2_000,
            sessions_scored: 6,
            sessions_flagged: 2,
            bytes_shipped: 50,
        };
        let figures =
            Figures { nodes: vec![("namenode".to_owned(), sums)], flags: vec![flag("blk_1"), flag("blk_3")] };
        let text = render(&figures, Some(&truth));
        for part in [
            "faults injected: 2, caught: 1",
            "caught: namenode 0.750 (score)",
            "MISSED",
            "false flags: 1 of 2 healthy blocks",
            "blk_3",
            "2.50 %",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
