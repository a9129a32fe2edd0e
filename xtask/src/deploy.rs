//! `cargo xtask test deploy`: what is under `deploy` for programs of others, checked by those programs' own validators where
//! they are installed: Ansible's playbooks, the Helm chart, Prometheus' rules, the parcel for Cloudera Manager, the job for
//! Spark, rsyslog's configuration. Each that is absent is told with how to get it. Nothing is installed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;
use crate::test::Outcome;

/// Versions of Kubernetes that the chart is rendered and checked for: the oldest it takes, one of today, the newest known.
const KUBERNETES: [&str; 3] = ["1.25", "1.31", "1.37"];
/// Values that a chart has no defaults for.
const VALUES: &str = "deploy/helm/blocksift/ci/example-values.yaml";
const CHART: &str = "deploy/helm/blocksift";

/// One program's files.
struct Validator {
    name: &'static str,
    /// Programs that it takes, each with what brings it.
    takes: &'static [(&'static str, &'static str)],
    check: fn() -> Result<()>,
}

const VALIDATORS: [Validator; 6] = [
    Validator {
        name: "ansible",
        takes: &[
            ("ansible-lint", "pip install ansible-lint"),
            ("ansible-playbook", "pip install ansible-core"),
        ],
        check: ansible,
    },
    Validator {
        name: "helm",
        takes: &[
            ("helm", "go install helm.sh/helm/v3/cmd/helm@v3.19.0"),
            ("kubernetes-validate", "pip install kubernetes-validate"),
        ],
        check: helm,
    },
    Validator { name: "prometheus", takes: &[("promtool", "apt-get install prometheus")], check: prometheus },
    Validator {
        name: "cloudera",
        takes: &[("python3", "apt-get install python3"), ("dpkg-deb", "apt-get install dpkg")],
        check: cloudera,
    },
    Validator {
        name: "spark",
        takes: &[("spark-submit", "pip install pyspark"), ("zstd", "apt-get install zstd")],
        check: spark,
    },
    Validator { name: "rsyslog", takes: &[("rsyslogd", "apt-get install rsyslog")], check: rsyslog },
];

/// Runs every validator that is there.
pub(crate) fn check() -> Result<Outcome> {
    let mut skipped = Vec::new();
    for validator in &VALIDATORS {
        match validator.takes.iter().find(|(program, _)| !is_there(program)) {
            Some((program, how)) => {
                println!("{}: SKIPPED, {program} is not installed (`{how}`)", validator.name);
                skipped.push(validator.name);
            }
            None => {
                (validator.check)().with_context(|| format!("{} finds fault", validator.name))?;
                println!("{}: ok", validator.name);
            }
        }
    }
    if skipped.len() == VALIDATORS.len() {
        return Ok(Outcome::Skipped("no validator is installed".to_owned()));
    }
    Ok(Outcome::Passed)
}

fn is_there(program: &str) -> bool {
    // Some answer this with a failure; what counts is that they can be started.
    cargo::program(program).arg("--version").output().is_ok()
}

fn ansible() -> Result<()> {
    let within = |program: &str| {
        let mut command = cargo::program(program);
        command.current_dir(cargo::root().join("deploy/ansible")).env("LC_ALL", "C.UTF-8");
        command
    };
    cargo::output(within("ansible-lint").args(["--offline", "--strict"]))?;
    for playbook in ["agents.yml", "collectors.yml", "model.yml", "remove.yml"] {
        let check = ["--syntax-check", "-i", "inventory.example.yml", "-e", "blocksift_model=x", playbook];
        cargo::output(within("ansible-playbook").args(check))?;
    }
    Ok(())
}

fn helm() -> Result<()> {
    cargo::output(cargo::program("helm").args(["lint", "--strict", CHART, "-f", VALUES]))?;
    // The schema refuses what is misspelt, and a collector without a configuration is no collector.
    for wrong in [&["-f", VALUES, "--set", "agent.nonsense=1"][..], &["--set", "collector.config="]] {
        let told = template(KUBERNETES[1]).args(wrong).output()?;
        ensure!(!told.status.success(), "the chart takes {wrong:?}");
    }
    let folder = tempfile::tempdir()?;
    let rendered = folder.path().join("rendered.yaml");
    for version in KUBERNETES {
        for values in [&[][..], &["--set", "collector.enabled=false,agent.stateFolder=/srv/blocksift"]] {
            let text = cargo::output(template(version).args(["-f", VALUES]).args(values))?;
            unprivileged(&text)?;
            std::fs::write(&rendered, text)?;
            let strict = ["--strict", "--quiet", "-k", version];
            cargo::output(cargo::program("kubernetes-validate").args(strict).arg(&rendered))?;
        }
    }
    Ok(())
}

fn template(version: &str) -> Command {
    let mut command = cargo::program("helm");
    command.args(["template", "blocksift", CHART, "--kube-version", &format!("{version}.0")]);
    command
}

/// No container may become root or write where logs are.
fn unprivileged(rendered: &str) -> Result<()> {
    let count = |text: &str| rendered.matches(text).count();
    let pods = count("kind: DaemonSet") + count("kind: Deployment");
    for promise in ["runAsNonRoot: true", "allowPrivilegeEscalation: false", "readOnlyRootFilesystem: true"] {
        ensure!(
            pods > 0 && count(promise) == pods,
            "`{promise}` stands {} times for {pods} pods",
            count(promise)
        );
    }
    for (at, _) in rendered.match_indices("- name: logs-") {
        let entry = rendered.get(at..).unwrap_or_default();
        let entry: String = entry.lines().take(4).collect::<Vec<_>>().join("\n");
        if entry.contains("mountPath") && !entry.contains("readOnly: true") {
            bail!("a folder of logs can be written to:\n{entry}");
        }
    }
    Ok(())
}

fn prometheus() -> Result<()> {
    let folder = cargo::root().join("deploy/prometheus");
    cargo::output(cargo::program("promtool").current_dir(&folder).args([
        "test",
        "rules",
        "blocksift.rules.test.yml",
    ]))?;
    Ok(())
}

fn cloudera() -> Result<()> {
    cargo::output(cargo::program("python3").arg(cargo::root().join("deploy/cloudera/test_pack.py")))?;
    Ok(())
}

fn spark() -> Result<()> {
    let built = |profile: &str| {
        let agent = cargo::target_folder().join(profile).join("blocksift-agent");
        Some((agent.metadata().ok()?.modified().ok()?, agent))
    };
    // The one that was built last: the other may be of long ago.
    let agent = ["release", "debug"].into_iter().filter_map(built).max().map(|(_, agent)| agent);
    let agent = agent.context("there is no agent to pipe through; `cargo build --bin blocksift-agent`")?;
    let test = cargo::root().join("deploy/spark/test_detect.py");
    cargo::output(cargo::program("python3").arg(test).env("BLOCKSIFT_AGENT", agent))?;
    Ok(())
}

fn rsyslog() -> Result<()> {
    let file = Path::new("deploy/pipelines/rsyslog.conf");
    cargo::output(cargo::program("rsyslogd").args(["-N1", "-f"]).arg(cargo::root().join(file)))?;
    Ok(())
}
