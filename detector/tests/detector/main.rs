//! Tests of the detector through its public API: the checks that fuzzing runs too, equal results however the work is
//! cut and shared, restarts, allocations and memory. One binary; each module is one promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod allocations;
mod checks;
mod equality;
mod fuzz;
mod log;
mod memory;
mod restart;
