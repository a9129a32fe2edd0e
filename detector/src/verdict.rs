//! Verdicts: what a score means for a session, and why. Agent, plugin and `model-export evaluate` decide here.

use std::fmt;

use crate::model::Metadata;

/// Stands in place of the reasons of a report that is not flagged and that somebody asked for.
pub const ASKED: &str = "asked";

/// Why a session is flagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The score is at or above the threshold: `score`.
    Score,
    /// No normal training session had this count of each template: `novel_counts`.
    NovelCounts,
    /// An event of unknown template at level WARN or worse: `unknown_template`.
    UnknownTemplate,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Score => "score",
            Self::NovelCounts => "novel_counts",
            Self::UnknownTemplate => "unknown_template",
        })
    }
}

/// Why a session is flagged; it is not if there is no reason.
///
/// `score` is the model's, `counts_hash` that of [`token::counts_hash`](crate::token::counts_hash) over all the
/// session's events, `unknown_warn` whether it has an event of unknown template at WARN or worse.
#[must_use]
pub fn decide(metadata: &Metadata, score: f32, counts_hash: u64, unknown_warn: bool) -> Vec<Reason> {
    let decision = &metadata.decision;
    let mut reasons = Vec::new();
    if score >= decision.threshold {
        reasons.push(Reason::Score);
    }
    if decision.novel_counts && !metadata.novelty.contains(&counts_hash) {
        reasons.push(Reason::NovelCounts);
    }
    if decision.unknown_warn && unknown_warn {
        reasons.push(Reason::UnknownTemplate);
    }
    reasons
}
