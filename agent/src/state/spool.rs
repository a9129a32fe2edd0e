//! The spool: reports that wait for their delivery, in the order in which they were made.

use std::sync::atomic::Ordering;

use blocksift_detector::Report;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, WriteTransaction};
use tracing::error;

use super::{SPOOL, StateError, Store};
use crate::encoding::decode;

/// Reports from the spool, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Reports to ship.
    pub(crate) reports: Vec<Report>,
    /// Their numbers, and those of entries that could not be decoded.
    numbers: Vec<u64>,
}

impl Batch {
    /// Whether the spool had nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// How much waits to be shipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spooled {
    /// Reports in the spool.
    pub(crate) reports: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Store {
    /// The oldest reports of the spool: at most `reports_max`, and at most `bytes_max` unless one alone is larger. None
    /// while the disk fails.
    ///
    /// # Errors
    /// When the store has to be begun anew.
    pub(crate) fn batch(&self, reports_max: usize, bytes_max: u64) -> Result<Batch, StateError> {
        let read = self.with("read the spool", |database| {
            let mut batch = Batch::default();
            let mut bytes = 0;
            let table = database.begin_read()?.open_table(SPOOL)?;
            for entry in table.iter()? {
                let (number, value) = entry?;
                bytes += value.value().len() as u64;
                if batch.numbers.len() >= reports_max || (bytes > bytes_max && !batch.is_empty()) {
                    break;
                }
                batch.numbers.push(number.value());
                match decode(value.value()) {
                    Ok(report) => batch.reports.push(report),
                    Err(error) => error!(number = number.value(), %error, "report in the spool is lost"),
                }
            }
            Ok(batch)
        });
        unless_passing(read, Batch::default())
    }

    /// Takes the reports of a batch out of the spool: they were delivered, or never will be. While the disk fails they
    /// stay, and are shipped again.
    ///
    /// # Errors
    /// When the store has to be begun anew.
    pub(crate) fn remove(&self, batch: &Batch) -> Result<(), StateError> {
        let removed = self.with("take shipped reports out of the spool", |database| {
            let transaction = database.begin_write()?;
            let removed = remove(&transaction, batch)?;
            transaction.commit()?;
            // In here, as whoever opens the store again counts anew.
            self.removed(removed);
            Ok(())
        });
        unless_passing(removed, ())
    }

    /// Counts what was taken out.
    pub(super) fn removed(&self, removed: Spooled) {
        self.spool_reports.fetch_sub(removed.reports, Ordering::Relaxed);
        self.spool_bytes.fetch_sub(removed.bytes, Ordering::Relaxed);
    }

    /// How much waits to be shipped.
    pub(crate) fn spooled(&self) -> Spooled {
        Spooled {
            reports: self.spool_reports.load(Ordering::Relaxed),
            bytes: self.spool_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Takes the reports of a batch out; how much they were.
pub(super) fn remove(transaction: &WriteTransaction, batch: &Batch) -> Result<Spooled, redb::Error> {
    let mut removed = Spooled::default();
    let mut table = transaction.open_table(SPOOL)?;
    for number in &batch.numbers {
        if let Some(value) = table.remove(number)? {
            removed.reports += 1;
            removed.bytes += value.value().len() as u64;
        }
    }
    Ok(removed)
}

/// The result, or `otherwise` where the disk failed: that passes.
pub(super) fn unless_passing<T>(result: Result<T, StateError>, otherwise: T) -> Result<T, StateError> {
    match result {
        Err(error) if error.may_pass() => Ok(otherwise),
        result => result,
    }
}

/// How much is in the spool, and the number of the next report.
pub(super) fn spooled(database: &Database) -> Result<(Spooled, u64), redb::Error> {
    let table = database.begin_read()?.open_table(SPOOL)?;
    let mut spooled = Spooled { reports: table.len()?, bytes: 0 };
    let mut next = 0;
    for entry in table.iter()? {
        let (number, value) = entry?;
        spooled.bytes += value.value().len() as u64;
        next = number.value() + 1;
    }
    Ok((spooled, next))
}
