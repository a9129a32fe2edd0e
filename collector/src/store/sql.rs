//! One way to speak to both databases. Statements are written in the SQL that SQLite and PostgreSQL have in common, with
//! `?1` or `?` for values; the little that differs is in [`sqlite`] and [`postgres`]. Numbers are 64 bits, truth values
//! are stored as 0 and 1.

mod cell;
pub(super) mod postgres;
mod sqlite;
mod value;

use std::cell::RefCell;
use std::ops::Deref;

use thiserror::Error;

pub(crate) use cell::Row;
use postgres::Session;
pub(crate) use value::{Params, ToValue, Value};

/// A statement did not do what it should.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{}", postgres::told(.0))]
    Postgres(#[from] ::postgres::Error),
    #[error("there is no row")]
    NoRow,
    #[error("what is stored is damaged: {0}")]
    Damaged(std::io::Error),
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A connection to the database. One statement runs at a time.
pub(crate) struct Connection(Engine);

enum Engine {
    Sqlite(rusqlite::Connection),
    Postgres(Box<RefCell<Session>>),
}

/// The values of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        [$($crate::store::sql::ToValue::value(&$value)),*]
    };
}
pub(crate) use params;

impl From<rusqlite::Connection> for Connection {
    fn from(connection: rusqlite::Connection) -> Self {
        Self(Engine::Sqlite(connection))
    }
}

impl From<Session> for Connection {
    fn from(session: Session) -> Self {
        Self(Engine::Postgres(Box::new(RefCell::new(session))))
    }
}

impl Connection {
    /// A statement that stays prepared for the next time.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        Ok(match &self.0 {
            Engine::Sqlite(connection) => Statement::Sqlite(connection.prepare_cached(sql)?),
            Engine::Postgres(session) => Statement::Postgres(session, sql.to_owned()),
        })
    }

    /// Several statements without values.
    pub(crate) fn execute_batch(&self, sql: &str) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Engine::Postgres(session) => session.borrow_mut().execute_batch(sql),
        }
    }

    /// Begins to write. Nobody else writes until the end, neither in this process nor in another: what is counted, joined and
    /// numbered here would have to be merged otherwise. A collector's work is decoding, which goes on meanwhile.
    pub(super) fn begin(&self) -> Result<Transaction<'_>> {
        self.execute_batch(match &self.0 {
            Engine::Sqlite(_) => "BEGIN IMMEDIATE",
            Engine::Postgres(_) => postgres::BEGIN,
        })?;
        Ok(Transaction { connection: self, over: false })
    }

    /// What is read until it is dropped is of one moment.
    pub(crate) fn snapshot(&self) -> Result<Transaction<'_>> {
        self.execute_batch(match &self.0 {
            Engine::Sqlite(_) => "BEGIN",
            Engine::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })?;
        Ok(Transaction { connection: self, over: false })
    }

    /// Bytes in use.
    pub(crate) fn used_bytes(&self) -> Result<u64> {
        match &self.0 {
            Engine::Sqlite(connection) => Ok(sqlite::used_bytes(connection)?),
            Engine::Postgres(_) => postgres::used_bytes(self),
        }
    }

    /// To be called once in each transaction that changes anything, with how many bytes of packed reports came or went.
    pub(super) fn changed(&self, bytes: i64) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(_) => postgres::changed(self, bytes),
        }
    }

    /// How often something was changed by whomever; `None` where nobody else changes anything.
    pub(super) fn changes(&self) -> Result<Option<i64>> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(_) => postgres::changes(self).map(Some),
        }
    }

    /// Whether this is the one collector on the database that tells people of incidents. Who asks first is, for as long as its
    /// connection holds.
    pub(super) fn leads(&self) -> Result<bool> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(true),
            Engine::Postgres(session) => session.borrow_mut().leads(),
        }
    }

    /// Whether it is of no use any more.
    pub(super) fn is_lost(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(_) => false,
            Engine::Postgres(session) => session.borrow_mut().is_lost(),
        }
    }

    /// Brings what is only in a log into the file.
    pub(super) fn fold(&self) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => Ok(sqlite::fold(connection)?),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Breaks off the statement that runs when it is dropped; without effect on a connection that is idle. PostgreSQL does it
    /// by itself after a time.
    pub(super) fn interrupt_on_drop(&self) -> Option<InterruptOnDrop> {
        match &self.0 {
            Engine::Sqlite(connection) => Some(InterruptOnDrop(connection.get_interrupt_handle())),
            Engine::Postgres(_) => None,
        }
    }
}

/// See [`Connection::interrupt_on_drop`].
pub(super) struct InterruptOnDrop(rusqlite::InterruptHandle);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

/// A transaction, taken back unless it is committed.
pub(crate) struct Transaction<'a> {
    connection: &'a Connection,
    over: bool,
}

impl Transaction<'_> {
    /// Makes it durable.
    pub(super) fn commit(mut self) -> Result<()> {
        self.connection.execute_batch("COMMIT")?;
        self.over = true;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.over {
            // Fails where the database has taken it back already, or is gone.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
    }
}

/// A prepared statement.
pub(crate) enum Statement<'c> {
    Sqlite(rusqlite::CachedStatement<'c>),
    Postgres(&'c RefCell<Session>, String),
}

impl Statement<'_> {
    /// Runs it; returns how many rows it changed.
    pub(crate) fn execute(&mut self, params: impl Params) -> Result<usize> {
        params.with(|values| match self {
            Self::Sqlite(statement) => Ok(statement.execute(rusqlite::params_from_iter(values))?),
            Self::Postgres(session, sql) => session.borrow_mut().execute(sql, values),
        })
    }

    /// Calls `visit` with each row.
    pub(crate) fn query_each(
        &mut self,
        params: impl Params,
        mut visit: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        params.with(|values| match self {
            Self::Sqlite(statement) => {
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                while let Some(row) = rows.next()? {
                    visit(&Row::Sqlite(row))?;
                }
                Ok(())
            }
            Self::Postgres(session, sql) => {
                let rows = session.borrow_mut().query(sql, values)?;
                rows.iter().try_for_each(|row| visit(&Row::Postgres(row)))
            }
        })
    }

    /// What `read` makes of each row.
    pub(crate) fn query_map<T>(
        &mut self,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        self.query_each(params, |row| {
            all.push(read(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// What `read` makes of the only row.
    ///
    /// # Errors
    /// [`Error::NoRow`] among others.
    pub(crate) fn query_row<T>(
        &mut self,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.query_optional(params, read)?.ok_or(Error::NoRow)
    }

    /// What `read` makes of the first row, if there is one.
    pub(crate) fn query_optional<T>(
        &mut self,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        params.with(|values| match self {
            Self::Sqlite(statement) => {
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
            }
            Self::Postgres(session, sql) => {
                let rows = session.borrow_mut().query(sql, values)?;
                rows.first().map(|row| read(&Row::Postgres(row))).transpose()
            }
        })
    }
}

impl Error {
    /// Whether it can be due to what one batch holds. A full disk or a locked file is not: trying every batch by itself would
    /// only make all of them wait longer.
    pub(super) fn is_of_one_batch(&self) -> bool {
        match self {
            Self::Sqlite(error) => sqlite::is_of_one_batch(error),
            Self::Postgres(error) => postgres::is_of_one_batch(error),
            Self::NoRow | Self::Damaged(_) => true,
        }
    }

    /// Whether the database broke it off because it took too long.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(&::postgres::error::SqlState::QUERY_CANCELED))
    }
}
