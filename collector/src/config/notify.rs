//! `[notify]`: who is told of incidents, and how much.

use std::path::PathBuf;

use reqwest::Url;
use serde::Deserialize;

use crate::notify::deliver::Receiver;
use crate::notify::http::{Post, Target};
use crate::notify::syslog::Address;
use crate::notify::{Counts, Policy};

const BUDGET_DEFAULT: u32 = 20;
const GROUP_INTERVAL_S_DEFAULT: u32 = 3_600;
const AGE_MAX_H_DEFAULT: u32 = 24;
/// Receivers of all kinds together.
const RECEIVERS_MAX: usize = 16;
/// Bytes of a receiver's name.
const NAME_BYTES_MAX: usize = 32;

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    budget_per_node: Option<u32>,
    group_interval_s: Option<u32>,
    age_max_h: Option<u32>,
    page: Option<String>,
    #[serde(default, rename = "webhook")]
    webhooks: Vec<RawHttp>,
    #[serde(default, rename = "alertmanager")]
    alertmanagers: Vec<RawHttp>,
    #[serde(default, rename = "syslog")]
    syslogs: Vec<RawSyslog>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    name: Option<String>,
    url: String,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSyslog {
    name: Option<String>,
    address: String,
}

/// A checked section.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notify {
    /// The collector's address as people reach it, without a slash at its end.
    pub(crate) page: Option<String>,
    budget_per_node: u32,
    group_interval_s: u32,
    age_max_h: u32,
    /// Each with a name of its own.
    receivers: Vec<(String, To)>,
}

#[derive(Clone, Debug)]
enum To {
    Webhook(Target),
    Alertmanager(Target),
    Syslog(Address),
}

impl Notify {
    /// How many are told.
    pub(crate) fn len(&self) -> usize {
        self.receivers.len()
    }

    /// What the store decides by, and who is told, in the same order.
    ///
    /// # Errors
    /// When a certificate of an authority cannot be used; [`check`] has told it.
    pub(crate) fn start(&self) -> anyhow::Result<(Policy, Vec<Receiver>)> {
        let counts = |(name, _): &(String, To)| Counts { name: name.clone(), ..Counts::default() };
        let policy = Policy {
            receivers: self.receivers.iter().map(counts).collect(),
            budget_per_node: i64::from(self.budget_per_node),
            age_max_ms: i64::from(self.age_max_h) * 3_600_000,
            group_interval_ms: i64::from(self.group_interval_s) * 1_000,
            ..Policy::default()
        };
        let mut receivers = Vec::new();
        for (_, to) in &self.receivers {
            receivers.push(match to.clone() {
                To::Webhook(target) => Receiver::Webhook(Post::new(target)?),
                To::Alertmanager(target) => Receiver::Alertmanager(Post::new(target)?),
                To::Syslog(address) => Receiver::Syslog(address),
            });
        }
        Ok((policy, receivers))
    }
}

/// Checks the section; what is wrong goes to `problems`.
pub(super) fn check(raw: Raw, problems: &mut Vec<String>) -> Notify {
    let mut receivers = Vec::new();
    for (kind, number, raw) in
        numbered("webhook", raw.webhooks).chain(numbered("alertmanager", raw.alertmanagers))
    {
        let place = format!("[[notify.{kind}]] {number}");
        let Some(target) = target(&place, &raw, problems) else { continue };
        let to = if kind == "webhook" { To::Webhook(target) } else { To::Alertmanager(target) };
        receivers.push((raw.name.unwrap_or_else(|| default_name(kind, number)), to));
    }
    for (kind, number, raw) in numbered("syslog", raw.syslogs) {
        match raw.address.parse() {
            Ok(address) => {
                let name = raw.name.unwrap_or_else(|| default_name(kind, number));
                receivers.push((name, To::Syslog(address)));
            }
            Err(fix) => problems.push(format!("[[notify.syslog]] {number}: `address` is none; {fix}")),
        }
    }
    names(&receivers, problems);
    let notify = Notify {
        page: raw.page.and_then(|page| self::page(&page, problems)),
        budget_per_node: raw.budget_per_node.unwrap_or(BUDGET_DEFAULT),
        group_interval_s: raw.group_interval_s.unwrap_or(GROUP_INTERVAL_S_DEFAULT),
        age_max_h: raw.age_max_h.unwrap_or(AGE_MAX_H_DEFAULT),
        receivers,
    };
    if notify.group_interval_s == 0 {
        problems.push("[notify] `group_interval_s` must be at least 1".to_owned());
    }
    notify
}

fn numbered<T>(kind: &'static str, raw: Vec<T>) -> impl Iterator<Item = (&'static str, usize, T)> {
    raw.into_iter().zip(1..).map(move |(raw, number)| (kind, number, raw))
}

fn default_name(kind: &str, number: usize) -> String {
    if number == 1 { kind.to_owned() } else { format!("{kind}-{number}") }
}

fn target(place: &str, raw: &RawHttp, problems: &mut Vec<String>) -> Option<Target> {
    // The URL may hold a secret: it is not repeated.
    let url =
        Url::parse(&raw.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        problems.push(format!("{place}: `url` is no http:// or https:// address"));
        return None;
    };
    let target = Target { url, token_file: raw.token_file.clone(), ca: raw.ca.clone() };
    if let Some(path) = &target.token_file
        && std::fs::read_to_string(path).map_or(true, |token| token.trim().is_empty())
    {
        problems.push(format!("{place}: `{}` cannot be read or holds no token", path.display()));
    }
    if let Err(error) = Post::new(target.clone()) {
        problems.push(format!("{place}: {:#}", anyhow::Error::new(error)));
    }
    Some(target)
}

fn names(receivers: &[(String, To)], problems: &mut Vec<String>) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut seen = std::collections::BTreeSet::new();
    for (name, _) in receivers {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(allowed) {
            problems.push(format!(
                "[notify]: a `name` is not 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`"
            ));
        } else if !seen.insert(name) {
            problems.push(format!("[notify]: two receivers have the name `{name}`"));
        }
    }
    if receivers.len() > RECEIVERS_MAX {
        problems.push(format!("[notify]: there are more than {RECEIVERS_MAX} receivers"));
    }
}

fn page(page: &str, problems: &mut Vec<String>) -> Option<String> {
    let url = Url::parse(page).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() || page.contains('#') {
        problems.push("[notify]: `page` is not the http:// or https:// address of this collector".to_owned());
        return None;
    }
    Some(page.trim_end_matches('/').to_owned())
}
