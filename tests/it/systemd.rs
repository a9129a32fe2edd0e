//! What systemd hears of an agent, and what it thinks of the units in `deploy/systemd`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use blocksift_tests::binaries::binary;
use blocksift_tests::process::Signal;
use tempfile::TempDir;

use crate::harness::{Node, PATIENCE, end, free_address};

/// systemd's end of the socket.
struct Systemd(UnixDatagram);

impl Systemd {
    /// The next message that says `wanted`.
    fn wait_for(&self, wanted: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let mut message = [0; 4_096];
            let length =
                self.0.recv(&mut message).unwrap_or_else(|error| panic!("{wanted}: {error}: {heard:?}"));
            let text = String::from_utf8(message[..length].to_vec()).unwrap();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
            heard.push(text);
        }
    }
}

#[test]
fn systemd_hears_of_readiness_life_reloads_and_the_end() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("notify.sock");
    let systemd = Systemd(UnixDatagram::bind(&socket).unwrap());
    systemd.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let node = Node::new(free_address(), "");
    let environment = [("NOTIFY_SOCKET", socket.as_os_str()), ("WATCHDOG_USEC", OsStr::new("1000000"))];
    let agent = node.start_agent_with(&environment);
    systemd.wait_for("READY=1");
    assert!(systemd.wait_for("WATCHDOG=1").contains("STATUS=0 files, 0 bytes behind"));
    systemd.wait_for("WATCHDOG=1");
    agent.signal(Signal::HUP).unwrap();
    assert!(systemd.wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    systemd.wait_for("READY=1");
    // A refused one is over, too.
    node.reconfigure("idle_timeout_s", "idle_timout_s");
    agent.signal(Signal::HUP).unwrap();
    systemd.wait_for("RELOADING=1");
    systemd.wait_for("READY=1");
    agent.signal(Signal::TERM).unwrap();
    systemd.wait_for("STOPPING=1");
    end(agent);
}

/// Runs `systemd-analyze`; what it printed if it found fault, `None` where there is no systemd.
fn systemd_analyze(arguments: &[&OsStr]) -> Option<Result<(), String>> {
    let Ok(output) = Command::new("systemd-analyze").args(arguments).output() else {
        eprintln!("SKIPPED: systemd-analyze is not installed, so the units are not checked");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    // It warns of what it does not know and goes on, and so would systemd.
    let text = String::from_utf8_lossy(&said).into_owned();
    Some(if output.status.success() && !text.contains("Unknown key") { Ok(()) } else { Err(text) })
}

#[test]
fn units_are_valid_and_leave_little_exposed() {
    for (program, kind) in [("blocksift-agent", "notify"), ("blocksift-collector", "exec")] {
        let unit = format!("{}/../deploy/systemd/{program}.service", env!("CARGO_MANIFEST_DIR"));
        let unit = fs::read_to_string(unit).unwrap();
        let folder = TempDir::new().unwrap();
        let check = |unit: &str| -> Option<Result<(), String>> {
            let path = folder.path().join(format!("{program}.service"));
            let binary = binary(program);
            fs::write(&path, unit.replace(&format!("/usr/bin/{program}"), binary.to_str().unwrap())).unwrap();
            let (path, offline) = (path.as_os_str(), OsStr::new("--offline=yes"));
            let verified = systemd_analyze(&["verify".as_ref(), "--man=no".as_ref(), path])?;
            // Tenths of its exposure level, of 100.
            let threshold = OsStr::new("--threshold=20");
            Some(verified.and(systemd_analyze(&["security".as_ref(), offline, threshold, path])?))
        };
        let Some(checked) = check(&unit) else { return };
        checked.unwrap();
        let kind = format!("Type={kind}\n");
        for (weaker, instead) in [("CapabilityBoundingSet=\n", ""), (kind.as_str(), "Tipe=notify\n")] {
            assert!(unit.contains(weaker));
            check(&unit.replace(weaker, instead)).unwrap().unwrap_err();
        }
    }
}
