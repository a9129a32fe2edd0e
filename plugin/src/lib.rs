//! blocksift in log pipelines that people already run: records in, records out, with the detector between.
//!
//! [`Filter`] is all of it: it takes a record, as JSON, and says what becomes of it. `blocksift-agent filter` calls it
//! for each line of its input. In the WASM modules, [`Host`] keeps one for each mode, and `abi` is what hosts call;
//! [`otlp`] is for those that have batches instead of records.
//! The path of a record: [`record`](self) finds the line in it, `node` brings the line to the detector of its node,
//! `clock` tells the time by it, and what waits in `queue` leaves in its place or rides along.

#[cfg(target_arch = "wasm32")]
pub mod abi;
mod annotation;
mod clock;
mod control;
mod fields;
mod filter;
mod host;
mod lines;
mod node;
pub mod otlp;
mod queue;
mod record;
mod settings;
mod stream;

pub use fields::Fields;
pub use filter::{Answer, Counts, Filter, Mode};
pub use host::{Host, Reply};
pub use record::Time;
pub use settings::Settings;
