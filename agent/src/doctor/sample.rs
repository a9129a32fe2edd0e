//! The last lines of each log: is their layout known, and do their times fit the time at which the file was written.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use blocksift_detector::head::{Heads, Parsed};
use blocksift_detector::time::Zone;
use blocksift_detector::{Settings, head::Layout};
use jiff::tz::TimeZone;

use super::finding::Finding;
use crate::config::Config;
use crate::files::{Found, read_up_to};

/// Bytes looked at, at the end of each file.
const TAIL_BYTES: u64 = 256 * 1_024;
/// Files looked at, the most recently changed ones.
const FILES_MAX: usize = 50;
/// Lines from which on a share of them says something.
const LINES_MIN: u64 = 5;
/// Share of lines with a head below which a layout is doubtful: stack traces make up the rest.
const SHARE_MIN: f64 = 0.25;
/// Zones differ by multiples of this.
const ZONE_STEP_MS: i64 = 15 * 60_000;
/// Zones reach from 14 hours before UTC to 12 hours behind it.
const ZONE_DIFFERENCE_MAX_MS: i64 = 26 * 3_600_000;
/// How far a file's last time may be from the time of its last change.
const SLACK_MS: i64 = 2 * 60_000;

/// What the end of a file looks like.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sample {
    lines: u64,
    heads: u64,
    layout: String,
    /// Time of the last record, milliseconds since 1970.
    last_ms: Option<i64>,
}

/// Findings `layout` and `zone`.
pub(super) fn lines(config: &Config, found: &[Found]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut layouts: Vec<String> = Vec::new();
    let (mut in_zone, mut looked_at) = (0, 0);
    for found in found.iter().rev().take(FILES_MAX) {
        // What cannot be read is said by the check of the paths.
        let Ok(sample) = sample(&found.path, config.detector.layout.as_ref(), &config.detector.zone) else {
            continue;
        };
        looked_at += 1;
        if let Some(finding) = layout(&found.path, &sample) {
            findings.push(finding);
        } else if sample.heads > 0 && !layouts.contains(&sample.layout) {
            layouts.push(sample.layout.clone());
        }
        let Some(last_ms) = sample.last_ms else { continue };
        match zone(&found.path, last_ms, millis(found.modified), &config.detector.zone) {
            Some(finding) => findings.push(finding),
            None => in_zone += 1,
        }
    }
    if !layouts.is_empty() {
        findings
            .push(Finding::ok("layout", format!("{} in {looked_at} files looked at", layouts.join(", "))));
    }
    if in_zone > 0 {
        let zone = config.detector.zone.iana_name().unwrap_or("that of the host");
        let what = format!("{in_zone} files end with the time of their last change, read as {zone}");
        findings.push(Finding::ok("zone", what));
    }
    findings
}

fn layout(path: &Path, sample: &Sample) -> Option<Finding> {
    let path = path.display();
    if sample.lines == 0 {
        return None;
    }
    let fix = "set [logs] layout to the ConversionPattern of the log4j.properties that the daemon runs with";
    if sample.heads == 0 {
        let what = format!("none of the last {} lines of `{path}` has a known head", sample.lines);
        // A few lines may all belong to one stack trace.
        return Some(match sample.lines < LINES_MIN {
            true => Finding::warn("layout", what, fix),
            false => Finding::fail("layout", what, fix),
        });
    }
    // For people: lines of 256 KiB are few.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let share = sample.heads as f64 / sample.lines as f64;
    (share < SHARE_MIN && sample.lines >= LINES_MIN).then(|| {
        let what = format!(
            "only {} of the last {} lines of `{path}` have a head ({})",
            sample.heads, sample.lines, sample.layout
        );
        Finding::warn("layout", what, format!("fine if the others are stack traces; otherwise {fix}"))
    })
}

/// A finding if the last time in the log is a zone's difference away from the file's last change.
fn zone(path: &Path, last_ms: i64, modified_ms: i64, zone: &TimeZone) -> Option<Finding> {
    let ahead_ms = last_ms.saturating_sub(modified_ms);
    let steps = (ahead_ms + ahead_ms.signum() * ZONE_STEP_MS / 2) / ZONE_STEP_MS;
    let rest_ms = ahead_ms - steps * ZONE_STEP_MS;
    if ahead_ms.abs() <= SLACK_MS {
        return None;
    }
    let path = path.display();
    // A file that has not been written for long may end with an older time only if it was copied or touched.
    if steps == 0 || rest_ms.abs() > SLACK_MS || ahead_ms.abs() > ZONE_DIFFERENCE_MAX_MS {
        let what = format!("`{path}` ends {} its last change", words(ahead_ms));
        let hint = "fine if the file was copied; otherwise compare the clocks of the host and of the daemon's container";
        return Some(Finding::warn("zone", what, hint));
    }
    let offset_ms = jiff::Timestamp::from_millisecond(last_ms)
        .map_or(0, |time| i64::from(zone.to_offset(time).seconds()) * 1_000);
    let meant_ms = offset_ms + steps * ZONE_STEP_MS;
    let what = format!("the times in `{path}` are {} its last change: the zone is wrong", words(ahead_ms));
    let named = if meant_ms == 0 {
        "zone = \"UTC\"".to_owned()
    } else {
        format!("`zone` to one that is {}", utc(meant_ms))
    };
    Some(Finding::fail("zone", what, format!("set {named}; the JVM writes its own zone, not the host's")))
}

/// An offset from UTC as `UTC+05:30`.
fn utc(offset_ms: i64) -> String {
    let minutes = offset_ms.abs() / 60_000;
    let sign = if offset_ms < 0 { '-' } else { '+' };
    format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// How far ahead, as `2 h 0 min after`.
fn words(ahead_ms: i64) -> String {
    let minutes = (ahead_ms.abs() + 30_000) / 60_000;
    format!("{} h {} min {}", minutes / 60, minutes % 60, if ahead_ms < 0 { "before" } else { "after" })
}

fn sample(path: &Path, layout: Option<&Layout>, zone: &TimeZone) -> io::Result<Sample> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let start = size.saturating_sub(TAIL_BYTES);
    let mut bytes = vec![0; usize::try_from(size - start).unwrap_or(0)];
    let filled = read_up_to(&file, &mut bytes, start)?;
    let mut text = bytes.get(..filled).unwrap_or_default();
    if start > 0 {
        let newline = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| at + 1);
        text = text.get(newline..).unwrap_or_default();
    }
    Ok(of_text(text, layout, zone))
}

fn of_text(text: &[u8], layout: Option<&Layout>, zone: &TimeZone) -> Sample {
    let mut heads = Heads::new(layout.cloned(), Settings::default().line_bytes_max);
    let mut zone = Zone::new(zone.clone());
    let mut sample = Sample::default();
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        sample.lines += 1;
        if let Parsed::Head(head) = heads.parse(line, &mut zone) {
            sample.heads += 1;
            sample.last_ms = Some(head.time_ms);
        }
    }
    if let Some(pinned) = heads.layout() {
        sample.layout =
            format!("{:?} in {:?}", pinned.form, pinned.wrapper).to_lowercase().replace(" in none", "");
    }
    sample
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn of_zone(ahead_ms: i64, name: &str) -> Option<Finding> {
        let modified_ms = 1_700_000_000_000;
        zone(Path::new("a.log"), modified_ms + ahead_ms, modified_ms, &TimeZone::get(name).unwrap())
    }

    #[test]
    fn a_wrong_zone_is_told_from_the_difference() {
        assert_eq!(of_zone(-900, "UTC"), None);
        // Written in Berlin (UTC+1 in November), read as UTC: an hour ahead.
        let told = of_zone(HOUR_MS - 900, "UTC").unwrap();
        assert_eq!(told.status, Status::Fail);
        assert!(told.what.contains("1 h 0 min after") && told.hint.contains("UTC+01:00"), "{told:?}");
        // Written in UTC, read as Berlin's: an hour behind.
        assert!(of_zone(-HOUR_MS, "Europe/Berlin").unwrap().hint.contains("\"UTC\""));
        assert!(of_zone(5 * HOUR_MS + HOUR_MS / 2, "UTC").unwrap().hint.contains("UTC+05:30"));
    }

    #[test]
    fn a_copied_file_is_no_wrong_zone() {
        for ahead_ms in [-HOUR_MS / 4 * 3 + 400_000, -30 * 24 * HOUR_MS] {
            assert_eq!(of_zone(ahead_ms, "UTC").unwrap().status, Status::Warn);
        }
    }

    #[test]
    fn lines_without_a_head_are_told() {
        let told = |text: &str| layout(Path::new("a.log"), &of_text(text.as_bytes(), None, &TimeZone::UTC));
        assert_eq!(told("081109 203518 1 INFO dfs.DataNode: x\n\tat y\n"), None);
        assert_eq!(told(""), None);
        assert_eq!(told(&"no head at all\n".repeat(9)).unwrap().status, Status::Fail);
        let trace = format!("081109 203518 1 INFO dfs.DataNode: x\n{}", "\tat y\n".repeat(20));
        assert_eq!(told(&trace).unwrap().status, Status::Warn);
    }
}
