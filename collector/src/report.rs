//! A report as it lies in a request: every text is a piece of the request's bytes. Most of what a collector does is reading
//! reports, and a text of its own for each of their hundred fields would be most of that.

use serde::Serialize;

/// [`blocksift_detector::Report`], borrowed; the same fields in the same order, so that both give the same JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) id: &'a str,
    pub(crate) revision: u64,
    pub(crate) node: &'a str,
    pub(crate) block: &'a str,
    pub(crate) pool: &'a str,
    pub(crate) flagged: bool,
    pub(crate) score: f32,
    pub(crate) threshold: f32,
    pub(crate) model: &'a str,
    pub(crate) reasons: Vec<&'a str>,
    pub(crate) start: &'a str,
    pub(crate) end: &'a str,
    pub(crate) events: Vec<Event<'a>>,
    pub(crate) events_dropped: u64,
}

/// [`blocksift_detector::Event`], borrowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Event<'a> {
    pub(crate) time: &'a str,
    pub(crate) template: &'a str,
    pub(crate) text: &'a str,
    pub(crate) level: &'a str,
    pub(crate) logger: &'a str,
    pub(crate) exception: &'a str,
    pub(crate) frame: &'a str,
    pub(crate) contribution: f32,
    pub(crate) file: &'a str,
    pub(crate) offset: u64,
    pub(crate) line: Option<&'a str>,
}

impl<'a> From<&'a blocksift_detector::Report> for Report<'a> {
    fn from(report: &'a blocksift_detector::Report) -> Self {
        Self {
            id: &report.id,
            revision: report.revision,
            node: &report.node,
            block: &report.block,
            pool: &report.pool,
            flagged: report.flagged,
            score: report.score,
            threshold: report.threshold,
            model: &report.model,
            reasons: report.reasons.iter().map(String::as_str).collect(),
            start: &report.start,
            end: &report.end,
            events: report.events.iter().map(Event::from).collect(),
            events_dropped: report.events_dropped,
        }
    }
}

impl<'a> From<&'a blocksift_detector::Event> for Event<'a> {
    fn from(event: &'a blocksift_detector::Event) -> Self {
        Self {
            time: &event.time,
            template: &event.template,
            text: &event.text,
            level: &event.level,
            logger: &event.logger,
            exception: &event.exception,
            frame: &event.frame,
            contribution: event.contribution,
            file: &event.file,
            offset: event.offset,
            line: event.line.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_and_owned_are_the_same_json() {
        let owned = crate::otlp::tests::report();
        let json = serde_json::to_string(&owned).unwrap();
        assert_eq!(serde_json::to_string(&Report::from(&owned)).unwrap(), json);
    }
}
