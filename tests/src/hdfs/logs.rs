//! What a run leaves: each node's log in one packed file, the faults, and a label for each block that a log names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::truth::{Fault, Label, labels};
use super::{NAMENODE, Site};

/// File of the faults, one JSON object a line.
pub const FAULTS: &str = "faults.ndjson";
/// File of the labels: block, label, kind of the fault.
pub const LABELS: &str = "labels.csv.gz";

/// What was gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Lines of all nodes' logs.
    pub lines: u64,
    /// Blocks by label.
    pub normal: usize,
    /// Blocks that a fault touched, by its kind.
    pub abnormal: BTreeMap<String, usize>,
    /// Blocks that nothing is said of.
    pub borderline: usize,
}

/// Gathers the logs of a site into `out`: `<node>.log.gz`, [`FAULTS`] and [`LABELS`].
///
/// # Errors
/// If a file cannot be read or written.
pub fn gather(site: &Site, out: &Path) -> io::Result<Gathered> {
    fs::create_dir_all(out)?;
    let mut times = BTreeMap::new();
    let mut gathered = Gathered::default();
    for node in [NAMENODE.to_owned()].into_iter().chain(site.names()) {
        let log = joined(&site.node_folder(&node).join("logs"))?;
        gathered.lines += log.lines().count() as u64;
        for (at_ms, block) in named(&log) {
            times.entry(block).or_insert_with(Vec::new).push(at_ms);
        }
        pack(&out.join(format!("{node}.log.gz")), log.as_bytes())?;
    }
    let faults = fs::read_to_string(site.folder.join(FAULTS)).unwrap_or_default();
    let list = faults.lines().map(serde_json::from_str).collect::<Result<Vec<Fault>, _>>()?;
    fs::write(out.join(FAULTS), &faults)?;
    let mut table = String::from("BlockId,Label,Kind\n");
    for (block, label) in labels(&times, &list, &complaints(&site.folder.join("clients"))?) {
        let kind = if let Label::Abnormal(kind) = label { kind.name() } else { String::new() };
        table += &format!("blk_{block},{},{kind}\n", label.name());
        match label {
            Label::Normal => gathered.normal += 1,
            Label::Abnormal(_) => *gathered.abnormal.entry(kind).or_default() += 1,
            Label::Borderline => gathered.borderline += 1,
        }
    }
    pack(&out.join(LABELS), table.as_bytes())?;
    Ok(gathered)
}

fn pack(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut packer = GzEncoder::new(File::create(path)?, Compression::best());
    packer.write_all(bytes)?;
    packer.finish().map(drop)
}

/// A rolled log in the order of its lines: the file with the highest number is the oldest.
fn joined(folder: &Path) -> io::Result<String> {
    let mut files: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.extension().and_then(|end| end.to_str()?.parse().ok()).unwrap_or(0);
        files.push((number, path));
    }
    files.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    let mut log = String::new();
    for (_, path) in files {
        log += &String::from_utf8_lossy(&fs::read(path)?);
    }
    Ok(log)
}

/// Blocks of which the clients' own logs say something at WARN or worse.
fn complaints(folder: &Path) -> io::Result<Vec<(i64, i64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let log = String::from_utf8_lossy(&fs::read(entry?.path())?).into_owned();
        let loud: Vec<&str> =
            log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
        found.extend(named(&loud.join("\n")));
    }
    Ok(found)
}

/// Times and blocks of lines; a line without a time has that of the one before.
fn named(log: &str) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut at_ms = 0;
    for line in log.lines() {
        at_ms = time_ms(line).unwrap_or(at_ms);
        let mut ids: Vec<i64> = line.split("blk_").skip(1).filter_map(number).collect();
        ids.sort_unstable();
        ids.dedup();
        found.extend(ids.into_iter().map(|block| (at_ms, block)));
    }
    found
}

fn number(text: &str) -> Option<i64> {
    let end = text.find(|sign: char| !sign.is_ascii_digit() && sign != '-').unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// `2026-01-31 23:59:59,123`, in UTC as the nodes write it.
fn time_ms(line: &str) -> Option<i64> {
    let head = line.get(..23)?.replace(',', ".");
    let time: DateTime = head.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_line_have_its_time_or_that_of_the_one_before() {
        let log = "1970-01-01 00:00:01,250 INFO a: Receiving BP-1-127.0.0.1-2:blk_1073_9 and blk_1073_9\n\tat blk_-5\n";
        assert_eq!(named(log), [(1_250, 1_073), (1_250, -5)]);
    }

    #[test]
    fn a_rolled_log_is_joined_oldest_first() {
        let folder = tempfile::TempDir::new().unwrap();
        for (name, text) in [("a.log", "c\n"), ("a.log.1", "b\n"), ("a.log.10", "a\n")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(joined(folder.path()).unwrap(), "a\nb\nc\n");
    }
}
