//! `blocksift-agent run`: files → detector → store → collector, wired top to bottom, and stopped from the top.
//!
//! SIGINT or SIGTERM stops the feed, which commits what it has read; its end stops the shipper, which goes on for
//! `ship.stop_timeout_s` at most. A second signal ends at once; what was not shipped is shipped by the next run.
//!
//! SIGHUP, or other content of the configuration or the model, starts a new feed and shipper on the new configuration,
//! which go on with the store and the open files. That is what a restart does, so nothing is lost or doubled; but here
//! whatever is wrong is found before anything ends, and files that were deleted meanwhile are still read.

mod line;
mod opening;
mod signals;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args as ClapArgs;
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use crate::config::{Config, Receive};
use crate::feed::now_ms;
use crate::limits;
use crate::notify;
use crate::reload::{Refused, Setup, Watch};
use crate::source;
use crate::state::Store;
use crate::status::{About, Board, FeedStatus, Reloads, Server};
use line::{Draft, From, Line};
use opening::open_store;
use signals::{Signal, Signals};

/// A feed that made no round for this long is stuck, and for three times its interval.
const STUCK_AFTER: Duration = Duration::from_secs(60);

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
/// When it cannot start, or its store fails in a way that does not pass.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new().context("signals cannot be waited for")?;
        match Agent::start(args.config.clone(), &mut signals).await? {
            Some(agent) => agent.run(&mut signals).await,
            None => Ok(ExitCode::SUCCESS),
        }
    });
    // Whoever asks a second time to stop does not wait for a disk.
    runtime.shutdown_background();
    ended
}

/// An agent that runs.
struct Agent {
    config: PathBuf,
    store: Arc<Store>,
    receive: Receive,
    /// Tells the end of standard input where that is the only source; `None` once that is known.
    last_line: Option<oneshot::Receiver<()>>,
    no_more_lines: bool,
    since_ms: i64,
    started_ms: i64,
    line: Line,
    board: watch::Sender<Board>,
    server: Server,
    watch: Watch,
}

impl Agent {
    /// `None` if it was told to stop before it could start.
    async fn start(config: PathBuf, signals: &mut Signals) -> anyhow::Result<Option<Self>> {
        let mut watch = Watch::new(&config);
        let setup = Setup::load(&config)?;
        watch.look_every(setup.config.reload_interval);
        if setup.config.limits.idle_priority {
            limits::yield_to_others();
        }
        let Some((store, restored)) = open_store(&setup.config.state_dir, signals).await? else {
            return Ok(None);
        };
        let store = Arc::new(store);
        let (ended, last_line) = oneshot::channel();
        source::start(&setup.config.receive, &store, last_line_of(&setup.config, ended)).await?;
        let receive = setup.config.receive.clone();
        info!(
            node = setup.config.detector.node,
            model = setup.model.id,
            files = setup.config.logs.paths.join(" "),
            to = %setup.config.ship.to,
            state_dir = %setup.config.state_dir.display(),
            sessions = restored.sessions.iter().map(|group| group.sessions.len()).sum::<usize>(),
            spooled = store.spooled().reports,
            rebuilt = restored.rebuilt,
            "agent started"
        );
        let started_ms = now_ms();
        let since_ms = if restored.meta.since_ms == 0 { started_ms } else { restored.meta.since_ms };
        let listen = setup.config.status.clone();
        let before = FeedStatus { totals: restored.meta.totals, ..FeedStatus::default() };
        let draft = Draft::new(setup, Arc::clone(&store), before, since_ms)?;
        let (feed, ship) = draft.status();
        let board = watch::Sender::new(Board {
            about: Arc::new(About::new(draft.setup(), &config, started_ms)),
            feed,
            ship,
            store: Arc::clone(&store),
            started: Instant::now(),
            stuck_after: stuck_after(draft.setup()),
            reloads: Reloads::default(),
        });
        tokio::spawn(notify::show_life(board.subscribe()));
        tokio::spawn(notify::ready_after_round(board.borrow().feed.clone()));
        let server = Server::start(listen, board.subscribe());
        let line = draft.start(From::Store(Box::new(restored)))?;
        Ok(Some(Self {
            config,
            store,
            receive,
            last_line: Some(last_line),
            no_more_lines: false,
            since_ms,
            started_ms,
            line,
            board,
            server,
            watch,
        }))
    }

    async fn run(mut self, signals: &mut Signals) -> anyhow::Result<ExitCode> {
        loop {
            let why = tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => return self.stop(signals).await,
                    Signal::Reload => "SIGHUP",
                },
                () = self.watch.changed() => "its files changed",
                ended = self.line.ended() => {
                    ended?;
                    return Ok(ExitCode::SUCCESS);
                }
                told = told(self.last_line.as_mut()) => {
                    self.last_line = None;
                    self.no_more_lines = told;
                    if told {
                        self.line.last_line();
                    }
                    continue;
                }
            };
            let mut asked_to_stop = false;
            {
                let mut reload = pin!(self.reload(why));
                loop {
                    tokio::select! {
                        reloaded = &mut reload => break reloaded?,
                        () = signals.stop() => match asked_to_stop {
                            true => return Ok(ExitCode::SUCCESS),
                            false => asked_to_stop = true,
                        }
                    }
                }
            }
            if asked_to_stop {
                return self.stop(signals).await;
            }
        }
    }

    async fn stop(self, signals: &mut Signals) -> anyhow::Result<ExitCode> {
        info!("stopping");
        notify::stopping();
        tokio::select! {
            stopped = self.line.stop() => stopped?,
            () = signals.stop() => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Goes on with the configuration and model as they are now, or with the old ones if those cannot be used.
    ///
    /// # Errors
    /// When the agent cannot go on.
    async fn reload(&mut self, why: &'static str) -> anyhow::Result<()> {
        info!(why, "reloading");
        notify::reloading();
        match self.draft().await {
            Ok(draft) => self.change(draft).await?,
            Err(refused) => {
                error!("configuration refused, the old one goes on:\n{:#}", anyhow::Error::new(refused));
                notify::ready();
            }
        }
        Ok(())
    }

    /// What the agent would go on with.
    async fn draft(&mut self) -> Result<Draft, Refused> {
        let about = Arc::clone(&self.board.borrow().about);
        let path = self.config.clone();
        let load = move || {
            let watch = Watch::new(&path);
            (watch, Setup::load_for(&path, &about.node, &about.state_dir))
        };
        let (watch, setup) = match tokio::task::spawn_blocking(load).await {
            Ok(loaded) => loaded,
            // Only a panic gets here: nothing cancels it.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        self.watch.watch(watch);
        let setup = setup.and_then(|setup| match self.store.is_failing() {
            true => Err(Refused::Store),
            false if setup.config.receive != self.receive => Err(Refused::Receive),
            false => Ok(setup),
        });
        let before = self.board.borrow().feed.borrow().clone();
        let draft = setup.and_then(|setup| Draft::new(setup, Arc::clone(&self.store), before, self.since_ms));
        let failure = draft.as_ref().err().map(ToString::to_string);
        self.board.send_modify(|board| board.reloads.count(failure));
        draft
    }

    async fn change(&mut self, draft: Draft) -> anyhow::Result<()> {
        let config = &draft.setup().config;
        self.watch.look_every(config.reload_interval);
        self.server.move_to(config.status.clone(), self.board.subscribe());
        let about = Arc::new(About::new(draft.setup(), &self.config, self.started_ms));
        let stuck_after = stuck_after(draft.setup());
        info!(
            node = about.node,
            model = about.model,
            files = config.logs.paths.join(" "),
            to = about.endpoint,
            "agent goes on with a new configuration"
        );
        let (feed, ship) = draft.status();
        let tail = self.line.pause().await?;
        self.line.go_on(draft, tail)?;
        if self.no_more_lines {
            self.line.last_line();
        }
        tokio::spawn(notify::ready_after_round(feed.clone()));
        self.board.send_modify(|board| {
            *board = Board { about, feed, ship, stuck_after, started: Instant::now(), ..board.clone() };
        });
        Ok(())
    }
}

/// Says what the end of standard input means: the last line, unless there are other sources.
fn last_line_of(config: &Config, ended: oneshot::Sender<()>) -> impl FnOnce() + Send + use<> {
    let receive = &config.receive;
    let only_stdin = config.logs.paths.is_empty() && receive.forward.is_none() && receive.otlp.is_none();
    move || {
        if only_stdin {
            // Nobody listens any more if the agent is stopping.
            ended.send(()).ok();
        }
    }
}

/// Returns whether it was told, when that is known.
async fn told(last_line: Option<&mut oneshot::Receiver<()>>) -> bool {
    match last_line {
        Some(last_line) => last_line.await.is_ok(),
        None => std::future::pending().await,
    }
}

fn stuck_after(setup: &Setup) -> Duration {
    STUCK_AFTER.max(3 * setup.config.logs.poll_interval)
}
