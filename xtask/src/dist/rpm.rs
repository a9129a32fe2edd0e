//! An .rpm, by `rpmbuild`, from `deploy/packages/package.spec`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Release;
use super::build::Needs;
use super::package::{Entry, Package, lay_out};
use crate::cargo;

/// Writes `<name>-<version>-1.<architecture>.rpm` into `output`.
pub(super) fn pack(
    package: &Package,
    tree: &[Entry],
    needs: &Needs,
    release: &Release,
    work: &Path,
    output: &Path,
) -> Result<()> {
    let top = work.join(format!("{}-rpm", package.name));
    let root = top.join("files");
    fs::create_dir_all(&root)?;
    lay_out(tree, &root)?;
    let spec = top.join("package.spec");
    fs::write(&spec, spec_text(package, tree, needs, release, &root)?)?;
    let define = |name: &str, value: &dyn std::fmt::Display| format!("{name} {value}");
    let mut command = cargo::program("rpmbuild");
    command.args(["-bb", "--quiet", "--target"]).arg(format!("{}-linux", std::env::consts::ARCH));
    command.arg("--define").arg(define("_topdir", &top.display()));
    if release.fast {
        command.args(["--define", "_binary_payload w0.ufdio"]);
    }
    command.arg(&spec).env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    cargo::output(&mut command)?;
    let file = format!("{}-{}-1.{}.rpm", package.name, release.version, std::env::consts::ARCH);
    let built = top.join("RPMS").join(std::env::consts::ARCH).join(&file);
    fs::copy(&built, output.join(&file)).with_context(|| format!("rpmbuild wrote no {file}"))?;
    println!("{file}");
    Ok(())
}

fn spec_text(
    package: &Package,
    tree: &[Entry],
    needs: &Needs,
    release: &Release,
    root: &Path,
) -> Result<String> {
    let mut files = "%dir %attr(0755, root, root) /etc/blocksift\n".to_owned();
    for entry in tree {
        let (group, kind) = match (entry.config, entry.path.starts_with("/usr/share/doc/")) {
            (true, _) => (package.user, "%config(noreplace) "),
            (false, true) => ("root", "%doc "),
            (false, false) => ("root", ""),
        };
        writeln!(files, "%attr({:04o}, root, {group}) {kind}{}", entry.mode, entry.path)?;
    }
    let requires = match needs.glibc {
        Some((major, minor)) => format!("Requires: glibc >= {major}.{minor}, libgcc"),
        None => String::new(),
    };
    let root = root.display().to_string();
    let mut spec = package.script("package.spec")?;
    if release.fast {
        spec = spec.replace("%global _binary_payload w6.xzdio\n", "");
    }
    let values = [
        ("@version@", release.version.as_str()),
        ("@requires@", &requires),
        ("@root@", &root),
        ("@user_script@", &package.script("user.sh")?),
        ("@restart_script@", &package.script("restart.sh")?),
        ("@stop_script@", &package.script("stop.sh")?),
        ("@files@", &files),
    ];
    for (mark, value) in values {
        spec = spec.replace(mark, value.trim_end());
    }
    Ok(spec)
}
