//! The score cache: sessions repeat, so most windows have been scored before.

use std::num::NonZeroUsize;
use std::ops::Range;

use hashbrown::DefaultHashBuilder;
use lru::LruCache;

use super::{Score, ScoreError};
use crate::token::{Token, Tokenizer, Window};

/// Contributions are remembered for this many flagged windows; faults come in bursts of equal sessions.
const CONTRIBUTIONS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// An estimate this far below the threshold is as good as the score: five hundred times the difference that is
/// tolerated when a model is loaded.
const CLEAR_MARGIN: f32 = 0.05;

/// A score as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Known {
    /// The scorer's.
    Score(f32),
    /// An estimate by which the score is certainly below the threshold.
    Clear(f32),
}

/// Bytes of an entry beyond its content: its node in the list and its place in the table.
const ENTRY_BYTES: usize = 72;

/// Exact-match cache in front of a scorer; the least recently used window makes room.
pub(crate) struct Cache {
    /// By the content of windows, without padding.
    scores: LruCache<Box<[Token]>, Known, DefaultHashBuilder>,
    contributions: LruCache<Vec<Token>, Vec<f32>>,
    content: Vec<Token>,
    /// Windows answered from the cache.
    pub(crate) hits: u64,
    /// Windows that were not in the cache.
    pub(crate) misses: u64,
}

impl Cache {
    /// A cache of `cache_max` scores; at least one.
    pub(crate) fn new(cache_max: usize) -> Self {
        let cache_max = NonZeroUsize::new(cache_max).unwrap_or(NonZeroUsize::MIN);
        Self {
            scores: LruCache::with_hasher(cache_max, DefaultHashBuilder::default()),
            contributions: LruCache::new(CONTRIBUTIONS_MAX),
            content: Vec::new(),
            hits: 0,
            misses: 0,
        }
    }

    /// What is known of the score of a session's tokens once it is clear on which side of `threshold` it is.
    ///
    /// # Errors
    /// As the scorer's.
    pub(crate) fn score(
        &mut self,
        tokens: &[Token],
        tokenizer: &Tokenizer,
        threshold: f32,
        scorer: &mut dyn Score,
    ) -> Result<Known, ScoreError> {
        let content = tokenizer.content(tokens, &mut self.content);
        if let Some(&known) = self.scores.get(content) {
            self.hits += 1;
            return Ok(known);
        }
        self.misses += 1;
        if scorer.has_estimates() {
            let estimate = only(&scorer.estimate(&[tokenizer.window(tokens)])?)?;
            if estimate + CLEAR_MARGIN < threshold {
                self.scores.put(content.into(), Known::Clear(estimate));
                return Ok(Known::Clear(estimate));
            }
        }
        let score = self.exact(tokens, tokenizer, scorer)?;
        Ok(Known::Score(score))
    }

    /// The scorer's own score of a session's tokens.
    ///
    /// # Errors
    /// As the scorer's.
    pub(crate) fn exact(
        &mut self,
        tokens: &[Token],
        tokenizer: &Tokenizer,
        scorer: &mut dyn Score,
    ) -> Result<f32, ScoreError> {
        let content = tokenizer.content(tokens, &mut self.content);
        if let Some(&Known::Score(score)) = self.scores.get(content) {
            return Ok(score);
        }
        let score = only(&scorer.score(&[tokenizer.window(tokens)])?)?;
        self.scores.put(content.into(), Known::Score(score));
        Ok(score)
    }

    /// Bytes that all this takes, as far as it can be told: entries of a hash table are counted with one place each.
    pub(crate) fn memory_bytes(&self) -> usize {
        let scores: usize = self.scores.iter().map(|(key, _)| size_of_val(&**key) + ENTRY_BYTES).sum();
        let contributions = self.contributions.iter();
        let contributions: usize = contributions
            .map(|(key, value)| size_of_val(&**key) + size_of_val(&**value) + 2 * ENTRY_BYTES)
            .sum();
        scores + contributions + self.content.capacity() * size_of::<Token>()
    }

    /// How much the score of `tokens` falls when each event is left out, in the order of the events. Events in the
    /// middle of a session longer than the window contribute nothing.
    ///
    /// # Errors
    /// As the scorer's.
    pub(crate) fn contributions(
        &mut self,
        tokens: &[Token],
        window: impl Fn(&[Token]) -> Window,
        scorer: &mut dyn Score,
    ) -> Result<Vec<f32>, ScoreError> {
        if let Some(known) = self.contributions.get(tokens) {
            return Ok(known.clone());
        }
        // Leaving out any of several equal neighbours leaves the same session.
        let whole = window(tokens);
        let middle = middle(tokens.len(), whole.0.len());
        let mut windows: Vec<Window> = Vec::new();
        let mut window_of = Vec::with_capacity(tokens.len());
        for (at, token) in tokens.iter().enumerate() {
            let repeated = at > 0 && tokens.get(at - 1) == Some(token) && !middle.contains(&(at - 1));
            if middle.contains(&at) {
                window_of.push(None);
                continue;
            }
            if !repeated {
                let (before, rest) = tokens.split_at(at);
                windows.push(window(&[before, rest.get(1..).unwrap_or_default()].concat()));
            }
            window_of.push(windows.len().checked_sub(1));
        }
        // Estimates are compared with an estimate.
        windows.push(whole);
        let scores = scorer.estimate(&windows)?;
        let with = scores.last().copied().unwrap_or(0.0);
        let without = |window: &Option<usize>| window.and_then(|window| scores.get(window)).copied();
        let contributions: Vec<f32> =
            window_of.iter().map(|window| without(window).map_or(0.0, |without| with - without)).collect();
        self.contributions.put(tokens.to_vec(), contributions.clone());
        Ok(contributions)
    }
}

/// Events of a session of `tokens` that a window of `length` leaves out.
fn middle(tokens: usize, length: usize) -> Range<usize> {
    let tail = length / 2;
    if tokens <= length { 0..0 } else { length - tail..tokens - tail }
}

fn only(scores: &[f32]) -> Result<f32, ScoreError> {
    scores.first().copied().ok_or_else(|| ScoreError::Runtime("no score came back".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Tokenizer;

    /// Scores by the share of token 9, and counts its calls.
    struct Nines(usize);

    impl Score for Nines {
        fn fork(&self) -> Box<dyn Score> {
            unreachable!("no detector uses it")
        }

        fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
            self.0 += windows.len();
            let nines = |window: &Window| window.0.iter().filter(|token| token.0 == 9).count();
            Ok(windows.iter().map(|window| f32::from(u8::try_from(nines(window)).unwrap()) / 4.0).collect())
        }
    }

    #[test]
    fn equal_windows_are_scored_once() {
        let (mut cache, mut scorer) = (Cache::new(8), Nines(0));
        let tokenizer = Tokenizer::new(4, &[]);
        for _ in 0..3 {
            let known = cache.score(&[Token(9)], &tokenizer, 0.5, &mut scorer).unwrap();
            assert_eq!(known, Known::Score(0.25));
        }
        assert_eq!((scorer.0, cache.hits, cache.misses), (1, 2, 1));
    }

    /// As [`Nines`], with estimates that are a little off.
    struct Estimating(Nines);

    impl Score for Estimating {
        fn fork(&self) -> Box<dyn Score> {
            unreachable!("no detector uses it")
        }

        fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
            self.0.score(windows)
        }

        fn estimate(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
            Ok(Nines(0).score(windows)?.into_iter().map(|score| score - 0.001).collect())
        }

        fn has_estimates(&self) -> bool {
            true
        }
    }

    #[test]
    fn only_an_estimate_far_below_the_threshold_stands_for_the_score() {
        let (mut cache, mut scorer) = (Cache::new(8), Estimating(Nines(0)));
        let (tokenizer, tokens) = (Tokenizer::new(4, &[]), [Token(9)]);
        let known = cache.score(&tokens, &tokenizer, 0.5, &mut scorer).unwrap();
        assert_eq!(known, Known::Clear(0.249));
        assert_eq!(scorer.0.0, 0, "the scorer was not asked");
        assert_eq!(cache.exact(&tokens, &tokenizer, &mut scorer).unwrap(), 0.25);
        let known = cache.score(&tokens, &tokenizer, 0.5, &mut scorer).unwrap();
        assert_eq!(known, Known::Score(0.25), "and is remembered");
        for threshold in [0.1, 0.25, 0.29] {
            let known = Cache::new(8).score(&tokens, &tokenizer, threshold, &mut scorer).unwrap();
            assert_eq!(known, Known::Score(0.25), "{threshold}");
        }
    }

    #[test]
    fn the_event_that_raised_the_score_contributes_it() {
        let (mut cache, mut scorer) = (Cache::new(8), Nines(0));
        let tokenizer = Tokenizer::new(4, &[]);
        let tokens = [Token(2), Token(9), Token(3)];
        let contributions = cache.contributions(&tokens, |t| tokenizer.window(t), &mut scorer).unwrap();
        assert_eq!(contributions, [0.0, 0.25, 0.0]);
        let calls = scorer.0;
        cache.contributions(&tokens, |t| tokenizer.window(t), &mut scorer).unwrap();
        assert_eq!(scorer.0, calls, "remembered");
        let tokens = [9, 9, 9].map(Token);
        let contributions = cache.contributions(&tokens, |t| tokenizer.window(t), &mut scorer).unwrap();
        assert_eq!(contributions, [0.25; 3]);
        assert_eq!(scorer.0, calls + 2, "equal neighbours are scored once");
    }

    #[test]
    fn the_middle_of_a_long_session_contributes_nothing() {
        let (mut cache, mut scorer) = (Cache::new(8), Nines(0));
        let tokenizer = Tokenizer::new(4, &[]);
        let tokens: Vec<Token> = [9, 2, 2, 9, 2, 2, 2].into_iter().map(Token).collect();
        let contributions = cache.contributions(&tokens, |t| tokenizer.window(t), &mut scorer).unwrap();
        assert_eq!(contributions, [0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
