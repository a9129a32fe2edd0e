//! What was found against what a case expects.

use blocksift_detector::Report;
use toml::Spanned;

use super::Found;
use super::file::{Case, problem};
use crate::config::Problem;
use crate::text::printable;

/// Names of blocks shown where the one that is meant is not among them.
const BLOCKS_SHOWN: usize = 5;

/// The sessions that a case is about.
pub(super) fn sessions<'a>(case: &'a Case, found: &'a Found) -> impl Iterator<Item = &'a Report> {
    let meant = case.block.as_ref().map(|block| block.get_ref().trim_start_matches("blk_"));
    found
        .sessions
        .iter()
        .filter(move |report| meant.is_none_or(|meant| report.block.trim_start_matches("blk_") == meant))
}

/// The session whose verdict is the case's: the worst one.
pub(super) fn verdict<'a>(case: &'a Case, found: &'a Found) -> Option<&'a Report> {
    sessions(case, found)
        .max_by(|one, other| one.flagged.cmp(&other.flagged).then(one.score.total_cmp(&other.score)))
}

/// Everything that is not as expected, each at the key that expects it.
pub(super) fn differences(case: &Case, found: &Found) -> Vec<Problem> {
    let mut problems = Vec::new();
    let differs = |span, what: String| problem(Some(span), &what, "");
    if let Some(sessions) = &case.sessions
        && *sessions.get_ref() != found.sessions.len() as u64
    {
        problems.push(differs(sessions.span(), format!("the lines make {} sessions", found.sessions.len())));
    }
    if let Some(unknown) = &case.unknown
        && *unknown.get_ref() != found.summary.events_unknown
    {
        problems.push(differs(
            unknown.span(),
            format!("{} events have an unknown template", found.summary.events_unknown),
        ));
    }
    let Some(report) = verdict(case, found) else {
        if case.sessions.as_ref().is_some_and(|sessions| *sessions.get_ref() == 0) {
            return problems;
        }
        problems.push(no_session(case, found));
        return problems;
    };
    if report.flagged != *case.flagged.get_ref() {
        problems
            .push(differs(case.flagged.span(), format!("{} is {}", report.block, super::verdict(report))));
    }
    if let Some(least) = case.score_min.as_ref().filter(|least| report.score < *least.get_ref()) {
        problems.push(differs(
            least.span(),
            format!("{} scores {:.4}, which is less", report.block, report.score),
        ));
    }
    if let Some(most) = case.score_max.as_ref().filter(|most| report.score > *most.get_ref()) {
        problems.push(differs(
            most.span(),
            format!("{} scores {:.4}, which is more", report.block, report.score),
        ));
    }
    if let Some(reasons) = &case.reasons
        && !reasons.get_ref().iter().all(|reason| report.reasons.contains(reason))
    {
        let has = if report.reasons.is_empty() { "none".to_owned() } else { report.reasons.join(", ") };
        problems.push(differs(reasons.span(), format!("the reasons of {} are: {has}", report.block)));
    }
    for template in case.templates.iter().filter(|template| !has_template(report, template.get_ref())) {
        problems.push(differs(template.span(), format!("no event of {} has this template", report.block)));
    }
    problems
}

fn has_template(report: &Report, wanted: &str) -> bool {
    report.events.iter().any(|event| event.template == wanted || event.text == wanted)
}

/// Why there is no verdict at all, and what to do.
fn no_session(case: &Case, found: &Found) -> Problem {
    let ledger = &found.summary.ledger;
    if let Some(block) = case.block.as_ref().filter(|_| !found.sessions.is_empty()) {
        let named: Vec<String> =
            found.sessions.iter().take(BLOCKS_SHOWN).map(|report| printable(&report.block, 40)).collect();
        let fix = format!("the lines name {} blocks, among them {}", found.sessions.len(), named.join(", "));
        return problem(Some(block.span()), "no line names this block", &fix);
    }
    let span = case.block.as_ref().map_or(case.span.clone(), Spanned::span);
    if ledger.lines_skipped.no_head > 0 {
        let what =
            format!("{} of {} lines have no known head", ledger.lines_skipped.no_head, ledger.lines_read);
        let fix =
            "give --config with the `layout` of your log4j.properties, or copy the lines from their start";
        return problem(Some(span), &what, fix);
    }
    problem(Some(span), &format!("none of {} lines names a block", ledger.lines_read), "give lines that do")
}
