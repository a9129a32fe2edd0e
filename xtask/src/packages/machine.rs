//! A Debian that runs: unpacked once, copied for each try, booted with its own systemd in a container without network.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use blocksift_tests::process::{Process, Signal, poll};

use super::PATIENCE;
use crate::cargo;

/// The release that is tried on.
const SUITE: &str = "bookworm";
/// What it has beyond the smallest system.
const INCLUDE: &str = "--include=systemd,systemd-sysv,dbus,curl,ca-certificates";
/// Written last: without it the folder is made anew.
const COMPLETE: &str = "complete";

/// The untouched system, which is fetched where it is not there yet (some 130 MB).
pub(super) fn debian(folder: &Path) -> Result<PathBuf> {
    let root = folder.join(SUITE);
    if !folder.join(COMPLETE).is_file() {
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(folder)?;
        println!("fetching Debian {SUITE}");
        let mut command = cargo::program("debootstrap");
        cargo::output(command.args(["--variant=minbase", INCLUDE, SUITE]).arg(&root))?;
        fs::write(folder.join(COMPLETE), "")?;
    }
    Ok(root)
}

/// A fresh copy of it.
pub(super) fn copy(debian: &Path, to: &Path) -> Result<PathBuf> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("`{}` cannot be removed", to.display()))?;
    }
    cargo::output(cargo::program("cp").arg("-a").arg(debian).arg(to))?;
    Ok(to.to_owned())
}

/// A booted system. It ends with the value.
pub(super) struct Machine {
    container: Process,
    /// Its first process, as this system knows it.
    init: u32,
}

impl Machine {
    /// Boots the system in a folder and waits until everything in it has started.
    pub(super) fn boot(root: &Path) -> Result<Self> {
        let arguments: [&OsStr; 7] = [
            "--quiet".as_ref(),
            "--register=no".as_ref(),
            "--keep-unit".as_ref(),
            "--private-network".as_ref(),
            "--console=pipe".as_ref(),
            "--boot".as_ref(),
            "--directory".as_ref(),
        ];
        let arguments = arguments.into_iter().chain([root.as_os_str()]);
        let mut container = Process::start("the container", "systemd-nspawn".as_ref(), arguments)?;
        let mut init = None;
        poll(PATIENCE, || {
            init = init_of(container.id());
            init.is_some() || !container.running()
        });
        let Some(init) = init else { bail!("the container does not start: {}", container.output()) };
        let machine = Self { container, init };
        let mut said = String::new();
        let up = poll(PATIENCE, || {
            said = machine.run("systemctl is-system-running || true").unwrap_or_default();
            said.trim() == "running"
        });
        ensure!(up, "the container comes no further than `{}`", said.trim());
        Ok(machine)
    }

    /// Runs a command in it; standard output. Its failure is an error that has what it said.
    pub(super) fn run(&self, command: &str) -> Result<String> {
        let mut enter = cargo::program("nsenter");
        enter.args(["--target", &self.init.to_string(), "--all", "--", "/bin/sh", "-c", command]);
        enter.env_clear().envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("LC_ALL", "C.UTF-8"),
        ]);
        let output = enter.stderr(Stdio::piped()).output().context("nsenter cannot be started")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "`{command}` failed ({}): {said}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(said)
    }

    /// Waits until a unit has started.
    pub(super) fn wait_for_unit(&self, unit: &str) -> Result<()> {
        let active = poll(PATIENCE, || self.run(&format!("systemctl is-active --quiet {unit}")).is_ok());
        ensure!(active, "{unit} does not start:\n{}", self.journal());
        Ok(())
    }

    /// The first process of a unit.
    pub(super) fn main_process(&self, unit: &str) -> Result<u32> {
        let told = self.run(&format!("systemctl show --property MainPID --value {unit}"))?;
        let id = told.trim().parse().context("systemd tells no process")?;
        ensure!(id != 0, "{unit} does not run:\n{}", self.journal());
        Ok(id)
    }

    /// What the units have said.
    pub(super) fn journal(&self) -> String {
        self.run("journalctl -u 'blocksift-*' --no-pager -n 60").unwrap_or_else(|error| error.to_string())
    }

    /// Shuts it down.
    pub(super) fn end(&mut self) -> Result<()> {
        self.container.signal(Signal::TERM)?;
        ensure!(self.container.wait(PATIENCE)?.is_some(), "the container does not end");
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.container.running() {
            // The first asks for a shutdown, the second ends it at once; killed itself it would leave the container behind.
            for _ in 0..2 {
                drop(self.container.signal(Signal::TERM));
                drop(self.container.wait(PATIENCE / 12));
            }
        }
    }
}

/// The container's `init`: the child of systemd-nspawn that is called so.
fn init_of(container: u32) -> Option<u32> {
    let path = format!("/proc/{container}/task/{container}/children");
    fs::read_to_string(path).ok()?.split_whitespace().find_map(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name.trim() == "systemd").then(|| child.parse().ok()).flatten()
    })
}
