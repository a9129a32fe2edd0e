//! `blocksift-agent run`: files → detector → store → collector, wired top to bottom, and stopped from the top.
//!
//! SIGINT or SIGTERM stops the feed, which commits what it has read; its end stops the shipper, which goes on for
//! `ship.stop_timeout_s` at most; where standard input is the only source, its end stops both when all is delivered. A second signal ends at once; what was not shipped is shipped by the next run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

use anyhow::{Context, anyhow};
use clap::Args as ClapArgs;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::info;

use crate::config::Config;
use crate::feed::{Feed, LastLine, now_ms};
use crate::filter::Filters;
use crate::otlp::Sender;
use crate::redact::Redactor;
use crate::ship::{Shipper, Status};
use crate::source;
use crate::state::Store;

/// Watch log files and ship what is abnormal, until a signal stops it.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/blocksift/agent.toml")]
    config: PathBuf,
}

/// Runs the agent.
///
/// # Errors
/// When it cannot start, or the disk of its store fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::new().context("signals cannot be waited for")?
    };
    let config = Config::load(&args.config)?;
    if config.limits.idle_priority {
        crate::limits::yield_to_others();
    }
    let model = crate::model::load(config.model.as_deref())?;
    let (store, mut restored) = Store::open(&config.state_dir)?;
    let store = Arc::new(store);
    if restored.meta.since_ms == 0 {
        restored.meta.since_ms = now_ms();
    }
    info!(
        node = config.detector.node,
        model = model.id,
        files = config.logs.paths.join(" "),
        to = %config.ship.to,
        state_dir = %config.state_dir.display(),
        sessions = restored.sessions.len(),
        spooled = store.spooled().reports,
        rebuilt = restored.rebuilt,
        "agent started"
    );

    let (status, watched) = watch::channel(Status { totals: restored.meta.totals, ..Status::default() });
    let (stop, stopping) = mpsc::channel();
    let stop = Arc::new(stop);
    let sender = Sender { node: config.detector.node.clone(), model: model.id.clone() };
    let since_ms = restored.meta.since_ms;
    let filters = Filters::load(&config.filters)?;
    let redactor =
        config.redact.as_ref().map(|redact| Redactor::new(redact, &config.state_dir)).transpose()?;
    let feed = Feed::new(&config, redactor, model, Arc::clone(&store), restored, status, stopping);

    runtime.block_on(async {
        source::start(&config.receive, &store, last_line(&config, &stop)).await?;
        let shipper = Shipper::new(config.ship, store, watched, sender, filters, since_ms)?;
        let mut shipper = tokio::spawn(shipper.run());
        let mut feed = spawn(feed)?;
        let stopped = tokio::select! {
            () = signals.next() => {
                info!("stopping");
                drop(stop);
                tokio::select! {
                    stopped = &mut feed => stopped,
                    () = signals.next() => return Ok(ExitCode::SUCCESS),
                }
            }
            stopped = &mut feed => stopped,
            shipped = &mut shipper => {
                shipped?.context("reports cannot be shipped; nothing is lost")?;
                return Err(anyhow!("shipping ended before reading did"));
            }
        };
        stopped.map_err(|_| anyhow!("feed thread died"))?.context("agent cannot go on; nothing is lost")?;
        tokio::select! {
            shipped = shipper => shipped??,
            () = signals.next() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What the end of standard input means: the last line, unless there are log files.
fn last_line(config: &Config, stop: &Arc<mpsc::Sender<LastLine>>) -> impl FnOnce() + Send + use<> {
    let receive = &config.receive;
    let only_stdin = config.logs.paths.is_empty() && receive.forward.is_none() && receive.otlp.is_none();
    // Weak: who waits for the end of standard input must not keep the agent from stopping.
    let stop = Arc::downgrade(stop);
    move || {
        if let Some(stop) = stop.upgrade().filter(|_| only_stdin) {
            // Nobody listens any more if the agent is stopping.
            drop(stop.send(LastLine));
        }
    }
}

/// Runs the feed on its own thread; what it returns comes through the channel.
fn spawn(feed: Feed) -> anyhow::Result<oneshot::Receiver<Result<(), crate::state::StateError>>> {
    let (done, stopped) = oneshot::channel();
    let work = move || {
        // Nobody listens any more if the agent was told twice to stop.
        drop(done.send(feed.run()));
    };
    std::thread::Builder::new().name("feed".to_owned()).spawn(work).context("no thread for the feed")?;
    Ok(stopped)
}

/// SIGINT and SIGTERM, from the moment this is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns when the next one has come.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
