//! `blocksift-agent doctor`: looks at everything that an agent with this configuration needs of its host, its logs and
//! its collector, and says what to do where something is missing. It changes nothing.
//!
//! Each check gives one or more [`Finding`]s and depends on no other but for the configuration.

mod agent;
mod collector;
mod files;
mod finding;
mod host;
mod sample;
mod state;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args as ClapArgs;

use crate::config::{Config, ConfigError};
use crate::files::scan;
use agent::Running;
pub(crate) use files::unmatched;
use finding::{Finding, Status};

/// Look for what keeps an agent from working here, and say what to do.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exit codes: 0 nothing is in the way (there may be warnings), 1 something is (FAIL), \
                  2 the findings cannot be printed."
)]
pub(crate) struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/blocksift/agent.toml")]
    config: PathBuf,
    /// Print the findings as a JSON array
    #[arg(long)]
    json: bool,
}

/// Makes all checks and prints what they found.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let findings = match Config::load(&args.config) {
        Ok(config) => examine(&config),
        Err(error) => vec![unusable(&error)],
    };
    let mut out = io::stdout().lock();
    if args.json {
        finding::write_json(&mut out, &findings)?;
    } else {
        finding::write_text(&mut out, &findings, io::stdout().is_terminal())?;
    }
    let failed = findings.iter().any(|finding| finding.status == Status::Fail);
    Ok(ExitCode::from(u8::from(failed)))
}

fn unusable(error: &ConfigError) -> Finding {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Finding::fail("config", format!("{error}{cause}"), "mend it until `blocksift-agent validate` says ok")
}

/// The checks, in the order of the data's path.
fn examine(config: &Config) -> Vec<Finding> {
    let now = SystemTime::now();
    let mut findings = vec![Finding::ok("config", format!("node {}", config.detector.node))];
    let running = Running::on(&config.state_dir);
    let scanned = scan(&config.logs);
    findings.push(host::user());
    findings.extend(files::paths(&config.logs, &scanned));
    findings.extend(sample::lines(config, &scanned.files));
    findings.extend(files::rotation(&scanned.files, now));
    findings.push(host::watches(&scanned.files));
    findings.push(host::open_files(scanned.files.len(), running.as_ref()));
    findings.push(model(config));
    findings.extend(state::directory(config));
    findings.extend(agent::resources(running.as_ref(), config));
    findings.extend(collector::reach(config));
    findings
}

/// The model loads only if its golden inputs score as they must.
fn model(config: &Config) -> Finding {
    match crate::model::load_configured(config.model.as_deref(), config) {
        Ok(model) => {
            let golden = model.metadata.golden.len();
            Finding::ok("model", format!("{} scores its {golden} golden inputs as it must", model.id))
        }
        Err(error) => Finding::fail(
            "model",
            format!("{error:#}"),
            "copy a model file made for this release, signed if `model_signed_by` is set, or leave `model` out to use one in the agent",
        ),
    }
}
