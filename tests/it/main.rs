//! End-to-end tests of blocksift over the real binaries: the same log through every path, rotation, restarts, outages,
//! bad input. One binary; each module is one promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking"
)]

mod bad_input;
mod bad_set_up;
mod browser;
mod cases;
mod cluster;
mod crash;
mod delivery;
mod delivery_pipe;
mod disk;
mod doctor;
mod harness;
mod inputs;
mod live;
mod mining;
mod plugin;
mod public_log;
mod real_runs;
mod reload;
mod replay;
mod rotation;
mod same_verdicts;
mod status;
mod stop;
mod systemd;
mod wanted;
