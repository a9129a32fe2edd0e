//! Models, configurations and addresses that cannot be used: a message that says which, why and what to do.

use std::fs;

use tempfile::TempDir;

use crate::harness::{Collector, Node, free_address, run};

/// An ONNX file of IR version 8 with an empty graph and nothing that blocksift asks for.
const FOREIGN_ONNX: &[u8] = &[0x08, 0x08, 0x3a, 0x03, 0x12, 0x01, b'g', 0x42, 0x02, 0x10, 17];

fn detect_with_model(model: &[u8]) -> (i32, String) {
    let folder = TempDir::new().unwrap();
    let (log, path) = (folder.path().join("hdfs.log"), folder.path().join("other.onnx"));
    fs::write(&log, b"").unwrap();
    fs::write(&path, model).unwrap();
    let said =
        run("blocksift-agent", ["detect".as_ref(), log.as_os_str(), "--model".as_ref(), path.as_os_str()]);
    (said.code, said.stderr)
}

#[test]
fn a_model_that_is_no_onnx_file_is_refused() {
    let (code, stderr) = detect_with_model(b"\x00\x01 this is no model");
    assert_eq!(code, 2);
    assert!(stderr.contains("other.onnx") && stderr.contains("not an ONNX file"), "{stderr}");
}

#[test]
fn an_onnx_file_with_another_contract_is_refused() {
    let (code, stderr) = detect_with_model(FOREIGN_ONNX);
    assert_eq!(code, 2);
    assert!(stderr.contains("other.onnx") && stderr.contains("not a blocksift model"), "{stderr}");
}

#[test]
fn a_missing_model_is_named() {
    let said = run("blocksift-agent", ["detect", "/dev/null", "--model", "/absent/model.onnx"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("/absent/model.onnx"), "{}", said.stderr);
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_right_name() {
    let node = Node::new(free_address(), "idle_timout_s = 3");
    for command in ["validate", "run"] {
        let configuration = node.configuration();
        let said = run("blocksift-agent", [command.as_ref(), "--config".as_ref(), configuration.as_os_str()]);
        assert_eq!(said.code, 2, "{command}: {}", said.stderr);
        assert!(said.stderr.contains("agent.toml:11"), "{command}: {}", said.stderr);
        assert!(
            said.stderr.contains("idle_timout_s = 3") && said.stderr.contains("idle_timeout_s"),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn a_good_configuration_is_valid() {
    let node = Node::new(free_address(), "");
    let configuration = node.configuration();
    let said = run("blocksift-agent", ["validate".as_ref(), "--config".as_ref(), configuration.as_os_str()]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains(Node::NAME), "{}", said.stdout);
}

#[test]
fn a_port_in_use_is_named() {
    let folder = TempDir::new().unwrap();
    let collector = Collector::start(folder.path());
    let address = collector.address.to_string();
    let database = folder.path().join("second.sqlite");
    let said = run(
        "blocksift-collector",
        ["--listen".as_ref(), address.as_ref(), "--database".as_ref(), database.as_os_str()],
    );
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains(&address) && said.stderr.contains("in use"), "{}", said.stderr);
    collector.end();
}

#[test]
fn a_database_that_is_none_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let notes = folder.path().join("notes.txt");
    fs::write(&notes, "not a database ".repeat(500)).unwrap();
    let said = run(
        "blocksift-collector",
        ["--listen".as_ref(), "127.0.0.1:0".as_ref(), "--database".as_ref(), notes.as_os_str()],
    );
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("notes.txt"), "{}", said.stderr);
    assert_eq!(fs::read_to_string(&notes).unwrap(), "not a database ".repeat(500));
}
