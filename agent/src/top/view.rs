//! The page: what the agent said, as lines of text that fit a terminal. Paths and blocks come from elsewhere and are
//! made printable here.

use super::document::{Document, File, Report};
use crate::output::grouped;
use crate::text::printable;

/// Files whose rate is known by comparison with the answer before.
const RULE: &str = "─";
/// Parts of the score histogram.
const BINS: usize = 10;
/// Lines of reports at the end of the page.
const REPORTS_SHOWN: usize = 8;
/// Lines of files that a page has at least, where it is short.
const FILES_MIN: usize = 3;

/// A line of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Printable, as wide as the page at most.
    pub(super) text: String,
    /// To be told from the others.
    pub(super) strong: bool,
}

/// The order of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Most to read first.
    #[default]
    Lag,
    /// Fastest first.
    Rate,
    /// Largest first.
    Size,
    /// By path.
    Path,
}

impl Sort {
    /// The order that comes next.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Lag => Self::Rate,
            Self::Rate => Self::Size,
            Self::Size => Self::Path,
            Self::Path => Self::Lag,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Rate => "rate",
            Self::Size => "size",
            Self::Path => "path",
        }
    }
}

/// What is to be seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// What the agent said.
    pub(super) document: &'a Document,
    /// What it had said before.
    pub(super) before: Option<&'a Document>,
    /// Order of the files.
    pub(super) sort: Sort,
    /// Whether the page stands still.
    pub(super) paused: bool,
    /// Why the agent does not answer now.
    pub(super) trouble: Option<&'a str>,
}

impl View<'_> {
    /// The page, at most so wide and high.
    pub(super) fn lines(&self, width: usize, height: usize) -> Vec<Line> {
        let mut lines = self.head();
        let reports = self.reports();
        let room = height.saturating_sub(lines.len() + reports.len()).max(FILES_MIN + 2);
        lines.extend(self.files(width, room));
        lines.extend(reports);
        lines.truncate(height);
        for line in &mut lines {
            line.text = printable(&line.text, width.max(1));
        }
        lines
    }

    fn head(&self) -> Vec<Line> {
        let Document { node, version, pid, model, threshold, .. } = self.document;
        let up = duration(self.document.now_ms.saturating_sub(self.document.started_ms));
        let paused = if self.paused { "  PAUSED" } else { "" };
        let mut lines =
            vec![strong(format!("blocksift-agent {version}  {node}  pid {pid}  up {up}{paused}"))];
        if let Some(trouble) = self.trouble {
            lines.push(strong(format!("no answer: {trouble}")));
        }
        lines.push(plain(format!("model      {model}  threshold {threshold:.4}")));
        lines.push(self.lines_read());
        lines.push(self.sessions());
        lines.push(self.scores());
        lines.push(self.spool());
        lines.push(self.collector());
        lines
    }

    /// The ledger, and how fast it grows.
    fn lines_read(&self) -> Line {
        let ledger = &self.document.ledger;
        let rate =
            self.rate(|document| document.ledger.lines_read).map(|rate| format!("  {}/s", grouped(rate)));
        plain(format!(
            "lines      {}{}  in sessions {}  without block {}  skipped {}",
            grouped(ledger.lines_read),
            rate.unwrap_or_default(),
            grouped(ledger.lines_in_sessions),
            grouped(ledger.lines_without_key),
            grouped(ledger.lines_skipped.total()),
        ))
    }

    fn sessions(&self) -> Line {
        let sessions = &self.document.sessions;
        plain(format!(
            "sessions   {} of {} open ({})  scored {}  flagged {}  evicted {}  unknown events {}",
            grouped(sessions.open),
            grouped(self.document.sessions_max),
            bytes(sessions.memory_bytes),
            grouped(sessions.scored),
            grouped(sessions.flagged),
            grouped(sessions.evicted),
            grouped(sessions.events_unknown),
        ))
    }

    fn scores(&self) -> Line {
        let scores = &self.document.scores;
        let windows = scores.cache_hits + scores.cache_misses;
        let hits = scores.cache_hits.saturating_mul(100).checked_div(windows).unwrap_or(0);
        let line = plain(format!(
            "scores     0 {} 1 of the last {} reports  cache {hits} %  errors {}",
            histogram(&scores.reports),
            scores.reports.len(),
            scores.errors
        ));
        Line { strong: scores.errors > 0, ..line }
    }

    fn spool(&self) -> Line {
        let Document { spool, spool_reports_max, spool_bytes_max, .. } = self.document;
        let full = if spool.full { "  FULL: no lines are read" } else { "" };
        let text = format!(
            "spool      {} of {} reports  {} of {}{full}",
            grouped(spool.reports),
            grouped(*spool_reports_max),
            bytes(spool.bytes),
            bytes(*spool_bytes_max),
        );
        Line { text, strong: spool.full }
    }

    fn collector(&self) -> Line {
        let Document { ship, endpoint, now_ms, .. } = self.document;
        let taken = match ship.taken_ms {
            Some(taken_ms) => format!("last answer {} ago", duration(now_ms.saturating_sub(taken_ms))),
            None => "no answer yet".to_owned(),
        };
        let failure =
            ship.failure.as_ref().map(|failure| format!("  FAILING: {failure}")).unwrap_or_default();
        let text = format!(
            "collector  {endpoint}  shipped {} reports, {}  refused {} ({} kept)  {taken}{failure}",
            grouped(ship.reports_shipped),
            bytes(ship.bytes_shipped),
            grouped(ship.reports_refused),
            grouped(ship.dead_letters),
        );
        Line { text, strong: ship.failure.is_some() || ship.reports_refused > 0 }
    }

    /// The table of files in `room` lines.
    fn files(&self, width: usize, room: usize) -> Vec<Line> {
        let files = &self.document.files;
        let unreadable =
            if files.unreadable > 0 { format!("  UNREADABLE {}", files.unreadable) } else { String::new() };
        let gaps = match files.gaps {
            0 => String::new(),
            gaps => format!("  GAPS {} ({} at least not read)", grouped(gaps), bytes(files.gap_bytes)),
        };
        let text = format!(
            "{RULE}{RULE} files  {} followed  {} to read, {} old at most{unreadable}{gaps}  (by {})",
            files.followed,
            bytes(files.lag_bytes),
            duration(i64::try_from(files.lag_ms).unwrap_or(i64::MAX)),
            self.sort.name()
        );
        let mut lines = vec![Line { text, strong: true }];
        lines.push(plain(format!(
            "{:>12} {:>10} {:>10} {:>12}  file",
            "offset", "size", "to read", "per second"
        )));
        let mut rows: Vec<(&File, Option<u64>)> =
            files.list.iter().map(|file| (file, self.file_rate(file))).collect();
        match self.sort {
            Sort::Lag => rows.sort_by_key(|(file, _)| std::cmp::Reverse(file.lag_bytes)),
            Sort::Rate => rows.sort_by_key(|(_, rate)| std::cmp::Reverse(*rate)),
            Sort::Size => rows.sort_by_key(|(file, _)| std::cmp::Reverse(file.size)),
            Sort::Path => rows.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path)),
        }
        let shown = rows.len().min(room.saturating_sub(lines.len() + 1));
        for (file, rate) in rows.iter().take(shown) {
            let rate = rate.map_or_else(|| "-".to_owned(), bytes);
            let text = format!(
                "{:>12} {:>10} {:>10} {rate:>12}  {}",
                file.offset,
                bytes(file.size),
                bytes(file.lag_bytes),
                tail(&file.path, width.saturating_sub(50).max(20))
            );
            lines.push(plain(text));
        }
        if files.followed > shown as u64 {
            lines.push(plain(format!("{:>12} more", files.followed - shown as u64)));
        }
        lines
    }

    /// The last reports, the latest first.
    fn reports(&self) -> Vec<Line> {
        let reports = &self.document.scores.reports;
        if reports.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![strong(format!("{RULE}{RULE} last reports"))];
        lines.extend(reports.iter().rev().take(REPORTS_SHOWN).map(|report| {
            let verdict = if report.flagged { report.reasons.join(",") } else { "taken back".to_owned() };
            let block = if report.block.is_empty() { "the node" } else { &report.block };
            plain(format!(
                "{:.4}  {:<24}  {block}  {} events  {verdict}",
                report.score, report.end, report.revision
            ))
        }));
        lines
    }

    /// How much a count grew per second since the answer before.
    fn rate(&self, count: impl Fn(&Document) -> u64) -> Option<u64> {
        let before = self.before?;
        per_second(count(before), count(self.document), self.document.now_ms - before.now_ms)
    }

    fn file_rate(&self, file: &File) -> Option<u64> {
        let before = self.before?;
        let old = before.files.list.iter().find(|old| old.path == file.path)?;
        per_second(old.offset, file.offset, self.document.now_ms - before.now_ms)
    }
}

/// Nothing where the clock or the count went back.
fn per_second(before: u64, now: u64, elapsed_ms: i64) -> Option<u64> {
    let elapsed_ms = u64::try_from(elapsed_ms).ok().filter(|&elapsed| elapsed > 0)?;
    now.checked_sub(before)?.checked_mul(1_000)?.checked_div(elapsed_ms)
}

fn plain(text: String) -> Line {
    Line { text, strong: false }
}

fn strong(text: String) -> Line {
    Line { text, strong: true }
}

/// Bars of the scores from 0 to 1.
fn histogram(reports: &[Report]) -> String {
    const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut counts = [0_usize; BINS];
    for report in reports {
        // Scores are within 0..=1, and so is the position.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bar of a histogram")]
        let at = (report.score.clamp(0.0, 1.0) * 10.0) as usize;
        if let Some(count) = counts.get_mut(at.min(BINS - 1)) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    counts.iter().filter_map(|count| BARS.get((count * (BARS.len() - 1)).div_ceil(most))).collect()
}

/// The end of a path: what tells it from others.
fn tail(path: &str, chars_max: usize) -> String {
    let chars = path.chars().count();
    if chars <= chars_max {
        return path.to_owned();
    }
    let end: String = path.chars().skip(chars + 1 - chars_max).collect();
    format!("…{end}")
}

/// Bytes for people.
fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} B"),
    }
}

/// A span of time for people.
fn duration(ms: i64) -> String {
    match ms.max(0) / 1_000 {
        0 if ms > 0 => format!("{ms} ms"),
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds @ 3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(offset: u64, now_ms: i64) -> Document {
        let file = |path: &str, size, lag_bytes| File { path: path.to_owned(), offset, size, lag_bytes };
        let mut document = Document { node: "dn1".to_owned(), pid: 7, now_ms, ..Document::default() };
        document.files.list = vec![file("/a/small.log", 10, 9), file("/b/large.log", 1 << 30, 0)];
        document.files.followed = 2;
        document.ledger.lines_read = offset;
        document.scores.reports = vec![Report { score: 0.97, flagged: true, ..Report::default() }];
        document
    }

    fn page(view: &View<'_>, width: usize, height: usize) -> String {
        let lines = view.lines(width, height);
        lines.iter().map(|line| line.text.clone() + "\n").collect()
    }

    fn view(document: &Document) -> View<'_> {
        View { document, before: None, sort: Sort::default(), paused: false, trouble: None }
    }

    #[test]
    fn rates_come_from_two_answers() {
        let (before, now) = (document(1_000, 10_000), document(5_000, 12_000));
        assert!(!page(&view(&now), 100, 40).contains("000/s"));
        let page = page(&View { before: Some(&before), ..view(&now) }, 100, 40);
        assert!(page.contains("lines      5,000  2,000/s"), "{page}");
        assert!(page.contains("1.9 KiB  /a/small.log"), "{page}");
        // The agent was started again.
        let back = View { before: Some(&now), ..view(&before) };
        assert!(!self::page(&back, 100, 40).contains("000/s"));
    }

    #[test]
    fn files_are_sorted_as_asked() {
        let now = document(5, 1);
        let first = |sort| {
            page(&View { sort, ..view(&now) }, 100, 40).find("small")
                < page(&View { sort, ..view(&now) }, 100, 40).find("large")
        };
        assert!(first(Sort::Lag) && first(Sort::Path) && !first(Sort::Size));
        assert_eq!(Sort::Lag.next().next().next().next(), Sort::Lag);
    }

    #[test]
    fn lines_that_were_not_read_are_shown() {
        let mut now = document(5, 1);
        assert!(!page(&view(&now), 200, 40).contains("GAPS"));
        (now.files.gaps, now.files.gap_bytes) = (2, 1_536);
        (now.ship.reports_refused, now.ship.dead_letters) = (9, 7);
        let page = page(&view(&now), 200, 40);
        assert!(page.contains("GAPS 2 (1.5 KiB at least not read)"), "{page}");
        assert!(page.contains("refused 9 (7 kept)"), "{page}");
    }

    #[test]
    fn nothing_on_the_page_reaches_beyond_it_or_is_obeyed() {
        let mut now = document(5, 1);
        now.node = "\x1b[2J\x1b]0;title\x07".to_owned();
        now.files.list[0].path = format!("/a\x1b[31m/{}\r\n.log", "x".repeat(500));
        now.ship.failure = Some("bad\x1b[1m".to_owned());
        for (width, height) in [(80, 24), (10, 5), (1, 1), (300, 100)] {
            let lines = View { trouble: Some("\x1b"), ..view(&now) }.lines(width, height);
            assert!(lines.len() <= height);
            for line in lines {
                assert!(line.text.chars().count() <= width && !line.text.chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn scores_are_shown_as_bars() {
        let report = |score| Report { score, ..Report::default() };
        let bars = histogram(&[report(0.05), report(0.99), report(1.0), report(1.0)]);
        assert_eq!(bars, "▃········█");
        assert_eq!(histogram(&[]), "··········");
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 1_023, 1_536, 5 << 30].map(bytes), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!(
            [5, 61_000, 7_260_000, 90_000_000].map(duration),
            ["5 ms", "1 min 1 s", "2 h 1 min", "1 d 1 h"]
        );
        assert_eq!(tail("/var/log/a.log", 6), "…a.log");
    }
}
