//! `blocksift-agent doctor`: what is missing is found, and what to do is said.

use std::fs;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Collector, Node, Said, end, free_address, run};

/// Findings of `doctor` on a node.
struct Told {
    said: Said,
    findings: Vec<Value>,
}

impl Told {
    fn of(node: &Node) -> Self {
        let configuration = node.configuration();
        let arguments =
            ["doctor".as_ref(), "--json".as_ref(), "--config".as_ref(), configuration.as_os_str()];
        let said = run("blocksift-agent", arguments);
        let findings = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
        Self { said, findings }
    }

    /// Status, what and hint of a check.
    fn check(&self, name: &str) -> (&str, String) {
        let found = self.findings.iter().find(|finding| finding["check"] == name);
        let found = found.unwrap_or_else(|| panic!("no `{name}` in {}", self.said.stdout));
        (found["status"].as_str().unwrap(), format!("{} → {}", found["what"], found["hint"]))
    }
}

/// Five lines of a DataNode, the last of them written now, by a clock that is `ahead` of UTC.
fn write_log(node: &Node, ahead: Duration) {
    let now = Timestamp::try_from(SystemTime::now() + ahead).unwrap();
    let time = now.strftime("%Y-%m-%d %H:%M:%S,000");
    let class = "org.apache.hadoop.hdfs.server.datanode.DataNode";
    fs::write(node.log(), format!("{time} INFO {class}: Deleted blk_1 file\n").repeat(5)).unwrap();
}

#[test]
fn a_healthy_node_has_no_failure() {
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    write_log(&node, Duration::ZERO);
    let told = Told::of(&node);
    assert_eq!(told.said.code, 0, "{}", told.said.stdout);
    for check in [
        "config",
        "paths",
        "readable",
        "layout",
        "zone",
        "inotify",
        "model",
        "state",
        "agent",
        "collector",
        "clock",
    ] {
        assert_eq!(told.check(check).0, "ok", "{}", told.check(check).1);
    }
    assert!(!node.configuration().with_file_name("state").exists(), "it only looks");

    let agent = node.start_agent();
    let told = Told::of(&node);
    let (status, what) = told.check("agent");
    assert!(status == "ok" && what.contains(&agent.id().to_string()), "{what}");
    end(agent);
    collector.end();
}

#[test]
fn everything_that_is_wrong_is_found_at_once() {
    let node = Node::new(free_address(), "");
    write_log(&node, Duration::from_secs(2 * 3_600));
    fs::write(node.log().with_extension("log.2"), "no head at all\n".repeat(9)).unwrap();
    // A file stands where the state directory should be made.
    fs::write(node.configuration().with_file_name("state"), "").unwrap();
    let told = Told::of(&node);
    assert_eq!(told.said.code, 1, "{}", told.said.stdout);
    for (check, said) in [
        ("zone", "UTC+02:00"),
        ("layout", "ConversionPattern"),
        ("state", "state_dir"),
        ("collector", "refused"),
    ] {
        let (status, what) = told.check(check);
        assert!(status == "fail" && what.contains(said), "{check}: {what}");
    }
}

#[test]
fn a_wrong_configuration_is_the_only_finding() {
    let node = Node::new(free_address(), "idle_timout_s = 3");
    let told = Told::of(&node);
    assert_eq!((told.said.code, told.findings.len()), (1, 1), "{}", told.said.stdout);
    assert!(told.check("config").1.contains("idle_timeout_s"), "{}", told.said.stdout);
}

#[test]
fn people_get_a_line_for_each_finding() {
    let node = Node::new(free_address(), "");
    let configuration = node.configuration();
    let said = run("blocksift-agent", ["doctor".as_ref(), "--config".as_ref(), configuration.as_os_str()]);
    assert_eq!(said.code, 1);
    assert!(said.stdout.contains("FAIL paths") && said.stdout.contains("→ "), "{}", said.stdout);
    assert!(!said.stdout.contains('\x1b'), "no colours where there is no terminal");
}
