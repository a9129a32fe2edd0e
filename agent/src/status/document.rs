//! `GET /status`: everything about the agent in one JSON document.

use blocksift_detector::Ledger;
use blocksift_detector::tally::SCORE_BOUNDS;
use serde::Serialize;

use super::{About, Board, FileStatus, Reloads, ReportStatus};
use crate::feed::now_ms;
use crate::summary::Details;

/// The document. Fields are added, never taken away or given another meaning.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    about: &'a About,
    /// When this was said, in the agent's clock.
    now_ms: i64,
    /// When the feed last ended a round or committed; what follows is as of then.
    round_ms: i64,
    files: Files<'a>,
    sessions: Sessions,
    scores: Scores<'a>,
    spool: Spool,
    ship: Ship<'a>,
    ledger: Ledger,
    /// What the summary says: templates and drift.
    summary: &'a Details,
    reloads: &'a Reloads,
}

#[derive(Debug, Serialize)]
struct Files<'a> {
    followed: u64,
    unreadable: u64,
    lag_bytes: u64,
    /// Age of the oldest line that was not read yet, at most.
    lag_ms: u64,
    /// Times that lines were removed before they were read.
    gaps: u64,
    /// Bytes of those lines, as far as they were seen.
    gap_bytes: u64,
    /// At most 200, those with the most bytes to read.
    list: &'a [FileStatus],
}

#[derive(Debug, Serialize)]
struct Sessions {
    open: u64,
    /// Times a session was scored.
    scored: u64,
    flagged: u64,
    evicted: u64,
    events_unknown: u64,
    memory_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Scores<'a> {
    cache_hits: u64,
    cache_misses: u64,
    errors: u64,
    /// Scores counted by what they came to at most, in rising order.
    histogram: Vec<Bin>,
    /// The last 20 reports, the oldest first.
    reports: &'a [ReportStatus],
}

/// Scores above the bound before and up to this one.
#[derive(Debug, Serialize)]
struct Bin {
    bound: f32,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Spool {
    reports: u64,
    bytes: u64,
    /// Whether lines wait for room.
    full: bool,
}

#[derive(Debug, Serialize)]
struct Ship<'a> {
    reports_shipped: u64,
    reports_refused: u64,
    /// Refused reports that are kept.
    dead_letters: u64,
    bytes_shipped: u64,
    /// Why the last request was not taken; null if it was.
    failure: Option<&'a str>,
    /// When a request was last taken; null if none was.
    taken_ms: Option<i64>,
}

/// The document as of now.
///
/// # Errors
/// When it has no JSON form: no such agent is known.
pub(super) fn document(board: &Board) -> Result<String, serde_json::Error> {
    let feed = board.feed.borrow().clone();
    let ship = board.ship.borrow().clone();
    let (totals, spooled) = (feed.totals, board.store.spooled());
    serde_json::to_string(&Document {
        about: &board.about,
        now_ms: now_ms(),
        round_ms: feed.round_ms,
        files: Files {
            followed: feed.files.files,
            unreadable: feed.files.files_unreadable,
            lag_bytes: feed.files.lag_bytes,
            lag_ms: feed.lag_ms(),
            gaps: totals.gaps,
            gap_bytes: totals.gap_bytes,
            list: &feed.listed,
        },
        sessions: Sessions {
            open: totals.sessions_open,
            scored: totals.sessions_scored,
            flagged: totals.sessions_flagged,
            evicted: totals.sessions_evicted,
            events_unknown: totals.events_unknown,
            memory_bytes: feed.memory_bytes,
        },
        scores: Scores {
            cache_hits: totals.cache_hits,
            cache_misses: totals.cache_misses,
            errors: totals.score_errors,
            histogram: histogram(&feed.details),
            reports: &feed.reports,
        },
        spool: Spool { reports: spooled.reports, bytes: spooled.bytes, full: feed.spool_full },
        ship: Ship {
            reports_shipped: ship.counts.reports_shipped,
            reports_refused: ship.counts.reports_refused,
            dead_letters: board.store.dead_letters().letters,
            bytes_shipped: ship.counts.bytes_shipped,
            failure: ship.failure.as_deref(),
            taken_ms: ship.taken_ms,
        },
        ledger: totals.ledger,
        summary: &feed.details,
        reloads: &board.reloads,
    })
}

fn histogram(details: &Details) -> Vec<Bin> {
    let bins = SCORE_BOUNDS.iter().zip(details.scores.by_bound);
    bins.map(|(&bound, count)| Bin { bound, count }).collect()
}
