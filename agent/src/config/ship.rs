//! `[ship]`: where reports go, how they get there, and what happens while they cannot.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use toml::Spanned;

use super::raw::Key;
use super::{Check, MIB};

/// A checked `[ship]`.
#[derive(Clone, Debug)]
pub(crate) struct Ship {
    /// Where reports go.
    pub(crate) to: To,
    /// Reports in one request.
    pub(crate) batch_reports_max: NonZeroUsize,
    /// Bytes of reports in one request before compression; one report may exceed it.
    pub(crate) batch_bytes_max: u64,
    /// Reports in the spool at which reading stops.
    pub(crate) spool_reports_max: u64,
    /// Bytes in the spool at which reading stops.
    pub(crate) spool_bytes_max: u64,
    /// Refused reports that are kept; beyond it the oldest is dropped and counted.
    pub(crate) dead_letters_max: u64,
    /// Bytes of refused reports that are kept; beyond it the same happens.
    pub(crate) dead_letters_bytes_max: u64,
    /// Longest pause between two tries.
    pub(crate) backoff_max: Duration,
    /// Time between two summaries.
    pub(crate) summary_interval: Duration,
    /// How long a stopping agent goes on shipping.
    pub(crate) stop_timeout: Duration,
}

/// Where reports go.
#[derive(Clone, Debug)]
pub(crate) enum To {
    /// To an OTLP/HTTP receiver.
    Otlp(Otlp),
    /// To the end of a file, as NDJSON.
    File(PathBuf),
    /// To standard output, as NDJSON.
    Stdout,
}

impl fmt::Display for To {
    /// For people: the address or path, nothing secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Otlp(otlp) => out.write_str(&otlp.endpoint),
            Self::File(path) => write!(out, "file:{}", path.display()),
            Self::Stdout => out.write_str("stdout"),
        }
    }
}

/// How to talk to an OTLP/HTTP receiver.
#[derive(Clone, Debug)]
pub(crate) struct Otlp {
    /// `http://...` or `https://...` without a slash at its end.
    pub(crate) endpoint: String,
    /// Compression of request bodies.
    pub(crate) compression: Compression,
    /// Longest time that one request may take, its answer included.
    pub(crate) timeout: Duration,
    /// Certificates; of no use to `http://`.
    pub(crate) tls: Tls,
    /// Where the bearer token is.
    pub(crate) token: Option<Token>,
}

/// Certificates for `https://`, as PEM files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// Authorities that may sign the receiver's certificate; `None` takes those that the host trusts.
    pub(crate) ca: Option<PathBuf>,
    /// Certificate chain and key that the agent shows.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// Where the bearer token is. Never the token itself: a configuration may be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// In a file, without the white space around it.
    File(PathBuf),
    /// In the variable of this name.
    Variable(String),
}

/// `[ship]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawShip {
    /// Where reports go: `otlp`, `stdout`, or `file:PATH`; the latter two as NDJSON, without summaries. Default `otlp`.
    to: Key<String>,
    /// Address of the collector, or of any OTLP/HTTP receiver; `/v1/logs` and `/v1/metrics` are appended.
    /// Default `http://127.0.0.1:4318`.
    endpoint: Key<String>,
    /// `zstd`, `gzip` or `none`. Default `zstd`; an OpenTelemetry Collector takes all three.
    compression: Key<Compression>,
    /// PEM file of the authorities that may sign the receiver's certificate. Default: those that the host trusts.
    tls_ca: Key<String>,
    /// PEM file of the certificate chain that the agent shows to the receiver. Default: none.
    tls_certificate: Key<String>,
    /// PEM file of that certificate's private key.
    tls_key: Key<String>,
    /// File with the bearer token for the receiver. Read again when it changes, as the certificates are. Default: none.
    token_file: Key<String>,
    /// Variable with the bearer token, instead of a file. Default: none.
    token_env: Key<String>,
    /// Reports in one request. 1 to 10000, default 100.
    batch_reports_max: Key<u64>,
    /// Bytes of reports in one request before compression; one report may exceed it. 1024 to 64 MiB, default 1 MiB.
    batch_bytes_max: Key<u64>,
    /// Reports that wait for the collector. When it is reached, no more lines are read until some were delivered.
    /// 1 to 10000000, default 100000.
    spool_reports_max: Key<u64>,
    /// Bytes of the reports that wait for the collector; reaching it does the same. 1 MiB to 1 TiB, default 256 MiB.
    spool_bytes_max: Key<u64>,
    /// Reports kept that the collector refused for good; beyond it the oldest is dropped and counted.
    /// 0 to 1000000, default 1000.
    dead_letters_max: Key<u64>,
    /// Bytes of those reports; beyond it the same happens. 0 to 1 TiB, default 16 MiB.
    dead_letters_bytes_max: Key<u64>,
    /// Longest time that one request may take, its answer included. 1 to 600, default 10.
    timeout_s: Key<u64>,
    /// Longest pause between two tries; the first is half a second, each further one twice as long, give or take a
    /// random part. 1 to 3600, default 60.
    backoff_max_s: Key<u64>,
    /// Time between two summaries (OTLP metrics). 1 to 86400, default 60.
    summary_interval_s: Key<u64>,
    /// How long a stopping agent goes on shipping; what is left goes out after the next start. 0 to 300, default 5.
    stop_timeout_s: Key<u64>,
}

/// Compression of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    /// `Content-Encoding: zstd`
    Zstd,
    /// `Content-Encoding: gzip`
    Gzip,
    /// No `Content-Encoding`.
    None,
}

impl Check {
    pub(super) fn ship(&mut self, mut raw: RawShip) -> Ship {
        let reports_max = self.count("batch_reports_max", raw.batch_reports_max.take(), 100, 1..=10_000);
        Ship {
            to: self.to(&mut raw),
            batch_reports_max: NonZeroUsize::new(reports_max).unwrap_or(NonZeroUsize::MIN),
            batch_bytes_max: self.number("batch_bytes_max", raw.batch_bytes_max, MIB, 1_024..=64 * MIB),
            spool_reports_max: self.number(
                "spool_reports_max",
                raw.spool_reports_max,
                100_000,
                1..=10_000_000,
            ),
            spool_bytes_max: self.number("spool_bytes_max", raw.spool_bytes_max, 256 * MIB, MIB..=MIB * MIB),
            dead_letters_max: self.number("dead_letters_max", raw.dead_letters_max, 1_000, 0..=1_000_000),
            dead_letters_bytes_max: self.number(
                "dead_letters_bytes_max",
                raw.dead_letters_bytes_max,
                16 * MIB,
                0..=MIB * MIB,
            ),
            backoff_max: self.seconds("backoff_max_s", raw.backoff_max_s, 60, 1..=3_600),
            summary_interval: self.seconds("summary_interval_s", raw.summary_interval_s, 60, 1..=86_400),
            stop_timeout: self.seconds("stop_timeout_s", raw.stop_timeout_s, 5, 0..=300),
        }
    }

    fn to(&mut self, raw: &mut RawShip) -> To {
        // Checked whatever `to` says: what is written wrong is wrong.
        let otlp = self.otlp(raw);
        let Some(to) = &raw.to else { return To::Otlp(otlp) };
        match to.get_ref().as_str() {
            "otlp" => To::Otlp(otlp),
            "stdout" => To::Stdout,
            other => match other.strip_prefix("file:") {
                Some(path) if !path.is_empty() => To::File(path.into()),
                _ => {
                    let fix = "use \"otlp\", \"stdout\" or \"file:/path/of/reports.ndjson\"";
                    self.problem(Some(to.span()), "`to` is no place that reports can go to", fix);
                    To::Otlp(otlp)
                }
            },
        }
    }

    fn otlp(&mut self, raw: &mut RawShip) -> Otlp {
        let place = raw.endpoint.as_ref().map(Spanned::span);
        let (endpoint, url) = self.endpoint(raw.endpoint.take());
        Otlp {
            compression: raw.compression.take().map_or(Compression::Zstd, Spanned::into_inner),
            timeout: self.seconds("timeout_s", raw.timeout_s.take(), 10, 1..=600),
            tls: self.tls(raw, url.as_ref()),
            token: self.token(raw, url.as_ref(), place),
            endpoint,
        }
    }

    /// The address as it is kept, and as a URL if it is right.
    fn endpoint(&mut self, endpoint: Key<String>) -> (String, Option<Url>) {
        let Some(endpoint) = endpoint else {
            let default = "http://127.0.0.1:4318";
            return (default.to_owned(), Url::parse(default).ok());
        };
        let fix = "use an address like \"https://collector.example.org:4318\"";
        let url = match Url::parse(endpoint.get_ref()) {
            Ok(url) => Some(url),
            Err(error) => {
                self.problem(Some(endpoint.span()), format!("`endpoint` is not a URL: {error}"), fix);
                None
            }
        };
        let wrong = url.as_ref().and_then(|url| {
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                return Some(("`endpoint` is not an http:// or https:// address", fix));
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Some(("`endpoint` has a query: paths are appended to it", fix));
            }
            let named = !url.username().is_empty() || url.password().is_some();
            named.then_some(("`endpoint` holds a user or password", "use token_file or token_env"))
        });
        if let Some((what, fix)) = wrong {
            self.problem(Some(endpoint.span()), what, fix);
            return (String::new(), None);
        }
        (endpoint.into_inner().trim_end_matches('/').to_owned(), url)
    }

    fn tls(&mut self, raw: &mut RawShip, url: Option<&Url>) -> Tls {
        let given = [&raw.tls_ca, &raw.tls_certificate, &raw.tls_key];
        if let Some(first) = given.into_iter().flatten().next()
            && url.is_some_and(|url| url.scheme() == "http")
        {
            let what = "certificates are given, but `endpoint` is http://, which is not encrypted";
            self.problem(Some(first.span()), what, "set endpoint = \"https://...\"");
        }
        let client = match (raw.tls_certificate.take(), raw.tls_key.take()) {
            (Some(certificate), Some(key)) => {
                Some((certificate.into_inner().into(), key.into_inner().into()))
            }
            (None, None) => None,
            (Some(alone), None) | (None, Some(alone)) => {
                let fix = "set both tls_certificate and tls_key";
                self.problem(Some(alone.span()), "a client certificate is two files", fix);
                None
            }
        };
        Tls { ca: raw.tls_ca.take().map(|path| path.into_inner().into()), client }
    }

    fn token(
        &mut self,
        raw: &mut RawShip,
        url: Option<&Url>,
        endpoint: Option<Range<usize>>,
    ) -> Option<Token> {
        let (place, token) = match (raw.token_file.take(), raw.token_env.take()) {
            (None, None) => return None,
            (Some(file), None) => (file.span(), Token::File(file.into_inner().into())),
            (None, Some(name)) => (name.span(), Token::Variable(name.into_inner())),
            (Some(_), Some(name)) => {
                self.problem(
                    Some(name.span()),
                    "there are two tokens",
                    "set token_file or token_env, not both",
                );
                return None;
            }
        };
        if url.is_some_and(|url| url.scheme() == "http" && !is_loopback(url)) {
            let fix = "set endpoint = \"https://...\", or leave the token out";
            self.problem(endpoint.or(Some(place)), "the token would go over the network unencrypted", fix);
        }
        Some(token)
    }
}

/// Whether nothing leaves the host.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
