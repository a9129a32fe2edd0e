//! `cargo xtask simulate`: a merged log of the simulated cluster in a file, and its labels.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use blocksift_tests::simulate::batch::{batch_with, write_at_least};
use blocksift_tests::simulate::{Dialect, Plan};
use clap::ValueEnum;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Log file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Whose log it is like.
    #[arg(long, value_enum, default_value_t)]
    dialect: DialectName,
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

/// A [`Dialect`] on the command line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DialectName {
    /// Hadoop of 2008, as in the data set HDFS_v1.
    #[default]
    #[value(name = "hdfs_v1")]
    HdfsV1,
    /// Hadoop 3 with its default log4j layout.
    #[value(name = "hadoop3")]
    Hadoop3,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::HdfsV1 => Self::HdfsV1,
            DialectName::Hadoop3 => Self::Hadoop3,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let path = arguments.output.display();
    let file = File::create(&arguments.output).with_context(|| format!("cannot write `{path}`"))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let dialect = Dialect::from(arguments.dialect);
    if let Some(megabytes) = arguments.megabytes {
        let written = write_at_least(megabytes * 1_000_000, dialect, arguments.seed, &mut out)?;
        out.flush().with_context(|| format!("cannot write `{path}`"))?;
        println!("{path}: {} lines, {} bytes", written.lines, written.bytes);
        return Ok(());
    }
    let plan = Plan::archive_of(dialect, arguments.seed, arguments.blocks);
    let batch = batch_with(plan, |_| true);
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
