//! WASM filters of Fluent Bit's interface in front of shipping: each gets the JSON of a report and gives the JSON that is
//! shipped, or drops it. A filter is a stranger: it has so much fuel for a record and so much memory, no imports that do
//! anything, and when it traps, runs dry or answers with what is no JSON object, the record passes on unchanged and is
//! counted. Nothing of the engine exists where there are no filters.

mod module;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use blocksift_detector::Report;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::warn;
use wasmtime::{Config, Engine};

use crate::config;
use module::{Answer, Filter, Trouble};

/// Tag that filters see.
const TAG: &str = "blocksift.session";

/// A record that is filtered: the fields of a report.
pub(crate) type Record = Map<String, Value>;

/// A filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("filter `{path}` cannot be used: {reason}")]
pub(crate) struct FilterError {
    path: PathBuf,
    /// What is wrong with it, and what would be right.
    reason: String,
}

/// Counts of what filters did since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Records that a filter dropped.
    pub(crate) dropped: u64,
    /// Times that a filter trapped, which includes asking for too much memory.
    pub(crate) trapped: u64,
    /// Times that a filter needed too much fuel.
    pub(crate) out_of_fuel: u64,
    /// Times that a filter's answer was no JSON object.
    pub(crate) bad_answers: u64,
}

/// The filters, in the order in which a record passes them.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    filters: Vec<Filter>,
    /// What the filters made of reports that are not shipped yet, by id and revision: trying again is not filtering again.
    made: BTreeMap<(String, u64), Option<Record>>,
    counts: Counts,
}

impl Filters {
    /// Loads and compiles the modules.
    ///
    /// # Errors
    /// If a module cannot be read, is none, or has no function of the right type.
    pub(crate) fn load(configured: &[config::Filter]) -> Result<Self, FilterError> {
        if configured.is_empty() {
            return Ok(Self::default());
        }
        let mut settings = Config::new();
        settings.consume_fuel(true);
        let engine = Engine::new(&settings).map_err(|error| FilterError {
            path: configured.first().map(|filter| filter.wasm.clone()).unwrap_or_default(),
            reason: format!("there is no WASM engine for this machine: {error:#}"),
        })?;
        let load = |filter: &config::Filter| {
            Filter::load(&engine, filter).map_err(|reason| FilterError { path: filter.wasm.clone(), reason })
        };
        Ok(Self { filters: configured.iter().map(load).collect::<Result<_, _>>()?, ..Self::default() })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The records that are shipped of `reports`, in their order: what the filters make of them. They are remembered until
    /// [`forget`](Self::forget) is called.
    ///
    /// # Errors
    /// When a report has no JSON form, which no report of the detector is without.
    pub(crate) fn records(&mut self, reports: &[Report]) -> Result<Vec<Record>, serde_json::Error> {
        let mut records = Vec::with_capacity(reports.len());
        for report in reports {
            if self.is_empty() {
                records.push(record(report)?);
                continue;
            }
            let key = (report.id.clone(), report.revision);
            let made = match self.made.get(&key) {
                Some(made) => made.clone(),
                None => {
                    let made = self.apply(record(report)?, unix_nanos(&report.end).unwrap_or(0));
                    self.made.insert(key, made.clone());
                    made
                }
            };
            records.extend(made);
        }
        Ok(records)
    }

    /// Notes that these reports are not tried again.
    pub(crate) fn forget(&mut self, reports: &[Report]) {
        for report in reports {
            self.made.remove(&(report.id.clone(), report.revision));
        }
    }

    /// What the filters make of a record of the time `at_ns` (nanoseconds since 1970); `None` if one dropped it.
    fn apply(&mut self, mut record: Record, at_ns: u64) -> Option<Record> {
        for filter in &mut self.filters {
            let trouble = match filter.apply(TAG, at_ns, &record) {
                Ok(Answer::Record(answer)) => {
                    record = answer;
                    continue;
                }
                Ok(Answer::Drop) => {
                    self.counts.dropped += 1;
                    return None;
                }
                Err(trouble) => trouble,
            };
            let count = match trouble {
                Trouble::Trap(_) => &mut self.counts.trapped,
                Trouble::OutOfFuel => &mut self.counts.out_of_fuel,
                Trouble::BadAnswer(_) => &mut self.counts.bad_answers,
            };
            *count += 1;
            if *count == 1 {
                warn!(filter = %filter.path().display(), %trouble, "filter failed; records pass it unchanged");
            }
        }
        Some(record)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

/// The fields of a report.
///
/// # Errors
/// When a report has no JSON form, which no report of the detector is without.
fn record(report: &Report) -> Result<Record, serde_json::Error> {
    match serde_json::to_value(report)? {
        Value::Object(record) => Ok(record),
        _ => Ok(Record::new()),
    }
}

/// Nanoseconds since 1970 of a time in RFC 3339.
pub(crate) fn unix_nanos(time: &str) -> Option<u64> {
    let time: Timestamp = time.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}
