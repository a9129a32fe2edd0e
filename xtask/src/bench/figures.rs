//! Figures by name, written as flat JSON: `{"detector.hdfs_v1.everything.bytes_per_second": 1.0e9, ...}`.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// Figures in the order of their names.
pub(crate) struct Figures(Map<String, Value>);

impl Figures {
    /// With what they were measured on.
    pub(crate) fn of_this_machine() -> Self {
        let mut figures = Self(Map::new());
        figures.set("machine.cpu", cpu_model());
        figures.set("machine.threads", threads());
        figures
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, figure: impl Into<Value>) {
        self.0.insert(name.into(), figure.into());
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0).context("the figures are no JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Name of the processor as the kernel has it.
pub(crate) fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned())
}

/// Threads that can run at once.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_flat() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures.json");
        let mut figures = Figures::of_this_machine();
        figures.set("detector.hdfs_v1.everything.lines_per_second", 7.5e6);
        figures.write(&path).unwrap();
        let read: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(read["detector.hdfs_v1.everything.lines_per_second"], 7.5e6);
        assert!(read.as_object().unwrap().values().all(|value| !value.is_object()));
    }
}
