//! `cargo xtask simulate`: a merged log of the simulated cluster in a file, and its labels.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use blocksift_tests::simulate::batch::{batch, write_at_least};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Log file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Blocks to simulate.
    #[arg(long, default_value_t = 10_000, conflicts_with = "megabytes")]
    blocks: u64,
    /// Write this many megabytes instead, without labels.
    #[arg(long, value_name = "MB", conflicts_with = "labels")]
    megabytes: Option<u64>,
    /// Sessions with labels, as `model-export evaluate --sessions` reads them.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Equal seeds write equal logs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let path = arguments.output.display();
    let file = File::create(&arguments.output).with_context(|| format!("cannot write `{path}`"))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    if let Some(megabytes) = arguments.megabytes {
        let written = write_at_least(megabytes * 1_000_000, arguments.seed, &mut out)?;
        out.flush().with_context(|| format!("cannot write `{path}`"))?;
        println!("{path}: {} lines, {} bytes", written.lines, written.bytes);
        return Ok(());
    }
    let batch = batch(arguments.seed, arguments.blocks);
    out.write_all(&batch.log).and_then(|()| out.flush()).with_context(|| format!("cannot write `{path}`"))?;
    let faults = batch.labels.iter().filter(|label| label.fault.is_some()).count();
    println!(
        "{path}: {} lines, {} blocks, {faults} of them with a fault",
        batch.written.lines,
        batch.labels.len()
    );
    if let Some(labels) = &arguments.labels {
        fs::write(labels, batch.sessions_csv())
            .with_context(|| format!("cannot write `{}`", labels.display()))?;
    }
    Ok(())
}
