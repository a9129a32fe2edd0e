//! Sources of lines other than log files: standard input, and shippers that run on this node already.
//!
//! What a source receives goes into the [`Journal`], files under the state directory that are followed like any other
//! log. So a received line is as safe as a line in a log from the moment its sender is told that it was taken, raw
//! lines can be read back for reports, and a full spool pushes back: the journal fills, and nothing more is taken
//! until there is room. Loopback only: what arrives is neither encrypted nor asked who it is.

mod forward;
mod journal;
mod otlp;
mod stdin;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::config::Receive;
use crate::state::Store;
pub(crate) use journal::FILES;
use journal::Journal;

/// Connections of one receiver; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// A source cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The journal cannot be used.
    #[error("received lines cannot be kept; check owner, permissions and free space of the state directory")]
    Journal(#[from] journal::JournalError),
    /// The address is taken or not this host's.
    #[error("cannot listen on {address} for shippers; is another program there?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Cause.
        source: io::Error,
    },
    /// The operating system has no thread for it.
    #[error("no thread for reading standard input")]
    Thread(#[source] io::Error),
}

/// Starts what `receive` asks for; `ended` is called when standard input has come to its end and all of it is in the
/// journal.
///
/// # Errors
/// When something cannot be started.
pub(crate) async fn start(
    receive: &Receive,
    store: &Arc<Store>,
    ended: impl FnOnce() + Send + 'static,
) -> Result<(), SourceError> {
    if !receive.any() {
        return Ok(());
    }
    let journal = Arc::new(Journal::open(&receive.directory, receive.bytes_max, Arc::clone(store))?);
    if let Some(address) = receive.forward {
        let listener = listen(address).await?;
        tokio::spawn(serve(listener, Arc::clone(&journal), forward::receive));
    }
    if let Some(address) = receive.otlp {
        let listener = listen(address).await?;
        tokio::spawn(serve(listener, Arc::clone(&journal), otlp::receive));
    }
    if receive.stdin {
        stdin::start(journal, ended).map_err(SourceError::Thread)?;
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, SourceError> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| SourceError::Listen { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    info!(%address, "listening for shippers");
    Ok(listener)
}

/// Has `receive` serve every connection until the process ends, at most [`CONNECTIONS_MAX`] at a time.
async fn serve<Receiving>(
    listener: TcpListener,
    journal: Arc<Journal>,
    receive: impl Fn(TcpStream, Arc<Journal>) -> Receiving,
) where
    Receiving: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Nothing closes it.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let receiving = receive(accept(&listener).await, Arc::clone(&journal));
        tokio::spawn(async move {
            receiving.await;
            drop(permit);
        });
    }
}

/// Accepts for ever. A process without file descriptors left goes on when it has some again.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                warn!(%error, "connection cannot be accepted");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}
