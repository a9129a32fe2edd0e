//! `blocksift-agent detect`: batch detection over whole log files. The files are read in the order of their first
//! record's time, as one node's log; every session is scored once, at the end.

use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use blocksift_detector::detector::Workers;
use blocksift_detector::head::{Heads, Parsed};
use blocksift_detector::time::Zone;
use blocksift_detector::{Detector, FileId, Report, Settings};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;
use tracing::error;

use crate::config::host_name;
use crate::input::Input;
use crate::model::{self, Backend};
use crate::output::{self, Format};
use crate::raw_lines::{self, Source};
use crate::threads::Threads;

/// Bytes at the start of a file in which its first record is looked for.
const PEEK_BYTES: usize = 64 * 1_024;

/// Arguments of `detect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 no session is flagged, 1 some are, 2 something could not be read or written."
)]
pub(crate) struct Args {
    /// Log files, plain, .gz or .zst; `-` is standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Write reports to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format of the reports
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Model to score with: a file, hadoop3 or hdfs-v1 [default: the one of these two that fits the logs]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// What scores by the model
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// Write the summary with the ledger as JSON to FILE
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Name of the node that the reports carry [default: this host's]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Zone of log times that carry none, such as `Europe/Berlin` [default: this host's]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Sessions kept in memory; beyond it the least recently active one is scored and forgotten
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    sessions_max: usize,
    /// Threads to work on; the reports do not depend on it
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN)]
    threads: NonZeroUsize,
    /// No progress bar and no summary table
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the batch.
///
/// # Errors
/// If the model does not load, the zone is unknown, or output cannot be written. A log that cannot be read is
/// reported and left out; the others still count.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let zone = match &args.zone {
        None => TimeZone::try_system().unwrap_or(TimeZone::UTC),
        Some(name) => TimeZone::get(name).with_context(|| {
            format!("zone `{name}` is unknown; use a name such as `UTC` or `Europe/Berlin`")
        })?,
    };
    let (inputs, unopened) = open(args, &zone);
    let model = model::load_for(args.model.as_deref(), args.backend, &[], inputs.iter().map(model::start))?;
    let mut detector = Detector::new(model, settings(args, &zone));
    let threads = Threads::start(args.threads.get())?;
    let unread = read(&mut detector, &inputs, &threads, args.quiet);
    detector.finish_with(&threads);
    let flagged = flagged(detector.reports().collect(), &inputs);
    match &args.output {
        Some(path) => output::replace(path, |file| output::write(&flagged, args.format, file))?,
        None => write_stdout(&flagged, args.format)?,
    }
    let summary = detector.summary();
    if let Some(path) = &args.summary {
        output::replace(path, |file| {
            serde_json::to_writer_pretty(&mut *file, &summary)?;
            file.write_all(b"\n")
        })?;
    }
    if !args.quiet {
        let table = output::summary_table(&summary, &detector.model().id, inputs.len(), started.elapsed());
        // A closed standard error is no reason to fail.
        io::stderr().write_all(table.as_bytes()).unwrap_or_default();
    }
    // The process ends: the kernel takes the memory back at once, session by session it takes a while.
    std::mem::forget(detector);
    Ok(if unopened + unread > 0 { ExitCode::from(2) } else { ExitCode::from(u8::from(!flagged.is_empty())) })
}

fn settings(args: &Args, zone: &TimeZone) -> Settings {
    Settings {
        node: args.node.clone().or_else(host_name).unwrap_or_else(|| "localhost".to_owned()),
        zone: zone.clone(),
        sessions_max: args.sessions_max,
        sessions_bytes_max: usize::MAX,
        // Files of several nodes are read one after the other.
        reorder_ms: i64::MAX,
        ..Settings::default()
    }
}

/// The inputs in reading order, and how many could not be opened.
fn open(args: &Args, zone: &TimeZone) -> (Vec<Input>, usize) {
    let mut inputs = Vec::new();
    let mut failed = 0;
    for path in &args.logs {
        match Input::open(path) {
            Ok(input) => inputs.push(input),
            Err(problem) => {
                error!("{problem:#}");
                failed += 1;
            }
        }
    }
    let first_time = |input: &Input| first_time_ms(&input.peek(PEEK_BYTES as u64), zone).unwrap_or(i64::MAX);
    inputs.sort_by_cached_key(first_time);
    (inputs, failed)
}

fn first_time_ms(text: &[u8], zone: &TimeZone) -> Option<i64> {
    let line_bytes_max = Settings::default().line_bytes_max;
    let (mut heads, mut zone) = (Heads::new(None, line_bytes_max), Zone::new(zone.clone()));
    text.split(|&byte| byte == b'\n').find_map(|line| match heads.parse(line, &mut zone) {
        Parsed::Head(head) => Some(head.time_ms),
        Parsed::Continuation(_) | Parsed::Partial => None,
    })
}

/// Reads all inputs through the detector; returns how many could not be read to their end.
fn read(detector: &mut Detector, inputs: &[Input], threads: &Threads, quiet: bool) -> usize {
    let progress = progress(inputs, quiet);
    let mut failed = 0;
    for (input, id) in inputs.iter().zip(0..) {
        let outcome = input.read(&progress, threads.count(), |offset, bytes| {
            // What comes of it is taken in the end.
            detector.push_with(FileId(id), offset, bytes, threads);
        });
        detector.end_of_file(FileId(id));
        if let Err(problem) = outcome {
            progress.suspend(|| error!("{problem:#}"));
            failed += 1;
        }
    }
    progress.finish_and_clear();
    failed
}

fn progress(inputs: &[Input], quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(inputs.iter().map(Input::stored_bytes).sum());
    let style = ProgressStyle::with_template("{bytes}/{total_bytes} {bar:30} {bytes_per_sec}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The last state of each session that is flagged, by time, with its raw lines.
fn flagged(mut reports: Vec<Report>, inputs: &[Input]) -> Vec<Report> {
    // A session that was forgotten and spoke again has another id; one id comes twice only if it was scored twice.
    reports.sort_by(|a, b| (&a.id, b.revision).cmp(&(&b.id, a.revision)));
    reports.dedup_by(|later, kept| later.id == kept.id);
    reports.retain(|report| report.flagged);
    reports.sort_by(|a, b| (&a.start, &a.block, &a.id).cmp(&(&b.start, &b.block, &b.id)));
    raw_lines::fill(&mut reports, |file| {
        let input = inputs.get(usize::try_from(file.0).ok()?)?;
        Some(Source { path: input.name(), records: input.records() })
    });
    reports
}

/// A reader that has seen enough (`| head`) is no error.
fn write_stdout(reports: &[Report], format: Format) -> anyhow::Result<()> {
    match output::write(reports, format, io::stdout().lock()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("standard output cannot be written"),
    }
}
