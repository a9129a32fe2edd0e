//! Where the database is: a file, or a server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OpenFlags;

use super::sql::postgres::{SCHEMES, Server};
use super::sql::{self, Connection};
use super::{OpenError, QUERY_TIMEOUT_MS, schema};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    File(PathBuf),
    Server(Server),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(server) => write!(f, "{server}"),
        }
    }
}

impl Place {
    /// A URL of a server, or else the path of a file. `authorities` are those of the server's certificate.
    ///
    /// # Errors
    /// Says what is wrong with the URL.
    pub(crate) fn new(text: &Path, authorities: Option<&Path>) -> anyhow::Result<Self> {
        match url(text) {
            Some(url) => Server::new(url, authorities).map(Self::Server),
            None => Ok(Self::File(text.to_owned())),
        }
    }

    /// Whether other collectors may use it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// A connection that writes, once the schema is the current one.
    pub(super) fn open(&self) -> Result<Connection, OpenError> {
        match self {
            Self::File(path) => schema::open(path),
            Self::Server(server) => schema::connect(server),
        }
    }

    /// A connection that reads.
    pub(super) fn open_reader(&self) -> sql::Result<Connection> {
        let timeout = Duration::from_millis(QUERY_TIMEOUT_MS);
        match self {
            Self::File(path) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = rusqlite::Connection::open_with_flags(path, flags)?;
                connection.busy_timeout(timeout)?;
                Ok(connection.into())
            }
            Self::Server(server) => server.connect(Some(timeout)),
        }
    }
}

/// Whether a text stands for a server.
pub(crate) fn is_server(text: &Path) -> bool {
    url(text).is_some()
}

/// The text, if it is the URL of a server.
fn url(text: &Path) -> Option<&str> {
    text.to_str().filter(|text| SCHEMES.iter().any(|scheme| text.starts_with(scheme)))
}
