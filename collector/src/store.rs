//! The database: sessions with their reports, the incidents that they make, roll-ups, nodes, templates and marks. It is a
//! file of SQLite, or a PostgreSQL that several collectors share; statements are the same for both ([`sql`]).
//!
//! One thread writes ([`writer`]), in groups: everything that waits is one transaction ([`writing`]), so one fsync
//! acknowledges many requests. A few connections read beside it; in WAL mode nobody waits for anybody.
//! `synchronous=FULL`: with NORMAL, a power failure could take back commits that agents were told of and have
//! dropped from their spools. Group commit pays for it.
//!
//! - A report is stored once per (id, revision); what comes again is counted as a duplicate and changes nothing.
//! - The highest revision of an id is the session's current state, whatever the order of arrival.
//! - The whole report is kept of the current revision alone, since a later one repeats the events of the earlier ones;
//!   of the others the verdict is kept.
//! - What the overview shows is added up as it arrives ([`rollup`]): no query scans the sessions.

mod backup;
mod body;
mod incidents;
pub(crate) mod marks;
pub(crate) mod notices;
pub(crate) mod overview;
mod place;
pub(crate) mod reader;
pub(crate) mod retention;
pub(crate) mod rollup;
mod schema;
pub(crate) mod sql;
mod templates;
#[cfg(test)]
pub(crate) mod tests;
mod upgrade;
pub(crate) mod wanted;
mod writer;
mod writing;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::{Semaphore, oneshot, watch};
use tracing::error;

pub(crate) use backup::backup;
#[cfg(test)]
use body::pack;
pub(crate) use body::{pack_report, unpack};
pub(crate) use place::{Place, is_server};
pub(crate) use reader::{Filter, Node, Session, SessionHead};
pub(crate) use retention::Retention;
pub(crate) use writer::now_ms;

use crate::culprit::Culprit;
use crate::notify::Policy;
use sql::Connection;
use wanted::Directory;

/// Connections that read at once; further queries wait.
const READERS_MAX: usize = 4;
/// Requests that wait for the writer; a further one is refused with [`WriteError::Busy`].
const QUEUE_MAX: usize = 64;
/// How long a query may take before it is broken off.
const QUERY_TIMEOUT_MS: u64 = 5_000;

/// A checked report, as its columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// The 16 hexadecimal digits as a number.
    pub(crate) id: i64,
    pub(crate) revision: i64,
    pub(crate) node: String,
    /// `None`: a session of the node itself.
    pub(crate) block: Option<i64>,
    pub(crate) pool: String,
    pub(crate) flagged: bool,
    pub(crate) score: f64,
    pub(crate) threshold: f64,
    pub(crate) model: String,
    /// JSON list.
    pub(crate) reasons: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) events: i64,
    pub(crate) culprits: Vec<Culprit>,
    /// Whom its lines name, see [`crate::named`].
    pub(crate) named: Vec<String>,
    /// The report as JSON, packed by [`pack`].
    pub(crate) body: Vec<u8>,
}

/// Somebody sent something.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sighting {
    pub(crate) node: String,
    /// Empty: not said, keep what is known.
    pub(crate) agent_version: String,
    /// Empty: not said, keep what is known.
    pub(crate) model: String,
    /// What logs call the node; empty: not said.
    pub(crate) addresses: Vec<String>,
    pub(crate) metrics: Option<Metrics>,
}

/// Latest summary of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metrics {
    /// The agent's clock; an older summary does not replace a newer one.
    pub(crate) time_ms: i64,
    /// When the first of its counts was zero, in the agent's clock.
    pub(crate) since_ms: i64,
    /// JSON object.
    pub(crate) values: String,
    pub(crate) templates: Vec<TemplateEvents>,
}

/// A node's cumulative count of one template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TemplateEvents {
    /// The 16 hexadecimal digits as a number.
    pub(crate) template: i64,
    pub(crate) text: String,
    /// Whether the node's model knows it.
    pub(crate) known: bool,
    /// When the count was zero, in the agent's clock.
    pub(crate) since_ms: i64,
    pub(crate) events: i64,
}

/// What one request stores, all or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<Row>,
    pub(crate) nodes: Vec<Sighting>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Reports that are now their session's current state.
    pub(crate) current: u64,
    /// Reports of a revision older than the current one; their verdict was kept.
    pub(crate) older: u64,
    /// Reports that were there already.
    pub(crate) duplicates: u64,
}

/// The database cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(
        "database `{path}` cannot be opened; check that the directory exists, is writable and has free space"
    )]
    Open { path: PathBuf, source: sql::Error },
    #[error(
        "database `{server}` cannot be opened; does it run, does the database exist, and may this user create tables in it?"
    )]
    Server { server: String, source: sql::Error },
    #[error(
        "`{path}` is not a database of blocksift; choose another file with --database, or move this one away"
    )]
    Foreign { path: PathBuf },
    #[error(
        "database `{place}` has schema version {found}, this collector knows {known}; it was written by a newer \
         collector: run that one, or choose another database with --database"
    )]
    Newer { place: String, found: i64, known: i64 },
    #[error("the writer of the database cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("the writer of the database ended early")]
    Ended,
}

/// A batch was not stored.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    #[error("more than {QUEUE_MAX} requests wait for the database")]
    Busy,
    #[error("the transaction failed")]
    Failed,
    #[error("the database is closed")]
    Closed,
}

/// A query gave no answer.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    #[error("the query took longer than {} s", QUERY_TIMEOUT_MS / 1000)]
    Timeout,
    #[error("the database cannot be read")]
    Failed(#[from] sql::Error),
    #[error("the query was broken off")]
    Aborted,
}

/// The open database.
pub(crate) struct Store {
    place: Place,
    /// `None` once closed.
    queue: Mutex<Option<mpsc::SyncSender<writer::Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    reader_permits: Semaphore,
    commits: watch::Receiver<u64>,
    leads: watch::Receiver<bool>,
}

impl Store {
    /// Opens or creates the database and starts its writer, which tells of incidents as `policy` says.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open(place: Place, retention: Retention, policy: Arc<Policy>) -> Result<Self, OpenError> {
        let (queue, jobs) = mpsc::sync_channel(QUEUE_MAX);
        let (commits, changes) = watch::channel(0);
        let (leads, leading) = watch::channel(!place.is_shared());
        let (opened, opening) = mpsc::channel();
        let to_open = place.clone();
        // The whole life of a connection to a server has to be outside of futures.
        let write = move || {
            let connection = match to_open.open() {
                Ok(connection) => connection,
                Err(error) => return drop(opened.send(Err(error))),
            };
            drop(opened.send(Ok(())));
            let writer = writer::Writer {
                place: to_open,
                connection,
                leads,
                changes: None,
                retention,
                policy,
                directory: Directory::default(),
                commits,
            };
            writer.run(&jobs);
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(write)
            .map_err(OpenError::Thread)?;
        opening.recv().unwrap_or(Err(OpenError::Ended))?;
        Ok(Self {
            place,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            readers: Mutex::default(),
            reader_permits: Semaphore::new(READERS_MAX),
            commits: changes,
            leads: leading,
        })
    }

    /// Whether this is the collector on the database that tells people of incidents. When that changes, [`Self::commits`]
    /// changes too.
    pub(crate) fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    /// Changes with every commit; closed when the store is.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Stores a batch. When this returns `Ok`, it survives a power failure.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the batch is stored then.
    pub(crate) async fn write(&self, batch: Batch) -> Result<Stored, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.submit(writer::Job::Batch { batch, reply })?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Makes another change, in a transaction of its own.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is changed then.
    async fn change(
        &self,
        change: impl FnOnce(&sql::Transaction<'_>) -> sql::Result<()> + Send + 'static,
    ) -> Result<(), WriteError> {
        let (reply, answer) = oneshot::channel();
        self.submit(writer::Job::Other { change: Box::new(change), reply })?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    fn submit(&self, job: writer::Job) -> Result<(), WriteError> {
        let queue = lock(&self.queue);
        let queue = queue.as_ref().ok_or(WriteError::Closed)?;
        queue.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => WriteError::Busy,
            mpsc::TrySendError::Disconnected(_) => WriteError::Closed,
        })
    }

    /// Runs a query on a thread that may block.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> sql::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let _permit = self.reader_permits.acquire().await.map_err(|_| ReadError::Aborted)?;
        let idle = lock(&self.readers).pop();
        let connection = match idle {
            Some(connection) if !self.place.is_shared() => connection,
            idle => {
                let place = self.place.clone();
                let connected = tokio::task::spawn_blocking(move || match idle {
                    Some(connection) if !connection.is_lost() => Ok(connection),
                    _ => place.open_reader(),
                });
                connected.await.map_err(|_| ReadError::Aborted)??
            }
        };
        let interrupt = connection.interrupt_on_drop();
        let mut task = tokio::task::spawn_blocking(move || {
            let result = query(&connection);
            (connection, result)
        });
        let timeout = std::time::Duration::from_millis(QUERY_TIMEOUT_MS);
        let in_time = tokio::time::timeout(timeout, &mut task).await;
        // Also reached by dropping this future: a query that nobody waits for any more does not go on.
        drop(interrupt);
        let (timed_out, joined) = match in_time {
            Ok(joined) => (false, joined),
            Err(_) => (true, task.await),
        };
        let (connection, result) = joined.map_err(|_| ReadError::Aborted)?;
        lock(&self.readers).push(connection);
        result.map_err(|error| {
            if timed_out || error.is_timeout() { ReadError::Timeout } else { ReadError::Failed(error) }
        })
    }

    /// Stores what waits, folds the WAL into the file and ends the writer.
    pub(crate) fn close(&self) {
        drop(lock(&self.queue).take());
        lock(&self.readers).clear();
        if let Some(writer) = lock(&self.writer).take()
            && writer.join().is_err()
        {
            error!("the writer of the database ended by a panic");
        }
    }
}

/// A lock whose holder panicked is still whole: each holder makes one step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
