//! What systemd hears of an agent.

use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;

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
