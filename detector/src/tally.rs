//! Counts for summaries: events by statement, scores by range, and how far the scores are from those that the model
//! was calibrated on. Counted since the detector was made, and not part of a snapshot.

use std::ops::AddAssign;

use crate::template::TemplateId;

/// Upper bounds of the ranges that scores are counted in, each inclusive: fine where normal sessions and flagged ones
/// crowd.
pub const SCORE_BOUNDS: [f32; 13] = [0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0];

/// Quantiles that a model's metadata holds: 0, .1, .2 ... 1.
const QUANTILES: usize = 11;
/// A score this much above a quantile, relative to it, still counts as equal: most sessions score exactly what one of
/// the training sessions did, and an estimate differs from a score by rounding.
const EQUAL: f32 = 1e-3;
/// Stands for an empty range's share, whose logarithm there is none of.
const SHARE_MIN: f64 = 1e-4;
/// Scores from which on a [`ScoreCounts::shift`] means something. Of `n` scores as expected it is about `9 / n` for no
/// other reason than chance (B. Yurdakul, "Statistical Properties of Population Stability Index", 2018).
pub const SHIFT_SCORES_MIN: u64 = 500;

/// How often a template was part of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateCount<'a> {
    /// Content hash of the text.
    pub id: TemplateId,
    /// Text; of an unknown one what is left of a message when all that varies is masked. `<*>` stands for those that
    /// there was no room for.
    pub text: &'a str,
    /// Whether the model's vocabulary has it.
    pub known: bool,
    /// Events of sessions; a record that names several blocks counts for each.
    pub events: u64,
}

/// Scores by what they came to. A session is counted each time that it is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScoreCounts {
    /// By [`SCORE_BOUNDS`]: element `i` counts those above bound `i - 1` and up to bound `i`.
    pub by_bound: [u64; SCORE_BOUNDS.len()],
    /// By the model's quantiles: element `i` counts those above quantile `i - 1` and up to quantile `i`, the last one those
    /// above all. The first one holds all scores if the model has no quantiles.
    pub by_quantile: [u64; QUANTILES + 1],
    /// Sum of all scores.
    pub sum: f64,
}

impl ScoreCounts {
    /// Counts a score.
    pub(crate) fn add(&mut self, score: f32, quantiles: &[f32]) {
        let bound = SCORE_BOUNDS.partition_point(|bound| *bound < score);
        if let Some(count) = self.by_bound.get_mut(bound.min(SCORE_BOUNDS.len() - 1)) {
            *count += 1;
        }
        let quantile =
            quantiles.iter().take(QUANTILES).take_while(|&&quantile| above(score, quantile)).count();
        if let Some(count) = self.by_quantile.get_mut(quantile) {
            *count += 1;
        }
        self.sum += f64::from(score);
    }

    /// All scores.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_bound.iter().sum()
    }

    /// Scores counted since `earlier`, which are those of the same detector before.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = *self;
        for (count, before) in counts.by_bound.iter_mut().zip(earlier.by_bound) {
            *count = count.saturating_sub(before);
        }
        for (count, before) in counts.by_quantile.iter_mut().zip(earlier.by_quantile) {
            *count = count.saturating_sub(before);
        }
        counts.sum -= earlier.sum;
        counts
    }

    /// How far these scores are from those of the model's normal training sessions: the population stability index
    /// (PSI), the sum of `(a - e) * ln(a / e)` over ranges of the score, `a` being the share of scores found in a range
    /// and `e` the share expected (N. Siddiqi, "Credit Risk Scorecards", 2006). By custom less than .1 is no change, and
    /// .25 or more is one that calls for another model.
    ///
    /// The ranges lie between the model's quantiles 0, .1 ... 1. Many sessions have the very same score, so a quantile
    /// that is one of these says only that *at least* that share is not above it: between it and the next tenth, any share
    /// is expected. `e` is the nearest to `a` that is: the index is 0 if these scores can have the model's quantiles.
    ///
    /// `None` if there are fewer than [`SHIFT_SCORES_MIN`] scores or the model does not have its eleven quantiles.
    #[must_use]
    pub fn shift(&self, quantiles: &[f32]) -> Option<f64> {
        let total: u64 = self.by_quantile.iter().sum();
        if total < SHIFT_SCORES_MIN || quantiles.len() != QUANTILES {
            return None;
        }
        let (mut index, mut up_to, mut found_before, mut expected_before) = (0.0, 0_u64, 0.0, 0.0);
        for (at, count) in self.by_quantile.iter().enumerate() {
            up_to += count;
            // Equal quantiles have one range, which ends at the last of them.
            let next = quantiles.get(at + 1).copied();
            if let (Some(&this), Some(next)) = (quantiles.get(at), next)
                && !above(next, this)
            {
                continue;
            }
            let found = share(up_to, total);
            let expected = found.clamp(tenths(at), tenths(at + 1));
            let (a, e) = ((found - found_before).max(SHARE_MIN), (expected - expected_before).max(SHARE_MIN));
            index += (a - e) * libm::log(a / e);
            (found_before, expected_before) = (found, expected);
        }
        Some(index)
    }
}

impl AddAssign for ScoreCounts {
    fn add_assign(&mut self, other: Self) {
        self.by_bound.iter_mut().zip(other.by_bound).for_each(|(count, more)| *count += more);
        self.by_quantile.iter_mut().zip(other.by_quantile).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }
}

/// Whether a score is above a quantile and not equal to it.
fn above(score: f32, quantile: f32) -> bool {
    score > quantile * (1.0 + EQUAL)
}

/// A number of tenths, at most ten of them.
fn tenths(number: usize) -> f64 {
    f64::from(u8::try_from(number.min(QUANTILES - 1)).unwrap_or(u8::MAX)) / 10.0
}

#[expect(clippy::cast_precision_loss, reason = "a share of counts needs no more than 53 bits")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// What a shard counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Events by number of their statement.
    statements: Vec<u64>,
    /// Events of statements that there was no room for.
    other: u64,
    pub(crate) scores: ScoreCounts,
}

impl Tally {
    /// Counts an event of the statement with this number.
    #[inline]
    pub(crate) fn event(&mut self, statement: u32) {
        match usize::try_from(statement).ok().and_then(|at| self.statements.get_mut(at)) {
            Some(count) => *count += 1,
            None => self.first(statement),
        }
    }

    /// The first event of a statement; numbers from `STATEMENTS_MAX` on stand for what there is no room for.
    #[cold]
    fn first(&mut self, statement: u32) {
        match usize::try_from(statement) {
            Ok(at) if at < crate::statement::STATEMENTS_MAX => {
                self.statements.resize(at + 1, 0);
                self.event(statement);
            }
            _ => self.other += 1,
        }
    }

    /// Numbers of statements and how many events each had.
    pub(crate) fn statements(&self) -> impl Iterator<Item = (u32, u64)> {
        let counted = self.statements.iter().zip(0..).map(|(&count, number)| (number, count));
        counted.chain([(u32::MAX, self.other)]).filter(|(_, count)| *count > 0)
    }

    /// Bytes that the counts take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.statements.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of training sessions, and their quantiles as a model's metadata has them.
    fn quantiles(scores: &mut [f32]) -> Vec<f32> {
        scores.sort_by(f32::total_cmp);
        let at = |tenth: usize| scores[(scores.len() * tenth).div_ceil(10).saturating_sub(1)];
        (0..=10).map(at).collect()
    }

    fn counted(scores: impl IntoIterator<Item = f32>, quantiles: &[f32]) -> ScoreCounts {
        let mut counts = ScoreCounts::default();
        scores.into_iter().for_each(|score| counts.add(score, quantiles));
        counts
    }

    #[test]
    fn scores_are_counted_by_inclusive_bounds() {
        let counts = counted([0.0, 0.001, 0.0011, 0.5, 0.995, 1.0], &[]);
        assert_eq!(counts.by_bound, [2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2]);
        assert_eq!((counts.total(), counts.by_quantile[0]), (6, 6));
        assert!((counts.sum - 2.4971).abs() < 1e-6);
        assert_eq!(counts.since(&counts).total(), 0);
    }

    #[test]
    fn scores_as_in_training_have_not_shifted() {
        let mut smooth: Vec<f32> = (1..=10_000_u16).map(|n| f32::from(n) / 10_001.0).collect();
        // Four scores and nothing between: the shares of the tenths are far from equal.
        let mut steps: Vec<f32> =
            (0..10_000_u16).map(|n| [0.0004, 0.0005, 0.0005, 0.02, 0.9][usize::from(n) % 5]).collect();
        for training in [&mut smooth, &mut steps] {
            let quantiles = quantiles(training);
            let shift = counted(training.iter().copied(), &quantiles).shift(&quantiles).unwrap();
            assert!(shift < 0.001, "{shift} {quantiles:?}");
            // An estimate is not exactly the score.
            let nearly = training.iter().map(|score| score * 1.000_01);
            let shift = counted(nearly, &quantiles).shift(&quantiles).unwrap();
            assert!(shift < 0.001, "{shift} {quantiles:?}");
        }
    }

    #[test]
    fn scores_that_rise_have_shifted() {
        let mut training: Vec<f32> = (1..=1_000_u16).map(|n| f32::from(n) / 1_001.0).collect();
        let quantiles = quantiles(&mut training);
        let risen =
            |by: f32| counted(training.iter().map(|score| score + by), &quantiles).shift(&quantiles).unwrap();
        assert!(risen(0.5) > 0.25, "{}", risen(0.5));
        assert!(risen(0.1) < risen(0.3) && risen(0.3) < risen(0.5));
    }

    #[test]
    fn the_index_is_the_sum_that_it_is_said_to_be() {
        let quantiles: Vec<f32> = (0..=10_u8).map(|tenth| f32::from(tenth) / 10.0).collect();
        // All in the last tenth: cumulative 0 everywhere below, where .1, .2 ... .9 is expected at least.
        let index = counted([0.95; 1_000], &quantiles).shift(&quantiles).unwrap();
        let (few, tenth): (f64, f64) = (SHARE_MIN, 0.1);
        // The tenths have .1 expected and none found but for the last, which has .1 expected and all found.
        let sum = 9.0 * (few - tenth) * (few / tenth).ln() + (1.0 - tenth) * (1.0 / tenth).ln();
        assert!((index - sum).abs() < 1e-9, "{index} is not {sum}");
    }

    #[test]
    fn few_scores_and_a_model_without_quantiles_say_nothing() {
        let quantiles: Vec<f32> = (0..=10_u8).map(|tenth| f32::from(tenth) / 10.0).collect();
        assert_eq!(counted([0.5; 499], &quantiles).shift(&quantiles), None);
        assert_eq!(counted([0.5; 1_000], &[]).shift(&[]), None);
    }

    #[test]
    fn events_are_counted_by_statement() {
        let mut tally = Tally::default();
        [3, 0, 3, u32::MAX, u32::MAX - 2].into_iter().for_each(|statement| tally.event(statement));
        assert_eq!(tally.statements().collect::<Vec<_>>(), [(0, 1), (3, 2), (u32::MAX, 2)]);
    }
}
