//! The reports of a feed: those that were asked for, and what becomes of all before they are committed.

use blocksift_detector::Report;

use super::Feed;
use crate::raw_lines::{self, Source};
use crate::status::{REPORTS_MAX, ReportStatus};

impl Feed {
    /// Reports what is remembered of the blocks that a collector wants to know of.
    pub(super) fn answer(&mut self) {
        for block in self.orders.wanted() {
            self.reports.extend(self.detector.ask(block));
        }
    }

    /// The reports that wait, as they are to be shipped.
    pub(super) fn take_reports(&mut self) -> Vec<Report> {
        let mut reports = std::mem::take(&mut self.reports);
        raw_lines::fill(&mut reports, |file| {
            let (path, records) = self.tail.open(file)?;
            Some(Source { path, records })
        });
        if let Some(redactor) = &self.redactor {
            reports.iter_mut().for_each(|report| redactor.report(report));
        }
        self.recent.extend(reports.iter().map(ReportStatus::of));
        self.recent.drain(..self.recent.len().saturating_sub(REPORTS_MAX));
        reports
    }
}
