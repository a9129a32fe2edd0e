//! `cargo xtask test api`: requests that Schemathesis makes up from the API's own description, against a collector with some
//! sessions. No answer may be of a server that failed, and each has to be one that the description names.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use blocksift_tests::http;

use crate::bench::collector::{otlp, start};
use crate::test::Outcome;
use crate::{cargo, python};

/// The release that makes the requests up; another one makes up others.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// Requests that are made up for each operation, beside those at the bounds of its parameters.
const EXAMPLES: &str = "50";
/// So that a run can be repeated.
const SEED: &str = "1";
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// How long the collector may take to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sessions that are there to be found.
const SESSIONS: u64 = 200;

/// Runs them.
pub(crate) fn check() -> Result<Outcome> {
    let programs = match python::programs("schemathesis", SCHEMATHESIS) {
        Ok(programs) => programs,
        Err(error) => return Ok(Outcome::Skipped(format!("{SCHEMATHESIS} cannot be installed: {error:#}"))),
    };
    cargo::run(cargo::cargo().args(["build", "--workspace", "--bins"]))?;
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let (mut collector, address) = start(&cargo::target_folder().join("debug"), folder.path())?;
    let request = otlp::request("dn1", 0, SESSIONS);
    let answer = http::post(address, "/v1/logs", &[("Content-Type", "application/x-protobuf")], &request)?;
    if answer.status != 200 {
        bail!("the sessions were answered with {}: {}", answer.status, answer.text());
    }
    // Without it, nothing that changes anything gets further than to its check.
    let me = http::get_json(address, "/api/me")?;
    let csrf = me.get("csrf").and_then(serde_json::Value::as_str).context("/api/me has no `csrf`")?;
    let mut run = cargo::program(&programs.join("schemathesis"));
    run.current_dir(folder.path()).arg("run").arg(format!("http://{address}/api/openapi.json"));
    run.args(["--checks", CHECKS, "--seed", SEED, "--max-examples", EXAMPLES, "--request-timeout", "10"]);
    // A stream has no end.
    run.args(["--exclude-path", "/api/live", "--generation-database", "none", "--continue-on-failure"]);
    run.arg("--header").arg(format!("x-blocksift-csrf: {csrf}"));
    cargo::run(&mut run)?;
    if !collector.end(PATIENCE)?.success() {
        bail!("the collector failed; it printed:\n{}", collector.output());
    }
    Ok(Outcome::Passed)
}
