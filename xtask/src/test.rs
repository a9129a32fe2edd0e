//! `cargo xtask test`: every check, one after the other; the first failure stops. What CI runs.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use blocksift_tests::binaries;
use blocksift_tests::wasm::{Host, WAMR_VARIABLE};
use clap::ValueEnum;

use crate::{ansible, api, cargo, deploy, kafka, packages, postgres, tidy, wasm};

/// Where tests of the collector look for a PostgreSQL.
const SERVER_VARIABLE: &str = "BLOCKSIFT_POSTGRES";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Steps to run; when none is named, all but those that take minutes.
    #[arg(value_name = "STEP")]
    steps: Vec<Step>,
    /// Build for wasm with the compiler of Debian's packages even where rustup has the target.
    #[arg(long)]
    wasm_from_debian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting.
    Fmt,
    /// Every source file has a head comment and at most 500 lines; no large file, no marker for later.
    Tidy,
    /// Lints of rustc and clippy, as errors.
    Clippy,
    /// All binaries and tests compile.
    Build,
    /// Unit, property and end-to-end tests.
    Test,
    /// The collector's tests that take a Kafka, with one of Maven's; takes Java.
    Kafka,
    /// The checks that `cargo fuzz` runs too, with as many made-up inputs as fill about a minute each.
    Fuzz,
    /// The plugin for wasm32: small, without imports and SIMD.
    Wasm,
    /// Licences, sources and advisories of the dependencies.
    Deny,
    /// What is for other programs (Ansible, Helm, Prometheus, rsyslog), by those of their validators that are installed.
    Deploy,
    /// The packages, on a Debian of their own; takes root and minutes, so only when it is named.
    Packages,
    /// Ansible's plays, on hosts that are made for it; takes root and minutes, so only when it is named.
    Ansible,
    /// The collector's API, with requests that Schemathesis makes up; takes a minute and Python, so only when it is named.
    Api,
    /// Agents on the nodes of a real HDFS in which faults are injected; takes minutes, so only when it is named.
    Hdfs,
}

/// How a step ended that did not fail.
pub(crate) enum Outcome {
    /// It ran.
    Passed,
    /// It could not run here, and why.
    Skipped(String),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let (mut passed, mut skipped) = (0, 0);
    for step in Step::value_variants() {
        let wanted = match arguments.steps.as_slice() {
            [] => !matches!(step, Step::Packages | Step::Ansible | Step::Api | Step::Hdfs),
            named => named.contains(step),
        };
        if !wanted {
            continue;
        }
        let name = format!("{step:?}").to_lowercase();
        println!("=== {name}");
        let began = Instant::now();
        let outcome = check(*step, arguments).with_context(|| format!("step `{name}` failed"))?;
        let seconds = began.elapsed().as_secs_f32();
        match outcome {
            Outcome::Passed => {
                passed += 1;
                println!("--- {name}: passed in {seconds:.1} s");
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                println!("--- {name}: SKIPPED, {why}");
            }
        }
    }
    println!("=== {passed} steps passed, {skipped} skipped, in {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}

fn check(step: Step, arguments: &Arguments) -> Result<Outcome> {
    match step {
        Step::Fmt => with_component("rustfmt", &["fmt", "--all", "--check"]),
        Step::Tidy => tidy::check().map(|()| Outcome::Passed),
        Step::Clippy => {
            with_component("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
        }
        // All targets at once, so that binaries and tests share every compiled dependency.
        Step::Build => passed(cargo::cargo().args(["build", "--workspace", "--all-targets"])),
        Step::Test => test(arguments.wasm_from_debian),
        Step::Kafka => test_with_kafka(),
        // By the number of inputs, not by time: tests do not look at the clock.
        Step::Fuzz => {
            let arguments = ["test", "--workspace", "--test", "detector", "fuzz::", "--", "--ignored"];
            passed(cargo::cargo().args(arguments))
        }
        Step::Wasm => wasm::check(arguments.wasm_from_debian),
        Step::Deny => deny(),
        Step::Deploy => deploy::check(),
        Step::Packages => packages::check(),
        Step::Ansible => ansible::check(),
        Step::Api => api::check(),
        Step::Hdfs => {
            let arguments =
                ["test", "--workspace", "--test", "it", "live::", "--", "--ignored", "--nocapture"];
            passed(cargo::cargo().args(arguments))
        }
    }
}

/// Runs a cargo command of a component of the toolchain, which is added where it is missing.
fn with_component(component: &str, arguments: &[&str]) -> Result<Outcome> {
    let is_there = || {
        let command = arguments.first().copied().unwrap_or_default();
        cargo::output(cargo::cargo().args([command, "--version"])).is_ok()
    };
    if !is_there() {
        let added = cargo::output(Command::new("rustup").args(["component", "add", component]));
        if added.is_err() || !is_there() {
            let why = format!("{component} is not installed and rustup cannot add it");
            return Ok(Outcome::Skipped(why));
        }
    }
    passed(cargo::cargo().args(arguments))
}

fn passed(command: &mut Command) -> Result<Outcome> {
    cargo::run(command).map(|()| Outcome::Passed)
}

/// A browser for the tests of the collector's page, which skip loudly without one. Only CI changes the machine it runs on.
fn install_chromium() {
    let is_there = || cargo::output(Command::new("chromium").arg("--version")).is_ok();
    if std::env::var_os("CI").is_none() || is_there() {
        return;
    }
    println!("installing chromium for the tests of the collector's page");
    let install = ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"];
    for arguments in [&["update"][..], &install] {
        if let Err(error) = cargo::output(Command::new("apt-get").args(arguments)) {
            println!("chromium cannot be installed: {error}");
            return;
        }
    }
}

fn test(wasm_from_debian: bool) -> Result<Outcome> {
    install_chromium();
    cargo::run(cargo::cargo().args(["build", "--workspace", "--all-targets"]))?;
    let mut tests = cargo::cargo();
    tests.args(["test", "--workspace"]).env(binaries::FOLDER_VARIABLE, cargo::target_folder().join("debug"));
    name_wasm(&mut tests, wasm_from_debian)?;
    cargo::run(&mut tests)?;
    test_on_server()?;
    Ok(Outcome::Passed)
}

/// The tests of the collector once more, with PostgreSQL in the place of files.
fn test_on_server() -> Result<()> {
    let Some(programs) = postgres::programs() else {
        println!(
            "tests with PostgreSQL SKIPPED: it is not installed (on Debian: `apt-get install postgresql`)"
        );
        return Ok(());
    };
    let server = postgres::Server::start(&programs)?;
    println!("the collector's tests with PostgreSQL of {}", programs.display());
    // In the same words as above, so that nothing is compiled anew.
    let mut tests = cargo::cargo();
    tests.args(["test", "--workspace", "--bin", "blocksift-collector"]);
    cargo::run(tests.env(SERVER_VARIABLE, server.url()))
}

/// The tests that take a Kafka, which skip themselves without one.
fn test_with_kafka() -> Result<Outcome> {
    let jars = match kafka::jars() {
        Ok(jars) => jars,
        Err(error) => return Ok(Outcome::Skipped(format!("there is no Kafka: {error:#}"))),
    };
    let broker = kafka::Broker::start(&jars)?;
    let server = postgres::programs().map(|programs| postgres::Server::start(&programs)).transpose()?;
    // In words that compile nothing anew.
    let mut tests = cargo::cargo();
    tests.args(["test", "--workspace", "--test", "it", "kafka::"]).envs(broker.variables());
    passed(tests.envs(server.iter().map(|server| (SERVER_VARIABLE, server.url()))))
}

/// Builds what the tests of the plugin need, as far as it can be built here, and names it to them.
pub(crate) fn name_wasm(tests: &mut Command, from_debian: bool) -> Result<()> {
    let modules = Host::ALL.map(|host| (host.module_variable(), wasm::module(host, from_debian)));
    for (variable, built) in modules.into_iter().chain([(WAMR_VARIABLE.to_owned(), wasm::wamr_host())]) {
        match built? {
            Ok(path) => {
                tests.env(variable, path);
            }
            Err(why) => println!("tests of the plugin SKIPPED: {why}"),
        }
    }
    Ok(())
}

fn deny() -> Result<Outcome> {
    if cargo::output(cargo::cargo().args(["deny", "--version"])).is_err() {
        return Ok(Outcome::Skipped("cargo-deny is not installed (`cargo install cargo-deny`)".to_owned()));
    }
    cargo::run(cargo::cargo().args(["deny", "check", "licenses", "bans", "sources"]))?;
    match cargo::output(cargo::cargo().args(["deny", "check", "advisories"])) {
        Ok(_) => println!("advisories ok"),
        // What cannot be fetched says nothing about the change that is tested.
        Err(error) if error.to_string().contains("failed to fetch advisory database") => {
            println!("advisories SKIPPED: the advisory database cannot be fetched from here");
        }
        Err(error) => return Err(error),
    }
    Ok(Outcome::Passed)
}
