//! Judging sessions: when they are scored, what the verdict is, and what is reported of it.

use crate::ledger::Summary;
use crate::model::Model;
use crate::report::{Event, Report};
use crate::score::{Cache, Known, ScoreError};
use crate::session::{List, Session, Slot};
use crate::template::Templates;
use crate::time::rfc3339;
use crate::token::{Token, counts, counts_hash};
use crate::verdict::{Reason, decide};

use super::Detector;

/// Scores sessions; its buffer is used again from session to session.
pub(super) struct Judge {
    cache: Cache,
    tokens: Vec<Token>,
}

/// What the model says of one session.
struct Judgement {
    score: f32,
    reasons: Vec<Reason>,
    /// One for each event; empty unless flagged.
    contributions: Vec<f32>,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

impl Judge {
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, tokens: Vec::new() }
    }

    fn judge(
        &mut self,
        session: &Session,
        model: &mut Model,
        templates: &Templates,
    ) -> Result<Judgement, ScoreError> {
        self.tokens.clear();
        self.tokens.extend(session.events.iter().map(|event| templates.token(event.template)));
        let window = model.tokenizer.window(&self.tokens);
        let threshold = model.metadata.decision.threshold;
        let known = self.cache.score(&window, threshold, model.scorer.as_mut())?;
        // Most models do not ask for it, and it costs as much as the rest.
        let counts = match model.metadata.decision.novel_counts {
            true => counts_hash(self.counts(session, templates)),
            false => 0,
        };
        let (Known::Score(score) | Known::Clear(score)) = known;
        let reasons = decide(&model.metadata, score, counts, session.unknown_warn);
        // What is reported is the model's own score.
        let reported = session.flagged || !reasons.is_empty();
        let score = if reported { self.cache.exact(&window, model.scorer.as_mut())? } else { score };
        let contributions = if reasons.is_empty() {
            Vec::new()
        } else {
            let window = |tokens: &[Token]| model.tokenizer.window(tokens);
            self.cache.contributions(&self.tokens, window, model.scorer.as_mut())?
        };
        Ok(Judgement { score, reasons, contributions })
    }

    /// How often each token occurs in the whole session, in rising order of the token.
    fn counts(&self, session: &Session, templates: &Templates) -> Vec<(Token, u32)> {
        let mut counts = counts(&self.tokens);
        for (&template, &dropped) in &session.dropped {
            let token = templates.token(template);
            match counts.binary_search_by_key(&token, |(token, _)| *token) {
                Ok(at) => {
                    if let Some((_, count)) = counts.get_mut(at) {
                        *count += dropped;
                    }
                }
                Err(at) => counts.insert(at, (token, dropped)),
            }
        }
        counts
    }

    fn count_into(&self, totals: &mut Summary) {
        (totals.cache_hits, totals.cache_misses) = (self.cache.hits, self.cache.misses);
    }
}

impl Detector {
    /// Tells the time, in milliseconds of the caller's clock: scores sessions that were silent for
    /// `idle_timeout_ms`, forgets those that were for `forget_after_ms`. A clock that goes back stops this until it
    /// has caught up.
    pub fn tick(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        let idle_since = now_ms.saturating_sub(self.settings.idle_timeout_ms);
        while let Some(slot) = self.silent_since(List::Speaking, idle_since) {
            self.judge(slot);
        }
        let forgotten_since = now_ms.saturating_sub(self.settings.forget_after_ms);
        while let Some(slot) = self.silent_since(List::Quiet, forgotten_since) {
            self.forget(slot);
        }
    }

    /// Scores every session that has events which no score has seen: the end of a batch.
    pub fn finish(&mut self) {
        while let Some(slot) = self.sessions.oldest(List::Speaking) {
            self.judge(slot);
        }
    }

    fn silent_since(&self, list: List, since_ms: i64) -> Option<Slot> {
        let slot = self.sessions.oldest(list)?;
        (self.sessions.get(slot)?.active_ms <= since_ms).then_some(slot)
    }

    /// Scores a session, moves it to the quiet ones and reports it if somebody has to know.
    pub(super) fn judge(&mut self, slot: Slot) {
        self.sessions.quieten(slot);
        let Some(session) = self.sessions.get(slot) else { return };
        let judgement = self.judge.judge(session, &mut self.model, &self.templates);
        self.judge.count_into(&mut self.totals);
        let Ok(judgement) = judgement else {
            self.totals.score_errors += 1;
            return;
        };
        self.totals.sessions_scored += 1;
        let flagged = !judgement.reasons.is_empty();
        let was_flagged = session.flagged;
        if flagged || was_flagged {
            let report = self.report(session, &judgement);
            self.reports.push(report);
        }
        match (was_flagged, flagged) {
            (false, true) => self.totals.sessions_flagged += 1,
            (true, false) => self.totals.sessions_flagged -= 1,
            _ => {}
        }
        if let Some(session) = self.sessions.get_mut(slot) {
            session.flagged = flagged;
        }
        self.changed(slot);
    }

    fn report(&self, session: &Session, judgement: &Judgement) -> Report {
        let contributions = judgement.contributions.iter().copied().chain(std::iter::repeat(0.0));
        let events: Vec<Event> = session
            .events
            .iter()
            .zip(contributions)
            .map(|(event, contribution)| Event {
                time: rfc3339(event.time_ms),
                template: self.templates.id(event.template).to_string(),
                text: self.templates.text(event.template).to_owned(),
                level: event.level.name().to_owned(),
                logger: self.loggers.name(event.logger).to_owned(),
                contribution,
                file: String::new(),
                offset: event.offset,
                line: None,
                file_id: event.file,
                bytes: event.bytes,
            })
            .collect();
        let time = |event: Option<&Event>| event.map(|event| event.time.clone()).unwrap_or_default();
        Report {
            id: format!("{:016x}", session.id),
            revision: session.revision(),
            node: self.settings.node.clone(),
            block: session.block.to_string(),
            pool: self.pools.name(session.pool.0).to_owned(),
            flagged: !judgement.reasons.is_empty(),
            score: judgement.score,
            threshold: self.model.metadata.decision.threshold,
            model: self.model.id.clone(),
            reasons: judgement.reasons.iter().map(ToString::to_string).collect(),
            start: time(events.first()),
            end: time(events.last()),
            events_dropped: session.events_dropped(),
            events,
        }
    }
}
