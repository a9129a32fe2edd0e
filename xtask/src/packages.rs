//! `cargo xtask test packages`: what the packages do to a system, tried on a real one: a fresh Debian, booted with its own
//! systemd in a container without network. The commands are those of `docs/install.md` and its neighbours, read from
//! there. Takes minutes and root, so that it is no part of the default steps.

mod document;
mod rpm;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use blocksift_tests::process::poll;

use crate::cargo;
use crate::dist::{self, PACKAGES};
use crate::machine::{self, Machine, PATIENCE};
use crate::test::Outcome;

/// Version that upgrades go to.
pub(crate) const NEXT: &str = "99.0.0";
/// Longest wait for a verdict: a session has to be silent for a minute first.
const VERDICT: Duration = Duration::from_secs(180);
/// A DataNode's log with faults in it.
pub(crate) const LOG: &str = "tests/data/hadoop3/11/dn1.log.zst";

/// Makes the packages of the binaries that are there and tries them.
pub(crate) fn check() -> Result<Outcome> {
    if let Some(why) = machine::missing(&[]) {
        return Ok(Outcome::Skipped(why));
    }
    let folder = cargo::target_folder().join("packages");
    let debian = machine::debian(&folder)?;
    let (first, next) = (folder.join("first"), folder.join("next"));
    dist::for_test(&binaries()?, &first, env!("CARGO_PKG_VERSION"))?;
    dist::for_test(&binaries()?, &next, NEXT)?;
    rpm::check(&machine::copy(&debian, &folder.join("rpm-root"))?, &first, &next)?;
    let root = machine::copy(&debian, &folder.join("root"))?;
    for (from, name) in [(&first, "first"), (&next, "next")] {
        copy_packages(from, &root.join("root").join(name))?;
    }
    let log = cargo::program("zstd").args(["-dc", LOG]).output()?.stdout;
    ensure!(!log.is_empty(), "`{LOG}` cannot be unpacked");
    fs::write(root.join("root/first/hadoop-hdfs-datanode-dn1.log"), log)?;
    let mut machine = Machine::boot(&root)?;
    quick_path(&machine)?;
    upgrade(&machine)?;
    broken_configuration(&machine)?;
    removal(&machine)?;
    machine.end()?;
    Ok(Outcome::Passed)
}

/// The programs to pack: those that are there, or what is built now.
pub(crate) fn binaries() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(blocksift_tests::binaries::FOLDER_VARIABLE) {
        return Ok(PathBuf::from(folder));
    }
    cargo::run(cargo::cargo().args(["build", "--workspace", "--bins"]))?;
    Ok(cargo::target_folder().join("debug"))
}

fn copy_packages(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// From a clean system to a flagged session, by the commands that the operator is shown.
fn quick_path(machine: &Machine) -> Result<()> {
    // What is there on a DataNode.
    machine.run("groupadd --system hadoop && install -d -g hadoop -m 750 /var/log/hadoop")?;
    let commands = document::commands("docs/install.md", "quick")?;
    ensure!(commands.len() <= 5, "the quick path has {} commands", commands.len());
    let (last, before) = commands.split_last().context("the quick path has no commands")?;
    for command in before {
        machine.run(&format!("cd /root/first && {command}"))?;
    }
    machine.wait_for_unit("blocksift-collector")?;
    machine.wait_for_unit("blocksift-agent")?;
    let mut told = String::new();
    let flagged = poll(VERDICT, || {
        told = machine.run(last).unwrap_or_else(|error| error.to_string());
        told.contains("\"flagged\":true")
    });
    ensure!(flagged, "no flagged session arrived: {told}\n{}", machine.journal());
    // The whole of systemd's sandbox, not what it could do of it.
    for unit in PACKAGES.map(|package| package.name) {
        let warned = machine.run(&format!("journalctl -u {unit} -b --no-pager"))?;
        ensure!(!warned.contains("Failed to set up") && !warned.contains("ignoring"), "{warned}");
    }
    let groups = machine.run("id -nG blocksift")?;
    ensure!(groups.split_whitespace().any(|group| group == "hadoop"), "the agent's groups are {groups}");
    println!("quick path: a flagged session by {} commands", commands.len());
    Ok(())
}

/// A new version takes the place of the old one and goes on where that was.
fn upgrade(machine: &Machine) -> Result<()> {
    machine.run("echo '# mine' >> /etc/blocksift/agent.toml")?;
    let (before, lines) = (machine.main_process("blocksift-agent")?, lines_read(machine)?);
    ensure!(lines > 0, "the agent has read nothing");
    for command in document::commands("docs/install.md", "upgrade")? {
        machine.run(&format!("cd /root/next && {command}"))?;
    }
    machine.wait_for_unit("blocksift-agent")?;
    ensure!(machine.main_process("blocksift-agent")? != before, "the agent was not started anew");
    let version = machine.run("dpkg-query -W -f '${Version}' blocksift-agent")?;
    ensure!(version.trim() == format!("{NEXT}-1"), "version {version} is installed");
    machine.run("grep -qx '# mine' /etc/blocksift/agent.toml")?;
    ensure!(
        poll(PATIENCE, || lines_read(machine).is_ok_and(|now| now >= lines)),
        "the agent's state is gone"
    );
    println!("upgrade: configuration and state are kept");
    Ok(())
}

/// Lines that the agent has read since it was installed.
fn lines_read(machine: &Machine) -> Result<u64> {
    let status: serde_json::Value =
        serde_json::from_str(&machine.run("curl -fs http://127.0.0.1:9465/status")?)?;
    status
        .pointer("/ledger/lines_read")
        .and_then(serde_json::Value::as_u64)
        .context("the status has no ledger")
}

/// No start with a configuration that is wrong; what runs goes on.
fn broken_configuration(machine: &Machine) -> Result<()> {
    let before = machine.main_process("blocksift-agent")?;
    machine.run(
        "cp /etc/blocksift/agent.toml /root/good.toml && echo 'nonsense = 1' >> /etc/blocksift/agent.toml",
    )?;
    let said = machine.run("cd /root/next && dpkg -i blocksift-agent_*.deb 2>&1")?;
    ensure!(said.contains("this version refuses /etc/blocksift/agent.toml"), "{said}");
    ensure!(machine.main_process("blocksift-agent")? == before, "the running agent was ended");
    ensure!(
        machine.run("systemctl restart blocksift-agent").is_err(),
        "it started with a broken configuration"
    );
    machine.run("cp /root/good.toml /etc/blocksift/agent.toml && systemctl restart blocksift-agent")?;
    machine.wait_for_unit("blocksift-agent")?;
    println!("broken configuration: never started with, and no reason to end what runs");
    Ok(())
}

/// Removing keeps configuration and state; purging leaves nothing.
fn removal(machine: &Machine) -> Result<()> {
    for command in document::commands("docs/install.md", "remove")? {
        machine.run(&command)?;
    }
    for package in &PACKAGES {
        ensure!(
            machine.run(&format!("systemctl is-active {}", package.name)).is_err(),
            "{} runs",
            package.name
        );
        machine.run(&format!("test ! -e /usr/bin/{}", package.name))?;
        machine.run(&format!("test -e /etc/blocksift/{} -a -d {}", package.config, package.state))?;
    }
    machine.run("grep -qx '# mine' /etc/blocksift/agent.toml")?;
    for command in document::commands("docs/install.md", "purge")? {
        machine.run(&command)?;
    }
    for package in &PACKAGES {
        machine.run(&format!("test ! -e {}", package.state))?;
        ensure!(machine.run(&format!("getent passwd {}", package.user)).is_err(), "{} is left", package.user);
    }
    let left = machine.run(
        "find / -xdev -path /root -prune -o -path /var/log/journal -prune -o -iname '*blocksift*' -print",
    )?;
    ensure!(left.trim().is_empty(), "a purge leaves\n{left}");
    println!("removal: configuration and state stay until a purge, which leaves nothing");
    Ok(())
}
