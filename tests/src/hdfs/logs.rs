//! What a run leaves: each node's log in one packed file, the faults, a label for each block that a log names, and the
//! settings that it was made with.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::disguise::Disguise;
use super::truth::{Complaint, Fault, Label, labels};
use super::{NAMENODE, Site};

/// File of the faults, one JSON object a line.
pub const FAULTS: &str = "faults.ndjson";
/// File of the labels: block, label, kind of the fault.
pub const LABELS: &str = "labels.csv.zst";
/// File of the settings.
pub const SETTINGS: &str = "run.json";
/// Behind a node's name.
const LOG: &str = ".log.zst";
/// Packed once and read often.
const LEVEL: i32 = 19;

/// What a client says when it cannot begin to read from a node.
const READING: [&str; 2] = ["Failed to connect to", "I/O error constructing remote block reader"];
/// Why it reached none, which then has nothing to tell of it.
const UNREACHED: [&str; 2] = ["java.net.ConnectException", "java.net.SocketTimeoutException"];

/// What a run was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Version of Hadoop.
    pub hadoop: String,
    /// Of load and faults.
    pub seed: u64,
    /// Client processes.
    pub clients: usize,
    /// Operations a second of each.
    pub rate: f64,
    /// Seconds without faults, half of them before the first and half after the last one.
    pub quiet_s: u64,
    /// Times that each kind of fault came.
    pub rounds: usize,
}

/// What is in the files of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines of all nodes' logs.
    pub lines: u64,
    /// Faults.
    pub faults: usize,
    /// Blocks that no fault touched.
    pub normal: usize,
    /// Blocks that one did, by its kind.
    pub abnormal: BTreeMap<String, usize>,
    /// Blocks that nothing is said of.
    pub borderline: usize,
}

impl Counts {
    /// Counts what lies in a run's folder.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let mut counts =
            Self { faults: fs::read_to_string(folder.join(FAULTS))?.lines().count(), ..Self::default() };
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(LOG) {
                counts.lines += unpack(&path)?.lines().count() as u64;
            }
        }
        for row in unpack(&folder.join(LABELS))?.lines().skip(1) {
            match row.split(',').skip(1).collect::<Vec<_>>().as_slice() {
                ["Normal", _] => counts.normal += 1,
                ["Borderline", _] => counts.borderline += 1,
                [_, kind] => *counts.abnormal.entry((*kind).to_owned()).or_default() += 1,
                _ => return Err(io::Error::other(format!("`{row}` is no label"))),
            }
        }
        Ok(counts)
    }
}

/// Gathers the logs of a site into `out`: `<node>.log.zst`, [`FAULTS`] and [`LABELS`].
///
/// # Errors
/// If a file cannot be read or written.
pub fn gather(site: &Site, disguise: &Disguise, out: &Path) -> io::Result<Counts> {
    fs::create_dir_all(out)?;
    let mut times = BTreeMap::new();
    for node in [NAMENODE.to_owned()].into_iter().chain(site.names()) {
        let log = disguise.of(joined(&site.node_folder(&node).join("logs"))?);
        for (at_ms, block) in named(&log) {
            times.entry(block).or_insert_with(Vec::new).push(at_ms);
        }
        pack(&out.join(node + LOG), log.as_bytes())?;
    }
    let faults = fs::read_to_string(site.folder.join(FAULTS)).unwrap_or_default();
    let list = faults.lines().map(serde_json::from_str).collect::<Result<Vec<Fault>, _>>()?;
    fs::write(out.join(FAULTS), &faults)?;
    let mut table = String::from("BlockId,Label,Kind\n");
    for (block, label) in labels(&times, &list, &complaints(&site.folder.join("clients"))?) {
        let kind = if let Label::Abnormal(kind) = label { kind.name() } else { String::new() };
        table += &format!("blk_{block},{},{kind}\n", label.name());
    }
    pack(&out.join(LABELS), table.as_bytes())?;
    Counts::of(out)
}

fn pack(path: &Path, bytes: &[u8]) -> io::Result<()> {
    zstd::stream::copy_encode(bytes, File::create(path)?, LEVEL)
}

/// Text of a packed file.
///
/// # Errors
/// If it cannot be read.
pub fn unpack(path: &Path) -> io::Result<String> {
    let bytes = zstd::stream::decode_all(File::open(path)?)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
fn complaints(folder: &Path) -> io::Result<Vec<Complaint>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.extend(complained(&String::from_utf8_lossy(&fs::read(entry?.path())?)));
    }
    Ok(found)
}

fn complained(log: &str) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.contains(" WARN ") && !line.contains(" ERROR ") {
            continue;
        }
        let because = lines.peek().copied().unwrap_or_default();
        let unreached = READING.iter().any(|start| line.contains(start))
            && UNREACHED.iter().any(|class| line.contains(class) || because.starts_with(class));
        let complaint = |(at_ms, block)| Complaint { at_ms, block, reached: !unreached };
        found.extend(named(line).into_iter().map(complaint));
    }
    found
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
    fn a_client_that_reached_nobody_says_so_in_the_line_behind() {
        let head = "1970-01-01 00:00:01,250";
        let log = format!(
            "{head} WARN a: Failed to connect to /127.0.0.1:1 for file /a for block BP-1:blk_1_9, add to deadNodes\n\
             java.net.ConnectException: Connection refused\n\
             {head} INFO a: blk_3\n\
             {head} WARN a: Failed to connect to /127.0.0.1:1 for file /a for block BP-1:blk_2_9, add to deadNodes\n\
             java.io.IOException: Got error\n"
        );
        let found: Vec<_> = complained(&log).into_iter().map(|it| (it.at_ms, it.block, it.reached)).collect();
        assert_eq!(found, [(1_250, 1, false), (1_250, 2, true)]);
    }

    #[test]
    fn what_is_packed_is_counted() {
        let folder = tempfile::TempDir::new().unwrap();
        let labels = "BlockId,Label,Kind\nblk_1,Normal,\nblk_2,Anomaly,kill_client\nblk_3,Borderline,\n";
        pack(&folder.path().join(LABELS), labels.as_bytes()).unwrap();
        pack(&folder.path().join("dn1.log.zst"), b"a\nb\n").unwrap();
        fs::write(folder.path().join(FAULTS), "{}\n").unwrap();
        let abnormal = BTreeMap::from([("kill_client".to_owned(), 1)]);
        let expected = Counts { lines: 2, faults: 1, normal: 1, abnormal, borderline: 1 };
        assert_eq!(Counts::of(folder.path()).unwrap(), expected);
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
