//! What was mined, for a terminal. Log content is hostile: control characters are written as escapes.

use std::fmt::Write;

use blocksift_detector::template::Template;

use super::Found;

/// Characters of a template or logger that are printed; the file has them whole.
const PRINTED_MAX: usize = 200;

/// A template of the catalogue and what was seen of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// As in the catalogue, with the level and logger seen most often.
    pub(super) template: Template,
    /// Its lines.
    pub(super) count: u64,
    /// Pairs of level and logger seen.
    pub(super) origins: usize,
}

/// The table, and below it what the catalogue leaves out.
pub(super) fn render(found: &Found) -> String {
    let rows: Vec<[String; 4]> = found.templates.iter().map(columns).collect();
    let titles = ["lines", "level", "logger", "template"].map(str::to_owned);
    let width = |at: usize| {
        let cells = rows.iter().chain([&titles]).filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (lines, level, logger) = (width(0), width(1), width(2));
    let mut text = String::new();
    for [a, b, c, d] in [&titles].into_iter().chain(&rows) {
        text += &format!("{a:>lines$}  {b:level$}  {c:logger$}  {d}\n");
    }
    summary(found, &mut text).unwrap_or_default();
    text
}

fn columns(row: &Row) -> [String; 4] {
    let further = row.origins.saturating_sub(1);
    let logger = printable(&row.template.logger);
    let logger = if further > 0 { format!("{logger} +{further}") } else { logger };
    [row.count.to_string(), row.template.level.clone(), logger, printable(&row.template.text)]
}

fn summary(found: &Found, text: &mut String) -> std::fmt::Result {
    let Found { messages, headless, rare, vague, evicted, unmatched, .. } = found;
    write!(text, "\n{} templates of {messages} messages", found.templates.len())?;
    if *headless > 0 {
        write!(text, "; {headless} lines without a head continue others")?;
    }
    if rare.0 > 0 {
        write!(text, "\nleft out: {} templates seen too rarely, {} messages in all", rare.0, rare.1)?;
    }
    if vague.0 > 0 {
        write!(
            text,
            "\nleft out: {} templates without a constant word, which would match nearly anything, {} messages in all",
            vague.0, vague.1
        )?;
    }
    if *evicted > 0 {
        write!(
            text,
            "\nleft out: {evicted} messages whose template made room for others; raise --templates-max, or mask what varies with --mask"
        )?;
    }
    match unmatched {
        0 => write!(text, "\nevery other message matches the catalogue"),
        _ => write!(text, "\n{unmatched} further messages do not match the catalogue"),
    }
}

/// With control characters as escapes, and not too long.
pub(super) fn printable(text: &str) -> String {
    let mut printed = String::new();
    let mut rest = text.chars();
    for next in rest.by_ref().take(PRINTED_MAX) {
        if next.is_control() { printed.extend(next.escape_default()) } else { printed.push(next) }
    }
    if rest.next().is_some() {
        printed.push_str(" ...");
    }
    printed
}
