//! `blocksift-agent replay`: old logs through the path that live ones take, into a collector, with the times of the logs.
//!
//! The time that the detector is told is that of the log: all files advance together, a second of the log at a time
//! ([`timeline`]), so sessions fall silent, are scored and are forgotten as they were when the lines were written. So a
//! report has the id and revision that it would have had then, whoever replays it and however often, and a collector
//! stores it once. Nothing is kept on this host: the store of a running agent is not looked at.

mod deliver;
mod timeline;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use blocksift_detector::{Detector, Report, Settings};
use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::error;

use crate::config::Config;
use crate::files::scan;
use crate::model::Backend;
use crate::output::{self, grouped};
use crate::raw_lines::{self, Source};
use crate::redact::Redactor;
use deliver::Delivery;
use timeline::{Log, Timeline};

/// Reports that wait for their raw lines: a compressed file is gone through once for so many.
const REPORTS_MAX: usize = 2_000;
/// Events in those reports; reaching it does the same.
const EVENTS_MAX: usize = 100_000;

/// Send old logs through the same path to a collector, with their original times.
#[derive(Debug, ClapArgs)]
#[command(after_help = "What was sent before is stored once, so a replay may be repeated.\n\
                  Exit codes: 0 every report was taken, 1 some were refused for good, 2 a log could not be read to its \
                  end, or the collector took nothing for too long.")]
pub(crate) struct Args {
    /// Log files of one node, plain, .gz or .zst, in any order [default: those that the configuration names]
    #[arg(value_name = "LOG", required_unless_present = "config")]
    logs: Vec<PathBuf>,
    /// Configuration that says where to send, and how to read and judge
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the collector, for a replay without a configuration
    #[arg(long, value_name = "URL", required_unless_present = "config", conflicts_with = "config")]
    endpoint: Option<String>,
    /// Name of the node that the reports carry [default: that of the configuration, else this host's]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Zone of log times that carry none, such as `Europe/Berlin` [default: that of the configuration, else this host's]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Model to score with: a file, hadoop3 or hdfs-v1 [default: that of the configuration, else the one that fits the logs]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Give up when the collector took nothing for so many seconds
    #[arg(long, value_name = "S", default_value_t = 300)]
    give_up_after_s: u64,
    /// No progress bar and no summary
    #[arg(short, long)]
    quiet: bool,
}

/// Replays the logs.
///
/// # Errors
/// If the configuration or the model cannot be used, no log can be read, or the collector takes nothing for too long.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let config = config(args)?;
    let (logs, unopened) = open(args, &config)?;
    let model_path = args.model.as_deref().or(config.model.as_deref());
    let starts = logs.iter().map(Log::start);
    let model = crate::model::load_for(model_path, Backend::default(), &config.signers, starts)?;
    let progress = progress(&logs, args.quiet);
    let files = logs.len();
    let redact = config.redact.as_ref();
    let redactor = redact.map(|redact| Redactor::new(redact, &config.state_dir)).transpose()?;
    let mut replay = Replay {
        delivery: Delivery::new(&config, &model.id, Duration::from_secs(args.give_up_after_s))?,
        detector: Detector::new(model, config.detector.clone()),
        timeline: Timeline::new(logs, config.detector.layout.as_ref(), &config.detector.zone, &progress)?,
        pending: Vec::new(),
        redactor,
        progress,
    };
    replay.run()?;
    replay.progress.finish_and_clear();
    let unread = unopened + replay.timeline.failed();
    if !args.quiet {
        let table = replay.table(files, started.elapsed());
        // A closed standard error is no reason to fail.
        io::stderr().write_all(table.as_bytes()).unwrap_or_default();
    }
    let refused = replay.delivery.counts().refused > 0;
    Ok(ExitCode::from(if unread > 0 { 2 } else { u8::from(refused) }))
}

/// What is replayed where, as the configuration says and then the command line.
fn config(args: &Args) -> anyhow::Result<Config> {
    let mut config = match (&args.config, &args.endpoint) {
        (Some(path), _) => Config::load(path)?,
        (None, endpoint) => Config::for_endpoint(endpoint.as_deref().unwrap_or_default())?,
    };
    if let Some(node) = &args.node {
        config.detector.node.clone_from(node);
    }
    if let Some(zone) = &args.zone {
        config.detector.zone = TimeZone::get(zone).with_context(|| {
            format!("zone `{zone}` is unknown; use a name such as `UTC` or `Europe/Berlin`")
        })?;
    }
    config.detector = Settings { track_changes: false, ..config.detector };
    Ok(config)
}

/// The logs, and how many could not be opened.
fn open(args: &Args, config: &Config) -> anyhow::Result<(Vec<Log>, usize)> {
    let named: Vec<PathBuf> = match args.logs.as_slice() {
        [] => scan(&config.logs).files.into_iter().map(|found| found.path).collect(),
        logs => logs.to_vec(),
    };
    let mut logs = Vec::new();
    let mut failed = 0;
    for path in &named {
        match Log::open(path) {
            Ok(log) => logs.push(log),
            Err(problem) => {
                error!("{problem:#}");
                failed += 1;
            }
        }
    }
    ensure!(!logs.is_empty(), "no log can be replayed; name log files, or mend [logs] paths");
    Ok((logs, failed))
}

fn progress(logs: &[Log], quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(logs.iter().map(Log::stored_bytes).sum());
    let style =
        ProgressStyle::with_template("{msg} {bytes}/{total_bytes} {bar:30} {bytes_per_sec}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A replay under way.
struct Replay {
    timeline: Timeline,
    detector: Detector,
    /// Reports that were not sent yet.
    pending: Vec<Report>,
    redactor: Option<Redactor>,
    delivery: Delivery,
    progress: ProgressBar,
}

impl Replay {
    fn run(&mut self) -> anyhow::Result<()> {
        while let Some(time_ms) = self.timeline.step(&mut self.detector) {
            self.pending.extend(self.detector.reports());
            let events: usize = self.pending.iter().map(|report| report.events.len()).sum();
            if self.pending.len() >= REPORTS_MAX || events >= EVENTS_MAX {
                self.send()?;
                self.progress.set_message(shown(time_ms));
            }
        }
        self.detector.finish();
        self.pending.extend(self.detector.reports());
        self.send()
    }

    /// Fills in the raw lines and sends everything that waits.
    fn send(&mut self) -> anyhow::Result<()> {
        let timeline = &self.timeline;
        raw_lines::fill(&mut self.pending, |file| {
            let log = timeline.log(file)?;
            Some(Source { path: log.name(), records: log.records() })
        });
        if let Some(redactor) = &self.redactor {
            self.pending.iter_mut().for_each(|report| redactor.report(report));
        }
        self.delivery.send(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// The summary for people.
    fn table(&self, files: usize, elapsed: Duration) -> String {
        let mut table =
            output::summary_table(&self.detector.summary(), &self.detector.model().id, files, elapsed);
        let counts = self.delivery.counts();
        let mut row = |name: &str, value: String| table.push_str(&format!("{name:<20} {value:>15}\n"));
        row("reports taken", grouped(counts.taken));
        row("reports refused", grouped(counts.refused));
        row("bytes sent", grouped(counts.bytes));
        if let Some((first_ms, last_ms)) = self.timeline.span_ms() {
            table.push_str(&format!("{:<20} {} .. {}\n", "log times", shown(first_ms), shown(last_ms)));
        }
        table.push_str(&format!("{:<20} {}\n", "to", self.delivery.to()));
        table
    }
}

fn shown(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map_or_else(|_| String::new(), |time| time.to_string())
}
