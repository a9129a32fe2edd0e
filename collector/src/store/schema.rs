//! Opening the file: pragmas, schema and its version in `user_version`. A migration is one more entry in [`STEPS`].

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::OpenError;

/// `BLKS` in `application_id`: this file is ours.
const APPLICATION_ID: i64 = 0x424c_4b53;
/// How long another process may hold the file before a transaction fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Step `n` brings version `n` to `n + 1`. Steps are never changed once released.
const STEPS: &[&str] = &[V1];

/// `seq` grows with each arrival of a new current state: it orders the sessions newest first, is the cursor of paging,
/// and cannot be forged by a node with a wrong clock. Deleting old sessions must leave the highest `seq` in place.
const V1: &str = "
    CREATE TABLE sessions (
        seq         INTEGER PRIMARY KEY,
        id          TEXT NOT NULL UNIQUE,
        revision    INTEGER NOT NULL,
        node        TEXT NOT NULL,
        block       TEXT NOT NULL,
        pool        TEXT NOT NULL,
        flagged     INTEGER NOT NULL,
        score       REAL NOT NULL,
        threshold   REAL NOT NULL,
        model       TEXT NOT NULL,
        reasons     TEXT NOT NULL,
        start_ms    INTEGER NOT NULL,
        end_ms      INTEGER NOT NULL,
        events      INTEGER NOT NULL,
        received_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX sessions_node ON sessions (node, seq);
    CREATE INDEX sessions_block ON sessions (block, seq);
    CREATE INDEX sessions_taken_back ON sessions (seq) WHERE flagged = 0;

    CREATE TABLE reports (
        id   TEXT PRIMARY KEY,
        body TEXT NOT NULL
    ) STRICT;

    CREATE TABLE revisions (
        id          TEXT NOT NULL,
        revision    INTEGER NOT NULL,
        flagged     INTEGER NOT NULL,
        score       REAL NOT NULL,
        model       TEXT NOT NULL,
        received_ms INTEGER NOT NULL,
        PRIMARY KEY (id, revision)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE nodes (
        node             TEXT PRIMARY KEY,
        agent_version    TEXT NOT NULL,
        model            TEXT NOT NULL,
        first_seen_ms    INTEGER NOT NULL,
        last_seen_ms     INTEGER NOT NULL,
        sessions_flagged INTEGER NOT NULL DEFAULT 0,
        metrics          TEXT NOT NULL DEFAULT '{}',
        metrics_ms       INTEGER
    ) STRICT;
";

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
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The WAL is cut back after a burst instead of keeping its largest size for good.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    // An immediate transaction: of two collectors that start at once, the second sees what the first has made.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found = usize::try_from(pragma(&transaction, "user_version")?).unwrap_or(0);
    for step in STEPS.iter().skip(found) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(STEPS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_gets_the_schema_and_durable_commits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sqlite");
        drop(open(&path).unwrap());
        let connection = open(&path).unwrap();
        assert_eq!(pragma(&connection, "user_version").unwrap(), 1);
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
        assert!(matches!(open(&path), Err(OpenError::Newer { found: 9, known: 1, .. })));
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_file() {
        let error = open(Path::new("/nonexistent/a.sqlite")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/a.sqlite"), "{error}");
    }
}
