//! The hosts: a collector and four agents in three racks, on one bridge; and how plays are run on them.

use std::collections::BTreeMap;
use std::fs;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::recap::Played;
use crate::cargo;
use crate::machine::Machine;

/// Version that is installed first.
pub(super) const FIRST: &str = env!("CARGO_PKG_VERSION");
/// The nodes with an agent. `dn1` is a canary, and a rack; so is `dn4`; the others are the rack in between.
pub(super) const AGENTS: [&str; 4] = ["dn1", "dn2", "dn3", "dn4"];
const COLLECTOR: &str = "collector1";
const BRIDGE: &str = "fleet0";
/// The first three bytes of every address.
const NETWORK: &str = "10.77.0";
/// The collector's last one; the agents' follow. 254 is ours.
const COLLECTOR_ADDRESS: usize = 10;
const PASSWORD: &str = "correct horse battery";
const MODEL: &str = "models/hadoop3.onnx";

/// What a play is run with.
pub(super) struct Setting {
    pub(super) version: &'static str,
    /// Whether the collector refuses `dn3`'s token.
    pub(super) wrong_token: bool,
    pub(super) model: Option<PathBuf>,
    pub(super) watch_seconds: u32,
    pub(super) watch_sessions_min: u32,
    pub(super) purge: bool,
}

impl Default for Setting {
    fn default() -> Self {
        let (model, watch_seconds, watch_sessions_min) = (None, 0, 0);
        Self { version: FIRST, wrong_token: false, model, watch_seconds, watch_sessions_min, purge: false }
    }
}

/// All hosts, running.
pub(super) struct Fleet {
    /// Not asked to shut down: they end with the namespace that they are in.
    hosts: BTreeMap<&'static str, ManuallyDrop<Machine>>,
    /// Packages and Ansible.
    folder: PathBuf,
    /// Keys, inventories, what Ansible keeps.
    work: TempDir,
    secrets: Secrets,
}

/// What lets the parts of the fleet trust each other.
struct Secrets {
    certificate: String,
    key: String,
    token: String,
    token_hash: String,
    password_hash: String,
}

impl Fleet {
    /// Makes the network, boots the hosts and lets this machine in.
    pub(super) fn start(folder: &Path, group: &str) -> Result<Self> {
        let work = tempfile::tempdir()?;
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["address", "add", &format!("{NETWORK}.254/24"), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        let key = work.path().join("key");
        cargo::output(cargo::program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
        let public = fs::read_to_string(key.with_extension("pub"))?;
        let mut hosts = BTreeMap::new();
        for name in std::iter::once(COLLECTOR).chain(AGENTS) {
            let machine = Machine::boot_shared(&folder.join("root"), name, BRIDGE, group)?;
            let init = machine.init().to_string();
            let within = ["--target", &init, "--net", "ip"];
            let enter =
                |arguments: &[&str]| cargo::output(cargo::program("nsenter").args(within).args(arguments));
            enter(&["address", "add", &format!("{}/24", address(name)), "dev", "host0"])?;
            enter(&["link", "set", "host0", "up"])?;
            machine.run(&format!(
                "mkdir -p -m 700 /root/.ssh && echo '{}' > /root/.ssh/authorized_keys",
                public.trim()
            ))?;
            machine.wait_for_unit("ssh")?;
            hosts.insert(name, ManuallyDrop::new(machine));
        }
        let secrets = Secrets::make(&folder.join("first"), work.path())?;
        println!("{} hosts are up", hosts.len());
        Ok(Self { hosts, folder: folder.to_owned(), work, secrets })
    }

    pub(super) fn host(&self, name: &str) -> Result<&Machine> {
        self.hosts.get(name).map(|machine| &**machine).with_context(|| format!("there is no host {name}"))
    }

    /// The version of the agent's package on a host.
    pub(super) fn version(&self, name: &str) -> Result<String> {
        let told = self.host(name)?.run("dpkg-query -W -f '${Version}' blocksift-agent")?;
        Ok(told.trim().trim_end_matches("-1").to_owned())
    }

    /// Runs a playbook on all hosts.
    pub(super) fn play(&self, playbook: &str, setting: &Setting) -> Result<Played> {
        let inventory = self.work.path().join("inventory.json");
        fs::write(&inventory, serde_json::to_string_pretty(&self.inventory(setting))?)?;
        let mut command = cargo::program(&self.folder.join("venv/bin/ansible-playbook"));
        command.current_dir(cargo::root().join("deploy/ansible")).arg("-i").arg(&inventory).arg(playbook);
        command.env("ANSIBLE_HOME", self.work.path()).env("ANSIBLE_NOCOLOR", "1").env("LC_ALL", "C.UTF-8");
        // Names of sockets must not be long.
        command.env("ANSIBLE_SSH_CONTROL_PATH_DIR", self.work.path().join("s"));
        let output = command.output().context("ansible-playbook cannot be started")?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Ok(Played {
            playbook: playbook.to_owned(),
            success: output.status.success(),
            text: text.into_owned(),
        })
    }

    fn inventory(&self, setting: &Setting) -> Value {
        let dist = if setting.version == FIRST { "first" } else { "next" };
        let host = |name: &str| {
            let wrong = setting.wrong_token && name == "dn3";
            let token = if wrong { "nobody's" } else { &self.secrets.token };
            json!({"ansible_host": address(name), "agent_token": token})
        };
        let rack = |names: &[&str]| {
            let hosts: serde_json::Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), host(name))).collect();
            json!({"hosts": hosts})
        };
        let mut vars = self.connection();
        let further = json!({
            "blocksift_dist": self.folder.join(dist),
            "blocksift_version": setting.version,
            "blocksift_model": setting.model,
            "blocksift_purge": setting.purge,
            "agent_watch_seconds": setting.watch_seconds,
            "agent_watch_interval": 1,
            "agent_watch_sessions_min": setting.watch_sessions_min,
        });
        vars.extend(further.as_object().cloned().unwrap_or_default());
        json!({"all": {"vars": vars, "children": {
            "blocksift_collectors": {"hosts": {COLLECTOR: {"ansible_host": address(COLLECTOR)}}},
            "blocksift_agents": {"children": {
                "rack_a": rack(&["dn1"]), "rack_b": rack(&["dn2", "dn3"]), "rack_c": rack(&["dn4"]),
            }},
            "blocksift_canaries": {"hosts": {"dn1": {}}},
        }}})
    }

    /// How the hosts are reached, and how they reach each other.
    fn connection(&self) -> serde_json::Map<String, Value> {
        let url = format!("https://{}:4318", address(COLLECTOR));
        let Secrets { certificate, key, token_hash, password_hash, .. } = &self.secrets;
        let vars = json!({
            "ansible_user": "root",
            "ansible_ssh_private_key_file": self.work.path().join("key"),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "ansible_python_interpreter": "/usr/bin/python3",
            "collector_certificate": certificate,
            "collector_key": key,
            "collector_health": url,
            "collector_validate_certs": false,
            "collector_config": format!(
                "listen = \"0.0.0.0:4318\"\ndatabase = \"/var/lib/blocksift-collector/blocksift.sqlite\"\n[tls]\n\
                 certificate = \"/etc/blocksift/collector.pem\"\nkey = \"/etc/blocksift/collector.key\"\n[[agent]]\n{token_hash}\nnodes = [\"*\"]\n\
                 [[user]]\nname = \"ansible\"\npassword_hash = \"{password_hash}\"\nrole = \"view\"\n"
            ),
            "agent_config": format!(
                "model = \"/etc/blocksift/model.onnx\"\n[logs]\npaths = [\"/var/log/hadoop/*.log\"]\n[ship]\nendpoint = \"{url}\"\n\
                 tls_ca = \"/etc/blocksift/ca.pem\"\ntoken_file = \"/etc/blocksift/token\"\nsummary_interval_s = 5\n"
            ),
            "agent_ca": certificate,
            "agent_model": cargo::root().join(MODEL),
            "agent_ready_retries": 30,
            "agent_ready_delay": 1,
            "agent_collector_url": url,
            "agent_collector_validate_certs": false,
            "agent_collector_user": "ansible",
            "agent_collector_password": PASSWORD,
        });
        vars.as_object().cloned().unwrap_or_default()
    }
}

impl Secrets {
    /// Made by the collector that was packed, and by openssl.
    fn make(dist: &Path, work: &Path) -> Result<Self> {
        let (key, certificate, request) = (work.join("tls.key"), work.join("tls.pem"), work.join("tls.cnf"));
        fs::write(
            &request,
            format!(
                "[req]\ndistinguished_name=name\nx509_extensions=of\n[name]\n[of]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=IP:{}\n",
                address(COLLECTOR)
            ),
        )?;
        let mut openssl = cargo::program("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]);
        openssl.args(["-days", "2", "-subj", "/CN=collector", "-config"]).arg(&request);
        cargo::output(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate))?;
        let collector = dist.join("blocksift-collector");
        let told = cargo::output(cargo::program(&collector).arg("token"))?;
        let (token, token_hash) = told.trim().split_once('\n').context("no token was made")?;
        let password = work.join("password");
        fs::write(&password, PASSWORD)?;
        let mut hash = cargo::program(&collector);
        let password_hash = cargo::output(hash.arg("password").stdin(fs::File::open(&password)?))?;
        ensure!(password_hash.starts_with("$argon2"), "no hash was made: {password_hash}");
        Ok(Self {
            certificate: fs::read_to_string(certificate)?,
            key: fs::read_to_string(key)?,
            token: token.rsplit(' ').next().unwrap_or_default().to_owned(),
            token_hash: token_hash.to_owned(),
            password_hash: password_hash.trim().to_owned(),
        })
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    cargo::output(cargo::program("ip").args(arguments)).map(drop)
}

/// A host's address.
fn address(name: &str) -> String {
    let place = AGENTS.iter().position(|agent| *agent == name).map_or(0, |place| place + 1);
    format!("{NETWORK}.{}", COLLECTOR_ADDRESS + place)
}
