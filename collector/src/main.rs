//! `blocksift-collector`: receives the reports and summaries of all agents over OTLP/HTTP, stores them in one SQLite
//! file, and shows them on a web page. This file is the wiring: arguments, database, address, signals.

mod api;
mod ingest;
mod listen;
mod otlp;
mod page;
mod serve;
mod store;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::ingest::{Ingest, Limits};
use crate::serve::App;
use crate::store::Store;

/// Receives, stores and shows the reports of all blocksift agents.
///
/// Agents and OpenTelemetry Collectors send to /v1/logs and /v1/metrics (OTLP/HTTP, protobuf or JSON, gzip or zstd).
/// A browser shows the flagged sessions at the address that is printed. Needs no configuration file.
///
/// Exit code: 0 after SIGINT or SIGTERM, 1 if it cannot start. Environment: BLOCKSIFT_LOG, what to log to stderr
/// (error, warn, info, debug; default info).
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address and port. Port 0 takes any free one; the real one is printed.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = listen::DEFAULT)]
    listen: listen::Address,

    /// SQLite file; made if it is not there. `-wal` and `-shm` files appear beside it while the collector runs.
    #[arg(long, value_name = "FILE", default_value = "blocksift.sqlite")]
    database: PathBuf,

    /// Listen on an address that other machines can reach, without TLS and logins.
    #[arg(long)]
    allow_remote: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("BLOCKSIFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> anyhow::Result<()> {
    // Before anything else, so that a signal during the start is not lost.
    let stop = stop_signal().context("signals cannot be handled")?;
    let listener = listen::bind(args.listen, args.allow_remote).await?;
    let address = listener.local_addr().context("the address that was bound is not known")?;
    let store = Arc::new(Store::open(&args.database)?);
    info!(%address, database = %args.database.display(), version = env!("CARGO_PKG_VERSION"), "collector started");
    // Connections wait in the listener's backlog from here on: whoever reads this line can send.
    writeln!(std::io::stdout(), "listening on http://{address}").context("stdout cannot be written")?;
    let app = App { store, ingest: Arc::new(Ingest::new(Limits::default())), any_host: args.allow_remote };
    serve::serve(listener, app, stop).await;
    info!("stopped");
    Ok(())
}

/// Ready at the first SIGINT or SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
