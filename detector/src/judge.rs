//! Judging: a session's events to a verdict, and to a report if somebody has to know.

use crate::model::Metadata;
use crate::report::{Event, Report};
use crate::score::{Cache, Known, Score, ScoreError};
use crate::session::{Flags, PoolId, SessionEvent, Sessions, Slot, in_time_order};
use crate::settings::Settings;
use crate::statement::Statements;
use crate::time::rfc3339;
use crate::token::{Token, Tokenizer, counts, counts_hash};
use crate::verdict::{ASKED, Reason, decide};

/// What judging needs to know; equal for all judges of a detector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Law<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) metadata: &'a Metadata,
    pub(crate) model: &'a str,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) statements: &'a Statements,
    /// Hash of the node's name.
    pub(crate) node_seed: u64,
}

/// Scores sessions. A verdict does not depend on what was judged before, so several can share the sessions.
pub(crate) struct Judge {
    scorer: Box<dyn Score>,
    cache: Cache,
    /// Of the session that is being judged, in order of time.
    events: Vec<SessionEvent>,
    tokens: Vec<Token>,
}

/// What the model says of one session.
struct Judgement {
    score: f32,
    reasons: Vec<Reason>,
    /// One for each event; empty unless flagged and reported with events.
    contributions: Vec<f32>,
}

/// What came of judging a session.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The model's, or an estimate that is far below the threshold.
    pub(crate) score: f32,
    pub(crate) flagged: bool,
    /// Where the verdict is flagged, or takes an earlier flag back, or every session is to be reported.
    pub(crate) report: Option<Report>,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

impl Judge {
    pub(crate) fn new(scorer: Box<dyn Score>, cache_max: usize) -> Self {
        Self { scorer, cache: Cache::new(cache_max), events: Vec::new(), tokens: Vec::new() }
    }

    /// Windows answered from the cache, and those that were not.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.cache.hits, self.cache.misses)
    }

    /// Bytes that all this takes, but for the model.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.cache.memory_bytes()
            + self.events.capacity() * size_of::<SessionEvent>()
            + self.tokens.capacity() * size_of::<Token>()
    }

    /// Judges a session; `asked`: it is reported whatever the verdict.
    ///
    /// # Errors
    /// If the model cannot be run.
    pub(crate) fn judge(
        &mut self,
        law: Law<'_>,
        sessions: &Sessions,
        slot: Slot,
        asked: bool,
    ) -> Result<Option<Outcome>, ScoreError> {
        let Some(session) = sessions.get(slot) else { return Ok(None) };
        self.read(law, sessions, slot);
        let was_flagged = session.flags.has(Flags::FLAGGED);
        let unknown_warn = session.flags.has(Flags::UNKNOWN_WARN);
        let wanted = was_flagged || asked || law.settings.report_all;
        let judgement = self.judgement(law, sessions, slot, wanted, unknown_warn)?;
        let flagged = !judgement.reasons.is_empty();
        let mut report = (flagged || wanted).then(|| self.report(law, sessions, slot, &judgement));
        if let Some(report) = &mut report
            && asked
            && !flagged
        {
            report.reasons.push(ASKED.to_owned());
        }
        Ok(Some(Outcome { score: judgement.score, flagged, report }))
    }

    /// Reads the events and makes their tokens.
    fn read(&mut self, law: Law<'_>, sessions: &Sessions, slot: Slot) {
        let Some(session) = sessions.get(slot) else { return };
        self.events.clear();
        self.events.extend(sessions.events(session));
        if session.flags.has(Flags::UNORDERED) {
            in_time_order(&mut self.events, law.settings.reorder_ms);
        }
        self.tokens.clear();
        self.tokens.extend(self.events.iter().map(|event| law.statements.token(event.statement)));
        if law.tokenizer.has_gaps() {
            let mut before_ms = self.events.first().map_or(0, |event| event.time_ms);
            for (token, event) in self.tokens.iter_mut().zip(&self.events) {
                *token = law.tokenizer.after_gap(*token, event.time_ms.saturating_sub(before_ms));
                before_ms = event.time_ms;
            }
        }
    }

    /// `wanted`: there will be a report, whatever the verdict.
    fn judgement(
        &mut self,
        law: Law<'_>,
        sessions: &Sessions,
        slot: Slot,
        wanted: bool,
        unknown_warn: bool,
    ) -> Result<Judgement, ScoreError> {
        let decision = &law.metadata.decision;
        let scorer = self.scorer.as_mut();
        let known = self.cache.score(&self.tokens, law.tokenizer, decision.threshold, scorer)?;
        // Most models do not ask for it, and it costs as much as the rest.
        let counts = match decision.novel_counts {
            true => counts_hash(all_counts(&self.tokens, law, sessions, slot)),
            false => 0,
        };
        let (Known::Score(score) | Known::Clear(score)) = known;
        let reasons = decide(law.metadata, score, counts, unknown_warn);
        // What is reported is the model's own score.
        let reported = wanted || !reasons.is_empty();
        let score = if reported { self.cache.exact(&self.tokens, law.tokenizer, scorer)? } else { score };
        let contributions = match !reasons.is_empty() && law.settings.report_events {
            true => self.cache.contributions(&self.tokens, |tokens| law.tokenizer.window(tokens), scorer)?,
            false => Vec::new(),
        };
        Ok(Judgement { score, reasons, contributions })
    }

    fn report(&self, law: Law<'_>, sessions: &Sessions, slot: Slot, judgement: &Judgement) -> Report {
        let contributions = judgement.contributions.iter().copied().chain(std::iter::repeat(0.0));
        let wanted = if law.settings.report_events { self.events.as_slice() } else { &[] };
        let events: Vec<Event> = wanted
            .iter()
            .zip(&self.tokens)
            .zip(contributions)
            .map(|((event, &token), contribution)| reported(law.statements, event, token, contribution))
            .collect();
        let time =
            |event: Option<&SessionEvent>| event.map(|event| rfc3339(event.time_ms)).unwrap_or_default();
        let (id, block, pool) = sessions.get(slot).map_or((0, None, PoolId(0)), |session| {
            let block = (session.pool != PoolId::NODE).then_some(session.block);
            (session.id, block, session.pool)
        });
        Report {
            id: format!("{id:016x}"),
            revision: sessions.revision(slot),
            node: law.settings.node.clone(),
            block: block.map(|block| block.to_string()).unwrap_or_default(),
            pool: law.statements.pool_name(pool.0).to_owned(),
            flagged: !judgement.reasons.is_empty(),
            score: judgement.score,
            threshold: law.metadata.decision.threshold,
            model: law.model.to_owned(),
            reasons: judgement.reasons.iter().map(ToString::to_string).collect(),
            start: time(self.events.first()),
            end: time(self.events.last()),
            events_dropped: sessions.events_dropped(slot),
            events,
        }
    }
}

fn reported(statements: &Statements, event: &SessionEvent, token: Token, contribution: f32) -> Event {
    let (template, text) = statements.template(event.statement);
    let (exception, frame) = statements.exception(event.statement);
    Event {
        time: rfc3339(event.time_ms),
        template: template.to_string(),
        text: text.to_owned(),
        level: statements.level(event.statement).name().to_owned(),
        logger: statements.logger(event.statement).to_owned(),
        exception: exception.to_owned(),
        frame: frame.to_owned(),
        contribution,
        file: String::new(),
        offset: event.offset,
        line: None,
        file_id: event.file,
        bytes: event.bytes,
        token,
    }
}

/// How often each token occurs in the whole session, in rising order of the token.
fn all_counts(tokens: &[Token], law: Law<'_>, sessions: &Sessions, slot: Slot) -> Vec<(Token, u32)> {
    let mut counts = counts(tokens);
    for (&statement, &dropped) in sessions.dropped(slot).into_iter().flatten() {
        let token = law.statements.token(statement);
        match counts.binary_search_by_key(&token, |(token, _)| *token) {
            Ok(at) => {
                if let Some((_, count)) = counts.get_mut(at) {
                    *count = count.saturating_add(dropped);
                }
            }
            Err(at) => counts.insert(at, (token, dropped)),
        }
    }
    counts
}
