//! `collector open`: the reports of a batch run in a database of their own that goes with the command, on loopback.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use blocksift_detector::Report;
use tracing::{info, warn};

use crate::access::Access;
use crate::access::agents::Agents;
use crate::access::users::Users;
use crate::ingest::{Ingest, Limits};
use crate::listen::{self, Address, Incoming};
use crate::notify::Policy;
use crate::otlp::report::check;
use crate::serve::{self, App};
use crate::store::{Batch, Place, Retention, Row, Sighting, Store};

/// Reports of one transaction.
const BATCH: usize = 500;

/// Reads the files, then serves until a signal.
///
/// # Errors
/// Says which file or line is not usable.
#[tokio::main]
pub(crate) async fn run(files: &[PathBuf], listen: Address) -> Result<()> {
    let stop = crate::stop_signal().context("signals cannot be handled")?;
    listen::check(listen, Some("TLS or login in this command"))?;
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    // Nothing is too old: the logs may be.
    let retention = Retention { age_days: u32::MAX, bytes_max: u64::MAX };
    let policy = Arc::new(Policy::default());
    let store = Arc::new(Store::open(
        Place::File(folder.path().join("open.sqlite")),
        retention,
        Arc::clone(&policy),
    )?);
    let mut reports = 0;
    for file in files {
        reports +=
            load(&store, file).await.with_context(|| format!("`{}` cannot be shown", file.display()))?;
    }
    if reports == 0 {
        bail!("there is no report in what was given; was nothing flagged?");
    }
    let users = Users::new(Vec::new(), false).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let app = App {
        store,
        policy,
        ingest: Arc::new(Ingest::new(Limits::default())),
        access: Arc::new(Access { agents: Agents::default(), users, proxy: None }),
        live: Arc::default(),
        models: Arc::default(),
        any_host: false,
        front: None,
        kafka: None,
        read_only: true,
    };
    let listener = listen::bind(listen).await?;
    info!(reports, "reports loaded");
    crate::announce("http", &listener)?;
    let incoming = Incoming::new(listener, None).context("the address is not known")?;
    serve::serve(incoming, app, None, stop).await;
    Ok(())
}

async fn load(store: &Store, file: &Path) -> Result<usize> {
    let reader: Box<dyn BufRead + Send> = if file == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file)?))
    };
    let (mut rows, mut loaded) = (Vec::new(), 0);
    for (line, number) in reader.lines().zip(1_u64..) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let report: Report = serde_json::from_str(&line)
            .map_err(|error| anyhow::anyhow!("line {number} is no report: {error}"))?;
        match check(&(&report).into()) {
            Ok(row) => rows.push(row),
            Err(reason) => warn!(line = number, %reason, "a report is left out"),
        }
        if rows.len() == BATCH {
            loaded += store_rows(store, std::mem::take(&mut rows)).await?;
        }
    }
    Ok(loaded + store_rows(store, rows).await?)
}

async fn store_rows(store: &Store, rows: Vec<Row>) -> Result<usize> {
    let names: std::collections::BTreeMap<String, String> =
        rows.iter().map(|row| (row.node.clone(), row.model.clone())).collect();
    let seen = |(node, model): (String, String)| Sighting { node, model, ..Sighting::default() };
    let count = rows.len();
    store.write(Batch { rows, nodes: names.into_iter().map(seen).collect() }).await?;
    Ok(count)
}
