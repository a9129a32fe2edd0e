//! What is wrong with a configuration, told so that it can be mended without a manual: place, line, what, fix.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Bytes of the file that it is about; `None` where it is about something that the file leaves out.
    pub(crate) span: Option<Range<usize>>,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do; empty where `what` says it.
    pub(crate) fix: String,
}

impl Problem {
    pub(super) fn new(span: Option<Range<usize>>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { span, what: what.into(), fix: fix.into() }
    }
}

/// Everything that is wrong with one file, in the order of the file; never empty.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Problems {
    path: PathBuf,
    text: String,
    problems: Vec<Problem>,
}

impl Problems {
    pub(crate) fn new(path: &Path, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        Self { path: path.to_owned(), text: text.to_owned(), problems }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write_problem(out, &self.path, &self.text, problem)?;
        }
        Ok(())
    }
}

fn write_problem(out: &mut fmt::Formatter<'_>, path: &Path, text: &str, problem: &Problem) -> fmt::Result {
    match &problem.span {
        None => write!(out, "{}: {}", path.display(), problem.what)?,
        Some(span) => {
            let place = Place::of(text, span);
            let margin = place.line_number.to_string();
            writeln!(out, "{}:{}:{}: {}", path.display(), place.line_number, place.column, problem.what)?;
            writeln!(out, " {margin} | {}", place.line)?;
            let indent = " ".repeat(place.column.saturating_sub(1));
            write!(out, " {} | {indent}{}", " ".repeat(margin.len()), "^".repeat(place.width))?;
        }
    }
    if !problem.fix.is_empty() {
        write!(out, "\n   fix: {}", problem.fix)?;
    }
    Ok(())
}

/// Where a span is, for people: lines and columns count from 1, columns in characters.
struct Place<'a> {
    line_number: usize,
    column: usize,
    line: &'a str,
    width: usize,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, span: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let (before, after) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let head = before.get(line_start..).unwrap_or_default();
        let span_chars = after.chars().take_while(|char| !"\r\n".contains(*char));
        let width = span_chars.take(span.len().max(1)).count().max(1);
        Self {
            line_number: before.matches('\n').count() + 1,
            column: head.chars().count() + 1,
            line,
            width: width.min(text.get(start..span.end).map_or(width, |marked| marked.chars().count().max(1))),
        }
    }
}

/// The known name closest to `name`, if any is close enough to be meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
