//! The file of cases: TOML in, checked [`Case`]s out, or every problem it has.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::config::{ConfigError, Problem, Problems, parse};

/// A value and where it stands in the file; `None` where the key is left out.
type Key<T> = Option<Spanned<T>>;

/// The reasons of [`blocksift_detector::verdict::Reason`], as a report names them.
const REASONS: [&str; 3] = ["score", "novel_counts", "unknown_template"];

/// A checked file of cases.
#[derive(Debug)]
pub(super) struct CaseFile {
    /// At least one.
    pub(super) cases: Vec<Case>,
    /// What the spans refer to.
    pub(super) text: String,
}

/// Sample lines and what is expected of them.
#[derive(Debug)]
pub(super) struct Case {
    /// Name for people.
    pub(super) name: String,
    /// Where the name stands.
    pub(super) span: Range<usize>,
    /// The lines.
    pub(super) sample: Sample,
    /// The block whose session is meant; without it, the session with the highest score, flagged ones first.
    pub(super) block: Key<String>,
    /// Whether that session is flagged.
    pub(super) flagged: Spanned<bool>,
    /// Reasons that it has, further ones allowed.
    pub(super) reasons: Key<Vec<String>>,
    /// Least score.
    pub(super) score_min: Key<f32>,
    /// Greatest score.
    pub(super) score_max: Key<f32>,
    /// Ids or texts of templates that its events have, others allowed.
    pub(super) templates: Vec<Spanned<String>>,
    /// Number of sessions in the lines.
    pub(super) sessions: Key<u64>,
    /// Number of events in the lines whose template neither the model nor the agent knows.
    pub(super) unknown: Key<u64>,
}

/// Where the lines come from.
#[derive(Debug)]
pub(super) enum Sample {
    /// They are in the file of cases.
    Lines(String),
    /// They are in this file, plain, .gz or .zst.
    File(PathBuf),
}

/// The whole file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCases {
    #[serde(default)]
    case: Vec<Spanned<RawCase>>,
}

/// `[[case]]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: Key<String>,
    lines: Key<String>,
    file: Key<String>,
    block: Key<String>,
    flagged: Key<bool>,
    reasons: Key<Vec<String>>,
    score_min: Key<f32>,
    score_max: Key<f32>,
    #[serde(default)]
    templates: Vec<Spanned<String>>,
    sessions: Key<u64>,
    unknown: Key<u64>,
}

impl CaseFile {
    /// Reads and checks the file at `path`; samples are named relative to it.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be read, or with every problem in it.
    pub(super) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let (raw, mut problems) = parse::<RawCases>(&text);
        if problems.is_empty() && raw.case.is_empty() {
            problems.push(problem(
                None,
                "no case is in it",
                "write [[case]] with `name`, `lines` and `flagged`",
            ));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let cases = raw.case.into_iter().filter_map(|raw| case(raw, folder, &mut problems)).collect();
        if problems.is_empty() {
            Ok(Self { cases, text })
        } else {
            Err(Problems::new(path, &text, problems).into())
        }
    }
}

/// The case, or nothing and why.
fn case(raw: Spanned<RawCase>, folder: &Path, problems: &mut Vec<Problem>) -> Option<Case> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let span = raw.name.as_ref().map_or(whole, Spanned::span);
    let mut wrong = |span: &Range<usize>, what: &str, fix: &str| {
        problems.push(problem(Some(span.clone()), what, fix));
    };
    for reason in raw.reasons.iter().flat_map(|reasons| reasons.get_ref()) {
        if !REASONS.contains(&reason.as_str()) {
            let place = raw.reasons.as_ref().map_or(span.clone(), Spanned::span);
            wrong(&place, &format!("unknown reason \"{reason}\""), &format!("use {}", REASONS.join(", ")));
        }
    }
    for score in [&raw.score_min, &raw.score_max].into_iter().flatten() {
        if !(0.0..=1.0).contains(score.get_ref()) {
            wrong(&score.span(), "a score is never there", "use 0.0 to 1.0");
        }
    }
    if raw.name.is_none() {
        wrong(&span, "a case has no `name`", "add name = \"...\"");
    }
    let sample = match (raw.lines, raw.file) {
        (Some(lines), None) => Some(Sample::Lines(lines.into_inner())),
        (None, Some(file)) => Some(Sample::File(folder.join(file.into_inner()))),
        (Some(_), Some(file)) => {
            wrong(&file.span(), "the case has both `lines` and `file`", "leave one of them out");
            None
        }
        (None, None) => {
            wrong(&span, "the case has no lines", "add lines = '''...''' or file = \"...\"");
            None
        }
    };
    if raw.flagged.is_none() {
        wrong(&span, "the case does not say what is expected", "add flagged = true or flagged = false");
    }
    Some(Case {
        name: raw.name?.into_inner(),
        span,
        sample: sample?,
        block: raw.block,
        flagged: raw.flagged?,
        reasons: raw.reasons,
        score_min: raw.score_min,
        score_max: raw.score_max,
        templates: raw.templates,
        sessions: raw.sessions,
        unknown: raw.unknown,
    })
}

pub(super) fn problem(span: Option<Range<usize>>, what: &str, fix: &str) -> Problem {
    Problem { span, what: what.to_owned(), fix: fix.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases.toml");
        fs::write(&path, text).unwrap();
        CaseFile::load(&path).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_its_place() {
        let told = told(
            "[[case]]\nname = \"a\"\nflagged = true\n[[case]]\nname = \"b\"\nlines = \"x\"\nfile = \"y\"\n\
             score_min = 2.0\nreasons = [\"bad\"]\n",
        );
        for said in
            [":2:8: the case has no lines", ":5:8: the case does not say", ":7:8: ", ":8:13: ", ":9:11: "]
        {
            assert!(told.contains(said), "{said} is not in\n{told}");
        }
    }

    #[test]
    fn a_misspelt_key_is_shown_with_the_one_that_was_meant() {
        let told = told("[[case]]\nname = \"a\"\nflaged = true\nlines = \"x\"\n");
        assert!(told.contains(":3:1: unknown key `flaged`") && told.contains("`flagged`"), "{told}");
    }

    #[test]
    fn an_empty_file_tests_nothing_and_says_so() {
        assert!(told("").contains("no case"));
    }
}
