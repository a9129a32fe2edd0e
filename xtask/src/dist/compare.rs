//! Whether two releases are the same: by their lists of checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::SUMS;

/// An error that names what differs between two folders, which are named by their paths; how many files are the same.
pub(super) fn releases(ours: &Path, theirs: &Path) -> Result<usize> {
    let read = |folder: &Path| -> Result<BTreeMap<String, String>> {
        let path = folder.join(SUMS);
        let text =
            fs::read_to_string(&path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        let sums = sums(&text).with_context(|| format!("`{}` is no list of checksums", path.display()))?;
        ensure!(!sums.is_empty(), "`{}` is empty", path.display());
        Ok(sums)
    };
    let (one, other) = (read(ours)?, read(theirs)?);
    let differences = differences(&one, &other);
    if !differences.is_empty() {
        bail!(
            "`{}` and `{}` are not the same release:\n  {}",
            ours.display(),
            theirs.display(),
            differences.join("\n  ")
        );
    }
    Ok(one.len())
}

/// Checksum for each name.
fn sums(text: &str) -> Option<BTreeMap<String, String>> {
    let pair = |line: &str| {
        let (sum, name) = line.split_once("  ")?;
        Some((name.to_owned(), sum.to_owned()))
    };
    text.lines().map(pair).collect()
}

fn differences(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differs = |name: &&String| match (one.get(*name), other.get(*name)) {
        (Some(sum), Some(same)) if sum == same => None,
        (Some(_), Some(_)) => Some(format!("{name} differs")),
        (Some(_), None) => Some(format!("{name} is missing there")),
        _ => Some(format!("{name} is missing here")),
    };
    names.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let one = sums("aa  agent\nbb  agent.deb\ncc  old name.rpm\n").unwrap();
        let other = sums("aa  agent\nb0  agent.deb\ndd  new.rpm\n").unwrap();
        let told = differences(&one, &other);
        assert_eq!(told, ["agent.deb differs", "new.rpm is missing here", "old name.rpm is missing there"]);
        assert!(differences(&one, &one).is_empty());
        assert!(sums("nonsense\n").is_none());
    }

    #[test]
    fn a_release_that_was_not_finished_is_the_same_as_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SUMS), "").unwrap();
        assert!(releases(folder.path(), folder.path()).unwrap_err().to_string().ends_with("is empty"));
    }
}
