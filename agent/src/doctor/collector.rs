//! Can the collector be reached: name, port, TLS, and its answer to a request without reports, whose date tells how far the
//! clocks are apart.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::finding::Finding;
use crate::config::{Config, To};
use crate::otlp::Sender;
use crate::ship::chain;
use crate::sink::{Outcome, Sink};
use crate::validate::can_be_made;

/// Longest wait for a name and for each connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Clocks that are further apart make the order of events on several nodes doubtful.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(5);

/// Findings `collector` and `clock`.
pub(super) fn reach(config: &Config) -> Vec<Finding> {
    match &config.ship.to {
        To::Stdout => vec![Finding::ok("collector", "none: reports go to standard output")],
        To::File(path) => vec![file(path)],
        To::Otlp(otlp) => match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(receiver(config, &otlp.endpoint)),
            Err(error) => {
                vec![Finding::fail("collector", format!("no async runtime: {error}"), "raise ulimit -n")]
            }
        },
    }
}

fn file(path: &Path) -> Finding {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match can_be_made(folder) {
        Ok(()) => Finding::ok("collector", format!("none: reports go to `{shown}`")),
        Err(error) => {
            let hint = "make its folder, writable for the agent's user";
            Finding::fail("collector", format!("`{shown}` cannot be written: {error}"), hint)
        }
    }
}

async fn receiver(config: &Config, endpoint: &str) -> Vec<Finding> {
    if let Err(finding) = connect(endpoint).await {
        return vec![finding];
    }
    let sender = Sender { node: config.detector.node.clone(), model: String::new(), addresses: Vec::new() };
    let mut sink = match Sink::new(&config.ship.to, sender) {
        Ok(sink) => sink,
        Err(error) => {
            return vec![Finding::fail(
                "collector",
                chain(&error),
                "look at the tls_ and token_ keys of [ship]",
            )];
        }
    };
    let (started, began) = (Instant::now(), Timestamp::now());
    let (outcome, date) = sink.probe().await;
    let elapsed = started.elapsed();
    let mut findings = vec![answer(endpoint, &outcome, elapsed)];
    if let Some(date) = date {
        findings.push(clock(date, began, began + elapsed));
    }
    findings
}

/// Resolves the name and opens a connection, so that what fails there is told from what fails in HTTP.
async fn connect(endpoint: &str) -> Result<(), Finding> {
    let fail = |what: String, hint: &str| Err(Finding::fail("collector", what, hint));
    let url = Url::parse(endpoint).ok();
    let Some((host, port)) = url.as_ref().and_then(|url| url.host_str().zip(url.port_or_known_default()))
    else {
        return fail(format!("`{endpoint}` is no address"), "set [ship] endpoint");
    };
    // A literal IPv6 address stands in brackets.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = match timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
        Ok(Err(error)) => {
            let hint = "look at [ship] endpoint, /etc/resolv.conf and /etc/hosts";
            return fail(format!("the name `{host}` is not resolved: {error}"), hint);
        }
        Err(_) => {
            return fail(format!("the name `{host}` is not resolved in time"), "look at /etc/resolv.conf");
        }
    };
    let mut why = "it has no address".to_owned();
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address} does not answer in time"),
        }
    }
    let hint = "is the collector running, does it listen on this address, and does the firewall let this host through?";
    fail(format!("no connection to `{host}` port {port}: {why}"), hint)
}

fn answer(endpoint: &str, outcome: &Outcome, elapsed: Duration) -> Finding {
    let reason = match outcome {
        Outcome::Taken { .. } => {
            let what = format!("{endpoint} took a request without reports in {} ms", elapsed.as_millis());
            return Finding::ok("collector", what);
        }
        Outcome::Refused { reason } | Outcome::TryAgain { reason, .. } => reason.as_str(),
        Outcome::Closed => "the connection was closed",
        Outcome::TooLarge => "request too large (413)",
    };
    Finding::fail("collector", format!("{endpoint} does not take requests: {reason}"), hint(reason))
}

/// What to do about what a receiver said.
fn hint(reason: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["401", "403"]) {
        "set [ship] token_file or token_env to the token of the collector, or tls_certificate and tls_key"
    } else if says(&["certificate", "UnknownIssuer", "tls", "TLS"]) {
        "set [ship] tls_ca to the authority that signed its certificate, and name it as the certificate does"
    } else if says(&["404", "405", "OTLP/HTTP"]) {
        "the endpoint is the part in front of /v1/logs of an OTLP/HTTP receiver (often port 4318, not 4317)"
    } else {
        "look at the collector's own log"
    }
}

/// How far the receiver's clock, which is told in whole seconds, is from ours.
fn clock(date: Timestamp, began: Timestamp, ended: Timestamp) -> Finding {
    // It was read between the two, and up to a second more had passed of its second.
    let late = began.duration_since(date) - SignedDuration::from_secs(1);
    let early = date.duration_since(ended);
    let apart = late.max(early).max(SignedDuration::ZERO);
    if apart <= SKEW_MAX {
        return Finding::ok("clock", "agrees with the collector's");
    }
    let word = if late > early { "ahead of" } else { "behind" };
    let what = format!("this host's clock is {} s {word} the collector's", apart.as_secs());
    Finding::warn("clock", what, "look whether chronyd or ntpd runs on both, with a server that they reach")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn clocks_apart_are_told_with_their_direction() {
        assert_eq!(clock(at(0), at(0), at(1)).status, Status::Ok);
        assert_eq!(clock(at(0), at(5), at(6)).status, Status::Ok);
        let ahead = clock(at(0), at(90), at(91));
        assert!(ahead.status == Status::Warn && ahead.what.contains("89 s ahead of"), "{ahead:?}");
        let behind = clock(at(3_600), at(0), at(0));
        assert!(behind.what.contains("3600 s behind"), "{behind:?}");
    }

    #[test]
    fn what_a_receiver_says_has_a_hint_of_its_own() {
        let hint = |reason: &str| {
            let outcome = Outcome::TryAgain { after: None, reason: reason.to_owned() };
            answer("http://a", &outcome, Duration::ZERO).hint
        };
        assert!(hint("401 Unauthorized").contains("token"));
        assert!(hint("invalid peer certificate: UnknownIssuer").contains("tls_ca"));
        assert!(hint("404 Not Found").contains("/v1/logs"));
        assert!(hint("503 Service Unavailable").contains("log"));
    }

    #[tokio::test]
    async fn names_and_ports_that_lead_nowhere_are_told_apart() {
        let name = connect("http://no-such-host.invalid:4318").await.unwrap_err();
        assert!(name.what.contains("not resolved"), "{name:?}");
        let port = connect("http://127.0.0.1:1").await.unwrap_err();
        assert!(port.what.contains("no connection") && port.hint.contains("firewall"), "{port:?}");
        let listener = tokio::net::TcpListener::bind("[::1]:0").await;
        // Not every host has IPv6.
        if let Ok(listener) = listener {
            let port = listener.local_addr().unwrap().port();
            assert!(connect(&format!("http://[::1]:{port}")).await.is_ok());
        }
    }
}
