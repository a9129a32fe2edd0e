//! What no other tool checks: head comments, length of files, size of what is in git, markers for later.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::dist::VENDORED;

/// Lines of a source file, at most.
const LINES_MAX: usize = 500;
/// Bytes of any file in git, at most.
const BYTES_MAX: u64 = 1 << 20;
/// Words that mark work left for later; in two parts, so that this file does not have them.
const MARKERS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// Ends of names of files that are read for markers.
const TEXTS: [&str; 9] = [".rs", ".toml", ".md", ".sh", ".html", ".js", ".css", ".yml", ".yaml"];

/// Checks every file that is in git or would be added to it.
pub(crate) fn check() -> Result<()> {
    let files = cargo::output(cargo::program("git").args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut faults = Vec::new();
    let mut checked = 0_u32;
    for name in files.split('\0').filter(|name| !name.is_empty()) {
        let path = cargo::root().join(name);
        // A file that is deleted but not yet committed is still listed.
        if path.is_file() {
            faults.extend(faults_of(name, &path)?);
            checked += 1;
        }
    }
    if !faults.is_empty() {
        bail!("not tidy:\n  {}", faults.join("\n  "));
    }
    println!("{checked} files are tidy");
    Ok(())
}

fn faults_of(name: &str, path: &Path) -> Result<Vec<String>> {
    let bytes = fs::metadata(path).with_context(|| format!("cannot look at `{name}`"))?.len();
    if bytes > BYTES_MAX {
        return Ok(vec![format!("{name}: {bytes} bytes; files in git have at most {BYTES_MAX}")]);
    }
    let vendored = VENDORED.iter().any(|(folder, _)| Path::new(name).starts_with(folder));
    if vendored || !TEXTS.iter().any(|end| name.ends_with(end)) {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
    Ok(faults_of_text(name, &text))
}

fn faults_of_text(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.ends_with(".rs") {
        if !text.starts_with("//!") {
            faults.push(format!("{name}: does not open with a `//!` comment that says what the file holds"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{name}: {lines} lines; split it, {LINES_MAX} are the limit"));
        }
    }
    for (line, number) in text.lines().zip(1_u32..) {
        if let Some(marker) = MARKERS.iter().find(|&&marker| line.contains(marker)) {
            faults.push(format!("{name}:{number}: `{marker}`; do it or open an issue"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidy_text_has_no_faults() {
        assert!(faults_of_text("a.rs", "//! Holds a.\nfn a() {}\n").is_empty());
        assert!(faults_of_text("a.md", "# a\n").is_empty());
    }

    #[test]
    fn each_fault_is_named_with_its_file() {
        let long = "// a\n".repeat(LINES_MAX + 1);
        assert_eq!(faults_of_text("a.rs", &long).len(), 2);
        let marked = format!("//! A.\n// {}: later\n", MARKERS[0]);
        assert!(faults_of_text("a.rs", &marked)[0].starts_with("a.rs:2:"));
    }
}
