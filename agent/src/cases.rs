//! `blocksift-agent test`: whether the verdicts on sample lines are those that a file of cases expects, so that a site
//! keeps what it knows of its own logs, and checks a new model or configuration against it.
//!
//! Each case goes through a detector of its own, as one file of one node that has ended.

mod check;
mod file;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use blocksift_detector::{Detector, FileId, Model, Report, Settings, Summary};
use clap::Args as ClapArgs;
use indicatif::ProgressBar;

use crate::config::{Config, Problems};
use crate::input::Input;
use crate::text::printable;
use file::{Case, CaseFile, Sample};

/// Check that sample lines get the verdicts that a file of cases expects.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exit codes: 0 every case is as expected, 1 some are not, 2 a file cannot be read or used."
)]
pub(crate) struct Args {
    /// File of cases; see deploy/cases.toml
    #[arg(value_name = "CASES.toml")]
    cases: PathBuf,
    /// Take model, zone, layout and session limits from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model to score with [default: that of the configuration, else hdfs-v1]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Print only what is not as expected
    #[arg(short, long)]
    quiet: bool,
}

/// What the detector made of a case.
#[derive(Debug)]
struct Found {
    /// One for each session, normal ones too.
    sessions: Vec<Report>,
    summary: Summary,
}

/// Events shown of a session that is not as expected.
const EVENTS_SHOWN: usize = 12;
/// Sessions shown of a case that is not as expected.
const SESSIONS_SHOWN: usize = 3;
/// Characters shown of a template.
const TEXT_CHARS_MAX: usize = 100;

/// Checks every case and prints what came of it.
///
/// # Errors
/// If the file of cases or one of its samples cannot be read, or configuration or model cannot be used.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let model_path = args.model.as_deref().or(config.as_ref().and_then(|config| config.model.as_deref()));
    let settings = config.as_ref().map_or_else(Settings::default, |config| config.detector.clone());
    let settings = Settings { report_all: true, ..settings };
    let file = CaseFile::load(&args.cases)?;
    let model = crate::model::load(model_path.unwrap_or(Path::new(crate::model::HDFS_V1)))?;
    let mut out = Output { out: io::stdout().lock(), colour: io::stdout().is_terminal(), quiet: args.quiet };
    let mut failed = 0;
    for case in &file.cases {
        let found = detect(case, &model, &settings)
            .with_context(|| format!("case \"{}\" of `{}`", case.name, args.cases.display()))?;
        let problems = check::differences(case, &found);
        if problems.is_empty() {
            out.good(case, &found)?;
        } else {
            failed += 1;
            out.bad(case, &found, &Problems::new(&args.cases, &file.text, problems))?;
        }
    }
    out.total(file.cases.len(), failed, &model.id)?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn detect(case: &Case, model: &Model, settings: &Settings) -> anyhow::Result<Found> {
    let mut detector = Detector::new(model.fork(), settings.clone());
    let file = FileId(0);
    match &case.sample {
        Sample::Lines(lines) => {
            detector.push(file, 0, lines.as_bytes());
        }
        Sample::File(path) => {
            let input = Input::open(path)?;
            input.read(&ProgressBar::hidden(), 1, |offset, bytes| {
                detector.push(file, offset, bytes);
            })?;
        }
    }
    detector.end_of_file(file);
    detector.finish();
    let sessions = detector.reports().collect();
    Ok(Found { sessions, summary: detector.summary() })
}

/// Prints what came of the cases.
struct Output<W> {
    out: W,
    colour: bool,
    quiet: bool,
}

impl<W: Write> Output<W> {
    fn good(&mut self, case: &Case, found: &Found) -> io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        let mark = self.painted("ok  ", "32");
        let verdict =
            check::verdict(case, found).map_or_else(String::new, |report| format!(": {}", verdict(report)));
        writeln!(self.out, "{mark} {}{verdict}", printable(&case.name, TEXT_CHARS_MAX))
    }

    fn bad(&mut self, case: &Case, found: &Found, problems: &Problems) -> io::Result<()> {
        let mark = self.painted("FAIL", "31");
        writeln!(self.out, "{mark} {}", printable(&case.name, TEXT_CHARS_MAX))?;
        writeln!(self.out, "{problems}")?;
        let of_case: Vec<&Report> = check::sessions(case, found).collect();
        for report in of_case.iter().take(SESSIONS_SHOWN) {
            self.session(report)?;
        }
        if of_case.len() > SESSIONS_SHOWN {
            writeln!(self.out, "   and {} more sessions", of_case.len() - SESSIONS_SHOWN)?;
        }
        Ok(())
    }

    /// A session, with how much each event raised its score.
    fn session(&mut self, report: &Report) -> io::Result<()> {
        let block = if report.block.is_empty() { "the node" } else { &report.block };
        writeln!(self.out, "   found {block}: {}", verdict(report))?;
        for event in report.events.iter().take(EVENTS_SHOWN) {
            let text = printable(&event.text, TEXT_CHARS_MAX);
            let raised = if report.flagged { format!("{:+.3} ", event.contribution) } else { String::new() };
            writeln!(self.out, "     {raised}{:<5} {text} {}", event.level, printable(&event.exception, 60))?;
        }
        let more = report.revision.saturating_sub(EVENTS_SHOWN as u64);
        if more > 0 {
            writeln!(self.out, "     and {more} more events")?;
        }
        Ok(())
    }

    fn total(&mut self, cases: usize, failed: usize, model: &str) -> io::Result<()> {
        if failed == 0 && self.quiet {
            return Ok(());
        }
        writeln!(self.out, "{cases} cases, {} as expected, {failed} not; model {model}", cases - failed)
    }

    fn painted(&self, word: &str, colour: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// A session's verdict in a line.
fn verdict(report: &Report) -> String {
    let word = if report.flagged { "flagged" } else { "not flagged" };
    let reasons =
        if report.reasons.is_empty() { String::new() } else { format!(" ({})", report.reasons.join(", ")) };
    format!(
        "{word}{reasons}, score {:.4} of {:.4}, {} events",
        report.score, report.threshold, report.revision
    )
}

/// The example that is shipped.
#[cfg(test)]
const EXAMPLE: &str = include_str!("../../deploy/cases.toml");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn output(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases.toml");
        std::fs::write(&path, text).unwrap();
        let file = CaseFile::load(&path).unwrap();
        let model = crate::model::load(std::path::Path::new(crate::model::HDFS_V1)).unwrap();
        let settings = Settings { report_all: true, ..Settings::default() };
        let mut out = Output { out: Vec::new(), colour: false, quiet: false };
        for case in &file.cases {
            let found = detect(case, &model, &settings).unwrap();
            let problems = check::differences(case, &found);
            if problems.is_empty() {
                out.good(case, &found).unwrap();
            } else {
                out.bad(case, &found, &Problems::new(Path::new("cases.toml"), text, problems)).unwrap();
            }
        }
        String::from_utf8(out.out).unwrap()
    }

    #[test]
    fn the_example_is_as_expected() {
        let told = output(EXAMPLE);
        assert!(!told.contains("FAIL") && told.matches("ok  ").count() >= 3, "{told}");
    }

    #[test]
    fn a_wrong_expectation_is_shown_at_its_line_with_what_was_found() {
        let told = output(
            "[[case]]\nname = \"a\"\nflagged = true\nreasons = [\"novel_counts\"]\nscore_min = 0.99\nunknown = 7\n\
             lines = \"081109 203518 1 INFO dfs.DataNode$DataXceiver: Receiving block blk_1 src: /10.0.0.1:1 dest: /10.0.0.1:2\"\n",
        );
        for said in
            ["cases.toml:3:11: ", "cases.toml:4:11: ", "cases.toml:5:13: ", "cases.toml:6:11: ", "blk_1: "]
        {
            assert!(told.contains(said), "{said} is not in\n{told}");
        }
    }
}
