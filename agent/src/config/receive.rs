//! `[receive]`: lines that come from standard input or from a shipper on this node, beside or instead of log files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::raw::Key;
use super::{Check, MIB};

/// A checked `[receive]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receive {
    /// Whether lines come from standard input.
    pub(crate) stdin: bool,
    /// Where to listen for the forward protocol.
    pub(crate) forward: Option<SocketAddr>,
    /// Where to listen for OTLP/HTTP logs.
    pub(crate) otlp: Option<SocketAddr>,
    /// Bytes of received lines that are kept.
    pub(crate) bytes_max: u64,
    /// Where they are kept: within `state_dir`.
    pub(crate) directory: PathBuf,
}

impl Receive {
    /// Whether anything is received.
    pub(crate) fn any(&self) -> bool {
        self.stdin || self.forward.is_some() || self.otlp.is_some()
    }
}

/// `[receive]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReceive {
    /// Whether lines are read from standard input. When it ends and there are no `logs.paths`, every session is scored,
    /// everything is delivered, and the agent exits. Default `false`.
    stdin: Key<bool>,
    /// Loopback address to listen on for the forward protocol of Fluent Bit and Fluentd. Default: none.
    forward: Key<String>,
    /// Loopback address to listen on for OTLP/HTTP logs. Default: none.
    otlp: Key<String>,
    /// Bytes of received lines that are kept under `state_dir`: until they are read, and as long as there is room, to
    /// be read back for reports. When it is reached by unread lines, none are taken. 1 MiB to 1 TiB, default 256 MiB.
    bytes_max: Key<u64>,
}

impl RawReceive {
    /// Whether there is a source beside log files.
    pub(super) fn any(&self) -> bool {
        self.stdin.as_ref().is_some_and(|stdin| *stdin.get_ref())
            || self.forward.is_some()
            || self.otlp.is_some()
    }
}

impl Check {
    pub(super) fn receive(&mut self, raw: RawReceive, state_dir: &Path) -> Receive {
        Receive {
            stdin: raw.stdin.is_some_and(Spanned::into_inner),
            forward: self.loopback("forward", raw.forward),
            otlp: self.loopback("otlp", raw.otlp),
            bytes_max: self.number("bytes_max", raw.bytes_max, 256 * MIB, MIB..=MIB * MIB),
            directory: state_dir.join("received"),
        }
    }

    /// An address that only this host reaches: nobody is asked who they are.
    fn loopback(&mut self, name: &str, address: Key<String>) -> Option<SocketAddr> {
        let address = address?;
        let fix = "use a loopback address and a port, such as \"127.0.0.1:24224\"";
        match address.get_ref().parse::<SocketAddr>() {
            Ok(parsed) if parsed.ip().is_loopback() => return Some(parsed),
            Ok(_) => {
                let what =
                    format!("`{name}` can be reached by other hosts, and nobody is asked who they are");
                self.problem(Some(address.span()), what, fix);
            }
            Err(_) => {
                self.problem(Some(address.span()), format!("`{name}` is not an address with a port"), fix);
            }
        }
        None
    }
}
