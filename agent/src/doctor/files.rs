//! Do the globs find files, may they be read, and for how long does rotation keep them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::finding::Finding;
use crate::config::Logs;
use crate::files::{Found, Scanned, scan};

/// A stop of the agent that rotated files should outlast.
const KEPT_MIN: Duration = Duration::from_secs(3_600);

/// Findings `paths` and `readable`.
pub(super) fn paths(logs: &Logs, scanned: &Scanned) -> Vec<Finding> {
    let any = !scanned.files.is_empty();
    let mut findings: Vec<Finding> = logs.paths.iter().filter_map(|glob| matches(logs, glob, any)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("paths", format!("{} files match", scanned.files.len())));
    }
    if scanned.left_out > 0 {
        let what = format!("{} files beyond files_max ({}) are left out", scanned.left_out, logs.files_max);
        findings.push(Finding::warn("paths", what, "raise [logs] files_max, or name fewer files"));
    }
    let unreadable: Vec<Finding> =
        unreadable(scanned).map(|(path, error)| forbidden(&path, &error)).collect();
    if unreadable.is_empty() && !scanned.files.is_empty() {
        findings.push(Finding::ok("readable", "every file can be read by this user"));
    }
    findings.extend(unreadable);
    findings
}

/// A finding if no file matches a glob.
fn matches(logs: &Logs, glob: &str, any: bool) -> Option<Finding> {
    let (what, hint) = unmatched(logs, glob)?;
    // A DataNode has no NameNode's log: one glob without files is no failure while others have some.
    Some(match any {
        true => Finding::warn("paths", what, format!("{hint}; fine if this node has no such log")),
        false => Finding::fail("paths", what, hint),
    })
}

/// What is so and what to do if no file matches a glob of `logs`.
pub(crate) fn unmatched(logs: &Logs, glob: &str) -> Option<(String, String)> {
    let alone = Logs { paths: vec![glob.to_owned()], received: None, ..logs.clone() };
    let found = scan(&alone);
    if !found.files.is_empty() || !found.unreadable.is_empty() {
        return None;
    }
    let with_excluded = scan(&Logs { exclude: Vec::new(), ..alone }).files.len();
    if with_excluded > 0 {
        let what = format!("`{glob}` matches {with_excluded} files, all of them excluded");
        return Some((what, "look at [logs] exclude".to_owned()));
    }
    let hint = match missing_folder(glob) {
        Some(folder) => {
            format!("`{}` does not exist; look where the daemon's log4j.properties writes", folder.display())
        }
        None => "its folder exists; look at the names of the files in it".to_owned(),
    };
    Some((format!("`{glob}` matches no file"), hint))
}

/// The first folder in front of a glob's wildcards that does not exist.
fn missing_folder(glob: &str) -> Option<PathBuf> {
    let mut folder = PathBuf::new();
    let parent = Path::new(glob).parent()?;
    for part in parent.components() {
        if part.as_os_str().to_string_lossy().contains(['*', '?', '[']) {
            return None;
        }
        folder.push(part);
        if !folder.exists() {
            return Some(folder);
        }
    }
    None
}

fn unreadable(scanned: &Scanned) -> impl Iterator<Item = (PathBuf, io::Error)> {
    let listed = scanned.unreadable.iter().map(|(path, error)| (path.clone(), error.kind().into()));
    let opened =
        scanned.files.iter().filter_map(|found| Some((found.path.clone(), File::open(&found.path).err()?)));
    listed.chain(opened)
}

fn forbidden(path: &Path, error: &io::Error) -> Finding {
    let what = format!("`{}` cannot be read: {error}", path.display());
    let Ok(metadata) = fs::metadata(path) else {
        return Finding::fail(
            "readable",
            what,
            "give this user the right to enter its folder (chmod o+x, or its group)",
        );
    };
    let mode = metadata.mode() & 0o777;
    let group = name_of("/etc/group", metadata.gid()).unwrap_or_else(|| metadata.gid().to_string());
    let hint = if mode & 0o040 == 0 {
        format!(
            "its mode is {mode:o}: let the daemon write group-readable logs (umask 027), or setfacl -m u:USER:r"
        )
    } else {
        format!("add the agent's user to the group `{group}`: usermod -aG {group} USER, and start it again")
    };
    Finding::fail("readable", what, hint)
}

/// The name that a file like `/etc/passwd` or `/etc/group` has for a number.
pub(super) fn name_of(path: &str, number: u32) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

/// Finding `rotation`: how far the rotated files of the log that keeps least reach back.
pub(super) fn rotation(found: &[Found], now: SystemTime) -> Option<Finding> {
    let mut logs: BTreeMap<PathBuf, Vec<&Found>> = BTreeMap::new();
    for found in found {
        logs.entry(log_of(&found.path)).or_default().push(found);
    }
    let oldest = |files: &Vec<&Found>| files.iter().map(|found| found.modified).min();
    let rotated = logs.iter().filter(|(_, files)| files.len() > 1);
    let kept =
        rotated.filter_map(|(log, files)| Some((now.duration_since(oldest(files)?).ok()?, log, files.len())));
    let (kept, log, files) = kept.min()?;
    let what = format!("{files} files of `{}` reach back {}", log.display(), span(kept));
    Some(if kept < KEPT_MIN {
        let hint = "an agent that stops for longer loses lines: raise MaxBackupIndex or MaxFileSize of the daemon's appender";
        Finding::warn("rotation", what, hint)
    } else {
        Finding::ok("rotation", what)
    })
}

/// The path of the log that a rotated file belongs to: without `.1`, `.2008-11-09` and the like at its end.
fn log_of(path: &Path) -> PathBuf {
    let mut log = path.to_owned();
    while let Some(ending) = log.extension().and_then(|ending| ending.to_str())
        && ending.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        log.set_extension("");
    }
    log
}

/// A span of time for people.
pub(super) fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn logs(folder: &Path, names: &[&str]) -> Logs {
        Logs {
            paths: names.iter().map(|name| folder.join(name).display().to_string()).collect(),
            ..crate::config::tests::example().logs
        }
    }

    #[test]
    fn a_glob_without_files_says_which_folder_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.log"), "x").unwrap();
        let told = |names: &[&str]| {
            let logs = logs(folder.path(), names);
            paths(&logs, &scan(&logs))
        };
        assert_eq!(told(&["*.log"]).iter().map(|finding| finding.status).max(), Some(Status::Ok));
        let missing = told(&["absent/*.log"]);
        assert!(missing[0].status == Status::Fail && missing[0].hint.contains("absent"), "{missing:?}");
        let other = told(&["*.log", "absent/*.log"]);
        assert!(other[0].status == Status::Warn && other[0].what.contains("absent"), "{other:?}");
        fs::write(folder.path().join("b.gz"), "x").unwrap();
        let excluded = told(&["b.gz*"]);
        assert!(excluded[0].what.contains("all of them excluded"), "{excluded:?}");
    }

    #[test]
    fn rotated_files_are_one_log() {
        for rotated in ["a.log.1", "a.log.2008-11-09", "a.log.2008-11-09.3", "a.log"] {
            assert_eq!(log_of(Path::new(rotated)), Path::new("a.log"), "{rotated}");
        }
    }

    #[test]
    fn rotation_that_keeps_less_than_an_hour_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.log", "a.log.1"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let found = scan(&logs(folder.path(), &["a.log*"])).files;
        let now = SystemTime::now();
        assert_eq!(rotation(&found, now).unwrap().status, Status::Warn);
        assert_eq!(rotation(&found, now + 2 * KEPT_MIN).unwrap().status, Status::Ok);
        assert_eq!(rotation(&found[..1], now), None);
    }

    #[test]
    fn names_of_numbers_are_found() {
        assert_eq!(name_of("/etc/passwd", 0).as_deref(), Some("root"));
    }
}
