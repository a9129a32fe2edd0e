//! The terms of everything that is compiled into a program, with their texts, each once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::components::{Component, Origin};

/// Starts of the names of files that state terms.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
/// Folders below a crate's own that are looked into: sources of other programs that it brings.
const DEPTH: usize = 2;

/// The whole file.
pub(super) fn text(program: &str, components: &[Component]) -> Result<String> {
    let mut out = format!("What {program} is made of besides its own code, and under which terms.\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for component in components.iter().filter(|component| component.origin != Origin::Own) {
        let Component { name, version, licence, repository, .. } = component;
        if licence.is_empty() {
            bail!("{name} {version} states no licence");
        }
        writeln!(out, "{name} {version}: {licence}  {repository}")?;
        let mut found = Vec::new();
        gather(&component.folder, DEPTH, &mut found)?;
        for text in found {
            texts.entry(text).or_default().push(format!("{name} {version}"));
        }
    }
    for (text, of) in texts {
        writeln!(out, "\n{}\n{}\n\n{}", "=".repeat(78), of.join(", "), text.trim_end())?;
    }
    Ok(out)
}

fn gather(folder: &Path, depth: usize, found: &mut Vec<String>) -> Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        if path.is_dir() {
            if depth > 0 {
                gather(&path, depth - 1, found)?;
            }
        } else if NAMES.iter().any(|start| name.starts_with(start)) || name == "UNLICENSE" {
            // Some are not UTF-8.
            let text = String::from_utf8_lossy(&fs::read(&path)?).replace("\r\n", "\n");
            if !found.contains(&text) {
                found.push(text);
            }
        }
    }
    Ok(())
}
