//! Jars as Maven brings them, for programs in Java that tests run. Kept under `target`, so the network is needed once for each
//! version.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Copies what the project `pom` depends on into `folder`, unless it is there. `version` is a property of the project and its
/// value, such as `hadoop.version=3.4.1`, and `what` says for errors what is brought.
///
/// # Errors
/// Says in one line what is missing: Maven, or a repository that it reaches.
pub fn bring(what: &str, pom: &Path, version: &str, folder: &Path) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    // The folder appears whole or not at all.
    let partial = folder.with_extension("partial");
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-D{version}"))
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .arg("-f")
        .arg(pom);
    said(&mut maven, &format!("Maven cannot bring {what}"))?;
    fs::rename(&partial, folder)
}

/// Runs a command; its failure is one line.
pub(crate) fn said(command: &mut Command, what: &str) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        let program = command.get_program().display().to_string();
        io::Error::new(error.kind(), format!("{what}: `{program}` cannot be started ({error})"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.to_lowercase().contains("error")).unwrap_or("it says nothing");
    Err(io::Error::other(format!("{what}: {line}")))
}
