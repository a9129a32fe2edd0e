//! `collector backup`: a whole, compact copy of the database as it is at one moment, while a collector writes to it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

/// No copy was made.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    #[error("database `{path}` cannot be read; is it there, and may this user read it?")]
    Read { path: PathBuf, source: rusqlite::Error },
    #[error("`{path}` exists already; choose another name or remove it")]
    Exists { path: PathBuf },
    #[error("the copy `{path}` cannot be written; is there room for it?")]
    Copy { path: PathBuf, source: rusqlite::Error },
    #[error("the copy `{path}` cannot be made durable")]
    Sync { path: PathBuf, source: io::Error },
}

/// Copies `database` to `copy`, which appears only once it is complete and on the disk.
///
/// # Errors
/// [`BackupError`]; nothing is left of an unfinished copy.
pub(crate) fn backup(database: &Path, copy: &Path) -> Result<(), BackupError> {
    if copy.exists() {
        return Err(BackupError::Exists { path: copy.to_owned() });
    }
    let read = |source| BackupError::Read { path: database.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags).map_err(read)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(read)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(read)?;
    let mut name = copy.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    drop(fs::remove_file(&partial));
    let written = write(&connection, &partial, copy);
    if written.is_err() {
        drop(fs::remove_file(&partial));
    }
    written
}

fn write(connection: &Connection, partial: &Path, copy: &Path) -> Result<(), BackupError> {
    connection
        .execute("VACUUM INTO ?1", [partial.to_string_lossy()])
        .map_err(|source| BackupError::Copy { path: copy.to_owned(), source })?;
    let sync = |source| BackupError::Sync { path: copy.to_owned(), source };
    File::open(partial).and_then(|file| file.sync_all()).map_err(sync)?;
    fs::rename(partial, copy).map_err(sync)?;
    let folder = copy.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(sync)
}
