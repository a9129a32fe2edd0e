//! The .rpm, by rpm's own program, in a system that is not booted. It is a Debian's, so dependencies are looked at but not
//! asked for.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::dist::PACKAGES;

pub(super) fn check(root: &Path, first: &Path, next: &Path) -> Result<()> {
    cargo::output(cargo::program("chroot").arg(root).args(["groupadd", "--system", "hadoop"]))?;
    for package in &PACKAGES {
        let (name, installed) = (package.name, find(first, package.name)?);
        let requires = rpm(root, &["-qp".as_ref(), "--requires".as_ref(), installed.as_ref()])?;
        ensure!(requires.contains("systemd >= 239") && requires.contains("shadow-utils"), "{requires}");
        rpm(root, &["--nodeps".as_ref(), "-i".as_ref(), installed.as_ref()])?;
        // Nothing differs from what was packed, owners and modes included.
        rpm(root, &["--nodeps".as_ref(), "-V".as_ref(), name.as_ref()])?;
        let (config, state) =
            (inside(root, &format!("/etc/blocksift/{}", package.config)), inside(root, package.state));
        ensure!(fs::metadata(&config)?.mode() & 0o777 == 0o640, "{} is readable for all", config.display());
        ensure!(fs::metadata(&state)?.uid() != 0, "{} is root's", state.display());
        fs::write(&config, "# mine\n")?;
        rpm(root, &["--nodeps".as_ref(), "-U".as_ref(), find(next, name)?.as_ref()])?;
        ensure!(fs::read_to_string(&config)? == "# mine\n", "an upgrade changes the configuration");
        rpm(root, &["--nodeps".as_ref(), "-e".as_ref(), name.as_ref()])?;
        ensure!(!inside(root, "/usr/bin").join(name).exists(), "{name} is left");
        let saved = config.with_extension("toml.rpmsave");
        ensure!(
            fs::read_to_string(&saved)? == "# mine\n" && state.is_dir(),
            "removing takes what is the operator's"
        );
    }
    let groups = cargo::output(cargo::program("chroot").arg(root).args(["id", "-nG", "blocksift"]))?;
    ensure!(groups.contains("hadoop"), "the agent's groups are {groups}");
    println!("rpm: installed, verified, upgraded, removed");
    Ok(())
}

fn rpm(root: &Path, arguments: &[&OsStr]) -> Result<String> {
    cargo::output(cargo::program("rpm").arg("--root").arg(root).args(arguments))
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let found = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        file.starts_with(name) && file.ends_with(".rpm")
    });
    found.with_context(|| format!("there is no package of {name} in `{}`", folder.display()))
}
