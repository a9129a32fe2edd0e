//! `cargo xtask bench plugin`: what the plugin takes for a record in each mode, natively, in wasmtime and in WAMR, which is
//! Fluent Bit's engine; and what loading it and the first record take, with the memory of the module.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use blocksift_tests::plugin_host::{Measured, Record};
use blocksift_tests::simulate::{Dialect, Plan, batch_with};
use blocksift_tests::wasm::Host;
use serde::Deserialize;
use serde_json::json;

use super::figures::Figures;
use super::table::Table;
use crate::cargo;
use crate::wasm;

/// Records that one second brings.
const RECORDS_A_SECOND: u32 = 1_000;
/// When they begin, in seconds since 1970.
const START_S: u32 = 1_700_000_000;
/// Records of one file before those of the other: about what Fluent Bit's tail reads at a time, 32 KiB.
const RUN: usize = 200;
/// Lines that the simulator writes about a block, at least.
const LINES_A_BLOCK: u64 = 8;
const MODES: [&str; 3] = ["flagged", "annotate", "shadow"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Records, of Hadoop of 2008 and of Hadoop 3 in runs as tail makes them.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    records: u32,
    /// How often each engine takes them in each mode, in turn with the others; the best pass is told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    passes: u32,
}

/// What calls the plugin.
struct Engine {
    name: &'static str,
    program: PathBuf,
    /// Arguments before those that name module and function.
    first: Vec<&'static str>,
    /// Arguments behind them.
    last: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let module = match wasm::module(Host::FluentBit, false)? {
        Ok(module) => module,
        Err(why) => bail!("the module cannot be built: {why}"),
    };
    let engines = engines()?;
    let input = cargo::target_folder().join("bench/plugin-records");
    write_records(&input, arguments.records)?;
    let module_bytes = fs::metadata(&module)?.len();
    figures.set("plugin.module_bytes", module_bytes);
    println!(
        "\n{module_bytes} bytes of module, {} records; CPU time of the best of {} passes",
        arguments.records, arguments.passes
    );

    let mut best = vec![[None; MODES.len()]; engines.len()];
    for _ in 0..arguments.passes {
        for (engine, best) in engines.iter().zip(&mut best) {
            for (mode, best) in MODES.iter().zip(best) {
                let measured = measure(engine, &module, mode, &input)?;
                *best = Some(best.map_or(measured, |best| better(best, measured)));
            }
        }
    }
    let best: Vec<(&str, Vec<Measured>)> = engines
        .iter()
        .zip(best)
        .map(|(engine, best)| (engine.name, best.into_iter().flatten().collect()))
        .collect();
    println!("\n{}\n{}", per_record(&best, figures), once(&best, figures));
    Ok(())
}

/// The programs, built. WAMR is left out, and that is said, where it cannot be built.
fn engines() -> Result<Vec<Engine>> {
    let program = program()?;
    let model = cargo::root().join("models/hdfs-v1.onnx");
    let own = |name| Engine { name, program: program.clone(), first: vec![name], last: vec![model.clone()] };
    let mut engines = vec![own("native"), own("wasmtime")];
    match wasm::wamr_host()? {
        Ok(program) => engines.push(Engine { name: "wamr", program, first: Vec::new(), last: Vec::new() }),
        Err(why) => println!("WAMR not measured: {why}"),
    }
    Ok(engines)
}

/// The bench binary of the `tests` crate.
fn program() -> Result<PathBuf> {
    let build =
        ["bench", "--package", "blocksift-tests", "--bench", "plugin", "--no-run", "--message-format=json"];
    let said = cargo::output(cargo::cargo().args(build))?;
    let artifacts = said.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let path = artifacts.filter(|built| built.target.name == "plugin").find_map(|built| built.executable);
    path.context("cargo built no bench of that name")
}

/// What cargo says of something that it built.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Writes the records as the programs read them.
fn write_records(path: &Path, count: u32) -> Result<()> {
    let blocks = u64::from(count) / LINES_A_BLOCK;
    let logs = Dialect::ALL.map(|dialect| batch_with(Plan::archive_of(dialect, 31, blocks), |_| true).log);
    let mut files: Vec<_> = logs.iter().map(|log| log.split(|&byte| byte == b'\n')).collect();
    let mut bytes = Vec::new();
    for number in 0..count {
        let turn = usize::try_from(number)? / RUN % files.len();
        let line = files.get_mut(turn).and_then(Iterator::next).context("the logs are too short")?;
        let record = json!({ "log": String::from_utf8_lossy(line), "filename": format!("/var/log/{turn}") });
        let time = (START_S + number / RECORDS_A_SECOND, 0);
        Record { time, tag: b"hdfs.log".to_vec(), bytes: record.to_string().into_bytes() }
            .append_to(&mut bytes);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes).with_context(|| format!("`{}` cannot be written", path.display()))
}

fn measure(engine: &Engine, module: &Path, mode: &str, input: &Path) -> Result<Measured> {
    let mut command = cargo::program(&engine.program);
    command.args(&engine.first).arg(module).arg(format!("blocksift_{mode}")).args(&engine.last);
    let output = command.stdin(File::open(input)?).stderr(Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{} failed ({}): {}", engine.name, output.status, said.trim());
    }
    // WAMR's program has its answers on standard output.
    let told = if engine.last.is_empty() { said } else { String::from_utf8_lossy(&output.stdout) };
    let told = told.lines().last().unwrap_or_default();
    serde_json::from_str(told).with_context(|| format!("{} said `{told}`", engine.name))
}

/// The least of each figure, for the rest is what else the machine did; memory is the same in each.
fn better(one: Measured, other: Measured) -> Measured {
    Measured {
        load_us: one.load_us.min(other.load_us),
        first_call_us: one.first_call_us.min(other.first_call_us),
        mean_ns: one.mean_ns.min(other.mean_ns),
        slowest_us: one.slowest_us.min(other.slowest_us),
        memory_bytes: one.memory_bytes.max(other.memory_bytes),
    }
}

fn per_record(best: &[(&str, Vec<Measured>)], figures: &mut Figures) -> Table {
    let mut table = Table::new(&[
        "µs a record",
        "flagged",
        "annotate",
        "shadow",
        "flagged, of native",
        "slowest call, ms",
    ]);
    let native = best.first().and_then(|(_, modes)| modes.first()).map(|measured| measured.mean_ns);
    for (engine, modes) in best {
        let mut cells = vec![(*engine).to_owned()];
        for (mode, measured) in MODES.iter().zip(modes) {
            cells.push(format!("{:.1}", thousandths(measured.mean_ns)));
            figures.set(
                format!("plugin.{engine}.{mode}.microseconds_per_record"),
                thousandths(measured.mean_ns),
            );
        }
        if let (Some(native), Some(flagged)) = (native, modes.first()) {
            let ratio = flagged.mean_ns as f64 / native as f64;
            cells.push(format!("{ratio:.1} times"));
            figures.set(format!("plugin.{engine}.flagged.to_native"), ratio);
        }
        let slowest_us = modes.iter().map(|measured| measured.slowest_us).max().unwrap_or_default();
        cells.push(format!("{:.1}", thousandths(slowest_us)));
        figures.set(format!("plugin.{engine}.slowest_call_ms"), thousandths(slowest_us));
        table.row(cells);
    }
    table
}

/// What is taken once, whatever the mode.
fn once(best: &[(&str, Vec<Measured>)], figures: &mut Figures) -> Table {
    let mut table = Table::new(&["", "load, ms", "first call, ms", "memory of the module, MiB"]);
    for (engine, modes) in best {
        let Some(measured) = modes.iter().copied().reduce(better) else { continue };
        table.row([
            (*engine).to_owned(),
            format!("{:.1}", thousandths(measured.load_us)),
            format!("{:.1}", thousandths(measured.first_call_us)),
            format!("{:.1}", measured.memory_bytes as f64 / f64::from(1 << 20)),
        ]);
        figures.set(format!("plugin.{engine}.load_ms"), thousandths(measured.load_us));
        figures.set(format!("plugin.{engine}.first_call_ms"), thousandths(measured.first_call_us));
        figures.set(format!("plugin.{engine}.memory_bytes"), measured.memory_bytes);
    }
    table
}

fn thousandths(count: u64) -> f64 {
    count as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(load_us: u64, mean_ns: u64) -> Measured {
        Measured { load_us, first_call_us: 9_000, mean_ns, slowest_us: 500, memory_bytes: 1 << 20 }
    }

    #[test]
    fn the_best_pass_is_told_beside_the_native_one() {
        assert_eq!(better(measured(3, 50), measured(4, 40)), measured(3, 40));
        let best = [("native", vec![measured(0, 2_000); 3]), ("wamr", vec![measured(30_000, 30_000); 3])];
        let mut figures = Figures::of_this_machine();
        let table = per_record(&best, &mut figures).to_string();
        assert!(table.contains("15.0 times"), "{table}");
        let table = once(&best, &mut figures).to_string();
        assert!(
            table.lines().nth(2).is_some_and(|row| row.contains("30.0") && row.contains("1.0")),
            "{table}"
        );
    }

    #[test]
    fn as_many_records_are_written_as_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        write_records(&path, 1_001).unwrap();
        let bytes = fs::read(path).unwrap();
        let mut input = bytes.as_slice();
        let records: Vec<Record> = std::iter::from_fn(|| Record::read(&mut input).unwrap()).collect();
        assert_eq!(records.len(), 1_001);
        assert!(records.is_sorted_by_key(|record| record.time));
    }
}
