//! A real HDFS with an agent on each of its nodes and one collector: faults that are injected show up there with the right
//! node and block, and the quiet part raises next to no flags. `cargo xtask test hdfs` runs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blocksift_tests::hdfs::artifacts::{Artifacts, HADOOP};
use blocksift_tests::hdfs::client::{self, Client};
use blocksift_tests::hdfs::cluster::Cluster;
use blocksift_tests::hdfs::inject::Injector;
use blocksift_tests::hdfs::plan::{Kind, plan};
use blocksift_tests::hdfs::truth::Fault;
use blocksift_tests::hdfs::{DATANODES, NAMENODE, Site};
use blocksift_tests::http;
use blocksift_tests::process::poll;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Collector, Node, end};

/// Kinds that are injected; on which DataNode is the plan's.
const KINDS: [Kind; 3] = [Kind::KillDatanode, Kind::CorruptBlock, Kind::HangDatanode];
/// From the end of a fault until it has to be at the collector: the silence after which a session is scored, and what a
/// busy machine needs.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
/// Blocks that the quiet part writes at least.
const QUIET_BLOCKS_MIN: usize = 100;
/// Seconds of load before the first fault.
const QUIET_S: u64 = 40;
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
#[ignore = "minutes, and Hadoop; `cargo xtask test hdfs` runs it"]
fn faults_of_a_running_cluster_show_up_with_their_node_and_block() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.parent().unwrap().join("target");
    let artifacts = match Artifacts::fetch(&root.join("hdfs"), &target, HADOOP) {
        Ok(artifacts) => artifacts,
        Err(error) => return eprintln!("SKIPPED: no cluster can be run here: {error}"),
    };
    let folder = TempDir::new().unwrap();
    let site = Site::create(&folder.path().join("site"), &root.join("hdfs")).unwrap();
    let mut cluster = Cluster::start(&site, &artifacts).unwrap();
    std::thread::scope(|scope| {
        // Nodes die with the thread that starts them, so the test itself is another one.
        let watched = scope.spawn(|| watch(folder.path(), &site, &artifacts));
        cluster.look_after(|| watched.is_finished()).unwrap();
        cluster.end().unwrap();
        watched.join().unwrap();
    });
}

fn watch(folder: &Path, site: &Site, artifacts: &Artifacts) {
    let mut injector = Injector::new(site, artifacts).unwrap();
    let collector = Collector::start(folder);
    let names: Vec<String> = [NAMENODE.to_owned()].into_iter().chain(site.names()).collect();
    let nodes: Vec<Node> =
        names.iter().map(|name| Node::following(name, collector.address, &logs(site, name))).collect();
    let agents: Vec<_> = nodes.iter().map(Node::start_agent).collect();

    let quiet = load(site, artifacts, "quiet", QUIET_S);
    let said = quiet.line(PATIENCE).unwrap();
    assert!(said.starts_with("mixed"), "{said}");
    drop(quiet);
    wait_until_all_is_read(site, &names, &collector);
    let (healthy, false_flags) = (blocks_of(site), collector.flags().len());
    eprintln!("quiet part: {} blocks, {false_flags} flagged", healthy.len());
    assert!(healthy.len() >= QUIET_BLOCKS_MIN, "{} blocks", healthy.len());
    assert!(false_flags * 100 <= healthy.len(), "{false_flags} of {} healthy blocks flagged", healthy.len());

    let beside = load(site, artifacts, "beside", 86_400);
    for planned in plan(5, 1, &KINDS, DATANODES) {
        let fault = injector.inject(&planned).unwrap();
        let ended = Instant::now();
        let shown = poll(SHOWN_WITHIN, || is_shown(&collector, site, &fault));
        assert!(
            shown,
            "{:?} is not at the collector: {fault:?}; flagged: {:?}",
            fault.kind,
            collector.flags()
        );
        let seconds = ended.elapsed().as_secs_f32();
        eprintln!("{} on {}: at the collector {seconds:.1} s after its end", fault.kind.name(), fault.node);
    }
    let said = client::finish(beside).unwrap();
    assert!(said.starts_with("mixed"), "{said}");
    agents.into_iter().for_each(end);
    collector.end();
}

/// Clients that mix operations.
fn load(site: &Site, artifacts: &Artifacts, name: &str, seconds: u64) -> Client {
    let arguments = ["mix", "1", "5", "6", &seconds.to_string()].map(str::to_owned);
    let client = Client::start(site, artifacts, name, &arguments).unwrap();
    assert_eq!(client.line(PATIENCE).unwrap(), "mixing");
    client
}

/// The log that a node writes, without the ends that rotation gives it.
fn logs(site: &Site, node: &str) -> PathBuf {
    let role = if node == NAMENODE { "namenode" } else { "datanode" };
    site.node_folder(node).join("logs").join(format!("hadoop-hdfs-{role}-{node}.log"))
}

/// Whether a block that the fault touched is flagged, by the fault's node itself or with a line that names it.
fn is_shown(collector: &Collector, site: &Site, fault: &Fault) -> bool {
    let blocks: BTreeSet<String> = fault.blocks.iter().map(|block| format!("blk_{block}")).collect();
    let address = format!("127.0.0.1:{}", site.ports(&fault.node).0);
    collector.sessions().iter().any(|session| {
        let is_touched = session["block"].as_str().is_some_and(|block| blocks.contains(block));
        is_touched && (session["node"] == *fault.node || names_it(collector, session, &address))
    })
}

fn names_it(collector: &Collector, session: &Value, address: &str) -> bool {
    let id = session["id"].as_str().unwrap();
    let whole = http::get_json(collector.address, &format!("/api/sessions/{id}")).unwrap();
    whole.to_string().contains(address)
}

/// Waits until the agents have read what lies in the logs now and judged what was silent since.
fn wait_until_all_is_read(site: &Site, names: &[String], collector: &Collector) {
    for name in names {
        let lines: usize = files(site, name).iter().map(|text| text.lines().count()).sum();
        collector.wait_for(name, "lines_read", lines as u64);
    }
    let scored = |name: &str| collector.summary(name)["sessions_scored"].as_u64();
    // Two looks a silence apart that are equal.
    let all = || names.iter().map(|name| scored(name)).collect::<Vec<_>>();
    let (mut before, mut since) = (all(), Instant::now());
    assert!(poll(PATIENCE, || {
        let now = all();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(8)
    }));
}

fn files(site: &Site, node: &str) -> Vec<String> {
    let folder = fs::read_dir(site.node_folder(node).join("logs")).unwrap();
    let text = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    folder.map(|entry| text(entry.unwrap().path())).collect()
}

/// Blocks that the NameNode allocated.
fn blocks_of(site: &Site) -> BTreeSet<String> {
    let mut blocks = BTreeSet::new();
    for line in files(site, NAMENODE).iter().flat_map(|text| text.lines()) {
        let Some((_, rest)) = line.split_once("BLOCK* allocate blk_") else { continue };
        blocks.extend(rest.split('_').next().map(str::to_owned));
    }
    blocks
}
