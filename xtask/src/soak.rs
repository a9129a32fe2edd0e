//! `cargo xtask soak`: the long forms of what the tests check in short: every ignored test of the agent or end to
//! end whose name starts with `soak_`, one after the other, with as many kills and as much time as asked for.

use std::process::Command;

use anyhow::Result;
use blocksift_tests::binaries;

use crate::cargo;
use crate::test::name_wasm;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Times that an agent is killed in each round.
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u32,
    /// Go on with further rounds, each with the next seed, for this long.
    #[arg(long, value_name = "N", default_value_t = 0)]
    minutes: u64,
    /// Cases of each property test.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    cases: u32,
    /// Calls of the plugin's module, as no host should make them.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    calls: u64,
    /// Seed of all that is random [default: another one each time; it is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only tests whose name contains this.
    #[arg(value_name = "TEST", default_value = "soak_")]
    test: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    cargo::run(cargo::cargo().args(["build", "--workspace", "--all-targets"]))?;
    let mut tests = tests(arguments);
    name_wasm(&mut tests, false)?;
    cargo::run(&mut tests)
}

/// Runs the tests; they read the numbers from these variables.
fn tests(arguments: &Arguments) -> Command {
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let mut tests = cargo::cargo();
    tests
        .args([
            "test",
            "--workspace",
            "--test",
            "it",
            "--bin",
            "blocksift-agent",
            arguments.test.as_str(),
            "--",
        ])
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .env(binaries::FOLDER_VARIABLE, cargo::target_folder().join("debug"))
        .env("BLOCKSIFT_SOAK_KILLS", arguments.kills.to_string())
        .env("BLOCKSIFT_SOAK_MINUTES", arguments.minutes.to_string())
        .env("BLOCKSIFT_SOAK_CALLS", arguments.calls.to_string())
        .env("BLOCKSIFT_SEED", seed.to_string())
        .env("PROPTEST_CASES", arguments.cases.to_string());
    tests
}
