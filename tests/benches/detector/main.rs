//! What `cargo xtask bench detector` runs: the stages of the detector over two large simulated logs, one thread, in turn,
//! several times. Prints one JSON object a line: each log, then each pass of each stage.
//!
//! Arguments: folder for the logs, their megabytes, passes, model file, stages separated by commas.
#![allow(clippy::print_stdout, reason = "its caller reads standard output")]

mod log;
mod stages;
mod threads;

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use blocksift_tests::simulate::Dialect;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use stages::Stage;

fn main() -> io::Result<()> {
    // cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [folder, megabytes, passes, model, wanted] = arguments.as_slice() else {
        return Err(io::Error::other("arguments: FOLDER MEGABYTES PASSES MODEL STAGE,..."));
    };
    let bytes = megabytes.parse::<u64>().map_err(io::Error::other)?.saturating_mul(1_000_000);
    let passes: u32 = passes.parse().map_err(io::Error::other)?;
    let model = fs::read(model)?;
    for dialect in Dialect::ALL {
        let path = log::made(Path::new(folder), dialect, bytes)?;
        let mut pieces = log::Pieces::open(&path)?;
        let counted = stages::count(&mut pieces)?;
        println!(
            "{}",
            json!({ "log": dialect.name(), "path": path, "bytes": counted.bytes, "lines": counted.lines })
        );
        for pass in 0..passes {
            for stage in
                Stage::ALL.into_iter().filter(|stage| wanted.split(',').any(|name| name == stage.name()))
            {
                measure(dialect, &path, stage, pass, &model)?;
            }
        }
    }
    Ok(())
}

/// One pass of one stage. What it needs is made before, and what it leaves is dropped after the time is taken.
fn measure(dialect: Dialect, path: &Path, stage: Stage, pass: u32, model: &[u8]) -> io::Result<()> {
    let mut pieces = log::Pieces::open(path)?;
    let mut work = stages::work(stage, model)?;
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let counted = work.run(&mut pieces)?;
    let (cpu_seconds, wall_seconds) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    println!(
        "{}",
        json!({
            "log": dialect.name(),
            "stage": stage.name(),
            "pass": pass,
            "cpu_seconds": cpu_seconds,
            "wall_seconds": wall_seconds,
            "bytes": counted.bytes,
            "lines": counted.lines,
            "found": counted.found,
        })
    );
    Ok(())
}

/// CPU time of the process so far, in user and kernel.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64())
}
