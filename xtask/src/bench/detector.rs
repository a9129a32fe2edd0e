//! `cargo xtask bench detector`: runs the bench binary of the `tests` crate, and tells its stages, each including those
//! before it, with the ratios that say whether the detector is fast enough.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;

use super::figures::Figures;
use super::rivals;
use super::table::Table;
use crate::cargo;

/// Lines a second of CPU time that Fluent Bit took for tail, one regular expression and the block id on the machine
/// where the project's goals were set.
const FLUENT_BIT_ELSEWHERE: f64 = 306_000.0;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of each log. They are simulated once and kept in target/bench.
    #[arg(long, value_name = "MB", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    megabytes: u32,
    /// How often each stage runs, in turn with the others; the best and the median pass are told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    passes: u32,
    /// Measure these alone.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<Part>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Part {
    /// Reading the file alone, which every stage does.
    Read,
    /// Newline scan.
    Newlines,
    /// The yardstick: a loop that finds the newline and parses the block id.
    BlockIds,
    /// Heads and keys.
    HeadsKeys,
    /// And templates.
    Templates,
    /// And sessions.
    Sessions,
    /// And scoring.
    Everything,
    /// Everything, scored by table alone: `backend = "table"`.
    EverythingByTable,
    /// Everything, on two threads.
    TwoThreads,
    /// Drain3 from PyPI.
    Drain3,
    /// Fluent Bit, if it is installed.
    FluentBit,
}

impl Part {
    /// As the bench binary and the JSON name it.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn title(self) -> &'static str {
        match self {
            Self::Read => "read only",
            Self::Newlines => "newline scan",
            Self::BlockIds => "newline and block id",
            Self::HeadsKeys => "heads and keys",
            Self::Templates => "+ templates",
            Self::Sessions => "+ sessions",
            Self::Everything => "+ scoring = everything",
            Self::EverythingByTable => "everything, by table",
            Self::TwoThreads => "everything, two threads",
            Self::Drain3 => "Drain3",
            Self::FluentBit => "Fluent Bit",
        }
    }
}

/// A line of the bench binary.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Pass { log: String, stage: String, cpu_seconds: f64, wall_seconds: f64, bytes: f64, lines: f64 },
    Log { log: String, path: PathBuf, bytes: f64, lines: f64 },
}

/// A log and the passes over it.
struct Log {
    name: String,
    path: PathBuf,
    bytes: f64,
    lines: f64,
    /// CPU and wall-clock seconds of each pass, by stage.
    passes: BTreeMap<String, Vec<(f64, f64)>>,
}

/// Seconds that one stage took.
#[derive(Clone, Copy)]
struct Seconds {
    best: f64,
    median: f64,
    wall: f64,
}

pub(crate) fn run(arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let wanted = |part: &Part| arguments.only.is_empty() || arguments.only.contains(part);
    let parts: Vec<Part> = Part::value_variants().iter().copied().filter(wanted).collect();
    for log in measure(arguments, &parts)? {
        println!(
            "\n{}: {} bytes, {} lines; CPU time of the best of {} passes",
            log.name, log.bytes, log.lines, arguments.passes
        );
        println!("{}", stages(&log, &parts, figures));
        for (name, told) in ratios(&log, &parts, figures)? {
            println!("  {name}: {told}");
        }
    }
    Ok(())
}

/// Builds and runs the bench binary, and collects what it says.
fn measure(arguments: &Arguments, parts: &[Part]) -> Result<Vec<Log>> {
    let stages: Vec<String> = parts.iter().map(|part| part.name()).collect();
    let mut command = cargo::cargo();
    command.args(["bench", "--quiet", "--package", "blocksift-tests", "--bench", "detector", "--"]);
    command.arg(cargo::target_folder().join("bench"));
    command.args([arguments.megabytes.to_string(), arguments.passes.to_string()]);
    command.arg(cargo::root().join("models/hdfs-v1.onnx")).arg(stages.join(","));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let mut logs: Vec<Log> = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line?;
        let said = serde_json::from_str(&line).with_context(|| format!("the bench said `{line}`"))?;
        if let Said::Pass { log, stage, cpu_seconds, .. } = &said {
            eprintln!("{log} {stage}: {cpu_seconds:.2} s");
        }
        collect(said, &mut logs)?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the bench failed ({status})");
    }
    Ok(logs)
}

fn collect(said: Said, logs: &mut Vec<Log>) -> Result<()> {
    match said {
        Said::Log { log, path, bytes, lines } => {
            logs.push(Log { name: log, path, bytes, lines, passes: BTreeMap::new() });
        }
        Said::Pass { log, stage, cpu_seconds, wall_seconds, bytes, lines } => {
            let known = logs.iter_mut().find(|known| known.name == log);
            let known = known.with_context(|| format!("a pass over the unknown log `{log}`"))?;
            // Reading alone counts no lines; no other stage may lose any.
            if bytes != known.bytes || (lines != known.lines && stage != Part::Read.name()) {
                bail!("stage `{stage}` of `{log}` took {bytes} bytes and {lines} lines");
            }
            known.passes.entry(stage).or_default().push((cpu_seconds, wall_seconds));
        }
    }
    Ok(())
}

impl Log {
    fn seconds(&self, part: Part) -> Option<Seconds> {
        let passes = self.passes.get(&part.name())?;
        let sorted = |of: fn(&(f64, f64)) -> f64| {
            let mut seconds: Vec<f64> = passes.iter().map(of).collect();
            seconds.sort_by(f64::total_cmp);
            seconds
        };
        let (cpu, wall) = (sorted(|pass| pass.0), sorted(|pass| pass.1));
        Some(Seconds { best: *cpu.first()?, median: *cpu.get(cpu.len() / 2)?, wall: *wall.first()? })
    }
}

fn stages(log: &Log, parts: &[Part], figures: &mut Figures) -> Table {
    let mut table = Table::new(&[
        "stage",
        "GB/s",
        "median",
        "by wall clock",
        "million lines/s",
        "ns a line",
        "of block id loop",
    ]);
    let yardstick = log.seconds(Part::BlockIds);
    for &part in parts {
        let Some(seconds) = log.seconds(part) else { continue };
        let gigabytes = |seconds: f64| format!("{:.2}", log.bytes / seconds / 1e9);
        let share = yardstick.map(|yardstick| yardstick.best / seconds.best);
        table.row([
            part.title().to_owned(),
            gigabytes(seconds.best),
            gigabytes(seconds.median),
            gigabytes(seconds.wall),
            format!("{:.2}", log.lines / seconds.best / 1e6),
            format!("{:.1}", seconds.best * 1e9 / log.lines),
            share.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0)),
        ]);
        let name = |figure: &str| format!("detector.{}.{}.{figure}", log.name, part.name());
        figures.set(name("bytes_per_second"), log.bytes / seconds.best);
        figures.set(name("median_bytes_per_second"), log.bytes / seconds.median);
        figures.set(name("wall_bytes_per_second"), log.bytes / seconds.wall);
        figures.set(name("lines_per_second"), log.lines / seconds.best);
        figures.set(name("nanoseconds_per_line"), seconds.best * 1e9 / log.lines);
        if let Some(share) = share {
            figures.set(name("share_of_block_ids"), share);
        }
    }
    table
}

/// The ratios that the goals are set in, and for each that is missing why.
fn ratios(log: &Log, parts: &[Part], figures: &mut Figures) -> Result<Vec<(&'static str, String)>> {
    let everything = log.seconds(Part::Everything).map(|seconds| log.lines / seconds.best);
    let mut told = Vec::new();
    if let Some((share, without_reading)) = shares(log) {
        let told_shares = format!(
            "{:.1} %, {:.1} % without the reading that both do",
            share * 100.0,
            without_reading * 100.0
        );
        figures.set(format!("detector.{}.everything_to_block_ids", log.name), share);
        figures
            .set(format!("detector.{}.everything_to_block_ids_without_reading", log.name), without_reading);
        told.push(("everything to block id loop", told_shares));
    }
    if let [Some(tract), Some(table)] =
        [Part::Everything, Part::EverythingByTable].map(|part| log.seconds(part).map(|seconds| seconds.best))
    {
        figures.set(format!("detector.{}.by_table_to_by_tract", log.name), tract / table);
        told.push((
            "everything by table to everything by tract",
            format!("{:.2} times as fast", tract / table),
        ));
    }
    let walls =
        [Part::Everything, Part::TwoThreads].map(|part| log.seconds(part).map(|seconds| seconds.wall));
    if let [Some(one), Some(two)] = walls {
        figures.set(format!("detector.{}.two_threads_to_one", log.name), one / two);
        told.push(("two threads to one, by wall clock", format!("{:.2} times", one / two)));
    }
    let mut ratio = |name: &str, lines_per_second: f64| {
        figures.set(format!("detector.{}.{name}.lines_per_second", log.name), lines_per_second);
        let Some(everything) = everything else { return format!("{lines_per_second:.0} lines/s") };
        let ratio = everything / lines_per_second;
        figures.set(format!("detector.{}.everything_to_{name}", log.name), ratio);
        format!("{ratio:.1} times its {lines_per_second:.0} lines a second of CPU time")
    };
    let sample = rivals::sample(&log.path)?;
    if parts.contains(&Part::Drain3) {
        told.push(match rivals::drain3(&sample) {
            Ok(lines_per_second) => ("everything to Drain3", ratio("drain3", lines_per_second)),
            Err(why) => ("Drain3 not measured", format!("{why:#}")),
        });
    }
    if parts.contains(&Part::FluentBit) {
        told.push(match rivals::fluent_bit(&sample) {
            Ok(Some(lines_per_second)) => ("everything to Fluent Bit", ratio("fluent_bit", lines_per_second)),
            Ok(None) => (
                "everything to Fluent Bit, which is not installed here",
                ratio("fluent_bit_elsewhere", FLUENT_BIT_ELSEWHERE) + ", measured on another machine",
            ),
            Err(why) => ("Fluent Bit not measured", format!("{why:#}")),
        });
    }
    Ok(told)
}

/// What the yardstick takes of the time that everything takes, with reading and without.
fn shares(log: &Log) -> Option<(f64, f64)> {
    let [reading, yardstick, everything] = [Part::Read, Part::BlockIds, Part::Everything]
        .map(|part| log.seconds(part).map(|seconds| seconds.best));
    let (reading, yardstick, everything) = (reading?, yardstick?, everything?);
    Some((yardstick / everything, (yardstick - reading) / (everything - reading)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Said {
        serde_json::from_str(line).unwrap()
    }

    const LOG: &str = r#"{"log":"hadoop3","path":"/a.log","bytes":4000,"lines":20}"#;

    #[test]
    fn best_and_median_of_the_passes_are_told() {
        let mut logs = Vec::new();
        collect(said(LOG), &mut logs).unwrap();
        for seconds in [3.0, 1.0, 2.0] {
            let pass = format!(
                r#"{{"log":"hadoop3","stage":"templates","pass":0,"cpu_seconds":{seconds},
                    "wall_seconds":4.0,"bytes":4000,"lines":20,"found":1}}"#
            );
            collect(said(&pass), &mut logs).unwrap();
        }
        let seconds = logs[0].seconds(Part::Templates).unwrap();
        assert_eq!((seconds.best, seconds.median, seconds.wall), (1.0, 2.0, 4.0));
        assert!(logs[0].seconds(Part::Everything).is_none());
    }

    #[test]
    fn a_stage_that_loses_lines_is_refused() {
        let mut logs = Vec::new();
        collect(said(LOG), &mut logs).unwrap();
        let pass = |stage: &str| {
            said(&format!(
                r#"{{"log":"hadoop3","stage":"{stage}","cpu_seconds":1.0,"wall_seconds":1.0,"bytes":4000,"lines":0}}"#
            ))
        };
        assert!(collect(pass("sessions"), &mut logs).is_err());
        assert!(collect(pass("read"), &mut logs).is_ok());
    }
}
