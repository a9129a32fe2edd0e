//! The run directory: what was asked for, what happened epoch by epoch, and its curves.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::report::svg::{Line, Plot};

/// How one net stood after one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Number of the net; the last is the one that learns from the others and is written.
    pub(crate) net: usize,
    /// From 1.
    pub(crate) epoch: usize,
    /// Mean loss of what was shown, by weight.
    pub(crate) loss: f32,
    /// Mean loss of the validation sessions, in their natural ratio.
    pub(crate) validation_loss: f32,
    /// Best F1 of the validation sessions over all thresholds, weighted.
    pub(crate) validation_f1: f64,
}

/// Writes `config.json`, `metrics.csv`, `metrics.json` and `curves.svg`.
///
/// # Errors
/// If the directory cannot be made or written to.
pub(super) fn write(folder: &Path, config: &Value, entries: &[Entry], scores: &Value) -> Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("{} cannot be made; check the path", folder.display()))?;
    let pretty = |value: &Value| -> Result<String> { Ok(serde_json::to_string_pretty(value)? + "\n") };
    crate::write(&folder.join("config.json"), pretty(config)?.as_bytes())?;
    let mut csv = "net,epoch,loss,validation_loss,validation_f1\n".to_owned();
    for entry in entries {
        let Entry { net, epoch, loss, validation_loss, validation_f1 } = entry;
        writeln!(csv, "{net},{epoch},{loss},{validation_loss},{validation_f1}")?;
    }
    crate::write(&folder.join("metrics.csv"), csv.as_bytes())?;
    let metrics = json!({ "epochs": entries, "scores": scores });
    crate::write(&folder.join("metrics.json"), pretty(&metrics)?.as_bytes())?;
    crate::write(&folder.join("curves.svg"), curves(entries).as_bytes())
}

/// Reads the epochs of a run directory.
///
/// # Errors
/// If it holds no such file.
pub(crate) fn read(folder: &Path) -> Result<Vec<Entry>> {
    let path = folder.join("metrics.csv");
    let failed = || format!("{} is not usable; give a directory that `train --run` wrote", path.display());
    let mut reader = csv::Reader::from_path(&path).with_context(failed)?;
    reader.deserialize().collect::<Result<Vec<Entry>, _>>().with_context(failed)
}

/// Loss and validation loss of each net, by epoch.
#[must_use]
pub(crate) fn curves(entries: &[Entry]) -> String {
    let mut lines = Vec::new();
    let nets = entries.iter().map(|entry| entry.net).max().map_or(0, |last| last + 1);
    for net in 0..nets {
        let of = |value: fn(&Entry) -> f32| -> Vec<(f64, f64)> {
            let own = entries.iter().filter(|entry| entry.net == net);
            // The axis is the logarithm: losses fall by orders.
            own.map(|entry| (entry.epoch as f64, f64::from(value(entry).max(1e-6)).log10())).collect()
        };
        let last = net + 1 == nets;
        lines.push(Line::new(if last { "shown, last net" } else { "" }, 0, of(|entry| entry.loss)));
        let name = if last { "validation, last net" } else { "" };
        lines.push(Line::new(name, 1, of(|entry| entry.validation_loss)));
    }
    Plot { title: "Training", x: "epoch", y: "log10 of the loss", ..Plot::default() }.lines(&lines)
}
