//! The binaries of a release: how they are built so that the same sources give the same bytes, and what they need of
//! the system that they run on.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use blocksift_tests::wasm::renamed_folders;

use super::{PACKAGES, Release};
use crate::cargo;

/// Builds the programs; returns the folder that they are in.
pub(super) fn binaries(target: Option<&str>, release: &Release) -> Result<PathBuf> {
    let target = match target {
        Some(target) => target.to_owned(),
        None => suitable()?,
    };
    println!("building for {target}");
    let mut command = cargo::cargo();
    command.args(["build", "--release", "--locked", "--target", &target]);
    for package in &PACKAGES {
        command.args(["--package", package.name]);
    }
    // Cargo leaves these out of its hashes, so that the folders do not get into them either.
    let renamed = renamed_folders(&cargo::target_folder());
    let rust = renamed.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}"));
    let c = renamed.iter().map(|(from, to)| format!("-ffile-prefix-map={from}={to}"));
    command.env("CARGO_ENCODED_RUSTFLAGS", rust.collect::<Vec<_>>().join("\u{1f}"));
    command.env("CFLAGS", c.collect::<Vec<_>>().join(" "));
    command.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    cargo::run(&mut command)?;
    Ok(cargo::target_folder().join(target).join("release"))
}

/// A static binary runs on any distribution; where it cannot be linked here it is this machine's C library.
fn suitable() -> Result<String> {
    let musl = format!("{}-unknown-linux-musl", env::consts::ARCH);
    let folder =
        cargo::output(cargo::program("rustc").args(["--print", "target-libdir", "--target", &musl]))?;
    let compiler = cargo::output(cargo::program("musl-gcc").arg("--version")).is_ok();
    if Path::new(folder.trim()).is_dir() && compiler {
        return Ok(musl);
    }
    println!(
        "not static: that takes `rustup target add {musl}` and `apt-get install musl-tools`; the binaries need this machine's C library or a newer one"
    );
    Ok(format!("{}-unknown-linux-gnu", env::consts::ARCH))
}

/// A copy of a program without its symbols.
pub(super) fn stripped(binary: &Path, folder: &Path) -> Result<PathBuf> {
    let name = binary.file_name().context("a binary has a name")?;
    let copy = folder.join(name);
    fs::copy(binary, &copy).with_context(|| format!("there is no binary `{}`", binary.display()))?;
    cargo::run(cargo::program("strip").arg("--strip-all").arg(&copy))?;
    Ok(copy)
}

/// What a program needs of its system.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// Oldest version of glibc that has all that it calls, such as (2, 35); `None` is a static program.
    pub(super) glibc: Option<(u32, u32)>,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.glibc {
            None => write!(f, "static, for any Linux of this architecture"),
            Some((major, minor)) => {
                write!(f, "needs glibc {major}.{minor} or newer{}", systems((major, minor)))
            }
        }
    }
}

/// Long-lived distributions that are new enough.
fn systems(needed: (u32, u32)) -> String {
    let known = [
        ((2, 28), "RHEL 8"),
        ((2, 31), "Debian 11"),
        ((2, 34), "RHEL 9"),
        ((2, 35), "Ubuntu 22.04"),
        ((2, 36), "Debian 12"),
        ((2, 39), "RHEL 10"),
    ];
    let fit: Vec<&str> = known.iter().filter(|(has, _)| *has >= needed).map(|(_, name)| *name).collect();
    format!(": of {} it runs on {}", known.map(|(_, name)| name).join(", "), fit.join(", "))
}

/// What the versions of its symbols say.
pub(super) fn needs(binary: &Path) -> Result<Needs> {
    let told = cargo::output(cargo::program("readelf").args(["--wide", "--version-info"]).arg(binary))?;
    Ok(Needs { glibc: newest(&told) })
}

fn newest(told: &str) -> Option<(u32, u32)> {
    let versions: BTreeSet<(u32, u32)> = told
        .split("Name: GLIBC_")
        .skip(1)
        .filter_map(|rest| {
            let version = rest.split_whitespace().next()?;
            let mut numbers = version.split('.');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        })
        .collect();
    versions.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts_by_number() {
        let told = "  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 5\n  0x0020:   Name: GLIBC_2.34  Flags: none\n  0x0030:   Name: GCC_3.0 Flags: none\n 0x40: Name: GLIBC_2.2.5 Flags: none";
        assert_eq!(newest(told), Some((2, 34)));
        assert_eq!(newest("No version information found in this file."), None);
    }

    #[test]
    fn what_a_program_runs_on_is_told() {
        let told = Needs { glibc: Some((2, 35)) }.to_string();
        assert!(told.ends_with("it runs on Ubuntu 22.04, Debian 12, RHEL 10"), "{told}");
    }
}
