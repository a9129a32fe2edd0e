//! The agent's configuration: a TOML file in, a [`Config`] that cannot be wrong out, or every problem it has.
//!
//! In two steps: [`raw`] holds the keys as written, with their defaults in words; `check` below turns them into
//! types. What needs the machine (does the model load, can the state directory be made) is asked by
//! [`crate::validate`], so that a configuration can be read without touching anything.

mod filter;
mod limits;
mod parse;
mod problem;
mod raw;
mod receive;
mod redact;
mod ship;
mod signers;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod wanted;

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use blocksift_detector::Settings;
use blocksift_detector::head::{Layout, LayoutError};
use glob::Pattern;
use jiff::tz::TimeZone;
use minisign_verify::PublicKey;
use toml::Spanned;

use crate::model::Backend;

pub(crate) use filter::Filter;
pub(crate) use limits::Limits;
pub(crate) use parse::parse;
pub(crate) use problem::{Problem, Problems};
pub(crate) use raw::Backfill;
use raw::{Key, RawConfig, RawLogs, RawSessions};
pub(crate) use receive::Receive;
pub(crate) use redact::{Redact, RedactKey};
pub(crate) use ship::{Compression, Otlp, Ship, Tls, To, Token};
pub(crate) use status::Listen;
pub(crate) use wanted::Wanted;

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Directory of the store.
    pub(crate) state_dir: PathBuf,
    /// Longest time that read lines stay uncommitted.
    pub(crate) commit_interval: Duration,
    /// Whether reports are committed as soon as what there is to read is read.
    pub(crate) commit_on_flag: bool,
    /// Path or name of the model; `None` is the embedded one that fits the logs.
    pub(crate) model: Option<PathBuf>,
    /// What scores by it.
    pub(crate) backend: Backend,
    /// Keys, one of which has to have signed a model file; none takes any.
    pub(crate) signers: Vec<PublicKey>,
    /// Time between two looks at the configuration and the model; zero takes changes at SIGHUP alone.
    pub(crate) reload_interval: Duration,
    /// Which files are read, and how.
    pub(crate) logs: Logs,
    /// What the detector is told: node, zone, times and limits.
    pub(crate) detector: Settings,
    /// Lines that do not come from log files.
    pub(crate) receive: Receive,
    /// Where reports go.
    pub(crate) ship: Ship,
    /// Where the agent says how it is doing; `None` says nothing.
    pub(crate) status: Option<Listen>,
    /// What the agent tells a collector that asks.
    pub(crate) wanted: Wanted,
    /// What the agent may take of its node.
    pub(crate) limits: Limits,
    /// What is hashed before it is stored for shipping; `None` is nothing.
    pub(crate) redact: Option<Redact>,
    /// WASM filters, in the order in which a report passes them.
    pub(crate) filters: Vec<Filter>,
}

/// `[logs]`
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    /// Globs, each of which compiles; at least one, unless lines are received.
    pub(crate) paths: Vec<String>,
    /// Directory of received lines, whose files are followed too.
    pub(crate) received: Option<PathBuf>,
    /// Globs of what is left out.
    pub(crate) exclude: Vec<Pattern>,
    /// Which of the files found on the very first run are read from their start.
    pub(crate) backfill: Backfill,
    /// Time between two looks at the files.
    pub(crate) poll_interval: Duration,
    /// Files followed at a time.
    pub(crate) files_max: usize,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("configuration `{path}` cannot be read; check the path and its permissions")]
    Unreadable {
        /// Path as given.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], or [`ConfigError::Wrong`] with every problem in it.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let (checked, _, text) = Self::load_with_places(path)?;
        checked.map_err(|problems| Problems::new(path, &text, problems).into())
    }

    /// The defaults, with reports going to `endpoint`; no log files are named.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`] if it is no address of a receiver.
    pub(crate) fn for_endpoint(endpoint: &str) -> Result<Self, ConfigError> {
        let endpoint = toml::Value::from(endpoint);
        let text = format!("[logs]\npaths = [\"/dev/null\"]\n[ship]\nendpoint = {endpoint}\n");
        check_text(&text).0.map_err(|problems| Problems::new(Path::new("--endpoint"), &text, problems).into())
    }

    /// As [`Self::load`], with where the values are that [`crate::validate`] has more to say about, and the text.
    pub(crate) fn load_with_places(path: &Path) -> Result<(Checked, Places, String), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let (checked, places) = check_text(&text);
        Ok((checked, places, text))
    }
}

/// A configuration or what is wrong with it.
pub(crate) type Checked = Result<Config, Vec<Problem>>;

/// Values that only the machine can check, and where in the file they are; `None` where left out.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) state_dir: Option<(PathBuf, Range<usize>)>,
    pub(crate) model: Option<(PathBuf, Range<usize>)>,
    /// Globs of the log files.
    pub(crate) logs: Vec<(String, Range<usize>)>,
}

/// Default of `state_dir`.
pub(crate) const STATE_DIR: &str = "/var/lib/blocksift";

/// Checks the text of a configuration.
fn check_text(text: &str) -> (Checked, Places) {
    let (raw, problems) = parse::<RawConfig>(text);
    let unreadable = !problems.is_empty();
    let place = |path: &Key<String>| path.as_ref().map(|path| (PathBuf::from(path.get_ref()), path.span()));
    let globs = raw.logs.paths.iter().flat_map(Spanned::get_ref);
    let places = Places {
        state_dir: place(&raw.state_dir),
        model: place(&raw.model),
        logs: globs.map(|glob| (glob.get_ref().clone(), glob.span())).collect(),
    };
    let mut check = Check { problems };
    let config = check.config(raw, unreadable);
    (if check.problems.is_empty() { Ok(config) } else { Err(check.problems) }, places)
}

/// Collects problems while raw values become checked ones.
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    /// `unreadable`: keys had to be taken out, so a missing one is no news.
    fn config(&mut self, mut raw: RawConfig, unreadable: bool) -> Config {
        let node = self.node(raw.node);
        let zone = self.zone(raw.zone);
        let layout = self.layout(raw.logs.layout.take());
        let state_dir =
            raw.state_dir.map_or_else(|| PathBuf::from(STATE_DIR), |dir| PathBuf::from(dir.into_inner()));
        let others = raw.receive.any();
        let receive = self.receive(raw.receive, &state_dir);
        Config {
            state_dir,
            commit_interval: self.millis("commit_interval_ms", raw.commit_interval_ms, 5_000, 10..=60_000),
            commit_on_flag: raw.commit_on_flag.is_none_or(Spanned::into_inner),
            model: raw.model.map(|path| path.into_inner().into()),
            backend: raw.backend.map(Spanned::into_inner).unwrap_or_default(),
            signers: self.signers(raw.model_signed_by),
            reload_interval: self.seconds("reload_interval_s", raw.reload_interval_s, 5, 0..=3_600),
            logs: self.logs(raw.logs, unreadable || others, &receive),
            receive,
            detector: Settings { layout, ..self.sessions(raw.sessions, node, zone) },
            ship: self.ship(raw.ship),
            status: self.status(&raw.status),
            wanted: self.wanted(raw.wanted),
            limits: self.limits(raw.limits),
            redact: self.redact(raw.redact),
            filters: self.filters(raw.filter),
        }
    }

    fn node(&mut self, node: Key<String>) -> String {
        match node {
            Some(name) if name.get_ref().trim().is_empty() => {
                self.problem(Some(name.span()), "`node` is empty", "leave it out to use the host name");
                String::new()
            }
            Some(name) => name.into_inner(),
            None => node_variable().or_else(host_name).unwrap_or_else(|| {
                self.problem(None, "this host has no name to use as `node`", "set node = \"...\"");
                String::new()
            }),
        }
    }

    fn zone(&mut self, zone: Key<String>) -> TimeZone {
        // A host without a zone setting runs in UTC.
        let Some(name) = zone else { return TimeZone::try_system().unwrap_or(TimeZone::UTC) };
        TimeZone::get(name.get_ref()).unwrap_or_else(|error| {
            let fix = "use an IANA name like \"Europe/Berlin\" or \"UTC\"; the host's tzdata must know it";
            self.problem(Some(name.span()), format!("unknown zone: {error}"), fix);
            TimeZone::UTC
        })
    }

    /// `None` finds it out per file.
    fn layout(&mut self, layout: Key<String>) -> Option<Layout> {
        let layout = layout.filter(|layout| layout.get_ref() != "auto")?;
        layout
            .get_ref()
            .parse()
            .map_err(|error: LayoutError| {
                let fix = "leave it out to have it found out per file; a pattern is the ConversionPattern of log4j.properties";
                self.problem(Some(layout.span()), error.to_string(), fix);
            })
            .ok()
    }

    /// `may_be_none`: log files are not the only source, or their names could not be read.
    fn logs(&mut self, raw: RawLogs, may_be_none: bool, receive: &Receive) -> Logs {
        if raw.paths.as_ref().is_none_or(|paths| paths.get_ref().is_empty())
            && !(may_be_none && raw.paths.is_none())
        {
            let fix = "under [logs] set paths = [\"/var/log/hadoop/*.log*\"]";
            self.problem(raw.paths.as_ref().map(Spanned::span), "no log files are named", fix);
        }
        let paths = raw.paths.map(Spanned::into_inner).unwrap_or_default();
        for path in &paths {
            self.pattern(path);
        }
        let exclude = match raw.exclude {
            Some(globs) => globs.get_ref().iter().filter_map(|glob| self.pattern(glob)).collect(),
            None => ["*.gz", "*.zip"].iter().filter_map(|glob| Pattern::new(glob).ok()).collect(),
        };
        Logs {
            paths: paths.into_iter().map(Spanned::into_inner).collect(),
            received: receive.any().then(|| receive.directory.clone()),
            exclude,
            backfill: raw.backfill.map_or(Backfill::All, Spanned::into_inner),
            poll_interval: self.millis("poll_interval_ms", raw.poll_interval_ms, 1_000, 10..=60_000),
            files_max: self.count("files_max", raw.files_max, 1_000, 1..=100_000),
        }
    }

    fn pattern(&mut self, glob: &Spanned<String>) -> Option<Pattern> {
        Pattern::new(glob.get_ref())
            .map_err(|error| {
                let what = format!("not a glob, at its character {}: {}", error.pos + 1, error.msg);
                self.problem(
                    Some(glob.span()),
                    what,
                    "`*`, `?`, `[a-z]` and `**` (alone between slashes) may be used",
                );
            })
            .ok()
    }

    fn sessions(&mut self, raw: RawSessions, node: String, zone: TimeZone) -> Settings {
        let forget_span = raw.forget_after_s.as_ref().map(Spanned::span);
        let idle_span = raw.idle_timeout_s.as_ref().map(Spanned::span);
        let idle_timeout = self.seconds("idle_timeout_s", raw.idle_timeout_s, 60, 1..=86_400);
        let forget_after = self.seconds("forget_after_s", raw.forget_after_s, 86_400, 1..=2_592_000);
        if forget_after < idle_timeout {
            let what = "`forget_after_s` is below `idle_timeout_s`: sessions would be forgotten before they are scored";
            let fix = format!(
                "set forget_after_s to {} or more; a day (86400) suits most clusters",
                idle_timeout.as_secs()
            );
            self.problem(forget_span.or(idle_span), what, fix);
        }
        Settings {
            node,
            zone,
            idle_timeout_ms: signed_millis(idle_timeout),
            forget_after_ms: signed_millis(forget_after),
            sessions_max: self.count("sessions_max", raw.sessions_max, 100_000, 1..=100_000_000),
            sessions_bytes_max: self.count(
                "sessions_bytes_max",
                raw.sessions_bytes_max,
                64 * MIB,
                MIB..=MIB * MIB,
            ),
            events_max: self.count("events_max", raw.events_max, 1_024, 2..=8_192),
            reorder_ms: signed_millis(self.seconds("reorder_s", raw.reorder_s, 600, 0..=86_400)),
            ..Settings::default()
        }
    }

    fn millis(&mut self, name: &str, value: Key<u64>, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(name, value, default, range))
    }

    fn seconds(&mut self, name: &str, value: Key<u64>, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, value, default, range))
    }

    fn count(&mut self, name: &str, value: Key<u64>, default: u64, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.number(name, value, default, range)).unwrap_or(usize::MAX)
    }

    /// The value if it is in range, `default` if it is left out or wrong.
    fn number(&mut self, name: &str, value: Key<u64>, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = value else { return default };
        if range.contains(value.get_ref()) {
            return value.into_inner();
        }
        let what = format!("`{name}` is out of range");
        self.problem(
            Some(value.span()),
            what,
            format!("use {} to {}; the default is {default}", range.start(), range.end()),
        );
        default
    }

    fn problem(&mut self, span: Option<Range<usize>>, what: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(span, what, fix));
    }
}

const MIB: u64 = 1_024 * 1_024;

fn signed_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What the environment calls this node, for containers, whose host name is not the node's.
fn node_variable() -> Option<String> {
    std::env::var(NODE_VARIABLE).ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Names the node where the configuration does not.
const NODE_VARIABLE: &str = "BLOCKSIFT_NODE";

/// The kernel's host name.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty() && name != "(none)").then(|| name.to_owned())
}
