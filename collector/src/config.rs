//! The configuration file, checked as a whole: every problem is told at once, and what comes out cannot be wrong.

mod kafka;
mod notify;
mod proxy;

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use glob::Pattern;
use serde::Deserialize;

use crate::access::agents::Agents;
use crate::access::proxy::Proxy;
use crate::access::users::{User, Users, is_hash};
use crate::joint::Models;
use crate::kafka::Settings;
use crate::listen::{self, Address};
use crate::store::{Place, Retention};
use crate::tls::{self, Files};
pub(crate) use notify::Notify;

/// Where the database is if nothing says so.
const DATABASE_DEFAULT: &str = "blocksift.sqlite";

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    listen: Option<String>,
    database: Option<PathBuf>,
    database_ca: Option<PathBuf>,
    #[serde(default)]
    models: Vec<PathBuf>,
    #[serde(default)]
    retention: RawRetention,
    tls: Option<Files>,
    #[serde(default, rename = "agent")]
    agents: Vec<RawAgent>,
    #[serde(default, rename = "user")]
    users: Vec<User>,
    proxy: Option<proxy::Raw>,
    #[serde(default)]
    notify: notify::Raw,
    kafka: Option<kafka::Raw>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRetention {
    days: Option<u32>,
    bytes_max: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAgent {
    /// As `blocksift-collector token` prints it.
    token_hash: String,
    nodes: Vec<String>,
}

/// What the command line says; it goes before the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<Address>,
    pub(crate) database: Option<PathBuf>,
    pub(crate) allow_remote: bool,
}

/// A configuration that can be used.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: Address,
    pub(crate) allow_remote: bool,
    pub(crate) database: Place,
    pub(crate) retention: Retention,
    pub(crate) tls: Option<Files>,
    pub(crate) agents: HashMap<blake3::Hash, Arc<[Pattern]>>,
    pub(crate) users: Vec<User>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) notify: Notify,
    pub(crate) kafka: Option<Settings>,
    /// Model files for joint scores, beside those of this release.
    pub(crate) models: Vec<PathBuf>,
}

impl Config {
    /// Reads the file, if one is named, and checks everything.
    ///
    /// # Errors
    /// Says all that is wrong.
    pub(crate) fn load(path: Option<&Path>, overrides: Overrides) -> Result<Self> {
        let raw = match path {
            None => Raw::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("configuration `{}` cannot be read", path.display()))?;
                toml::from_str(&text)
                    .with_context(|| format!("configuration `{}` is not usable", path.display()))?
            }
        };
        let mut problems = Vec::new();
        let config = Self::check(raw, overrides, &mut problems);
        if problems.is_empty() {
            return config.context("configuration is not usable");
        }
        let mut text = String::from("configuration is not usable:");
        for problem in problems {
            write!(text, "\n  - {problem}")?;
        }
        bail!(text)
    }

    fn check(raw: Raw, overrides: Overrides, problems: &mut Vec<String>) -> Option<Self> {
        let listen = raw.listen.as_deref().unwrap_or(listen::DEFAULT).parse::<Address>();
        let listen = listen.map_err(|error| problems.push(format!("`listen`: {error}")));
        let agents = agents(raw.agents, problems);
        users(&raw.users, problems);
        if let Some(files) = &raw.tls
            && let Err(error) = tls::load(files)
        {
            problems.push(format!("[tls]: {:#}", anyhow::Error::new(error)));
        }
        let retention = retention(&raw.retention, problems);
        if let Err(error) = Models::load(&raw.models) {
            problems.push(format!("`models`: {error:#}"));
        }
        let proxy = raw.proxy.and_then(|raw| proxy::check(raw, problems));
        let notify = notify::check(raw.notify, problems);
        let database = overrides.database.or(raw.database).unwrap_or_else(|| DATABASE_DEFAULT.into());
        let database = Place::new(&database, raw.database_ca.as_deref())
            .map_err(|error| problems.push(format!("`database`: {error:#}")));
        let shared = database.as_ref().is_ok_and(Place::is_shared);
        let kafka = raw.kafka.and_then(|raw| kafka::check(raw, shared, problems));
        let listen = overrides.listen.or(listen.ok())?;
        let config = Self {
            listen,
            allow_remote: overrides.allow_remote,
            database: database.ok()?,
            retention,
            tls: raw.tls,
            agents,
            users: raw.users,
            proxy,
            notify,
            kafka,
            models: raw.models,
        };
        if let Err(error) = listen::check(config.listen, config.missing()) {
            problems.push(error.to_string());
        }
        Some(config)
    }

    /// What has to be there before other machines may reach the collector.
    fn missing(&self) -> Option<&'static str> {
        if self.allow_remote {
            None
        } else if self.tls.is_none() {
            Some("[tls]")
        } else if self.users.is_empty() && self.proxy.is_none() {
            Some("[[user]] and no [proxy]")
        } else if self.senders().open() {
            Some("[[agent]] and no client_ca")
        } else {
            None
        }
    }

    /// Who may send.
    pub(crate) fn senders(&self) -> Agents {
        let by_certificate = self.tls.as_ref().is_some_and(|files| files.client_ca.is_some());
        Agents::new(self.agents.clone(), by_certificate)
    }

    /// Who may read.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(crate) fn people(&self) -> Result<Users> {
        Users::new(self.users.clone(), self.tls.is_some())
            .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))
    }

    /// Whether requests under any host name are answered: not where everybody may read, since a web page elsewhere could
    /// give a name of its own this machine's address.
    pub(crate) fn any_host(&self) -> bool {
        self.allow_remote || !self.users.is_empty() || self.proxy.is_some()
    }
}

fn agents(raw: Vec<RawAgent>, problems: &mut Vec<String>) -> HashMap<blake3::Hash, Arc<[Pattern]>> {
    let mut agents = HashMap::new();
    for (number, agent) in raw.into_iter().enumerate() {
        let number = number + 1;
        let mut patterns = Vec::new();
        for text in &agent.nodes {
            match Pattern::new(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => problems.push(format!("[[agent]] {number}: `{text}` is no pattern: {error}")),
            }
        }
        if agent.nodes.is_empty() {
            problems.push(format!("[[agent]] {number}: `nodes` is empty; name the nodes, or \"*\" for all"));
        }
        let Ok(hash) = blake3::Hash::from_hex(agent.token_hash.trim()) else {
            problems.push(format!(
                "[[agent]] {number}: `token_hash` is not 64 hexadecimal digits; `blocksift-collector token` makes one"
            ));
            continue;
        };
        if agents.insert(hash, Arc::from(patterns)).is_some() {
            problems.push(format!("[[agent]] {number}: another one has this `token_hash`"));
        }
    }
    agents
}

fn users(users: &[User], problems: &mut Vec<String>) {
    let mut names = std::collections::BTreeSet::new();
    for user in users {
        if user.name.is_empty() || user.name.chars().any(char::is_control) {
            problems.push("[[user]]: `name` is empty or holds control characters".to_owned());
        } else if !names.insert(&user.name) {
            problems.push(format!("[[user]]: there are two of the name `{}`", user.name));
        }
        if !is_hash(&user.password_hash) {
            problems.push(format!(
                "[[user]] `{}`: `password_hash` is no argon2id hash; `blocksift-collector password` makes one",
                user.name
            ));
        }
    }
}

fn retention(raw: &RawRetention, problems: &mut Vec<String>) -> Retention {
    let default = Retention::default();
    let retention = Retention {
        age_days: raw.days.unwrap_or(default.age_days),
        bytes_max: raw.bytes_max.unwrap_or(default.bytes_max),
    };
    if retention.age_days == 0 {
        problems.push("[retention] `days` must be at least 1".to_owned());
    }
    if retention.bytes_max < 16 * 1024 * 1024 {
        problems.push("[retention] `bytes_max` must be at least 16777216".to_owned());
    }
    retention
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("collector.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), Overrides::default())
    }

    #[test]
    fn without_a_file_it_listens_on_loopback_and_lets_everybody_in() {
        let config = Config::load(None, Overrides::default()).unwrap();
        assert!(config.listen.is_loopback() && config.senders().open() && config.people().unwrap().open());
        assert!(!config.any_host());
        assert_eq!(config.database.to_string(), DATABASE_DEFAULT);
    }

    #[test]
    fn the_file_that_is_shipped_is_usable_and_says_the_defaults() {
        let text = include_str!("../../deploy/collector.toml");
        load(text).unwrap();
        // As an operator would switch everything on, but for what needs files and secrets.
        let uncommented: String = text
            .lines()
            .take_while(|line| !line.starts_with("#[tls]"))
            .filter_map(|line| {
                line.strip_prefix('#').filter(|rest| rest.contains(" = ") || rest.starts_with('['))
            })
            .map(|line| line.to_owned() + "\n")
            .collect();
        let config = load(&uncommented).unwrap();
        assert_eq!(config.retention, Retention::default());
        assert!(uncommented.contains("listen") && uncommented.contains("bytes_max"), "{uncommented}");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = r#"
            listen = "nowhere"
            [retention]
            days = 0
            [[agent]]
            token_hash = "short"
            nodes = []
            [[user]]
            name = "eve"
            password_hash = "secret"
            role = "view"
        "#;
        let error = format!("{:#}", load(text).unwrap_err());
        for part in ["`listen`", "`days`", "`nodes` is empty", "`token_hash`", "`eve`: `password_hash`"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("secret"), "{error}");
        assert!(format!("{:#}", load("lisen = 1").unwrap_err()).contains("lisen"));
    }

    #[test]
    fn other_machines_need_tls_logins_and_tokens() {
        let error = format!("{:#}", load("listen = \"0.0.0.0:4318\"").unwrap_err());
        assert!(error.contains("no [tls]") && error.contains("--allow-remote"), "{error}");
    }
}
