//! The configuration file as it is written: every key with its unit, its meaning and its default. Nothing is checked
//! here but names and types; [`super::check`] makes a [`Config`](super::Config) of it. Every key may be left out
//! but `logs.paths`, and that where lines are received.

use serde::Deserialize;
use toml::Spanned;

use super::filter::RawFilter;
use super::limits::RawLimits;
use super::receive::RawReceive;
use super::redact::RawRedact;
use super::ship::RawShip;
use super::status::RawStatus;
use super::wanted::RawWanted;
use crate::model::Backend;

/// A value and where it stands in the file; `None` where the key is left out.
pub(super) type Key<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    /// Name of this node in every report. Default: the variable `BLOCKSIFT_NODE`, else the host name.
    pub(super) node: Key<String>,
    /// IANA name of the zone that the logs' times are in (log4j writes local time without one). Default: the host's.
    pub(super) zone: Key<String>,
    /// Directory of the agent's memory: offsets, sessions and reports not shipped yet. Only one agent may use it.
    /// Default `/var/lib/blocksift`.
    pub(super) state_dir: Key<String>,
    /// Longest time that read lines stay uncommitted; they are read again after a crash. 10 to 60000, default 1000.
    pub(super) commit_interval_ms: Key<u64>,
    /// Whether reports are committed, and so shipped, as soon as what there is to read is read; `false` lets them wait for
    /// the interval, which spares a slow disk. Default `true`.
    pub(super) commit_on_flag: Key<bool>,
    /// Path of the model file, or the name of one in the agent. Default: the one that fits the logs.
    pub(super) model: Key<String>,
    /// What scores by it: `tract` runs the model's graph where a table of it does not settle the verdict; `table` scores by
    /// the table alone, as the plugin does. Default `tract`.
    pub(super) backend: Key<Backend>,
    /// Public keys of minisign: a model file is taken only if one of them has signed it. Those in the agent are part of it and
    /// need no signature. Default: any model is taken.
    pub(super) model_signed_by: Key<Vec<Spanned<String>>>,
    /// Time between two looks at this file and the model; other content is taken as SIGHUP takes it, or refused. 0 waits
    /// for SIGHUP. 0 to 3600, default 5.
    pub(super) reload_interval_s: Key<u64>,
    /// Which files are read, and how.
    #[serde(default)]
    pub(super) logs: RawLogs,
    /// When sessions are scored and forgotten.
    #[serde(default)]
    pub(super) sessions: RawSessions,
    /// Lines that do not come from log files.
    #[serde(default)]
    pub(super) receive: RawReceive,
    /// Where reports go.
    #[serde(default)]
    pub(super) ship: RawShip,
    /// Where the agent says how it is doing.
    #[serde(default)]
    pub(super) status: RawStatus,
    /// What the agent tells a collector that asks.
    #[serde(default)]
    pub(super) wanted: RawWanted,
    /// What the agent may take of its node.
    #[serde(default)]
    pub(super) limits: RawLimits,
    /// What is hashed before it is stored for shipping.
    #[serde(default)]
    pub(super) redact: RawRedact,
    /// WASM filters in front of shipping.
    #[serde(default)]
    pub(super) filter: Vec<RawFilter>,
}

/// `[logs]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogs {
    /// Globs of the log files, rotated ones included (`*` and `?` match within a name, `**` any folders). Required.
    pub(super) paths: Key<Vec<Spanned<String>>>,
    /// Globs of files that are left out. One without `/` is matched against the name alone.
    /// Default `["*.gz", "*.zip"]`: what was compressed after its rotation has been read before.
    pub(super) exclude: Key<Vec<Spanned<String>>>,
    /// What is read of the files that exist when the agent runs for the first time: `all`, rotated ones included;
    /// `current`, those that are being written (none that is called like another one with a suffix); `none`, only what is
    /// written from then on. Files that appear later are always read from their start. Default `all`.
    pub(super) backfill: Key<Backfill>,
    /// Layout of the line heads: `auto` finds it out per file; otherwise `hdfs_v1`, `log4j`, `console`, `json`, or the
    /// `ConversionPattern` of the `log4j.properties`, such as `%d{ISO8601} %p %c: %m%n`. Default `auto`.
    pub(super) layout: Key<String>,
    /// Time between two looks at the files; nothing in the agent wakes up more often. 10 to 60000, default 1000.
    pub(super) poll_interval_ms: Key<u64>,
    /// Files followed at a time; further ones wait until others are gone, with a warning. 1 to 100000, default 1000.
    pub(super) files_max: Key<u64>,
}

/// `[sessions]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSessions {
    /// A session is scored when no line named its block for this long. 1 to 86400, default 60.
    pub(super) idle_timeout_s: Key<u64>,
    /// A scored session is forgotten when no line named its block for this long; the median block lives for two
    /// hours. 1 to 2592000, default 86400. Not below `idle_timeout_s`.
    pub(super) forget_after_s: Key<u64>,
    /// Sessions remembered; beyond it the least recently active one is scored, forgotten and counted.
    /// 1 to 100000000, default 100000.
    pub(super) sessions_max: Key<u64>,
    /// Bytes that remembered sessions take; beyond it the least recently active ones are scored, forgotten and counted.
    /// 1 MiB to 1 TiB, default 64 MiB.
    pub(super) sessions_bytes_max: Key<u64>,
    /// Events kept of one session; beyond it the middle quarter keeps only its counts. 2 to 8192, default 1024.
    pub(super) events_max: Key<u64>,
    /// How late an event may come, by the times in the log, to be put in its place among those of its block; what is
    /// later stays where it came, as the clock was set back. 0 to 86400, default 600.
    pub(super) reorder_s: Key<u64>,
}

/// What is read of the files that are there on the very first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backfill {
    /// Every file, from its start.
    All,
    /// Rotated files are left out.
    Current,
    /// Every file from its end on.
    None,
}
