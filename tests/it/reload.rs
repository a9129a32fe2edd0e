//! A running agent takes a new configuration and model, or refuses them and goes on.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;

use blocksift_tests::process::{Process, Signal, poll};
use blocksift_tests::simulate::{Plan, batch, batch_with};
use tempfile::TempDir;

use crate::harness::{
    Collector, Node, PATIENCE, assert_adds_up, detect, detect_with, end, free_address, run,
};

/// The model in the agent, as a file.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/hdfs-v1.onnx");

fn append(node: &Node, bytes: &[u8]) {
    let mut log = File::options().append(true).create(true).open(node.log()).unwrap();
    log.write_all(bytes).unwrap();
}

fn reloads(node: &Node, name: &str) -> u64 {
    node.status()["reloads"][name].as_u64().unwrap_or(0)
}

fn reload(agent: &Process, node: &Node) {
    let before = reloads(node, "taken");
    agent.signal(Signal::HUP).unwrap();
    assert!(poll(PATIENCE, || reloads(node, "taken") > before), "{}", node.status());
}

#[test]
fn reloads_in_the_midst_of_lines_change_nothing_of_what_is_reported() {
    let batch = batch(71, 300);
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("hdfs.log");
    fs::write(&log, &batch.log).unwrap();
    let detected = detect(&[&log]);
    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    node.reconfigure("", "reload_interval_s = 0\n");
    let agent = node.start_agent();

    let settings = ["batch_reports_max = 7", "batch_reports_max = 8", "batch_reports_max = 9"];
    let mut last = "batch_reports_max = 100";
    node.reconfigure("[ship]\n", &format!("[ship]\n{last}\n"));
    // Pieces that end anywhere.
    let pieces: Vec<&[u8]> = batch.log.chunks(batch.log.len() / 4 + 1).collect();
    for (piece, setting) in pieces.iter().zip(settings.iter().chain(["batch_reports_max = 10"].iter())) {
        append(&node, piece);
        node.reconfigure(last, setting);
        last = *setting;
        if *setting == settings[1] {
            // Another file, the same model: sessions go on with it.
            let model = folder.path().join("model.onnx");
            fs::copy(MODEL, &model).unwrap();
            node.reconfigure("model = \"hdfs-v1\"\n", &format!("model = {model:?}\n"));
        }
        reload(&agent, &node);
    }
    collector.wait_for(Node::NAME, "lines_read", detected.count("lines_read"));
    collector.wait_for_flags(&detected.flags());
    assert_eq!(node.status()["ledger"]["lines_read"], detected.count("lines_read"));
    assert_eq!(node.status()["ledger"]["lines_in_sessions"], detected.count("lines_in_sessions"));
    end(agent);
    collector.end();
}

#[test]
fn another_model_judges_what_is_scored_from_then_on() {
    let archive = Plan::archive(74, 150);
    let later = Plan { start_ms: archive.start_ms + 86_400_000, ..archive };
    let (first, second) = (batch(73, 150), batch_with(later, |_| true));
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("first.log"), &first.log).unwrap();
    fs::write(path("second.log"), &second.log).unwrap();
    fs::write(path("sessions.csv"), batch(75, 400).sessions_csv()).unwrap();
    let (sessions, other) = (path("sessions.csv"), path("other.onnx"));
    let mut train: Vec<&OsStr> =
        ["train", "--method", "decision-tree", "--sessions"].map(OsStr::new).to_vec();
    train.extend([sessions.as_os_str(), "-o".as_ref(), other.as_os_str()]);
    let trained = run("model-export", train);
    assert_eq!(trained.code, 0, "{}", trained.stderr);
    let mut expected = detect(&[&path("first.log")]).flags();
    let of_other = detect_with(&["--model".as_ref(), other.as_os_str()], &[&path("second.log")]).flags();
    assert_ne!(of_other, detect(&[&path("second.log")]).flags(), "the models are to be told apart");
    assert!(!expected.is_empty() && !of_other.is_empty());

    let collector = Collector::start(folder.path());
    let node = Node::new(collector.address, "");
    let model = path("model.onnx");
    fs::copy(MODEL, &model).unwrap();
    node.reconfigure("model = \"hdfs-v1\"\n", &format!("reload_interval_s = 0\nmodel = {model:?}\n"));
    let agent = node.start_agent();
    append(&node, &first.log);
    collector.wait_for_flags(&expected);
    let before = node.status()["model"].clone();
    fs::rename(&other, &model).unwrap();
    reload(&agent, &node);
    // It is taken before it is what the status tells of.
    let of_another = || node.status()["model"].as_str().is_some_and(|model| before != *model);
    assert!(poll(PATIENCE, of_another), "{}", node.status());
    append(&node, &second.log);
    expected.extend(of_other);
    collector.wait_for_flags(&expected);
    collector.wait_for(Node::NAME, "lines_read", first.written.lines + second.written.lines);
    assert_adds_up(&collector.summary(Node::NAME));
    end(agent);
    collector.end();
}

#[test]
fn a_bad_configuration_is_refused_and_the_old_one_goes_on() {
    let batch = batch(72, 50);
    let node = Node::new(free_address(), "");
    node.reconfigure("", "reload_interval_s = 1\n");
    let mut agent = node.start_agent();
    node.reconfigure("idle_timeout_s", "idle_timout_s");
    // By itself, as the file changed.
    assert!(poll(PATIENCE, || reloads(&node, "refused") == 1), "{}", node.status());
    agent.wait_for_line("did you mean `idle_timeout_s`?", PATIENCE).unwrap();
    assert!(agent.output().contains("agent.toml:11:1: "), "{}", agent.output());
    fs::write(node.log(), &batch.log).unwrap();
    assert!(poll(PATIENCE, || node.status()["ledger"]["lines_read"].as_u64() > Some(0)), "{}", node.status());

    node.reconfigure("idle_timout_s", "idle_timeout_s");
    assert!(poll(PATIENCE, || reloads(&node, "taken") == 1), "{}", node.status());
    assert_eq!(
        (reloads(&node, "refused"), &node.status()["reloads"]["failure"]),
        (1, &serde_json::Value::Null)
    );
    node.reconfigure(&format!("node = \"{}\"", Node::NAME), "node = \"another\"");
    agent.wait_for_line("`node` cannot change", PATIENCE).unwrap();
    assert_eq!(node.status()["node"], Node::NAME);
    end(agent);
}

#[test]
fn a_model_that_nobody_known_has_signed_is_refused_at_the_start_and_at_a_reload() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let export = |arguments: &[&str]| {
        let said = run("model-export", arguments);
        assert_eq!(said.code, 0, "{}", said.stderr);
        said.stdout
    };
    fs::write(path("password"), "open sesame\n").unwrap();
    let told = export(&["new-key", &path("ours"), "--password-file", &path("password")]);
    let ours = told.lines().last().unwrap().to_owned();
    assert!(ours.starts_with("model_signed_by = [\"RW"), "{told}");
    export(&["new-key", &path("theirs"), "--no-password"]);
    let password = path("password");
    export(&["sign", MODEL, "-o", &path("good"), "--key", &path("ours"), "--password-file", &password]);
    export(&["sign", MODEL, "-o", &path("other"), "--key", &path("theirs"), "--no-password"]);
    let verified = export(&["verify", &path("good"), "--key", &path("ours.pub")]);
    assert!(verified.contains("model hdfs-v1-"), "{verified}");
    assert_eq!(run("model-export", ["verify", &path("other"), "--key", &path("ours.pub")]).code, 2);

    let node = Node::new(free_address(), "");
    let model = path("model.onnx");
    node.reconfigure("model = \"hdfs-v1\"\n", &format!("reload_interval_s = 0\nmodel = {model:?}\n{ours}\n"));
    let good = fs::read(path("good")).unwrap();
    let mut changed = good.clone();
    changed[20_000] ^= 1;
    let bad = [
        (fs::read(MODEL).unwrap(), "it is not signed"),
        (fs::read(path("other")).unwrap(), "none of the keys in `model_signed_by` has signed it"),
        (changed, "it is not what was signed"),
    ];
    let configuration = node.configuration();
    for (bytes, why) in &bad {
        fs::write(&model, bytes).unwrap();
        let said = run("blocksift-agent", ["run".as_ref(), "--config".as_ref(), configuration.as_os_str()]);
        assert!(said.code == 2 && said.stderr.contains(why), "{}", said.stderr);
    }
    fs::write(&model, &good).unwrap();
    let agent = node.start_agent();
    assert!(poll(PATIENCE, || node.status()["model"].is_string()), "{}", node.status());
    let id = node.status()["model"].clone();
    for (refused, (bytes, why)) in (1..).zip(&bad) {
        fs::write(&model, bytes).unwrap();
        agent.signal(Signal::HUP).unwrap();
        assert!(poll(PATIENCE, || reloads(&node, "refused") == refused), "{}", node.status());
        let status = node.status();
        assert!(status["reloads"]["failure"].as_str().unwrap().contains(why), "{status}");
        assert_eq!(status["model"], id, "the old one goes on");
    }
    end(agent);
}
