//! What others need for a part of the same work, measured on some megabytes of the same log: Drain3 from PyPI, in a
//! virtual environment of its own, and Fluent Bit, where they are to be had.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{cargo, python};

/// The release that is measured.
const DRAIN3: &str = "drain3==0.9.11";
/// Bytes of the log that they get.
const SAMPLE_BYTES: u64 = 20_000_000;
/// Clock ticks a second in `/proc`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Time stamps, block and rest of a line; the layouts differ before the level.
const HEAD_REGEX: &str = r"^(?<time>\S+ \S+) (?:\d+ )?(?<level>[A-Z]+) (?<logger>[^ :]+): (?<message>.*?(?:(?<block>blk_-?\d+).*)?)$";

/// Whole lines from the middle of `log`, where blocks are written, read and deleted, in a file beside it.
pub(crate) fn sample(log: &Path) -> Result<PathBuf> {
    let path = log.with_extension("sample");
    let mut text = Vec::new();
    let mut file = File::open(log).with_context(|| format!("cannot read `{}`", log.display()))?;
    let start = (file.metadata()?.len() / 2).saturating_sub(SAMPLE_BYTES / 2);
    file.seek(SeekFrom::Start(start))?;
    file.take(SAMPLE_BYTES).read_to_end(&mut text)?;
    let mut newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let begin = if start == 0 { 0 } else { newlines.next().unwrap_or(0) };
    let end = newlines.next_back().unwrap_or(begin);
    fs::write(&path, text.get(begin..end).unwrap_or_default())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(path)
}

/// Lines a second of CPU time that Drain3 takes.
pub(crate) fn drain3(sample: &Path) -> Result<f64> {
    let script = cargo::root().join("tests/drain3/run.py");
    if !script.is_file() {
        bail!("`{}` is missing", script.display());
    }
    let python = python::programs("drain3", DRAIN3)?.join("python3");
    let output = cargo::output(cargo::program(&python).arg(script).arg(sample))?;
    let last = output.lines().last().unwrap_or_default();
    let figures: Value =
        serde_json::from_str(last).with_context(|| format!("it said `{last}`, which is no JSON"))?;
    let figure = |name: &str| {
        let figure = figures.get(name).and_then(Value::as_f64);
        figure.with_context(|| format!("its figures lack `{name}`"))
    };
    Ok(figure("lines")? / figure("cpu_seconds")?)
}

/// Lines a second of CPU time that Fluent Bit takes for tail, one regular expression and the block id; `None` if it is
/// not installed.
pub(crate) fn fluent_bit(sample: &Path) -> Result<Option<f64>> {
    if cargo::output(cargo::program("fluent-bit").arg("--version")).is_err() {
        return Ok(None);
    }
    let (configuration, parsers) = (sample.with_extension("conf"), sample.with_extension("parsers.conf"));
    let parser = format!("[PARSER]\n    Name hadoop\n    Format regex\n    Regex {HEAD_REGEX}\n");
    fs::write(&parsers, parser).context("cannot write Fluent Bit's parsers")?;
    let service = format!("[SERVICE]\n    Log_Level error\n    Parsers_File {}\n", parsers.display());
    let input = format!(
        "[INPUT]\n    Name tail\n    Path {}\n    Read_from_Head On\n    Exit_On_Eof On\n    Parser hadoop\n",
        sample.display()
    );
    fs::write(&configuration, service + &input + "[OUTPUT]\n    Name null\n    Match *\n")
        .context("cannot write Fluent Bit's configuration")?;
    let before = cpu_seconds_of_children()?;
    let mut command = cargo::program("fluent-bit");
    cargo::run(command.arg("-c").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let seconds = cpu_seconds_of_children()? - before;
    let lines = fs::read(sample)?.iter().filter(|&&byte| byte == b'\n').count();
    Ok(Some(f64::from(u32::try_from(lines)?) / seconds.max(1.0 / TICKS_PER_SECOND)))
}

/// CPU time of the children that have ended.
fn cpu_seconds_of_children() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("there is no /proc")?;
    // The second field is the program's name in parentheses; of the others, fields 16 and 17 are asked for.
    let (_, fields) = text.rsplit_once(')').context("/proc/self/stat is not as expected")?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<u32>);
    let ticks: u32 = ticks.sum::<std::result::Result<u32, _>>()?;
    Ok(f64::from(ticks) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_ends_with_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        fs::write(&log, "one\ntwo\nthr").unwrap();
        assert_eq!(fs::read_to_string(sample(&log).unwrap()).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn children_that_ended_are_counted() {
        let before = cpu_seconds_of_children().unwrap();
        let busy = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
        cargo::run(cargo::program("sh").args(["-c", busy])).unwrap();
        assert!(cpu_seconds_of_children().unwrap() > before);
    }
}
