//! What a summary says beyond the detector's totals: which templates there are, how sessions score, and whether both
//! are still what the model was made for.
//!
//! Everything counted is cumulative from [`Details::since_ms`] on, so a summary that is lost or left out takes nothing
//! with it: the latest one says it all. The list of templates is bounded and yet adds up: an event is counted either for
//! a template of the list or for the rest, for good. A template's count begins when it comes onto the list, and what was
//! counted before stays with the rest.

use std::collections::{HashMap, VecDeque};

use blocksift_detector::Detector;
use blocksift_detector::tally::{ScoreCounts, TemplateCount};
use blocksift_detector::template::TemplateId;
use serde::Serialize;

/// Templates of the vocabulary that are counted by themselves, the most frequent ones.
const KNOWN_MAX: usize = 50;
/// Unknown templates that are counted by themselves.
const UNKNOWN_MAX: usize = 30;
/// A template that did not occur for this long makes room for another.
const STALE_AFTER_MS: i64 = 3_600_000;
/// Characters of a template's text that are shown.
const TEXT_CHARS_MAX: usize = 160;
/// Drift is judged by what came within this time.
const DRIFT_WINDOW_MS: i64 = 3_600_000;
/// How exactly: the window moves on by this.
const DRIFT_STEP_MS: i64 = 300_000;
/// Events from which on a share of unknown templates means something.
const EVENTS_MIN: u64 = 100;

/// What a summary says beyond totals.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Details {
    /// When all counts were zero, in the agent's clock.
    pub(crate) since_ms: i64,
    /// Events of templates that the model's vocabulary has.
    pub(crate) known: Templates,
    /// Events of other templates.
    pub(crate) unknown: Templates,
    /// Sessions by what they scored.
    #[serde(skip)]
    pub(crate) scores: ScoreCounts,
    /// Whether the model still fits.
    pub(crate) drift: Drift,
}

/// Counts of some templates, and of all others.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Templates {
    /// Those counted by themselves.
    pub(crate) list: Vec<TemplateEvents>,
    /// Events of all others.
    pub(crate) rest: u64,
}

/// A template that is counted by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TemplateEvents {
    /// Content hash of its text, 16 hexadecimal digits.
    pub(crate) template: String,
    /// Its text, escaped and cut; of an unknown one what is left of a message when all that varies is masked.
    pub(crate) text: String,
    /// When its count was zero, in the agent's clock.
    pub(crate) since_ms: i64,
    /// Events since then.
    pub(crate) events: u64,
}

/// Whether what comes is still what the model was made for; by the last hour, or since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Drift {
    /// Share of events whose template the vocabulary lacks, `0..=1`; `None` if there were too few events to say.
    pub(crate) events_unknown_share: Option<f64>,
    /// How far scores are from those of training, see [`ScoreCounts::shift`]; `None` if there were too few to say.
    pub(crate) score_shift: Option<f64>,
}

/// Makes [`Details`] of one detector's counts, again and again.
#[derive(Debug)]
pub(crate) struct Summarizer {
    since_ms: i64,
    known: TopList,
    unknown: TopList,
    /// Counts as they were, the oldest first, [`DRIFT_STEP_MS`] apart.
    past: VecDeque<Counted>,
}

/// Counts at a time.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at_ms: i64,
    known: u64,
    unknown: u64,
    scores: ScoreCounts,
}

impl Summarizer {
    /// For a detector that was made now.
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            since_ms: now_ms,
            known: TopList::new(KNOWN_MAX, now_ms),
            unknown: TopList::new(UNKNOWN_MAX, now_ms),
            past: VecDeque::from([Counted {
                at_ms: now_ms,
                known: 0,
                unknown: 0,
                scores: ScoreCounts::default(),
            }]),
        }
    }

    /// The details as of now.
    pub(crate) fn details(&mut self, detector: &Detector, now_ms: i64) -> Details {
        let (known, unknown): (Vec<_>, Vec<_>) =
            detector.template_counts().into_iter().partition(|template| template.known);
        let counted = Counted {
            at_ms: now_ms,
            known: total(&known),
            unknown: total(&unknown),
            scores: detector.score_counts(),
        };
        Details {
            since_ms: self.since_ms,
            known: self.known.count(&known, now_ms),
            unknown: self.unknown.count(&unknown, now_ms),
            scores: counted.scores,
            drift: self.drift(counted, &detector.model().metadata.decision.quantiles),
        }
    }

    fn drift(&mut self, now: Counted, quantiles: &[f32]) -> Drift {
        while self.past.get(1).is_some_and(|next| now.at_ms.saturating_sub(next.at_ms) >= DRIFT_WINDOW_MS) {
            self.past.pop_front();
        }
        let drift = self.past.front().map_or_else(Drift::default, |then| drift(then, &now, quantiles));
        if self.past.back().is_none_or(|last| now.at_ms.saturating_sub(last.at_ms) >= DRIFT_STEP_MS) {
            self.past.push_back(now);
        }
        drift
    }
}

fn drift(then: &Counted, now: &Counted, quantiles: &[f32]) -> Drift {
    let unknown = now.unknown.saturating_sub(then.unknown);
    let events = now.known.saturating_sub(then.known) + unknown;
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
    let share = unknown as f64 / events.max(1) as f64;
    Drift {
        events_unknown_share: (events >= EVENTS_MIN).then_some(share),
        score_shift: now.scores.since(&then.scores).shift(quantiles),
    }
}

fn total(templates: &[TemplateCount<'_>]) -> u64 {
    templates.iter().map(|template| template.events).sum()
}

/// A bounded list of templates that adds up.
#[derive(Debug)]
struct TopList {
    max: usize,
    entries: HashMap<TemplateId, Entry>,
    /// Events of each template when it was counted last.
    before: HashMap<TemplateId, u64>,
    /// Events that were counted for templates which are not on the list any more.
    retired: u64,
    counted_ms: i64,
}

#[derive(Debug)]
struct Entry {
    text: String,
    since_ms: i64,
    /// Its events when it came onto the list.
    base: u64,
    events: u64,
    active_ms: i64,
}

impl TopList {
    fn new(max: usize, now_ms: i64) -> Self {
        Self { max, entries: HashMap::new(), before: HashMap::new(), retired: 0, counted_ms: now_ms }
    }

    /// Counts on to `templates`, whose counts only grow.
    fn count(&mut self, templates: &[TemplateCount<'_>], now_ms: i64) -> Templates {
        let mut candidates = Vec::new();
        for template in templates {
            let before = self.before.insert(template.id, template.events).unwrap_or(0);
            let more = template.events.saturating_sub(before);
            if more == 0 {
                continue;
            }
            match self.entries.get_mut(&template.id) {
                Some(entry) => {
                    entry.events = template.events.saturating_sub(entry.base);
                    entry.active_ms = now_ms;
                }
                None => candidates.push((more, before, template)),
            }
        }
        candidates.sort_by(|(one, _, a), (other, _, b)| (other, a.text).cmp(&(one, b.text)));
        for (more, base, template) in candidates {
            if self.entries.len() >= self.max && !self.retire(now_ms) {
                break;
            }
            let text = shown(template.text);
            let entry = Entry { text, since_ms: self.counted_ms, base, events: more, active_ms: now_ms };
            self.entries.insert(template.id, entry);
        }
        self.counted_ms = now_ms;
        self.templates(total(templates))
    }

    /// Makes room by the template that did not occur for the longest time, if that is long enough.
    fn retire(&mut self, now_ms: i64) -> bool {
        let oldest = self.entries.iter().min_by_key(|(id, entry)| (entry.active_ms, **id));
        let Some((&id, entry)) = oldest else { return false };
        if now_ms.saturating_sub(entry.active_ms) < STALE_AFTER_MS {
            return false;
        }
        self.retired += entry.events;
        self.entries.remove(&id);
        true
    }

    fn templates(&self, total: u64) -> Templates {
        let event = |(id, entry): (&TemplateId, &Entry)| TemplateEvents {
            template: id.to_string(),
            text: entry.text.clone(),
            since_ms: entry.since_ms,
            events: entry.events,
        };
        let mut list: Vec<TemplateEvents> = self.entries.iter().map(event).collect();
        list.sort_by(|one, other| (other.events, &one.text).cmp(&(one.events, &other.text)));
        let listed: u64 = list.iter().map(|template| template.events).sum();
        Templates { list, rest: total.saturating_sub(listed).saturating_sub(self.retired) }
    }
}

/// A text for people and dashboards: one line, bounded, with nothing in it that a terminal obeys.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut chars = text.chars();
    for char in chars.by_ref().take(TEXT_CHARS_MAX) {
        match char {
            // Also those that turn the direction of text or have no width.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                shown.extend(char.escape_unicode());
            }
            char if char.is_control() => shown.extend(char.escape_default()),
            char => shown.push(char),
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(events: &[(&'static str, u64)]) -> Vec<TemplateCount<'static>> {
        let template = |&(text, events): &(&'static str, u64)| TemplateCount {
            id: TemplateId::of(text),
            text,
            known: true,
            events,
        };
        events.iter().map(template).collect()
    }

    fn listed(templates: &Templates) -> Vec<(&str, u64)> {
        templates.list.iter().map(|template| (template.text.as_str(), template.events)).collect()
    }

    #[test]
    fn the_most_frequent_templates_are_listed_and_the_rest_adds_up() {
        let mut list = TopList::new(2, 0);
        let templates = list.count(&counts(&[("a", 5), ("b", 1), ("c", 3)]), 1_000);
        assert_eq!((listed(&templates), templates.rest), (vec![("a", 5), ("c", 3)], 1));
        assert_eq!(templates.list[0].since_ms, 0);
        // More frequent by now, but what is counted with the rest stays there.
        let templates = list.count(&counts(&[("a", 6), ("b", 90), ("c", 3)]), 2_000);
        assert_eq!((listed(&templates), templates.rest), (vec![("a", 6), ("c", 3)], 90));
    }

    #[test]
    fn a_template_that_does_not_occur_makes_room() {
        let mut list = TopList::new(1, 0);
        list.count(&counts(&[("a", 5)]), 1_000);
        let later = 1_000 + STALE_AFTER_MS;
        list.count(&counts(&[("a", 5), ("b", 2)]), later - 1);
        let templates = list.count(&counts(&[("a", 5), ("b", 9)]), later);
        // The two came before it was listed.
        assert_eq!((listed(&templates), templates.rest), (vec![("b", 7)], 2));
        assert_eq!(templates.list[0].since_ms, later - 1);
    }

    #[test]
    fn what_a_log_says_does_not_reach_a_terminal() {
        assert_eq!(shown("a\x1b[31m\n\u{202e}b"), "a\\u{1b}[31m\\n\\u{202e}b");
        let long = shown(&"x".repeat(1_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (TEXT_CHARS_MAX + 1, true));
    }

    #[test]
    fn drift_is_that_of_the_last_hour() {
        let mut summarizer = Summarizer::new(0);
        let at = |at_ms, known, unknown| Counted { at_ms, known, unknown, scores: ScoreCounts::default() };
        let share = |drift: Drift| drift.events_unknown_share;
        assert_eq!(share(summarizer.drift(at(1_000, 50, 40), &[])), None);
        assert_eq!(share(summarizer.drift(at(DRIFT_STEP_MS, 100, 100), &[])), Some(0.5));
        let mut latest = None;
        for step in 2..40 {
            // From the first step on, nothing is unknown.
            latest = share(
                summarizer.drift(at(step * DRIFT_STEP_MS, 100 * u64::try_from(step).unwrap(), 100), &[]),
            );
        }
        assert_eq!(latest, Some(0.0));
        assert!(summarizer.past.len() <= 14, "{}", summarizer.past.len());
    }

    proptest! {
        /// Each event is in exactly one series, and no series ever falls.
        #[test]
        fn series_add_up_and_only_grow(steps in proptest::collection::vec((0..8_usize, 1..5_u64, 0..2_000_000_i64), 1..60)) {
            const TEXTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let mut list = TopList::new(3, 0);
            let mut events = [0; 8];
            let mut now_ms = 0;
            let mut last = (HashMap::new(), 0, 0);
            for (which, more, later_ms) in steps {
                events[which] += more;
                now_ms += later_ms;
                let all: Vec<_> = TEXTS.into_iter().zip(events).collect();
                let templates = list.count(&counts(&all), now_ms);
                let now: HashMap<String, (i64, u64)> =
                    templates.list.iter().map(|t| (t.text.clone(), (t.since_ms, t.events))).collect();
                let sum: u64 = now.values().map(|(_, events)| events).sum();
                prop_assert_eq!(sum + templates.rest + list.retired, events.iter().sum::<u64>());
                prop_assert!(templates.list.len() <= 3 && templates.rest >= last.1 && list.retired >= last.2);
                for (text, (since, events)) in &now {
                    if let Some((since_before, before)) = last.0.get(text) {
                        prop_assert!(since != since_before || events >= before, "{} fell", text);
                    }
                }
                last = (now, templates.rest, list.retired);
            }
        }
    }
}
