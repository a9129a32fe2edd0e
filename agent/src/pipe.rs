//! `blocksift-agent filter`: the plugin as a program between two others. JSON records come in line by line, and leave
//! line by line: the same filter as in the WASM module, without its one-for-one.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use blocksift::{Answer, Filter, Mode, Settings, Time};
use blocksift_detector::json::{Members, Value};
use tracing::{error, warn};

use crate::config::host_name;
use crate::feed::now_ms;

/// Bytes of a line that is read as one record; pieces of a longer one pass as they come.
const LINE_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Lines that wait to be filtered.
const LINES_MAX: usize = 1_024;
/// How often time is told where no records come.
const TICK: Duration = Duration::from_secs(1);

/// Find abnormal blocks in records that a log pipeline sends through
///
/// Reads one JSON record a line from standard input, such as `{"log": "..."}`, and writes records to standard output.
/// What is no such record passes unchanged.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 standard input has ended or nobody reads standard output, 2 it could not go on."
)]
pub(crate) struct Args {
    /// What becomes of records
    #[arg(long, value_enum, default_value_t)]
    mode: RecordMode,
    /// Model to score with: a file, hadoop3 or hdfs-v1
    #[arg(long, value_name = "FILE", default_value = crate::model::HDFS_V1)]
    model: PathBuf,
    /// Settings as JSON: the object that a control record of the plugin has as `configure`
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Name of the node of records that name none [default: this host's]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Zone of log times that carry none, such as `Europe/Berlin` [default: UTC]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Answer each line by one line, and one that is dropped by `{}`; reports wait for the next lines
    #[arg(long)]
    answer_each: bool,
    /// As `--answer-each`, for rsyslog's mmexternal: an answer is what the message gets as `$!blocksift`, or `{}`
    #[arg(long, conflicts_with = "answer_each")]
    rsyslog: bool,
}

/// What is written for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// What leaves the filter, whenever it does.
    Any,
    /// One line for each.
    Each,
    /// Likewise; what rsyslog is to change of the message.
    Rsyslog,
}

/// The plugin's modes.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum RecordMode {
    /// Reports and summaries leave in place of the lines of the log
    #[default]
    Flagged,
    /// Every record passes with its block and template; verdicts ride along
    Annotate,
    /// Every record passes; reports ride along
    Shadow,
}

/// Runs until standard input ends; scores what is left then.
///
/// # Errors
/// If the settings or the model cannot be used, or standard output cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let model = crate::model::load(&args.model)?;
    let mode = match args.mode {
        RecordMode::Flagged => Mode::Flagged,
        RecordMode::Annotate => Mode::Annotate,
        RecordMode::Shadow => Mode::Shadow,
    };
    let filter = match Filter::new(mode, model, settings(args)?) {
        Ok(filter) => filter,
        Err(problems) => bail!("settings cannot be used:\n  {}", problems.join("\n  ")),
    };
    let (sender, lines) = mpsc::sync_channel(LINES_MAX);
    let read = move || read(BufReader::new(io::stdin().lock()), &sender);
    thread::Builder::new().name("stdin".to_owned()).spawn(read).context("no thread for standard input")?;
    let answers = match (args.answer_each, args.rsyslog) {
        (_, true) => Answers::Rsyslog,
        (true, false) => Answers::Each,
        (false, false) => Answers::Any,
    };
    let mut pipe = Pipe { filter, output: BufWriter::new(io::stdout().lock()), answers };
    match pipe.run(&lines) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        outcome => outcome.context("standard output cannot be written").map(|()| ExitCode::SUCCESS),
    }
}

fn settings(args: &Args) -> anyhow::Result<Settings> {
    let mut settings = match &args.settings {
        None => {
            Settings { node: host_name().unwrap_or_else(|| "localhost".to_owned()), ..Settings::default() }
        }
        Some(path) => from_file(path)?,
    };
    if let Some(node) = &args.node {
        settings.node.clone_from(node);
    }
    if let Some(zone) = &args.zone {
        settings.zone.clone_from(zone);
    }
    Ok(settings)
}

fn from_file(path: &Path) -> anyhow::Result<Settings> {
    let text =
        std::fs::read(path).with_context(|| format!("settings `{}` cannot be read", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("settings `{}` are none", path.display()))
}

/// A line with its line end, or a piece of one that is too long.
struct Line {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// Hands lines over as they come.
fn read(mut input: impl BufRead, lines: &SyncSender<Line>) {
    let mut goes_on = false;
    loop {
        let mut bytes = Vec::new();
        let read = io::Read::take(input.by_ref(), LINE_BYTES_MAX as u64).read_until(b'\n', &mut bytes);
        if let Err(error) = &read {
            error!(%error, "standard input cannot be read to its end");
        }
        let ends = bytes.ends_with(b"\n");
        let is_whole = !goes_on && (ends || bytes.len() < LINE_BYTES_MAX);
        goes_on = !ends && !is_whole;
        let is_last = read.is_err() || bytes.is_empty();
        if !bytes.is_empty() && lines.send(Line { bytes, is_whole }).is_err() || is_last {
            return;
        }
    }
}

/// The filter between its input and its output.
struct Pipe<W> {
    filter: Filter,
    output: W,
    answers: Answers,
}

impl<W: Write> Pipe<W> {
    fn run(&mut self, lines: &Receiver<Line>) -> io::Result<()> {
        loop {
            let line = match lines.try_recv() {
                Ok(line) => Ok(line),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.output.flush()?;
                    lines.recv_timeout(TICK)
                }
            };
            match line {
                Ok(line) => self.take(&line)?,
                Err(RecvTimeoutError::Timeout) => self.filter.tick(now_ms()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.answers == Answers::Any {
                self.write_waiting()?;
            }
        }
        self.filter.flush();
        if self.answers != Answers::Any && self.filter.waits() {
            warn!("standard input ended while reports waited for lines to be the answers to; they follow");
        }
        self.write_waiting()?;
        self.output.flush()
    }

    fn take(&mut self, line: &Line) -> io::Result<()> {
        if !line.is_whole {
            return self.output.write_all(&line.bytes);
        }
        let record = line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes);
        let answers = self.answers;
        match self.filter.take(b"stdin", Time::Came(now_ms()), record) {
            Answer::Record(answer) if answers == Answers::Rsyslog => {
                self.output.write_all(&properties(answer))?;
            }
            Answer::Unchanged if answers == Answers::Rsyslog => self.output.write_all(b"{}")?,
            Answer::Unchanged => self.output.write_all(record)?,
            Answer::Record(answer) => self.output.write_all(answer)?,
            Answer::Dropped if answers == Answers::Any => return Ok(()),
            Answer::Dropped => self.output.write_all(b"{}")?,
        }
        self.output.write_all(b"\n")
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        while let Some(record) = self.filter.waiting() {
            match self.answers {
                Answers::Rsyslog => self.output.write_all(&properties(record))?,
                Answers::Any | Answers::Each => self.output.write_all(record)?,
            }
            self.output.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// What a message of rsyslog gets: what was added to its record, or the record that leaves in its place.
fn properties(answer: &[u8]) -> Vec<u8> {
    let added = Members::of(answer).filter(|(key, _)| *key == b"blocksift").map(|(_, value)| value).last();
    let own = match added {
        Some(Value::Object(own)) => own,
        _ => answer,
    };
    [b"{\"$!\":{\"blocksift\":".as_slice(), own, b"}}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(mode: Mode, answers: Answers, input: &[u8]) -> String {
        let model = crate::model::load(Path::new(crate::model::HDFS_V1)).unwrap();
        let filter = Filter::new(mode, model, Settings::default()).unwrap();
        let (sender, lines) = mpsc::sync_channel(LINES_MAX);
        read(input, &sender);
        drop(sender);
        let mut pipe = Pipe { filter, output: Vec::new(), answers };
        pipe.run(&lines).unwrap();
        String::from_utf8(pipe.output).unwrap()
    }

    const RECORDS: &str =
        "{\"log\":\"081109 203518 143 WARN dfs.X: strange thing about blk_7\"}\nno record\n";

    #[test]
    fn reports_leave_at_the_end_of_the_input() {
        let said = pipe(Mode::Flagged, Answers::Any, RECORDS.as_bytes());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "no record"));
        assert!(lines[1].contains("\"block\":\"blk_7\""), "{said}");
        let said = pipe(Mode::Shadow, Answers::Any, RECORDS.as_bytes());
        assert!(said.starts_with(RECORDS) && said.lines().count() == 3, "{said}");
    }

    #[test]
    fn each_line_gets_its_answer() {
        let said = pipe(Mode::Flagged, Answers::Each, RECORDS.as_bytes());
        assert!(said.starts_with("{}\nno record\n"), "{said}");
    }

    #[test]
    fn a_message_of_rsyslog_gets_what_was_added_to_it() {
        let flush = "{\"blocksift\":{\"flush\":true}}\n";
        let input = [RECORDS, flush, RECORDS].concat();
        for (mode, report) in [(Mode::Flagged, "{\"id\":"), (Mode::Shadow, "{\"report\":{")] {
            let said = pipe(mode, Answers::Rsyslog, input.as_bytes());
            let lines: Vec<&str> = said.lines().collect();
            assert_eq!(lines[..2], ["{}", "{}"], "{said}");
            assert!(lines[2].starts_with("{\"$!\":{\"blocksift\":{\"reply\":{"), "{said}");
            assert!(lines[3].starts_with(&format!("{{\"$!\":{{\"blocksift\":{report}")), "{said}");
            assert!(
                lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
                "{said}"
            );
        }
    }

    #[test]
    fn a_line_that_is_too_long_passes_in_pieces() {
        let input = [vec![b'x'; 2 * LINE_BYTES_MAX + 5], b"\n{}\n".to_vec()].concat();
        assert_eq!(pipe(Mode::Flagged, Answers::Any, &input).as_bytes(), input);
    }
}
