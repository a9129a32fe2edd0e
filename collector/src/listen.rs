//! The address: parsing, refusing what would expose the collector by accident, binding, and accepting connections, with
//! TLS or without.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::{IncomingStream, Listener};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::tls::Tls;

/// Where OTLP/HTTP is expected; agents send here by default.
pub(crate) const DEFAULT: &str = "127.0.0.1:4318";
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at once; further connections wait in the backlog.
const HANDSHAKES_MAX: usize = 64;
/// Rest after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// `--listen`: an IP address and a port; `localhost` stands for 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(SocketAddr);

impl Address {
    /// Whether this machine alone can reach it.
    pub(crate) fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

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
        "{0} can be reached from other machines, and this collector has no {1}: anybody there could read log lines or \
         post reports; configure it (deploy/collector.toml), listen on {DEFAULT} and reach it through an SSH tunnel, or \
         add --allow-remote if you trust everybody on that network"
    )]
    Remote(SocketAddr, &'static str),
    #[error(
        "{0} is in use by another program, perhaps a collector that already runs; stop it, or choose another port with \
         --listen (port 0 takes any free one)"
    )]
    InUse(SocketAddr),
    #[error("cannot listen on {address}; is it an address of this host, and may this user open the port?")]
    Bind { address: SocketAddr, source: io::Error },
}

/// Refuses an address that others can reach where `missing` names what should protect it.
///
/// # Errors
/// [`ListenError::Remote`].
pub(crate) fn check(address: Address, missing: Option<&'static str>) -> Result<(), ListenError> {
    match missing {
        Some(missing) if !address.is_loopback() => Err(ListenError::Remote(address.0, missing)),
        _ => Ok(()),
    }
}

/// Binds the address.
///
/// # Errors
/// [`ListenError`].
pub(crate) async fn bind(address: Address) -> Result<TcpListener, ListenError> {
    let Address(address) = address;
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Bind { address, source },
    })
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The certificate that it showed, verified.
    pub(crate) certificate: Option<Arc<CertificateDer<'static>>>,
}

impl axum::extract::connect_info::Connected<IncomingStream<'_, Incoming>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection, encrypted or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

type Accepted = (Box<dyn Io>, Peer);

/// Lets this process have as many connections as the system allows: each agent keeps one, and many systems begin with 1,024
/// for programs that use `select`, which this one does not.
pub(crate) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit of open files cannot be raised; more agents than it allows get no connection");
    }
}

/// Connections that are ready for HTTP. Handshakes run beside each other, so a slow one holds up nobody.
pub(crate) struct Incoming {
    local: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
    acceptor: JoinHandle<()>,
}

impl Incoming {
    /// Accepts on `listener`, with TLS if there is one.
    ///
    /// # Errors
    /// When the listener's address is not known.
    pub(crate) fn new(listener: TcpListener, tls: Option<Tls>) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let (ready, accepted) = mpsc::channel(HANDSHAKES_MAX);
        let acceptor = tokio::spawn(accept(listener, tls, ready));
        Ok(Self { local, accepted, acceptor })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Listener for Incoming {
    type Io = Box<dyn Io>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // Only if the acceptor ended by a panic: nothing comes any more, the server serves what it has.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.local, certificate: None })
    }
}

async fn accept(listener: TcpListener, tls: Option<Tls>, ready: mpsc::Sender<Accepted>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer goes out at once, not when the next packet is full.
        drop(stream.set_nodelay(true));
        let Some(tls) = &tls else {
            let peer = Peer { address, certificate: None };
            if ready.send((Box::new(stream), peer)).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(place) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (acceptor, ready) = (tls.acceptor(), ready.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(acceptor, stream, address)).await {
                Ok(Ok(accepted)) => drop(ready.send(accepted).await),
                Ok(Err(error)) => debug!(%address, %error, "handshake failed"),
                Err(_) => debug!(%address, "handshake took too long"),
            }
        });
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) -> io::Result<Accepted> {
    let stream = acceptor.accept(stream).await?;
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.map(|certificate| Arc::new(certificate.clone()));
    Ok((Box::new(stream), Peer { address, certificate }))
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

    #[test]
    fn only_loopback_is_bound_unprotected() {
        for text in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let error = check(text.parse().unwrap(), Some("TLS")).unwrap_err();
            assert!(
                error.to_string().contains("no TLS") && error.to_string().contains("--allow-remote"),
                "{error}"
            );
            assert!(check(text.parse().unwrap(), None).is_ok());
        }
        assert!(check("127.0.0.1:0".parse().unwrap(), Some("TLS")).is_ok());
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(Address(address)).await.unwrap_err();
        assert!(error.to_string().contains(&format!("{address} is in use")), "{error}");
    }
}
