//! The one thread that writes. What waits in the queue goes into one transaction, and all of it is acknowledged when
//! that is committed. Where one batch may be at fault, each is tried alone, so that it cannot take the others down.
//! Between transactions it forgets what is too old.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{oneshot, watch};
use tracing::{debug, error, info, warn};

use super::place::Place;
use super::retention::Retention;
use super::sql::{self, Connection, Transaction};
use super::wanted::Directory;
use super::writing::Writing;
use super::{Batch, Stored, WriteError};
use crate::notify::Policy;

/// Batches in one transaction; further ones wait for the next.
const GROUP_MAX: usize = 32;
/// Time between two looks for what is to be forgotten, and between two steps while there is some.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);
const RETENTION_PAUSE: Duration = Duration::from_millis(20);

/// Time between two looks at what others do with a database that several collectors may share.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Something to do in a transaction.
pub(super) enum Job {
    /// A batch and who waits for it.
    Batch { batch: Batch, reply: oneshot::Sender<Result<Stored, WriteError>> },
    /// Anything else, in a transaction of its own.
    Other { change: Change, reply: oneshot::Sender<Result<(), WriteError>> },
}

/// A change of the database.
pub(super) type Change = Box<dyn FnOnce(&Transaction<'_>) -> sql::Result<()> + Send>;

/// A batch and who waits for it.
struct Waiting {
    batch: Batch,
    reply: oneshot::Sender<Result<Stored, WriteError>>,
}

/// The writer's state.
pub(super) struct Writer {
    pub(super) place: Place,
    pub(super) connection: Connection,
    /// Whether this collector tells people of incidents.
    pub(super) leads: watch::Sender<bool>,
    /// Changes by whomever, as far as they are known.
    pub(super) changes: Option<i64>,
    pub(super) retention: Retention,
    pub(super) policy: Arc<Policy>,
    pub(super) directory: Directory,
    /// Counts the commits.
    pub(super) commits: watch::Sender<u64>,
}

impl Writer {
    /// Writes until the queue's senders are gone and it is empty.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut retention_due = Instant::now() + RETENTION_INTERVAL;
        let look = if self.place.is_shared() { LOOK_INTERVAL } else { RETENTION_INTERVAL };
        let mut look_due = Instant::now();
        loop {
            let due = retention_due.min(look_due);
            match jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(first) => {
                    self.reconnect();
                    self.work(first, jobs);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= look_due {
                self.look();
                look_due = Instant::now() + look;
            }
            if Instant::now() >= retention_due {
                retention_due = Instant::now() + self.forget();
            }
        }
        // The last connection to close would do it too, but a reader may outlive the writer.
        if let Err(error) = self.connection.fold() {
            warn!(%error, "write-ahead log not folded into the database");
        }
    }

    /// Takes a new connection where the old one has broken. Jobs fail until there is one, and their senders come back.
    fn reconnect(&mut self) {
        if !self.connection.is_lost() {
            return;
        }
        self.leads.send_replace(false);
        match self.place.open() {
            Ok(connection) => {
                info!("connected to the database again");
                self.connection = connection;
                self.directory = Directory::default();
            }
            Err(error) => error!("{:#}", anyhow::Error::new(error)),
        }
    }

    /// Looks at what other collectors on the database do.
    fn look(&mut self) {
        self.reconnect();
        let leads = self.connection.leads().unwrap_or(false);
        let turned = self.leads.send_replace(leads) != leads;
        if turned && leads && self.place.is_shared() {
            info!("this collector tells of incidents from now on");
        }
        let Ok(changes) = self.connection.changes() else { return };
        if changes != self.changes || turned {
            self.changes = changes;
            self.commits.send_modify(|commits| *commits += 1);
        }
    }

    /// Does a job, together with the batches that wait behind it.
    fn work(&mut self, first: Job, jobs: &Receiver<Job>) {
        let mut next = Some(first);
        let mut group = Vec::new();
        while let Some(job) = next.take() {
            match job {
                Job::Batch { batch, reply } => group.push(Waiting { batch, reply }),
                Job::Other { change, reply } => {
                    self.write_group(std::mem::take(&mut group));
                    self.change(change, reply);
                    break;
                }
            }
            if group.len() < GROUP_MAX {
                next = jobs.try_recv().ok();
            }
        }
        self.write_group(group);
    }

    fn write_group(&mut self, group: Vec<Waiting>) {
        if group.is_empty() {
            return;
        }
        let batches: Vec<&Batch> = group.iter().map(|waiting| &waiting.batch).collect();
        let committed = commit(&self.connection, &batches, &self.policy, &mut self.directory);
        if committed.is_err() {
            // It may hold what was not stored.
            self.directory = Directory::default();
        }
        match committed {
            Ok(stored) => {
                debug!(batches = stored.len(), "committed");
                for (waiting, stored) in group.into_iter().zip(stored) {
                    answer(waiting.reply, Ok(stored));
                }
                self.commits.send_modify(|commits| *commits += 1);
            }
            Err(error) if group.len() > 1 && error.is_of_one_batch() => {
                warn!(%error, "transaction failed; trying its batches one by one");
                for waiting in group {
                    self.write_group(vec![waiting]);
                }
            }
            Err(error) => {
                error!(%error, "transaction failed; the senders keep their reports and try again");
                for waiting in group {
                    answer(waiting.reply, Err(WriteError::Failed));
                }
            }
        }
    }

    fn change(&mut self, change: Change, reply: oneshot::Sender<Result<(), WriteError>>) {
        let changed = self.connection.begin().and_then(|transaction| {
            change(&transaction)?;
            transaction.changed(0)?;
            transaction.commit()
        });
        let result = changed.map_err(|error| {
            error!(%error, "transaction failed");
            WriteError::Failed
        });
        if result.is_ok() {
            self.commits.send_modify(|commits| *commits += 1);
        }
        answer(reply, result);
    }

    /// Forgets a little; returns when to go on.
    fn forget(&mut self) -> Duration {
        match self.retention.step(&self.connection, now_ms()) {
            Ok((gone, more)) => {
                if gone > 0 {
                    info!(sessions = gone, "forgotten, as retention says");
                }
                if more { RETENTION_PAUSE } else { RETENTION_INTERVAL }
            }
            Err(error) => {
                warn!(%error, "old sessions cannot be forgotten now; trying again");
                RETENTION_INTERVAL
            }
        }
    }
}

/// Nobody may be waiting any more; the change is stored or not all the same.
fn answer<T>(reply: oneshot::Sender<T>, result: T) {
    drop(reply.send(result));
}

fn commit(
    connection: &Connection,
    batches: &[&Batch],
    policy: &Policy,
    directory: &mut Directory,
) -> sql::Result<Vec<Stored>> {
    let transaction = connection.begin()?;
    let mut writing = Writing::begin(&transaction, now_ms())?;
    let stored = batches.iter().map(|batch| writing.batch(batch)).collect::<Result<_, _>>()?;
    writing.finish(policy, Some(directory))?;
    transaction.commit()?;
    Ok(stored)
}

/// The collector's clock; before 1970 it is 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
