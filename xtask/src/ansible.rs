//! `cargo xtask test ansible`: the plays of `deploy/ansible`, run on hosts that are made for it: Debians with their own systemd,
//! in containers that share one root, each with its own network and sshd. All of it runs in namespaces that end with the
//! test, however it ends. Takes root and minutes, so that it is no part of the default steps.

mod fleet;
mod recap;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use blocksift_tests::process::poll;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::machine;
use crate::packages::{self, NEXT};
use crate::test::Outcome;
use crate::{cargo, dist, stop};

use fleet::{AGENTS, Fleet, Setting};

/// What is installed into a Debian so that Ansible can work on it.
const MANAGED: &str = "openssh-server python3 python3-apt";
/// The Ansible that is fetched.
const ANSIBLE: &str = "ansible-core~=2.19.0";
/// Longest run of all plays: on a machine that did much else it was 43 minutes.
const LONGEST: Duration = Duration::from_secs(90 * 60);
/// A model for other logs than the first one.
const OTHER_MODEL: &str = "models/hdfs-v1.onnx";

/// Where everything is; also what the part in the namespaces is called with.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder with the hosts' root, Ansible and the packages.
    folder: PathBuf,
    /// Name for the control groups.
    group: String,
}

/// Makes what the plays need, and runs them in namespaces of their own.
pub(crate) fn check() -> Result<Outcome> {
    let tools = [
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
        ("ssh-keygen", "openssh-client"),
        ("openssl", "openssl"),
    ];
    if let Some(why) = machine::missing(&tools) {
        return Ok(Outcome::Skipped(why));
    }
    let folder = cargo::target_folder().join("ansible");
    let debian = machine::debian(&cargo::target_folder().join("packages"))?;
    if let Err(error) = environment(&folder) {
        return Ok(Outcome::Skipped(format!("{ANSIBLE} cannot be fetched: {error:#}")));
    }
    root(&debian, &folder)?;
    let binaries = packages::binaries()?;
    dist::for_test(&binaries, &folder.join("first"), env!("CARGO_PKG_VERSION"))?;
    dist::for_test(&binaries, &folder.join("next"), NEXT)?;
    let group = format!("blocksift-{}", std::process::id());
    let mut inside = cargo::program("unshare");
    inside.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    inside.arg(std::env::current_exe()?).arg("ansible-inside").arg(&folder).arg(&group);
    let outcome = wait(&mut inside);
    machine::remove_groups(&group)?;
    outcome.map(|()| Outcome::Passed)
}

/// Waits for what runs in the namespaces. With it everything ends that is there, also when it takes too long or is interrupted.
fn wait(command: &mut Command) -> Result<()> {
    let stop = stop::flag()?;
    let mut child = command.spawn().context("unshare cannot be started")?;
    let mut ended = None;
    poll(LONGEST, || {
        ended = child.try_wait().transpose();
        ended.is_some() || stop.load(Ordering::Relaxed)
    });
    let Some(status) = ended.transpose()? else {
        child.kill()?;
        child.wait()?;
        bail!("it was interrupted, or took more than {} minutes", LONGEST.as_secs() / 60);
    };
    ensure!(status.success(), "the plays do not do what they should, see above");
    Ok(())
}

/// Ansible, in an environment of its own.
fn environment(folder: &Path) -> Result<()> {
    let venv = folder.join("venv");
    if cargo::output(cargo::program(&venv.join("bin/ansible-playbook")).arg("--version")).is_err() {
        println!("fetching {ANSIBLE}");
        cargo::output(cargo::program("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        cargo::output(cargo::program(&venv.join("bin/pip")).args(["install", "--quiet", ANSIBLE]))?;
    }
    Ok(())
}

/// The root that all hosts share.
fn root(debian: &Path, folder: &Path) -> Result<()> {
    let (root, complete) = (folder.join("root"), folder.join("complete"));
    if complete.is_file() {
        return Ok(());
    }
    machine::copy(debian, &root)?;
    println!("installing {MANAGED}");
    // Nothing starts while it is installed.
    let install = format!(
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d && apt-get update -q && \
         DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends {MANAGED} && rm /usr/sbin/policy-rc.d"
    );
    cargo::output(cargo::program("chroot").arg(&root).args(["/bin/sh", "-c", &install]))?;
    let log = root.join("var/log/hadoop/hadoop-hdfs-datanode-dn1.log");
    fs::create_dir_all(log.parent().unwrap_or(&root))?;
    let text = cargo::output(cargo::program("zstd").args(["-dc", packages::LOG]))?;
    fs::write(log, text.lines().take(50).flat_map(|line| [line, "\n"]).collect::<String>())?;
    // On a busy machine a service that runs only when nothing else does takes minutes to start.
    for unit in dist::PACKAGES.map(|package| package.name) {
        let folder = root.join(format!("etc/systemd/system/{unit}.service.d"));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("test.conf"), "[Service]\nCPUSchedulingPolicy=other\nNice=0\n")?;
    }
    fs::write(complete, "").context("the root cannot be marked as complete")
}

/// The part in the namespaces, where it is the first process: what it starts ends with it.
pub(crate) fn inside(arguments: &Arguments) -> Result<()> {
    // The first process of a namespace does not end by a signal that it does not ask for.
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::new(AtomicBool::new(true)))?;
    }
    let fleet = Fleet::start(&arguments.folder, &arguments.group)?;
    install(&fleet)?;
    broken_rack(&fleet)?;
    upgrade(&fleet)?;
    model(&fleet)?;
    removal(&fleet)
}

/// Everybody gets it, and a second time nothing changes.
fn install(fleet: &Fleet) -> Result<()> {
    let setting = Setting::default();
    for playbook in ["collectors.yml", "agents.yml"] {
        fleet.play(playbook, &setting)?.went_well()?.changed_all()?;
        fleet.play(playbook, &setting)?.went_well()?.changed_none()?;
    }
    for agent in AGENTS {
        ensure!(fleet.version(agent)? == setting.version, "{agent} has another version");
        fleet
            .host(agent)?
            .run("systemctl is-enabled blocksift-agent && curl -fs http://127.0.0.1:9465/readyz")?;
    }
    println!("install: a second run of each play changes nothing");
    Ok(())
}

/// A new version, with a token for one node that the collector does not take.
fn broken_rack(fleet: &Fleet) -> Result<()> {
    let setting = Setting { version: NEXT, wrong_token: true, ..Setting::default() };
    let before = fleet.host("dn4")?.main_process("blocksift-agent")?;
    let token = fleet.host("dn3")?.run("sha256sum /etc/blocksift/token")?;
    fleet.play("agents.yml", &setting)?.failed()?.did_not_reach("dn4")?;
    for (agent, version) in
        [("dn1", NEXT), ("dn2", fleet::FIRST), ("dn3", fleet::FIRST), ("dn4", fleet::FIRST)]
    {
        let has = fleet.version(agent)?;
        ensure!(has == version, "{agent} has version {has}, not {version}");
        fleet.host(agent)?.run("curl -fs http://127.0.0.1:9465/readyz")?;
    }
    ensure!(
        fleet.host("dn3")?.run("sha256sum /etc/blocksift/token")? == token,
        "the token before is not back"
    );
    ensure!(fleet.host("dn4")?.main_process("blocksift-agent")? == before, "a rack behind it was touched");
    println!(
        "broken rack: it goes back to version and configuration before, the rack behind it is not touched"
    );
    Ok(())
}

/// The same version once more, with the right token.
fn upgrade(fleet: &Fleet) -> Result<()> {
    let setting = Setting { version: NEXT, ..Setting::default() };
    fleet.play("agents.yml", &setting)?.went_well()?.changed(&["dn2", "dn3", "dn4"])?;
    for agent in AGENTS {
        ensure!(fleet.version(agent)? == NEXT, "{agent} has another version");
    }
    println!("upgrade: the racks that have it already do not change");
    Ok(())
}

/// A model of which the collector hears too little, and one that does well.
fn model(fleet: &Fleet) -> Result<()> {
    let models =
        |of: &str| -> Result<String> { fleet.host(of)?.run("sha256sum < /etc/blocksift/model.onnx") };
    let first = models("dn4")?;
    let watched = |seconds, sessions_min| Setting {
        version: NEXT,
        model: Some(cargo::root().join(OTHER_MODEL)),
        watch_seconds: seconds,
        watch_sessions_min: sessions_min,
        ..Setting::default()
    };
    fleet.play("model.yml", &watched(2, 100_000))?.failed()?.changed(&["dn1"])?;
    for agent in AGENTS {
        ensure!(models(agent)? == first, "{agent} has a model that did not do well");
    }
    let well = watched(20, 0);
    fleet.play("model.yml", &well)?.went_well()?.changed(&AGENTS)?;
    let second = models("dn1")?;
    ensure!(second != first && models("dn4")? == second, "the model did not get everywhere");
    fleet.play("model.yml", &well)?.went_well()?.changed_none()?;
    println!("model: back from the canary when it does badly, else everywhere, and not twice");
    Ok(())
}

fn removal(fleet: &Fleet) -> Result<()> {
    let setting = Setting { purge: true, ..Setting::default() };
    fleet.play("remove.yml", &setting)?.went_well()?.changed(&AGENTS)?;
    for agent in AGENTS {
        let find = "find /usr/bin /etc/blocksift /var/lib /var/cache -name '*blocksift*'; getent passwd blocksift || true";
        let left = fleet.host(agent)?.run(find)?;
        // The folder may be a collector's too.
        ensure!(left.trim().lines().all(|line| line == "/etc/blocksift"), "{agent} has left {left}");
    }
    fleet.play("remove.yml", &setting)?.went_well()?.changed_none()?;
    println!("removal: nothing is left, and a second run changes nothing");
    Ok(())
}
