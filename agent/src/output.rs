//! Output of a batch: reports as NDJSON, CSV or text, and the summary for people.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use blocksift_detector::{Report, Summary};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::text::printable;

/// Format of the reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line, with all events
    #[default]
    Ndjson,
    /// One row a session, without its events
    Csv,
    /// One line a session, for people
    Text,
}

/// Writes reports in order.
///
/// # Errors
/// As `out`'s.
pub(crate) fn write(reports: &[Report], format: Format, out: impl Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    match format {
        Format::Ndjson => write_ndjson(reports, &mut out)?,
        Format::Csv => write_csv(reports, &mut out)?,
        Format::Text => {
            for report in reports {
                writeln!(out, "{}", text_line(report))?;
            }
        }
    }
    out.flush()
}

/// Writes one JSON object a line.
///
/// # Errors
/// As `out`'s.
pub(crate) fn write_ndjson(reports: &[impl Serialize], mut out: impl Write) -> io::Result<()> {
    for report in reports {
        serde_json::to_writer(&mut out, report)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Replaces `path` by what `fill` writes, whole or not at all. A device or pipe is written to as it is.
///
/// # Errors
/// If the folder is not writable or the disk is full; the old file is still there then.
pub(crate) fn replace(
    path: &Path,
    fill: impl FnOnce(&mut std::fs::File) -> io::Result<()>,
) -> anyhow::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return fill(&mut std::fs::File::options().write(true).open(path)?);
        }
        let mut file = NamedTempFile::new_in(folder)?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write()
        .with_context(|| format!("`{}` cannot be written; check the folder and free space", path.display()))
}

fn write_csv(reports: &[Report], out: impl Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record([
        "id",
        "revision",
        "node",
        "block",
        "pool",
        "score",
        "threshold",
        "model",
        "reasons",
        "start",
        "end",
        "events",
    ])?;
    for report in reports {
        csv.write_record([
            &report.id,
            &report.revision.to_string(),
            &report.node,
            &report.block,
            &report.pool,
            &report.score.to_string(),
            &report.threshold.to_string(),
            &report.model,
            &report.reasons.join(" "),
            &report.start,
            &report.end,
            &report.revision.to_string(),
        ])?;
    }
    csv.flush()
}

/// Score, block, times, size, reasons and the event that raised the score most.
fn text_line(report: &Report) -> String {
    let top = report.events.iter().max_by(|a, b| a.contribution.total_cmp(&b.contribution));
    let top = top.map(|event| event.text.as_str()).unwrap_or_default();
    let line = format!(
        "{:.3}  {}  {}  {} .. {}  {} events  {}  {top}",
        report.score,
        report.node,
        report.block,
        report.start,
        report.end,
        report.revision,
        report.reasons.join(",")
    );
    printable(&line, usize::MAX)
}

/// The summary as a table.
pub(crate) fn summary_table(summary: &Summary, model: &str, files: usize, elapsed: Duration) -> String {
    let ledger = &summary.ledger;
    let mut table = String::new();
    let mut row = |name: &str, value: u64| {
        // Writing to a string cannot fail.
        writeln!(table, "{name:<20} {:>15}", grouped(value)).unwrap_or_default();
    };
    row("files", files as u64);
    row("bytes read", ledger.bytes_read);
    row("lines read", ledger.lines_read);
    row("  in sessions", ledger.lines_in_sessions);
    row("  without key", ledger.lines_without_key);
    row("  skipped: no head", ledger.lines_skipped.no_head);
    row("  skipped: too long", ledger.lines_skipped.beyond_record);
    row("unknown events", summary.events_unknown);
    row("sessions scored", summary.sessions_scored);
    row("sessions flagged", summary.sessions_flagged);
    let others = [
        ("bytes cut", ledger.bytes_cut),
        ("blocks dropped", ledger.keys_dropped),
        ("sessions evicted", summary.sessions_evicted),
        ("score errors", summary.score_errors),
    ];
    for (name, value) in others.into_iter().filter(|(_, value)| *value > 0) {
        row(name, value);
    }
    let seconds = elapsed.as_secs_f64();
    // For people: a rounded rate.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = ledger.bytes_read as f64 / 1e6 / seconds.max(1e-9);
    writeln!(table, "{:<20} {seconds:>13.2} s  ({rate:.0} MB/s)", "time").unwrap_or_default();
    writeln!(table, "{:<20} {model}", "model").unwrap_or_default();
    table
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_device_stays_a_device() {
        replace(Path::new("/dev/null"), |file| file.write_all(b"gone")).unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reports");
        replace(&path, |file| file.write_all(b"old")).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(format!("{:#}", failed.unwrap_err()).contains("reports"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no rest is left behind");
    }
}
