//! The address at which the agent is asked: a loopback port, or a socket that its user and group may open.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::Listen;

/// Who may open the socket: user and group.
const SOCKET_MODE: u32 = 0o660;

/// The address cannot be listened to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    /// Another program listens.
    #[error("{0} is in use; give each agent of this host another [status] listen")]
    InUse(Listen),
    /// Something that is no socket is at the path.
    #[error("`{0}` exists and is no socket; choose another path for [status] listen")]
    NoSocket(PathBuf),
    /// Anything else.
    #[error("{listen} cannot be listened to; check the directory and its permissions")]
    Failed {
        /// The address.
        listen: Listen,
        /// Cause.
        source: io::Error,
    },
}

/// An address being listened to. A socket's file goes with it.
#[derive(Debug)]
pub(super) enum Listener {
    /// A loopback port.
    Tcp(TcpListener),
    /// A socket and its path.
    Unix(UnixListener, PathBuf),
}

/// A connection of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`ListenError`].
    pub(super) async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let bound = match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Listen::Unix(path) => {
                remove_stale(path).await?;
                bind_unix(path).map(|listener| Self::Unix(listener, path.clone()))
            }
        };
        bound.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(listen.clone()),
            _ => ListenError::Failed { listen: listen.clone(), source },
        })
    }

    /// Where it listens; a port 0 is the one that was free.
    pub(super) fn address(&self) -> Option<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(Listen::Tcp),
            Self::Unix(_, path) => Some(Listen::Unix(path.clone())),
        }
    }

    /// The next connection; whether it came over TCP.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Stream>, bool)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), true))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), false))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // It may be gone already.
            drop(std::fs::remove_file(path));
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// Removes the socket of an agent that was killed: nobody answers there.
async fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let listen = Listen::Unix(path.to_owned());
            std::fs::remove_file(path).map_err(|source| ListenError::Failed { listen, source })
        }
        _ => Err(ListenError::InUse(Listen::Unix(path.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_by_a_kill_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let listen = Listen::Unix(path.clone());
        // std's listener leaves its file behind, as a killed process does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = Listener::bind(&listen).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        let second = Listener::bind(&listen).await;
        assert!(matches!(second, Err(ListenError::InUse(_))), "{second:?}");
        drop(first);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "dear diary").unwrap();
        let error = Listener::bind(&Listen::Unix(path.clone())).await.unwrap_err().to_string();
        assert!(error.contains("notes.txt") && path.exists(), "{error}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let any = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let first = Listener::bind(&any).await.unwrap();
        let taken = first.address().unwrap();
        let error = Listener::bind(&taken).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{taken} is in use")), "{error}");
    }
}
