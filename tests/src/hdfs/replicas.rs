//! A DataNode's replicas as they lie on its disks, so that what a fault touches is known without asking any log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Site;

/// Files of replicas that are being written on `node`.
#[must_use]
pub fn being_written(site: &Site, node: &str) -> Vec<i64> {
    ids(pools(site, node).map(|pool| pool.join("rbw")))
}

/// Whole replicas on `node`.
#[must_use]
pub fn finalized(site: &Site, node: &str) -> Vec<i64> {
    ids(pools(site, node).map(|pool| pool.join("finalized")))
}

/// Where the block's whole replica lies on `node`: its data and its checksums.
///
/// # Errors
/// If the node has none.
pub fn files(site: &Site, node: &str, block: i64) -> io::Result<(PathBuf, PathBuf)> {
    let mut found = Vec::new();
    for pool in pools(site, node) {
        walk(&pool.join("finalized"), &mut found);
    }
    let is = |name: &str| name == format!("blk_{block}");
    let data = found.iter().find(|path| is(&name(path)));
    let checksums = found.iter().find(|path| {
        let name = name(path);
        name.strip_prefix(&format!("blk_{block}_")).is_some_and(|rest| rest.ends_with(".meta"))
    });
    match (data, checksums) {
        (Some(data), Some(checksums)) => Ok((data.clone(), checksums.clone())),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, format!("{node} has no replica of blk_{block}"))),
    }
}

/// Folders of the block pools on each volume of `node`: `data*/current/BP-*/current`.
pub fn pools(site: &Site, node: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let folder = site.node_folder(node);
    ["data1", "data2", "data3"].into_iter().flat_map(move |volume| {
        let current = folder.join(volume).join("current");
        let entries = fs::read_dir(current).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| name(path).starts_with("BP-"))
            .map(|pool| pool.join("current"))
    })
}

fn ids(folders: impl Iterator<Item = PathBuf>) -> Vec<i64> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&folder, &mut found);
    }
    let mut ids: Vec<i64> =
        found.iter().filter_map(|path| name(path).strip_prefix("blk_")?.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Files below `folder`. What goes away meanwhile is left out.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
