//! What is PostgreSQL's own: the connection, and what takes the place of what a file knows of itself.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use postgres::config::{Config, Host, SslMode};
use postgres::error::{Error, SqlState};
use postgres::types::{ToSql, Type};
use postgres::{Client, NoTls, Statement};
use rustls::ClientConfig;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Connection, Result, Value, params};
use crate::tls;

/// What a URL begins with.
pub(crate) const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];
/// Where the password may be instead of in the URL, as for every client of PostgreSQL.
const PASSWORD_VARIABLE: &str = "PGPASSWORD";
/// How long the server may take to answer at the start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a check of an idle connection may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a transaction waits for those of other collectors.
const LOCK_TIMEOUT_MS: u64 = 30_000;
/// Statements that stay prepared; filters make some of their own.
const STATEMENTS_MAX: usize = 256;

/// See [`Connection::begin`]. The lock is the schema's: several stores may lie in one database.
pub(super) const BEGIN: &str =
    "BEGIN; SELECT pg_advisory_xact_lock(hashtext('blocksift writes'), hashtext(current_schema()))";

/// See [`Session::leads`].
const LEAD: &str = "SELECT pg_try_advisory_lock(hashtext('blocksift leads'), hashtext(current_schema()))";

/// A server, and what to tell it.
#[derive(Clone)]
pub(crate) struct Server {
    config: Arc<Config>,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            if let Some(port) = self.config.get_ports().get(at).or(self.config.get_ports().first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }
}

impl Server {
    /// Reads a URL as `libpq` defines it. `authorities` is a PEM file with those that the server's certificate may come from,
    /// instead of the system's.
    ///
    /// # Errors
    /// Says what is wrong, without the password.
    pub(crate) fn new(url: &str, authorities: Option<&Path>) -> anyhow::Result<Self> {
        // Its errors quote what they could not read, which may be the password.
        let mut config: Config = url.parse().ok().context(
            "not a URL such as `postgresql://user@host/database?sslmode=require`, or it has an option that is not known",
        )?;
        if config.get_hosts().is_empty() {
            anyhow::bail!("the URL names no host");
        }
        if config.get_password().is_none()
            && let Ok(password) = std::env::var(PASSWORD_VARIABLE)
        {
            config.password(password);
        }
        config.application_name("blocksift-collector").keepalives_idle(Duration::from_secs(30));
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(Arc::new(tls::client(authorities)?)),
        };
        Ok(Self { config: Arc::new(config), tls })
    }

    /// Connects. A statement of a connection that only reads is broken off after `timeout`.
    ///
    /// # Errors
    /// The server cannot be reached, or does not want us.
    pub(in crate::store) fn connect(&self, timeout: Option<Duration>) -> Result<Connection> {
        let mut client = match &self.tls {
            None => self.config.connect(NoTls)?,
            Some(tls) => self.config.connect(MakeRustlsConnect::new(ClientConfig::clone(tls)))?,
        };
        client.batch_execute(&match timeout {
            Some(timeout) => format!(
                "SET default_transaction_read_only = on; SET statement_timeout = {}",
                timeout.as_millis()
            ),
            // What was acknowledged survives a crash of the server, whatever its default is.
            None => format!("SET synchronous_commit = on; SET lock_timeout = {LOCK_TIMEOUT_MS}"),
        })?;
        Ok(Session { client: Some(client), statements: HashMap::new(), leads: false }.into())
    }
}

/// A connection and its prepared statements.
pub(crate) struct Session {
    /// Always there until it is dropped.
    client: Option<Client>,
    statements: HashMap<String, Statement>,
    leads: bool,
}

impl Session {
    #[expect(clippy::expect_used, reason = "taken by drop alone")]
    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("the client is there until the session is dropped")
    }

    pub(super) fn execute_batch(&mut self, sql: &str) -> Result<()> {
        Ok(self.client().batch_execute(sql)?)
    }

    pub(super) fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<usize> {
        let statement = self.statement(sql, values)?;
        let changed = self.client().execute(&statement, &dynamic(values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<postgres::Row>> {
        let statement = self.statement(sql, values)?;
        Ok(self.client().query(&statement, &dynamic(values))?)
    }

    fn statement(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        let types: Vec<Type> = values.iter().map(Value::postgres_type).collect();
        let statement = self.client().prepare_typed(&numbered(sql), &types)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// See [`Connection::leads`]. The lock is this connection's until it ends.
    pub(super) fn leads(&mut self) -> Result<bool> {
        if !self.leads {
            self.leads = self.client().query_one(LEAD, &[])?.try_get(0)?;
        }
        Ok(self.leads)
    }

    /// Asks the server, since a connection that broke while it was idle looks whole.
    pub(super) fn is_lost(&mut self) -> bool {
        self.client().is_valid(CHECK_TIMEOUT).is_err()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It says goodbye to the server and waits for that, which must not happen where futures run.
        if let Some(client) = self.client.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            std::thread::spawn(move || drop(client));
        }
    }
}

fn dynamic<'a>(values: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// `?` and `?1` as `$1`, and a function that has another name here.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 8);
    let mut next = 1;
    for (at, part) in sql.split('?').enumerate() {
        if at > 0 {
            text.push('$');
            if !part.starts_with(|first: char| first.is_ascii_digit()) {
                text += &next.to_string();
                next += 1;
            }
        }
        text += part;
    }
    text.replace("instr(", "strpos(")
}

/// What the server says, without the values that its details quote.
pub(super) fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} ({})", error.message(), error.code().code()),
        None => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        }
    }
}

/// See [`super::Error::is_of_one_batch`]: values out of range, too long, not unique.
pub(super) fn is_of_one_batch(error: &Error) -> bool {
    error.code().is_none_or(|code| ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)))
        && !error.is_closed()
}

/// Whether the database has nothing of that name.
pub(in crate::store) fn is_missing(error: &super::Error) -> bool {
    matches!(error, super::Error::Postgres(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE))
}

/// See [`Connection::used_bytes`]. The size of the tables would not do: what is deleted leaves room in them and does not make
/// them smaller.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64> {
    let bytes: i64 = connection.prepare_cached("SELECT bytes FROM usage")?.query_row((), |row| row.get(0))?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// See [`Connection::changed`].
pub(super) fn changed(connection: &Connection, bytes: i64) -> Result<()> {
    let mut change = connection
        .prepare_cached("UPDATE usage SET bytes = usage.bytes + ?1, changes = usage.changes + 1")?;
    change.execute(params![bytes])?;
    Ok(())
}

/// See [`Connection::changes`].
pub(super) fn changes(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("SELECT changes FROM usage")?.query_row((), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered() {
        assert_eq!(numbered("a = ?1 AND b = ?2 OR a = ?1"), "a = $1 AND b = $2 OR a = $1");
        assert_eq!(numbered("(a, b) < (?, ?) LIMIT ?"), "(a, b) < ($1, $2) LIMIT $3");
    }

    #[test]
    fn a_server_is_told_without_its_password() {
        let server = Server::new("postgresql://me:secret@db1:5433,db2/logs?sslmode=disable", None).unwrap();
        assert_eq!(
            format!("{server} {server:?}"),
            "postgresql://db1:5433,db2:5432/logs ".repeat(2).trim_end()
        );
        for wrong in
            ["postgresql://me:secret@db1:port/logs", "postgresql:///logs", "postgresql://h/d?secret=x"]
        {
            let error = format!("{:#}", Server::new(wrong, None).unwrap_err());
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
