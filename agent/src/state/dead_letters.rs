//! Reports that a receiver refused for good, kept for people: what they were and why they were refused. Bounded in
//! number and bytes; beyond it the oldest are dropped and counted, since nobody waits for them.

use std::sync::atomic::{AtomicU64, Ordering};

use blocksift_detector::Report;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use tracing::error;

use super::spool::{self, unless_passing};
use super::{Batch, SPOOL, StateError, Store, encode_all};
use crate::encoding::{decode, encode};

pub(super) const DEAD_LETTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead_letters");

/// A report that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    /// When, in the host's clock.
    pub(crate) refused_ms: i64,
    /// Why; one printable line.
    pub(crate) reason: String,
    /// What.
    pub(crate) report: Report,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadLetterLimits {
    /// Dead letters.
    pub(crate) letters_max: u64,
    /// Their bytes.
    pub(crate) bytes_max: u64,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeadLetters {
    /// Dead letters.
    pub(crate) letters: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl DeadLetters {
    /// Counts what is in the table.
    pub(super) fn of(database: &Database) -> Result<Self, redb::Error> {
        let table = database.begin_read()?.open_table(DEAD_LETTERS)?;
        let mut counts = Self { letters: table.len()?, bytes: 0 };
        for entry in table.iter()? {
            counts.bytes += entry?.1.value().len() as u64;
        }
        Ok(counts)
    }
}

/// [`DeadLetters`], kept up to date by the store.
#[derive(Debug, Default)]
pub(super) struct Counts {
    letters: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    pub(super) fn set(&self, counts: DeadLetters) {
        self.letters.store(counts.letters, Ordering::Relaxed);
        self.bytes.store(counts.bytes, Ordering::Relaxed);
    }
}

impl From<DeadLetters> for Counts {
    fn from(counts: DeadLetters) -> Self {
        Self { letters: counts.letters.into(), bytes: counts.bytes.into() }
    }
}

/// Makes the table where there is none.
pub(super) fn make_table(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(DEAD_LETTERS)?;
    Ok(())
}

impl Store {
    /// How many dead letters there are.
    pub(crate) fn dead_letters(&self) -> DeadLetters {
        DeadLetters {
            letters: self.dead_letters.letters.load(Ordering::Relaxed),
            bytes: self.dead_letters.bytes.load(Ordering::Relaxed),
        }
    }

    /// Moves the reports of a batch from the spool to the dead letters, in one transaction. Returns how many of the
    /// oldest were dropped because `limits` were reached. While the disk fails they stay in the spool.
    ///
    /// # Errors
    /// When the store has to be begun anew.
    pub(crate) fn set_aside(
        &self,
        batch: &Batch,
        refused_ms: i64,
        reason: &str,
        limits: DeadLetterLimits,
    ) -> Result<u64, StateError> {
        let rows: Vec<Vec<u8>> = encode_all(&batch.reports, |report| {
            encode(&DeadLetter { refused_ms, reason: reason.to_owned(), report: report.clone() })
        })?;
        let dropped = self.with("set refused reports aside", |database| {
            let mut counts = self.dead_letters();
            let mut dropped = 0;
            let transaction = database.begin_write()?;
            let removed = spool::remove(&transaction, batch)?;
            {
                let mut table = transaction.open_table(DEAD_LETTERS)?;
                let first = table.last()?.map_or(0, |(number, _)| number.value() + 1);
                for (number, row) in (first..).zip(&rows) {
                    table.insert(number, row.as_slice())?;
                    counts.letters += 1;
                    counts.bytes += row.len() as u64;
                }
                while counts.letters > limits.letters_max || counts.bytes > limits.bytes_max {
                    let Some((_, oldest)) = table.pop_first()? else { break };
                    counts.letters -= 1;
                    counts.bytes = counts.bytes.saturating_sub(oldest.value().len() as u64);
                    dropped += 1;
                }
            }
            transaction.commit()?;
            // In here, as whoever opens the store again counts anew.
            self.removed(removed);
            self.dead_letters.set(counts);
            Ok(dropped)
        });
        unless_passing(dropped, 0)
    }

    /// Every dead letter, oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn read_dead_letters(&self) -> Result<Vec<DeadLetter>, StateError> {
        self.with("read the dead letters", |database| {
            let mut letters = Vec::new();
            let table = database.begin_read()?.open_table(DEAD_LETTERS)?;
            for entry in table.iter()? {
                let (number, row) = entry?;
                match decode(row.value()) {
                    Ok(letter) => letters.push(letter),
                    Err(error) => error!(number = number.value(), %error, "dead letter is lost"),
                }
            }
            Ok(letters)
        })
    }

    /// Moves every dead letter back to the end of the spool.
    ///
    /// # Errors
    /// When the disk fails. They are then dead letters still.
    pub(crate) fn retry_dead_letters(&self) -> Result<(), StateError> {
        let reports: Vec<Report> =
            self.read_dead_letters()?.into_iter().map(|letter| letter.report).collect();
        let rows: Vec<Vec<u8>> = encode_all(&reports, encode)?;
        self.with("put dead letters back into the spool", |database| {
            let first = self.next_report.load(Ordering::Relaxed);
            let transaction = database.begin_write()?;
            {
                let mut spool = transaction.open_table(SPOOL)?;
                for (number, row) in (first..).zip(&rows) {
                    spool.insert(number, row.as_slice())?;
                }
                transaction.open_table(DEAD_LETTERS)?.retain(|_, _| false)?;
            }
            transaction.commit()?;
            let count = rows.len() as u64;
            self.next_report.store(first + count, Ordering::Relaxed);
            self.spool_reports.fetch_add(count, Ordering::Relaxed);
            self.spool_bytes.fetch_add(rows.iter().map(|row| row.len() as u64).sum(), Ordering::Relaxed);
            self.dead_letters.set(DeadLetters::default());
            Ok(())
        })
    }
}
