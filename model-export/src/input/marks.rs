//! Reports that people have judged: one JSON object a line, the fields of the detector's report and `mark`, `real` or
//! `false alarm`, beside them or around them (`{"mark": ..., "report": {...}}`).

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, Result, bail};
use blocksift_detector::template::TemplateId;
use blocksift_detector::token::{Token, Tokenizer};
use serde::Deserialize;

use super::{Session, Sessions, open};

#[derive(Deserialize)]
struct Line {
    mark: Option<String>,
    report: Option<Report>,
    #[serde(flatten)]
    own: Option<Report>,
}

#[derive(Deserialize)]
struct Report {
    block: String,
    #[serde(default)]
    node: String,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    template: String,
}

/// Reads marked reports. Those without a mark are counted and left out.
///
/// # Errors
/// Says which line is not usable, and why.
pub(crate) fn read(path: &Path, tokenizer: &Tokenizer) -> Result<Sessions> {
    let mut sessions = Sessions::default();
    for (text, number) in open(path)?.lines().zip(1u64..) {
        let failed = || format!("marks {} line {number} is not usable", path.display());
        let text = text.with_context(failed)?;
        if text.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&text).with_context(failed)?;
        let Some(mark) = line.mark else {
            sessions.unlabelled += 1;
            continue;
        };
        let abnormal = match mark.to_ascii_lowercase().replace(['_', '-'], " ").as_str() {
            "real" => true,
            "false alarm" => false,
            _ => bail!("{}: mark `{mark}` is neither `real` nor `false alarm`", failed()),
        };
        let report = line.report.or(line.own).context("it holds no report").with_context(failed)?;
        let token = |event: &Event| {
            let id = u64::from_str_radix(&event.template, 16);
            id.map_or(Token::UNKNOWN, |id| tokenizer.token(TemplateId(id)))
        };
        sessions.add(Session {
            block: report.block,
            node: (!report.node.is_empty()).then_some(report.node),
            abnormal,
            kind: String::new(),
            natural: false,
            count: 1,
            time_ms: None,
            tokens: report.events.iter().map(token).collect(),
        });
    }
    if sessions.list.is_empty() {
        bail!("{} holds no marked reports", path.display());
    }
    Ok(sessions)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn marks(text: &str) -> Result<Sessions> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path(), &Tokenizer::new(8, &[TemplateId(0xab)]))
    }

    #[test]
    fn marks_beside_and_around_a_report_are_read() {
        let report = r#""id":"1","node":"dn1","block":"blk_1","events":[{"template":"00000000000000ab"},{"template":"0c"}]"#;
        let text = format!(
            "{{\"mark\":\"real\",{report}}}\n{{\"mark\":\"false_alarm\",\"report\":{{{report}}}}}\n{{{report}}}\n"
        );
        let found = marks(&text).unwrap();
        assert_eq!((found.list.len(), found.unlabelled), (2, 1));
        assert!(found.list[0].abnormal && !found.list[1].abnormal);
        assert_eq!(found.list[1].tokens, [Token(2), Token::UNKNOWN]);
        assert_eq!(found.list[0].node.as_deref(), Some("dn1"));
    }

    #[test]
    fn a_mark_that_is_none_is_told_with_its_line() {
        let error = marks("{\"mark\":\"maybe\",\"block\":\"b\",\"events\":[]}\n").unwrap_err();
        assert!(format!("{error:#}").contains("line 1"), "{error:#}");
    }
}
