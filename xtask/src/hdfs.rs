//! `cargo xtask hdfs`: a real HDFS on this machine, load on it, faults in it, and the logs that come of that.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use blocksift_tests::hdfs::artifacts::{self, Artifacts, HADOOP};
use blocksift_tests::hdfs::card;
use blocksift_tests::hdfs::client::{self, Client};
use blocksift_tests::hdfs::cluster::Cluster;
use blocksift_tests::hdfs::disguise::Disguise;
use blocksift_tests::hdfs::inject::Injector;
use blocksift_tests::hdfs::logs::{self, FAULTS, SETTINGS, Settings};
use blocksift_tests::hdfs::node::Known;
use blocksift_tests::hdfs::plan::{Kind, Planned, plan};
use blocksift_tests::hdfs::{DATANODES, Site, upkeep};
use blocksift_tests::process::{Signal, poll};
use clap::Subcommand;

use crate::{cargo, stop};

/// How often one looks whether to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long a cluster may take to end.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Folder of the cluster [default: target/hdfs/cluster]
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Version of Hadoop.
    #[arg(long, global = true, value_name = "VERSION", default_value = HADOOP)]
    hadoop: String,
}

#[derive(Subcommand)]
enum What {
    /// Start a NameNode and four DataNodes and look after them until Ctrl-C or `down`.
    Up,
    /// Put load on the cluster.
    Load(Load),
    /// Inject one fault, such as kill_datanode, and write down what it touched.
    Fault {
        /// What is done; a wrong name lists them.
        kind: String,
        /// DataNode, from 1 on.
        #[arg(long, default_value_t = 1)]
        node: usize,
        /// Equal seeds give equal lengths.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Gather the logs with a label for each block.
    Logs {
        /// Folder to write.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// End the cluster.
    Down,
    /// Bring the sources of the version, for `model-export mine --sources`.
    Sources {
        /// Folder to write the jars to.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Print what a data card says of runs in numbers.
    Card {
        /// Folders that `run` wrote.
        #[arg(required = true, value_name = "DIR")]
        runs: Vec<PathBuf>,
    },
    /// All of it, one after the other: every kind of fault under load, then the logs. The folder is removed before and after.
    Run {
        #[command(flatten)]
        load: Load,
        /// Times that each kind of fault comes.
        #[arg(long, default_value_t = 1)]
        rounds: usize,
        /// Only these kinds.
        #[arg(long, value_name = "KIND", value_delimiter = ',')]
        kinds: Vec<String>,
        /// A run with each of these seeds, one after the other, into folders of their names below the output.
        #[arg(long, value_name = "SEED", value_delimiter = ',')]
        seeds: Vec<u64>,
        /// Folder to write.
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
}

#[derive(clap::Args)]
struct Load {
    /// Client processes.
    #[arg(long, default_value_t = 3)]
    clients: usize,
    /// Operations a second of each client.
    #[arg(long, default_value_t = 4.0)]
    rate: f64,
    /// How long; `run` adds what the faults take.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Equal seeds give the same operations and the same faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = arguments.folder.clone().unwrap_or_else(|| cargo::target_folder().join("hdfs/cluster"));
    let artifacts = || -> Result<Artifacts> {
        Ok(Artifacts::fetch(&sources(), &cargo::target_folder(), &arguments.hadoop)?)
    };
    match &arguments.what {
        What::Up => up(&folder, &artifacts()?),
        What::Load(load) => put_load(&Site::open(&folder)?, &artifacts()?, load),
        What::Fault { kind, node, seed } => {
            let site = Site::open(&folder)?;
            let planned = plan(*seed, 1, &kinds(std::slice::from_ref(kind))?, 1);
            let planned = planned.into_iter().map(|planned| Planned { node: *node, rest_ms: 0, ..planned });
            inject(&site, &mut Injector::new(&site, &artifacts()?)?, &planned.collect::<Vec<_>>())
        }
        What::Logs { output } => gather(&Site::open(&folder)?, &artifacts()?, output),
        What::Down => down(&folder),
        What::Sources { output } => {
            // Maven takes it from where it runs, which need not be here.
            let output = std::path::absolute(output)?;
            Ok(artifacts::fetch_sources(&arguments.hadoop, &output)?)
        }
        What::Card { runs } => {
            print!("{}", card::tables(runs)?);
            Ok(())
        }
        What::Run { load, rounds, kinds: names, seeds, output } => {
            let kinds = kinds(names)?;
            let artifacts = artifacts()?;
            let several = seeds.iter().map(|&seed| (seed, output.join(seed.to_string())));
            let mut runs: Vec<(u64, PathBuf)> = several.collect();
            if runs.is_empty() {
                runs.push((load.seed, output.clone()));
            }
            for (seed, output) in runs {
                let load = Load { seed, ..*load };
                let planned = plan(seed, *rounds, &kinds, DATANODES);
                whole(&folder, &artifacts, &load, &planned)?;
                gather(&Site::open(&folder)?, &artifacts, &output)?;
                write_settings(&output, &arguments.hadoop, &load, *rounds)?;
                fs::remove_dir_all(&folder).context("the cluster's folder cannot be removed")?;
            }
            Ok(())
        }
    }
}

fn write_settings(output: &Path, hadoop: &str, load: &Load, rounds: usize) -> Result<()> {
    let settings = Settings {
        hadoop: hadoop.to_owned(),
        seed: load.seed,
        clients: load.clients,
        rate: load.rate,
        quiet_s: load.seconds,
        rounds,
    };
    let path = output.join(SETTINGS);
    let text = serde_json::to_string(&settings)? + "\n";
    fs::write(&path, text).with_context(|| format!("`{}` cannot be written", path.display()))
}

/// What the JVMs read.
pub(crate) fn sources() -> PathBuf {
    cargo::root().join("tests/hdfs")
}

fn kinds(names: &[String]) -> Result<Vec<Kind>> {
    if names.is_empty() {
        return Ok(Kind::ALL.to_vec());
    }
    let all = Kind::ALL.map(Kind::name).join(", ");
    names.iter().map(|name| Kind::named(name).with_context(|| format!("`{name}` is none of {all}"))).collect()
}

fn up(folder: &Path, artifacts: &Artifacts) -> Result<()> {
    tended(folder, artifacts, |site, stop| {
        let mut client = Client::serving(site, artifacts, "up")?;
        client.ask(&format!("nodes / {DATANODES}"))?;
        println!("hdfs://127.0.0.1:{} is up, in `{}`; Ctrl-C ends it", site.namenode, site.folder.display());
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        Ok(())
    })
}

/// A cluster in a new folder, looked after while `work` goes on. Nodes die with the thread that starts them, so that is
/// this one.
pub(crate) fn tended(
    folder: &Path,
    artifacts: &Artifacts,
    work: impl FnOnce(&Site, &AtomicBool) -> Result<()> + Send,
) -> Result<()> {
    if Known::noted(folder).is_ok_and(Known::running) {
        bail!("a cluster runs in `{}` already; `cargo xtask hdfs down` ends it", folder.display());
    }
    if folder.join("site.json").exists() {
        fs::remove_dir_all(folder).with_context(|| format!("`{}` cannot be removed", folder.display()))?;
    }
    let stop = stop::flag()?;
    let site = Site::create(folder, &sources())?;
    Known::of(std::process::id())?.note(&site.folder)?;
    let mut cluster = Cluster::start(&site, artifacts)?;
    thread::scope(|scope| {
        let work = scope.spawn(|| work(&site, &stop));
        // What works on the cluster cannot be interrupted; it ends when the cluster does.
        cluster.look_after(|| work.is_finished() || stop.load(Ordering::Relaxed))?;
        let ended = cluster.end();
        let done = if stop.load(Ordering::Relaxed) && !work.is_finished() {
            // Threads of a process that is told to end are not waited for: a client may wait for minutes.
            if poll(Duration::from_secs(1), || work.is_finished()) {
                work.join()
            } else {
                std::process::exit(130)
            }
        } else {
            work.join()
        };
        ended?;
        done.unwrap_or_else(|_| bail!("the work on the cluster panicked"))
    })
}

fn down(folder: &Path) -> Result<()> {
    let known = Known::noted(folder).with_context(|| format!("no cluster in `{}`", folder.display()))?;
    if known.running() {
        known.signal(Signal::TERM)?;
        if !poll(PATIENCE, || !known.running()) {
            bail!("the cluster in `{}` does not end", folder.display());
        }
    }
    println!("the cluster in `{}` is down; its logs are kept until the next `up`", folder.display());
    Ok(())
}

fn clients(site: &Site, artifacts: &Artifacts, load: &Load, seconds: u64) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for number in 1..=load.clients {
        let words = [number.to_string(), load.seed.to_string(), load.rate.to_string(), seconds.to_string()];
        let arguments: Vec<String> = ["mix".to_owned()].into_iter().chain(words).collect();
        clients.push(Client::start(site, artifacts, &format!("mix-{number}"), &arguments)?);
    }
    for client in &clients {
        client.line(PATIENCE)?;
    }
    Ok(clients)
}

fn put_load(site: &Site, artifacts: &Artifacts, load: &Load) -> Result<()> {
    for client in clients(site, artifacts, load, load.seconds)? {
        println!("{}", client.line(Duration::from_secs(load.seconds) + PATIENCE)?);
    }
    Ok(())
}

/// Load and faults on a cluster of its own.
fn whole(folder: &Path, artifacts: &Artifacts, load: &Load, planned: &[Planned]) -> Result<()> {
    tended(folder, artifacts, |site, _| {
        let mut injector = Injector::new(site, artifacts)?;
        // The load goes on for as long as faults come; quiet time comes first and last.
        let clients = clients(site, artifacts, load, 86_400)?;
        let quiet = Duration::from_secs(load.seconds) / 2;
        thread::sleep(quiet);
        let mut client = Client::serving(site, artifacts, "upkeep")?;
        upkeep::move_blocks(site, artifacts, &mut client)?;
        inject(site, &mut injector, planned)?;
        upkeep::decommission(site, &mut client, "dn1")?;
        thread::sleep(quiet);
        // None dies in the middle of a write, which would be one more fault.
        for client in clients {
            match client::finish(client) {
                Ok(said) => println!("{said}"),
                // What it did until then has been done; the faults are what the run is for.
                Err(error) => println!("{error}"),
            }
        }
        Ok(())
    })
}

fn inject(site: &Site, injector: &mut Injector, planned: &[Planned]) -> Result<()> {
    let mut file = File::options().create(true).append(true).open(site.folder.join(FAULTS))?;
    for planned in planned {
        thread::sleep(Duration::from_millis(planned.rest_ms));
        let what = || format!("{} on dn{} cannot be injected", planned.kind.name(), planned.node);
        let fault = injector.inject(planned).with_context(what)?;
        writeln!(file, "{}", serde_json::to_string(&fault)?)?;
        let seconds = (fault.end_ms - fault.begin_ms) / 1_000;
        println!("{} on {}: {} blocks, {seconds} s", fault.kind.name(), fault.node, fault.blocks.len());
    }
    Ok(())
}

fn gather(site: &Site, artifacts: &Artifacts, output: &Path) -> Result<()> {
    let root = cargo::root();
    let paths = [(site.folder.as_path(), "/hadoop"), (artifacts.folder(), "/opt/hadoop"), (&root, "/opt")];
    let gathered = logs::gather(site, &Disguise::new(&paths), output)?;
    println!(
        "`{}` written: {} lines, {} faults, {} normal blocks, {} borderline, abnormal by fault: {:?}",
        output.display(),
        gathered.lines,
        gathered.faults,
        gathered.normal,
        gathered.borderline,
        gathered.abnormal
    );
    Ok(())
}
