//! `[status]`: where the agent says how it is doing. What it says names log files and blocks, so it stays on the host.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Check;
use super::raw::Key;

/// Default of `listen`.
const LISTEN: &str = "127.0.0.1:9465";

/// `[status]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStatus {
    /// Where `/status`, `/metrics`, `/healthz` and `/readyz` are answered over HTTP: a loopback address with a port,
    /// `unix:` and the absolute path of a socket, or `off`. Default `127.0.0.1:9465`.
    listen: Key<String>,
}

/// An address that other machines cannot reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// A port of the loopback interface; 0 is any free one.
    Tcp(SocketAddr),
    /// A socket in the file system, by its absolute path.
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "http://{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl Check {
    /// `None` is off.
    pub(super) fn status(&mut self, raw: &RawStatus) -> Option<Listen> {
        let text = raw.listen.as_ref().map_or(LISTEN, |listen| listen.get_ref());
        if text == "off" {
            return None;
        }
        listen(text)
            .map_err(|what| {
                let fix =
                    "use \"127.0.0.1:9465\", \"[::1]:9465\", \"unix:/run/blocksift/agent.sock\" or \"off\"";
                self.problem(raw.listen.as_ref().map(toml::Spanned::span), what, fix);
            })
            .ok()
    }
}

fn listen(text: &str) -> Result<Listen, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match Path::new(path) {
            path if path.is_absolute() => Ok(Listen::Unix(path.to_owned())),
            _ => Err("the path of a socket is absolute"),
        };
    }
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().to_canonical().is_loopback() => Ok(Listen::Tcp(address)),
        Ok(_) => {
            Err("other machines can reach this address, and what is said there names log files and blocks")
        }
        Err(_) => Err("not an IP address with a port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_listened_to() {
        for right in ["127.0.0.1:9465", "localhost:0", "[::1]:1", "127.8.0.1:9465", "unix:/run/a.sock"] {
            assert!(listen(right).is_ok(), "{right}");
        }
        for wrong in
            ["0.0.0.0:9465", "[::]:9465", "192.0.2.1:1", "[::ffff:192.0.2.1]:1", "9465", "unix:a.sock", ""]
        {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }
}
