//! `[kafka]`: brokers, topics, and what this collector does with them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use blocksift_kafka::{Cluster, Login, Mechanism, Tls};
use serde::Deserialize;

use crate::kafka::{Settings, Topics};

const LOGS_TOPIC_DEFAULT: &str = "otlp_logs";
const METRICS_TOPIC_DEFAULT: &str = "otlp_metrics";
const GROUP_DEFAULT: &str = "blocksift-collector";

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    brokers: Vec<String>,
    #[serde(default)]
    front: bool,
    #[serde(default)]
    store: bool,
    logs_topic: Option<String>,
    metrics_topic: Option<String>,
    group: Option<String>,
    #[serde(default)]
    tls: bool,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    mechanism: Option<Mechanism>,
}

/// The section, if it can be used. `shared`: other collectors may use the same database.
pub(super) fn check(raw: Raw, shared: bool, problems: &mut Vec<String>) -> Option<Settings> {
    let before = problems.len();
    let mut wrong = |problem: &str| problems.push(format!("[kafka]: {problem}"));
    if raw.brokers.is_empty() || raw.brokers.iter().any(|broker| !is_address(broker)) {
        wrong("`brokers` names some of them, each as \"host:port\"");
    }
    match (raw.front, raw.store) {
        (false, false) => wrong(
            "neither `front` nor `store` is true: a front writes what agents send into the topics, a collector that stores reads them",
        ),
        (true, false) if !shared => wrong(
            "a front that does not store has to look into the database of the collectors that do, to show what there is and to ask \
             nodes for their part: set `database` to their PostgreSQL, or `store = true`",
        ),
        _ => {}
    }
    let named = |name: Option<String>, default: &str| name.unwrap_or_else(|| default.to_owned());
    let topics = Topics {
        logs: named(raw.logs_topic, LOGS_TOPIC_DEFAULT),
        metrics: named(raw.metrics_topic, METRICS_TOPIC_DEFAULT),
    };
    if !is_topic(&topics.logs) || !is_topic(&topics.metrics) || topics.logs == topics.metrics {
        wrong(
            "`logs_topic` and `metrics_topic` are two names of at most 249 letters, digits, dots, dashes and underscores",
        );
    }
    let group = named(raw.group, GROUP_DEFAULT);
    if group.is_empty() || group.chars().any(char::is_control) {
        wrong("`group` is empty or holds control characters");
    }
    let tls = tls(raw.tls, raw.ca, raw.certificate, raw.key).map_err(|error| wrong(&format!("{error:#}")));
    let login = login(raw.user, raw.password_file, raw.mechanism, raw.tls)
        .map_err(|error| wrong(&format!("{error:#}")));
    if problems.len() > before {
        return None;
    }
    let cluster = Cluster { brokers: raw.brokers, tls: tls.ok()?, login: login.ok()? };
    Some(Settings { cluster, topics, front: raw.front, group: raw.store.then_some(group) })
}

fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains([',', ' ', '/']) && port.parse::<u16>().is_ok()
    })
}

/// What Kafka takes for a topic's name.
fn is_topic(name: &str) -> bool {
    let legal = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    (1..=249).contains(&name.len()) && name.chars().all(legal) && name != "." && name != ".."
}

fn tls(
    on: bool,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<Tls>> {
    for path in [&ca, &certificate, &key].into_iter().flatten() {
        if !on {
            bail!("`{}` is used with `tls = true` alone", path.display());
        }
        fs::File::open(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => bail!("`certificate` and `key` go together"),
    };
    Ok(on.then_some(Tls { ca, identity }))
}

fn login(
    user: Option<String>,
    file: Option<PathBuf>,
    mechanism: Option<Mechanism>,
    tls: bool,
) -> Result<Option<Login>> {
    let (user, file) = match (user, file) {
        (Some(user), Some(file)) => (user, file),
        (None, None) if mechanism.is_none() => return Ok(None),
        _ => bail!(
            "`user`, `password_file` and `mechanism` go together (the last is \"scram-sha-512\" if not said)"
        ),
    };
    let mechanism = mechanism.unwrap_or(Mechanism::ScramSha512);
    if mechanism == Mechanism::Plain && !tls {
        bail!("`mechanism = \"plain\"` shows the password to everybody on the way; it takes `tls = true`");
    }
    let text = fs::read_to_string(&file)
        .with_context(|| format!("`password_file` `{}` cannot be read", file.display()))?;
    let password = text.trim_end_matches(['\r', '\n']).to_owned();
    if user.is_empty() || password.is_empty() {
        bail!("`user` or the password in `{}` is empty", file.display());
    }
    Ok(Some(Login { mechanism, user, password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, shared: bool) -> Result<Settings, String> {
        let mut problems = Vec::new();
        let settings = check(toml::from_str(text).unwrap(), shared, &mut problems);
        settings.ok_or_else(|| problems.join("\n"))
    }

    #[test]
    fn brokers_and_a_part_are_enough() {
        let both = checked("brokers = [\"k1:9092\"]\nfront = true\nstore = true", false).unwrap();
        assert!(both.front && both.group.as_deref() == Some(GROUP_DEFAULT));
        assert_eq!((both.topics.logs.as_str(), both.topics.metrics.as_str()), ("otlp_logs", "otlp_metrics"));
        let front = checked("brokers = [\"k1:9092\", \"[::1]:9092\"]\nfront = true", true).unwrap();
        assert!(front.group.is_none() && front.cluster.tls.is_none() && front.cluster.login.is_none());
    }

    #[test]
    fn what_is_wrong_is_told_with_a_way_out() {
        for (text, part) in [
            ("brokers = []\nstore = true", "`brokers` names"),
            ("brokers = [\"k1\"]\nstore = true", "host:port"),
            ("brokers = [\"k1:9092\"]", "neither `front` nor `store`"),
            ("brokers = [\"k1:9092\"]\nfront = true", "their PostgreSQL"),
            ("brokers = [\"k1:9092\"]\nstore = true\nlogs_topic = \"a b\"", "`logs_topic`"),
            ("brokers = [\"k1:9092\"]\nstore = true\nlogs_topic = \"a\"\nmetrics_topic = \"a\"", "two names"),
            ("brokers = [\"k1:9092\"]\nstore = true\nca = \"ca.pem\"", "`tls = true` alone"),
            ("brokers = [\"k1:9092\"]\nstore = true\ntls = true\nca = \"/nowhere.pem\"", "cannot be read"),
            ("brokers = [\"k1:9092\"]\nstore = true\nuser = \"eve\"", "go together"),
            ("brokers = [\"k1:9092\"]\nstore = true\ngroup = \"\"", "`group`"),
        ] {
            let problems = checked(text, false).unwrap_err();
            assert!(problems.contains(part), "{text}: {problems}");
        }
    }

    #[test]
    fn a_password_comes_from_a_file_and_is_not_shown_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "secret\n").unwrap();
        let text = |more: &str| {
            let file = file.display();
            format!(
                "brokers = [\"k1:9092\"]\nstore = true\nuser = \"eve\"\npassword_file = \"{file}\"\n{more}"
            )
        };
        let login = checked(&text(""), false).unwrap().cluster.login.unwrap();
        assert_eq!((login.mechanism, login.password.as_str()), (Mechanism::ScramSha512, "secret"));
        assert!(checked(&text("mechanism = \"plain\""), false).unwrap_err().contains("everybody on the way"));
        let plain = checked(&text("mechanism = \"plain\"\ntls = true"), false).unwrap();
        assert_eq!(plain.cluster.login.unwrap().mechanism, Mechanism::Plain);
    }
}
