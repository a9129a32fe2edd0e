//! A Debian that runs: unpacked once, copied for each try, or shared by several; booted with its own systemd in a container.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use blocksift_tests::process::{Process, Signal, poll};

use crate::cargo;

/// Longest wait for a boot, a unit, an end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The release that is tried on.
const SUITE: &str = "bookworm";
/// What it has beyond the smallest system.
const INCLUDE: &str = "--include=systemd,systemd-sysv,dbus,curl,ca-certificates";
/// Written last: without it the folder is made anew.
const COMPLETE: &str = "complete";
/// Where hierarchies of control groups are mounted: two beside each other, or one alone.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// What keeps a container from running here, or one of these programs, each with the package that brings it.
pub(crate) fn missing(tools: &[(&str, &str)]) -> Option<String> {
    if cargo::output(cargo::program("id").arg("-u")).ok()?.trim() != "0" {
        return Some("it takes root".to_owned());
    }
    let own = [
        ("debootstrap", "debootstrap"),
        ("systemd-nspawn", "systemd-container"),
        ("nsenter", "util-linux"),
        ("dpkg-deb", "dpkg"),
        ("rpmbuild", "rpm"),
        ("zstd", "zstd"),
    ];
    // Some have but a version, some but a help, and some fail at both: what counts is that they can be started.
    let absent =
        own.iter().chain(tools).find(|(tool, _)| cargo::program(tool).arg("--version").output().is_err());
    absent.map(|(tool, package)| format!("{tool} is not installed (`apt-get install {package}`)"))
}

/// The untouched system, which is fetched where it is not there yet (some 130 MB).
pub(crate) fn debian(folder: &Path) -> Result<PathBuf> {
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
pub(crate) fn copy(debian: &Path, to: &Path) -> Result<PathBuf> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("`{}` cannot be removed", to.display()))?;
    }
    cargo::output(cargo::program("cp").arg("-a").arg(debian).arg(to))?;
    Ok(to.to_owned())
}

/// A booted system. It ends with the value.
pub(crate) struct Machine {
    container: Process,
    /// Its first process, as this system knows it.
    init: u32,
}

impl Machine {
    /// Boots the system in a folder, without network.
    pub(crate) fn boot(root: &Path) -> Result<Self> {
        let container = Process::start(
            "the container",
            "systemd-nspawn".as_ref(),
            arguments(root, &["--private-network"]),
        )?;
        Self::started(container)
    }

    /// Boots a system of this name from a folder that others use too: what it writes is gone when it ends. It has a cable,
    /// `host0`, to a bridge, and control groups of its own below `group`.
    pub(crate) fn boot_shared(root: &Path, name: &str, bridge: &str, group: &str) -> Result<Self> {
        let (name_option, bridge) = (format!("--machine={name}"), format!("--network-bridge={bridge}"));
        let options = [&name_option, &bridge, "--volatile=overlay", "--read-only"];
        // Two systemds in one group would take each other's services for theirs.
        let hierarchies = HIERARCHIES.join(" ");
        let script = format!(
            r#"for folder in {hierarchies}; do
                [ -e "$folder/cgroup.procs" ] || continue
                mkdir -p "$folder/$0" && echo $$ > "$folder/$0/cgroup.procs"
            done
            exec systemd-nspawn "$@""#
        );
        let shell = ["-c", &script, &format!("{group}/{name}")].map(OsString::from);
        let arguments = shell.into_iter().chain(arguments(root, &options));
        Self::started(Process::start(name, "sh".as_ref(), arguments)?)
    }

    /// Waits until everything in it has started.
    fn started(mut container: Process) -> Result<Self> {
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
    pub(crate) fn run(&self, command: &str) -> Result<String> {
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
    pub(crate) fn wait_for_unit(&self, unit: &str) -> Result<()> {
        let active = poll(PATIENCE, || self.run(&format!("systemctl is-active --quiet {unit}")).is_ok());
        ensure!(active, "{unit} does not start:\n{}", self.journal());
        Ok(())
    }

    /// The first process of a unit.
    pub(crate) fn main_process(&self, unit: &str) -> Result<u32> {
        let told = self.run(&format!("systemctl show --property MainPID --value {unit}"))?;
        let id = told.trim().parse().context("systemd tells no process")?;
        ensure!(id != 0, "{unit} does not run:\n{}", self.journal());
        Ok(id)
    }

    /// What the units have said.
    pub(crate) fn journal(&self) -> String {
        self.run("journalctl -u 'blocksift-*' --no-pager -n 60").unwrap_or_else(|error| error.to_string())
    }

    /// Its first process, as this system knows it.
    pub(crate) fn init(&self) -> u32 {
        self.init
    }

    /// Shuts it down.
    pub(crate) fn end(&mut self) -> Result<()> {
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

fn arguments(root: &Path, options: &[&str]) -> Vec<OsString> {
    let common = ["--quiet", "--register=no", "--keep-unit", "--console=pipe", "--boot", "--directory"];
    let options = options.iter().chain(&common).map(OsString::from);
    options.chain([root.as_os_str().to_owned()]).collect()
}

/// Removes the control groups that containers below `group` have left, once these have ended.
pub(crate) fn remove_groups(group: &str) -> Result<()> {
    let folders = HIERARCHIES.map(|hierarchy| Path::new(hierarchy).join(group));
    let gone = poll(PATIENCE, || {
        folders.iter().for_each(|folder| remove_group(folder));
        folders.iter().all(|folder| !folder.exists())
    });
    ensure!(gone, "control groups of {group} are still in use");
    Ok(())
}

/// Those in it first; one in use stays.
fn remove_group(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    drop(fs::remove_dir(folder));
}

/// The container's `init`: the child of systemd-nspawn that is called so.
fn init_of(container: u32) -> Option<u32> {
    let path = format!("/proc/{container}/task/{container}/children");
    fs::read_to_string(path).ok()?.split_whitespace().find_map(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name.trim() == "systemd").then(|| child.parse().ok()).flatten()
    })
}
