//! What a check found, and how it is shown.

use std::io::{self, Write};

use serde::Serialize;

use crate::text::printable;

/// Characters of a finding that are shown in a line.
const CHARS_MAX: usize = 2_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// It works, but not as well or not for long.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at, in a word.
    pub(super) check: &'static str,
    /// How bad it is.
    pub(super) status: Status,
    /// What is so.
    pub(super) what: String,
    /// What to do; empty where nothing is to be done.
    pub(super) hint: String,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, what: what.into(), hint: String::new() }
    }

    /// Somebody should look at it.
    pub(super) fn warn(check: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, status: Status::Warn, what: what.into(), hint: hint.into() }
    }

    /// Somebody has to do something.
    pub(super) fn fail(check: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, status: Status::Fail, what: what.into(), hint: hint.into() }
    }
}

/// One JSON array.
///
/// # Errors
/// As `out`'s.
pub(super) fn write_json(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, findings)?;
    writeln!(out)
}

/// A line for each finding, with its hint below it, and a last line that counts them.
///
/// # Errors
/// As `out`'s.
pub(super) fn write_text(out: &mut impl Write, findings: &[Finding], colour: bool) -> io::Result<()> {
    for finding in findings {
        let (word, code) = match finding.status {
            Status::Ok => ("ok  ", "32"),
            Status::Warn => ("WARN", "33"),
            Status::Fail => ("FAIL", "31"),
        };
        let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
        // What is wrong with a configuration spans lines.
        let mut lines = finding.what.lines().map(|line| printable(line, CHARS_MAX));
        writeln!(out, "{word} {:<10} {}", finding.check, lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(out, "                {line}")?;
        }
        if !finding.hint.is_empty() {
            writeln!(out, "                → {}", printable(&finding.hint, CHARS_MAX))?;
        }
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (failures, warnings) = (count(Status::Fail), count(Status::Warn));
    writeln!(out, "{} checks: {failures} failures, {warnings} warnings", findings.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_forge_a_line_or_colour_the_terminal() {
        let findings = [Finding::fail("files", "`a\x1b[2J.log` cannot be read", "do\nok   all")];
        let mut text = Vec::new();
        write_text(&mut text, &findings, false).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains('\x1b') && text.lines().count() == 3, "{text}");
        assert!(text.ends_with("1 checks: 1 failures, 0 warnings\n"), "{text}");
    }

    #[test]
    fn json_names_check_status_and_hint() {
        let mut json = Vec::new();
        write_json(&mut json, &[Finding::warn("zone", "two hours off", "set zone")]).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json[0]["status"], "warn");
        assert_eq!((&json[0]["check"], &json[0]["hint"]), (&"zone".into(), &"set zone".into()));
    }
}
