//! A .deb, by `dpkg-deb`, which sorts, clamps times to `SOURCE_DATE_EPOCH` and sets owners by itself.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::Release;
use super::build::Needs;
use super::package::{Entry, Package, lay_out};
use crate::cargo;

/// Writes `<name>_<version>-1_<architecture>.deb` into `output`.
pub(super) fn pack(
    package: &Package,
    tree: &[Entry],
    needs: &Needs,
    release: &Release,
    work: &Path,
    output: &Path,
) -> Result<()> {
    let root = work.join(format!("{}-deb", package.name));
    let control = root.join("DEBIAN");
    fs::create_dir_all(&control)?;
    lay_out(tree, &root)?;
    let bytes: u64 = tree.iter().filter_map(|entry| Some(fs::metadata(&entry.source).ok()?.len())).sum();
    // Its modes are part of the package, whatever the umask is.
    let member = |name: &str, text: &str, mode: u32| -> Result<()> {
        let path = control.join(name);
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    };
    member("control", &fields(package, needs, release, bytes), 0o644)?;
    let configs: String =
        tree.iter().filter(|entry| entry.config).map(|entry| format!("{}\n", entry.path)).collect();
    member("conffiles", &configs, 0o644)?;
    member("md5sums", &sums(tree, &root)?, 0o644)?;
    for (name, text) in scripts(package)? {
        member(name, &text, 0o755)?;
    }
    let file = format!("{}_{}-1_{}.deb", package.name, release.version, architecture());
    let mut command = cargo::program("dpkg-deb");
    command.args(["--root-owner-group", "--threads-max=1"]);
    // xz, which Debian 11 can read, unlike zstd.
    command.args(if release.fast { ["-Zgzip", "-z0"] } else { ["-Zxz", "-z6"] });
    command.arg("--build").arg(&root).arg(output.join(&file));
    command.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    cargo::output(&mut command)?;
    println!("{file}");
    Ok(())
}

/// Debian's word for this architecture.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn fields(package: &Package, needs: &Needs, release: &Release, bytes: u64) -> String {
    let library = needs
        .glibc
        .map(|(major, minor)| format!("libc6 (>= {major}.{minor}), libgcc-s1, "))
        .unwrap_or_default();
    format!(
        "Package: {}\nVersion: {}-1\nArchitecture: {}\nMaintainer: blocksift developers <developers@blocksift.invalid>\nInstalled-Size: {}\nDepends: {library}passwd, util-linux\nSection: admin\nPriority: optional\nDescription: {}\n {}\n",
        package.name,
        release.version,
        architecture(),
        bytes.div_ceil(1_024),
        package.summary,
        package.description,
    )
}

fn sums(tree: &[Entry], root: &Path) -> Result<String> {
    let paths = tree.iter().filter(|entry| !entry.config).map(|entry| entry.path.trim_start_matches('/'));
    cargo::output(cargo::program("md5sum").current_dir(root).arg("--").args(paths)).context("no checksums")
}

/// The maintainer scripts, as Debian calls them.
fn scripts(package: &Package) -> Result<[(&'static str, String); 3]> {
    let script = |parts: &[&str]| -> Result<String> {
        let mut text = "#!/bin/sh\nset -e\n".to_owned();
        for part in parts {
            writeln!(text, "{part}")?;
        }
        Ok(text)
    };
    let (user, restart) = (package.script("user.sh")?, package.script("restart.sh")?);
    let (stop, purge) = (package.script("stop.sh")?, package.script("purge.sh")?);
    // Root's until somebody says otherwise.
    let own = format!(
        "if [ \"$(stat -c %G /etc/blocksift/{0} 2>/dev/null)\" = root ]; then\n    chgrp {1} /etc/blocksift/{0}\nfi",
        package.config, package.user
    );
    let reload = "if [ -d /run/systemd/system ]; then\n    systemctl daemon-reload\nfi";
    Ok([
        ("postinst", script(&["[ \"$1\" = configure ] || exit 0", &user, &own, &restart])?),
        ("prerm", script(&["[ \"$1\" = remove ] || exit 0", &stop])?),
        ("postrm", script(&[reload, "[ \"$1\" = purge ] || exit 0", &purge])?),
    ])
}
