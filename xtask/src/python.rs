//! Python programs that checks use, each in a folder of its own under the target folder.

use std::path::PathBuf;

use anyhow::Result;

use crate::cargo;

/// The folder of the programs of one package, which is installed where it is not there in this version.
///
/// # Errors
/// Says what is missing: Python with its module `venv`, or the package.
pub(crate) fn programs(name: &str, requirement: &str) -> Result<PathBuf> {
    let folder = cargo::target_folder().join("python").join(name);
    let programs = folder.join("bin");
    let pip = programs.join("pip");
    let installed = cargo::output(cargo::program(&pip).arg("freeze")).unwrap_or_default();
    if !installed.lines().any(|line| line.eq_ignore_ascii_case(requirement)) {
        cargo::output(cargo::program("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        cargo::output(cargo::program(&pip).args(["install", "--quiet", requirement]))?;
    }
    Ok(programs)
}
