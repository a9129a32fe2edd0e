//! `[proxy]`: who logs people in in the collector's place.

use axum::http::HeaderName;
use serde::Deserialize;

use crate::access::proxy::Proxy;
use crate::access::random;

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    peers: Vec<String>,
    header: Option<String>,
    #[serde(default)]
    operators: Vec<String>,
}

/// The header that most proxies set.
const HEADER_DEFAULT: &str = "x-forwarded-user";

/// Checks the section; what is wrong goes to `problems`.
pub(super) fn check(raw: Raw, problems: &mut Vec<String>) -> Option<Proxy> {
    let mut peers = Vec::new();
    for peer in &raw.peers {
        match peer.parse() {
            Ok(network) => peers.push(network),
            Err(()) => problems
                .push(format!("[proxy] `peers`: `{peer}` is no address such as 10.0.0.5 or 10.0.0.0/24")),
        }
    }
    if raw.peers.is_empty() {
        problems.push("[proxy] `peers` is empty; name the addresses that the proxy connects from".to_owned());
    }
    let header = raw.header.as_deref().unwrap_or(HEADER_DEFAULT);
    let known = HeaderName::try_from(header).ok();
    if known.is_none() {
        problems.push(format!("[proxy] `header`: `{header}` is no name of a header"));
    }
    let secret =
        random::token().map_err(|error| problems.push(format!("the system gives no random bytes: {error}")));
    Some(Proxy {
        peers,
        header: known?,
        operators: raw.operators.into_iter().collect(),
        secret: secret.ok()?,
    })
}
