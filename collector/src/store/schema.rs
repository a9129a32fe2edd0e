//! Opening the file: pragmas, schema and its version in `user_version`. A migration is one more entry in [`STEPS`].

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction};

use super::{OpenError, upgrade};

/// `BLKS` in `application_id`: this file is ours.
const APPLICATION_ID: i64 = 0x424c_4b53;
/// How long another process may hold the file before a transaction fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Memory for pages of the writer: the index of ids is written to at random.
const CACHE_KIB: i64 = 64 * 1024;
/// Pages of the write-ahead log after which it is folded into the file.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Statements that stay prepared; the writer uses about 50.
const STATEMENTS_MAX: usize = 64;

/// Brings a file from one version to the next.
enum Step {
    Sql(&'static str),
    Code(fn(&Transaction<'_>) -> rusqlite::Result<()>),
}

/// Step `n` brings version `n` to `n + 1`. Steps are never changed once released.
const STEPS: &[Step] = &[Step::Sql(V1), Step::Code(upgrade::to_v2), Step::Sql(V3), Step::Sql(V4)];

const V1: &str = include_str!("v1.sql");
/// The tables of version 2; [`upgrade`] fills them from those of version 1.
pub(super) const V2: &str = include_str!("v2.sql");
const V3: &str = include_str!("v3.sql");
const V4: &str = include_str!("v4.sql");

/// Opens or creates the file for writing, at the current schema version.
///
/// # Errors
/// [`OpenError`]; a file that is not ours is left untouched.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let open_error = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path: path.to_owned() },
        _ => OpenError::Open { path: path.to_owned(), source },
    };
    let mut connection = Connection::open(path).map_err(open_error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(open_error)?;
    let found = pragma(&connection, "user_version").map_err(open_error)?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if !is_ours(&connection, found).map_err(open_error)? {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    prepare(&mut connection).map_err(open_error)?;
    Ok(connection)
}

/// An empty file is ours too.
fn is_ours(connection: &Connection, version: i64) -> rusqlite::Result<bool> {
    if pragma(connection, "application_id")? == APPLICATION_ID {
        return Ok(version >= 0);
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(version == 0 && tables == 0)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // The WAL is cut back after a burst instead of keeping its largest size for good.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    // An immediate transaction: of two collectors that start at once, the second sees what the first has made.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found = usize::try_from(pragma(&transaction, "user_version")?).unwrap_or(0);
    for step in STEPS.iter().skip(found) {
        match step {
            Step::Sql(sql) => transaction.execute_batch(sql)?,
            Step::Code(code) => code(&transaction)?,
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(STEPS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file as the first version left it.
    pub(in crate::store) fn create_v1(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(V1).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection
    }

    #[test]
    fn a_new_file_gets_the_schema_and_durable_commits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sqlite");
        drop(open(&path).unwrap());
        let connection = open(&path).unwrap();
        assert_eq!(pragma(&connection, "user_version").unwrap(), 4);
        assert_eq!(pragma(&connection, "synchronous").unwrap(), 2);
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn a_foreign_file_is_left_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("notes.txt");
        std::fs::write(&text, "these are notes and not a database, however long they are".repeat(20))
            .unwrap();
        let before = std::fs::read(&text).unwrap();
        assert!(matches!(open(&text), Err(OpenError::Foreign { .. })));
        assert_eq!(std::fs::read(&text).unwrap(), before);

        let other = directory.path().join("other.sqlite");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        let before = std::fs::read(&other).unwrap();
        assert!(matches!(open(&other), Err(OpenError::Foreign { .. })));
        assert_eq!(std::fs::read(&other).unwrap(), before);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sqlite");
        open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
        assert!(matches!(open(&path), Err(OpenError::Newer { found: 9, known: 4, .. })));
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_file() {
        let error = open(Path::new("/nonexistent/a.sqlite")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/a.sqlite"), "{error}");
    }
}
