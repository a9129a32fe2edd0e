//! `blocksift-collector`: receives the reports and summaries of all agents over OTLP/HTTP, or by way of Kafka, stores them in a
//! database, and shows them on a web page. This file is the wiring: arguments, configuration, database, address, signals.

mod access;
mod api;
mod config;
mod culprit;
mod incident;
mod ingest;
mod joint;
mod kafka;
mod listen;
mod manual;
mod metrics;
mod named;
mod notify;
mod open;
mod otlp;
mod page;
mod report;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod wanted;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use blocksift_kafka::{Topic, create_topics};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::access::{Access, random, users};
use crate::config::{Config, Overrides};
use crate::ingest::{Ingest, Limits};
use crate::joint::Models;
use crate::kafka::front::Front;
use crate::kafka::group::Member;
use crate::listen::Incoming;
use crate::serve::App;
use crate::store::Store;
use crate::tls::Tls;

/// Receives, stores and shows the reports of all blocksift agents.
///
/// Agents and OpenTelemetry Collectors send to /v1/logs and /v1/metrics (OTLP/HTTP, protobuf or JSON, gzip or zstd).
/// A browser shows incidents, nodes and templates at the address that is printed. Needs no configuration file on
/// loopback; for other machines see deploy/collector.toml.
///
/// Exit code: 0 after SIGINT or SIGTERM, 1 if it cannot start. Environment: BLOCKSIFT_LOG, what to log to stderr
/// (error, warn, info, debug; default info).
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(clap::Args)]
struct RunArguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address and port (default: 127.0.0.1:4318). Port 0 takes any free one; the real one is printed.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<listen::Address>,

    /// SQLite file (default: blocksift.sqlite); made if it is not there. `-wal` and `-shm` files appear beside it while
    /// the collector runs.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,

    /// Listen on an address that other machines can reach, without TLS, logins or tokens.
    #[arg(long)]
    allow_remote: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Says everything that is wrong with a configuration. Exit code: 0 good, 1 not.
    Validate(RunArguments),
    /// Copies the database as it is at this moment, while a collector runs or not.
    Backup {
        /// The copy; must not exist yet.
        copy: PathBuf,
        /// Database to copy.
        #[arg(long, value_name = "FILE", default_value = "blocksift.sqlite")]
        database: PathBuf,
    },
    /// Shows the reports of `blocksift-agent detect` on the same pages, on loopback, until Ctrl-C.
    Open {
        /// NDJSON, one report a line; `-` is standard input.
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// Address and port on loopback.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
        listen: listen::Address,
    },
    #[command(hide = true)]
    Manual(manual::Args),
    /// Reads a password from standard input and prints the `password_hash` of a [[user]].
    Password,
    /// Makes the topics of [kafka], for messages as large as reports may be.
    Topics {
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Partitions of each topic: so many collectors can store at once (default: as the brokers are configured).
        #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Copies of each message (default: as the brokers are configured).
        #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
        replicas: Option<i16>,
    },
    /// Prints a new token for agents, and the `token_hash` of its [[agent]].
    Token,
}

/// What goes wrong with Kafka is told in this program's words.
const LOG_DEFAULT: &str = "info,krafka=error";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("BLOCKSIFT_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    let done = match &arguments.command {
        None => run(&arguments.run),
        Some(Command::Validate(arguments)) => validate(arguments),
        Some(Command::Backup { copy, database }) => backup(database, copy),
        Some(Command::Open { reports, listen }) => open::run(reports, *listen),
        Some(Command::Manual(args)) => manual::run::<Arguments>(args),
        Some(Command::Password) => password(),
        Some(Command::Token) => token(),
        Some(Command::Topics { config, partitions, replicas }) => topics(config, *partitions, *replicas),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

impl RunArguments {
    fn config(&self) -> anyhow::Result<Config> {
        let overrides = Overrides {
            listen: self.listen,
            database: self.database.clone(),
            allow_remote: self.allow_remote,
        };
        Config::load(self.config.as_deref(), overrides)
    }
}

#[tokio::main]
async fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    // Before anything else, so that a signal during the start is not lost.
    let stop = stop_signal().context("signals cannot be handled")?;
    let config = arguments.config()?;
    listen::raise_open_files();
    let listener = listen::bind(config.listen).await?;
    let (policy, receivers) = config.notify.start()?;
    let policy = Arc::new(policy);
    let store = Arc::new(Store::open(config.database.clone(), config.retention, Arc::clone(&policy))?);
    let tls = config.tls.clone().map(Tls::watch).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    info!(database = %config.database, version = env!("CARGO_PKG_VERSION"), "collector started");
    announce(scheme, &listener)?;
    let _notifying = notify::deliver::start(&store, &policy, receivers, config.notify.page.as_deref());
    let ingest = Arc::new(Ingest::new(Limits::default()));
    let counts = config.kafka.as_ref().map(|_| Arc::default());
    let (front, member) = match (&config.kafka, &counts) {
        (Some(settings), Some(counts)) => (
            settings.front.then(|| Arc::new(Front::new(settings, Arc::clone(counts)))),
            settings.group.as_deref().map(|group| {
                Member::start(settings, group, Arc::clone(&store), Arc::clone(&ingest), Arc::clone(counts))
            }),
        ),
        _ => (None, None),
    };
    let app = App {
        store,
        policy,
        ingest,
        access: Arc::new(Access {
            agents: config.senders(),
            users: config.people()?,
            proxy: config.proxy.clone(),
        }),
        live: Arc::default(),
        models: Arc::new(Models::load(&config.models)?),
        front,
        kafka: counts,
        any_host: config.any_host(),
        read_only: false,
    };
    let incoming = Incoming::new(listener, tls).context("the address that was bound is not known")?;
    serve::serve(incoming, app, member, stop).await;
    info!("stopped");
    Ok(())
}

/// Connections wait in the listener's backlog from here on: whoever reads this line can send.
pub(crate) fn announce(scheme: &str, listener: &TcpListener) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the address that was bound is not known")?;
    writeln!(std::io::stdout(), "listening on {scheme}://{address}").context("stdout cannot be written")
}

fn validate(arguments: &RunArguments) -> anyhow::Result<()> {
    let config = arguments.config()?;
    let mut out = std::io::stdout();
    writeln!(out, "configuration is good")?;
    let agents = config.agents.len();
    writeln!(
        out,
        "  {} users, {agents} tokens, TLS {}",
        config.users.len(),
        if config.tls.is_some() { "on" } else { "off" }
    )?;
    if config.notify.len() > 0 {
        writeln!(out, "  {} receivers are told of incidents", config.notify.len())?;
    }
    if let Some(kafka) = &config.kafka {
        let part = match (kafka.front, &kafka.group) {
            (true, None) => "what agents send is written there",
            (false, _) => "what is there is stored",
            (true, Some(_)) => "what agents send is written there and stored from there",
        };
        writeln!(out, "  Kafka at {}: {part}", kafka.cluster.brokers.join(", "))?;
    }
    if config.senders().open() {
        writeln!(out, "  anybody who reaches the port may send: no [[agent]] and no client_ca")?;
    }
    if config.users.is_empty() && config.proxy.is_none() {
        writeln!(out, "  anybody who reaches the port may read and mark: no [[user]]")?;
    }
    Ok(())
}

#[tokio::main]
async fn topics(config: &Path, partitions: Option<i32>, replicas: Option<i16>) -> anyhow::Result<()> {
    let config = Config::load(Some(config), Overrides::default())?;
    let settings = config.kafka.context("there is no [kafka] in the configuration")?;
    let topic = |name: &String| Topic {
        name: name.clone(),
        partitions,
        replicas,
        message_bytes_max: kafka::MESSAGE_BYTES_MAX,
    };
    let wanted = [topic(&settings.topics.logs), topic(&settings.topics.metrics)];
    for (topic, made) in wanted.iter().zip(create_topics(&settings.cluster, &wanted).await?) {
        let said = if made { "made" } else { "is there already, and is left as it is" };
        writeln!(std::io::stdout(), "{}: {said}", topic.name).context("stdout cannot be written")?;
    }
    Ok(())
}

fn backup(database: &Path, copy: &Path) -> anyhow::Result<()> {
    if store::is_server(database) {
        bail!(
            "this copies a database in a file; for PostgreSQL, `pg_dump` makes a copy while collectors run"
        );
    }
    store::backup(database, copy).map_err(anyhow::Error::new)
}

fn password() -> anyhow::Result<()> {
    let mut line = String::new();
    if std::io::stdin().is_terminal() {
        write!(std::io::stderr(), "password (shown as you type): ")?;
    }
    std::io::stdin().read_line(&mut line).context("no password can be read from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.len() < 8 || password.len() > users::SECRET_BYTES_MAX {
        bail!("the password must have 8 to {} bytes", users::SECRET_BYTES_MAX);
    }
    writeln!(std::io::stdout(), "{}", users::hash(password)?).context("stdout cannot be written")
}

fn token() -> anyhow::Result<()> {
    let token = random::token().map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let hash = random::hash(token.as_bytes()).to_hex();
    writeln!(std::io::stdout(), "token (for the agent's `token_file`): {token}\ntoken_hash = \"{hash}\"")
        .context("stdout cannot be written")
}

/// Ready at the first SIGINT or SIGTERM.
pub(crate) fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
