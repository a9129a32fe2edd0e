//! The address: parsing, refusing what would expose the collector by accident, binding.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;
use tokio::net::TcpListener;

/// Where OTLP/HTTP is expected; agents send here by default.
pub(crate) const DEFAULT: &str = "127.0.0.1:4318";

/// `--listen`: an IP address and a port; `localhost` stands for 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(SocketAddr);

impl FromStr for Address {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        }
        text.parse().map(Self).map_err(|_| ListenError::Address)
    }
}

/// The collector cannot listen.
#[derive(Debug, Error)]
pub(crate) enum ListenError {
    #[error("give an IP address and a port, such as {DEFAULT} or [::1]:4318; port 0 takes any free one")]
    Address,
    #[error(
        "{0} can be reached from other machines, and this collector has no TLS and no logins yet: anybody there could \
         read log lines and post reports; listen on {DEFAULT} and reach it through an SSH tunnel or a proxy with TLS, or \
         add --allow-remote if you trust everybody on that network"
    )]
    Remote(SocketAddr),
    #[error(
        "{0} is in use by another program, perhaps a collector that already runs; stop it, or choose another port with \
         --listen (port 0 takes any free one)"
    )]
    InUse(SocketAddr),
    #[error("cannot listen on {address}; is it an address of this host, and may this user open the port?")]
    Bind { address: SocketAddr, source: io::Error },
}

/// Binds the address.
///
/// # Errors
/// [`ListenError`].
pub(crate) async fn bind(address: Address, allow_remote: bool) -> Result<TcpListener, ListenError> {
    let Address(address) = address;
    if !allow_remote && !address.ip().to_canonical().is_loopback() {
        return Err(ListenError::Remote(address));
    }
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Bind { address, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        assert_eq!("localhost:0".parse::<Address>().unwrap(), "127.0.0.1:0".parse().unwrap());
        assert!("[::1]:4318".parse::<Address>().is_ok());
        for text in ["4318", "127.0.0.1", "example.org:4318", "localhost:99999", ""] {
            assert!(text.parse::<Address>().unwrap_err().to_string().contains(DEFAULT), "{text}");
        }
    }

    #[tokio::test]
    async fn only_loopback_is_bound_unless_allowed() {
        for text in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let error = bind(text.parse().unwrap(), false).await.unwrap_err();
            assert!(matches!(error, ListenError::Remote(_)), "{text}");
            assert!(error.to_string().contains("--allow-remote"));
        }
        assert!(bind("127.0.0.1:0".parse().unwrap(), false).await.is_ok());
        assert!(bind("0.0.0.0:0".parse().unwrap(), true).await.is_ok());
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(Address(address), false).await.unwrap_err();
        assert!(error.to_string().contains(&format!("{address} is in use")), "{error}");
    }
}
