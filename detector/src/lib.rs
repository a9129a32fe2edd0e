//! The detector of blocksift: bytes of a Hadoop log in, reports on abnormal blocks out.
//!
//! The files follow the path of the data, one noun each: [`line`], [`head`], `record`, [`exception`], [`key`],
//! [`template`], `statement`, `session`, [`token`], [`score`], [`verdict`], [`report`], with [`ledger`] accounting for
//! every line and [`model`] holding what a model file says. `parser` goes from bytes to events, `shard` and `judge` from
//! events to reports, and [`detector`] wires them together.
//!
//! Nothing here reads a clock, a file, a thread or a variable: time and bytes are arguments.
#![deny(missing_docs)]

pub mod detector;
pub mod exception;
mod file;
pub mod head;
pub mod json;
mod judge;
pub mod key;
pub mod ledger;
pub mod line;
pub mod miner;
pub mod model;
mod parser;
mod record;
pub mod report;
pub mod score;
mod session;
pub mod settings;
mod shard;
pub mod signature;
mod statement;
pub mod tally;
pub mod template;
pub mod time;
pub mod token;
pub mod verdict;

pub use detector::Detector;
pub use ledger::{Ledger, Skipped, Summary};
pub use model::{Model, ModelError};
pub use report::{Event, Report};
pub use settings::{FileId, Settings};
