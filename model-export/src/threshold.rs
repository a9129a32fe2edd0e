//! Chooses the threshold on validation sessions.

use crate::sheet::metrics::{Item, Ranking, Weights};

/// F1 that may be given up for a threshold nearer to the middle: validation sessions are too few to tell such
/// thresholds apart, and the middle is where the net was fitted to put it.
const TOLERANCE: f64 = 0.003;

/// The threshold nearest to a logit of zero, score 0.5, among those whose weighted F1 is within the tolerance of the
/// best. It lies halfway, in logits, between two scores that occur.
#[must_use]
pub(crate) fn choose(items: &[Item], abnormal_share: f64) -> f32 {
    let normal: f64 = items.iter().map(|item| item.normal).sum();
    let abnormal: f64 = items.iter().map(|item| item.abnormal).sum();
    let weights = Weights { normal: (1.0 - abnormal_share) / normal, abnormal: abnormal_share / abnormal };
    let ranking = Ranking::new(items, weights);
    let (_, best) = ranking.best();
    let mut chosen = 0.5f32;
    let mut distance = f32::INFINITY;
    for (at, &(score, f1)) in ranking.curve.iter().enumerate() {
        if f1 < best - TOLERANCE {
            continue;
        }
        // A threshold anywhere in (below, score] flags the same sessions.
        let below = ranking.curve.get(at + 1).map_or(0.0, |next| next.0);
        let (low, high) = (logit(below), logit(score));
        let middle = if low < 0.0 && high >= 0.0 { 0.0 } else { f32::midpoint(low, high) };
        if middle.abs() < distance {
            (chosen, distance) = (crate::fit::sigmoid(middle), middle.abs());
        }
    }
    chosen
}

/// The lowest threshold at which at most `share` of the weight is flagged; halfway, in logits, to the score below it.
/// The scores of normal sessions and one more, so that the share holds for a session to come (split conformal).
#[must_use]
pub(crate) fn by_share(scores: &[(f32, f64)], share: f64) -> f32 {
    let mut order: Vec<(f32, f64)> = scores.to_vec();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let total: f64 = order.iter().map(|(_, weight)| weight).sum();
    let allowed = ((total + 1.0) * share).floor();
    let mut above = 0.0;
    let mut lowest_flagged = 1.0;
    for (score, weight) in order {
        above += weight;
        if above > allowed {
            let (low, high) = (logit(score), logit(lowest_flagged));
            let middle = crate::fit::sigmoid(f32::midpoint(low, high));
            // Where no number lies between the two, none below the higher one will do.
            return if middle > score { middle } else { score.next_up().min(1.0) };
        }
        lowest_flagged = score;
    }
    0.0
}

/// The inverse of the sigmoid, bounded where a float cannot tell more.
fn logit(score: f32) -> f32 {
    let score = score.clamp(1e-6, 1.0 - 1e-6);
    (score / (1.0 - score)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(score: f32, normal: f64, abnormal: f64) -> Item {
        Item { score, flagged: false, normal, abnormal }
    }

    #[test]
    fn classes_that_part_at_the_middle_give_the_middle() {
        let items = [item(0.2, 9.0, 0.0), item(0.8, 0.0, 9.0)];
        assert_eq!(choose(&items, 0.03), 0.5);
    }

    #[test]
    fn a_normal_above_the_middle_moves_the_threshold_beyond_it() {
        let items = [item(0.1, 9.0, 0.0), item(0.6, 9.0, 0.0), item(0.9, 0.0, 9.0)];
        let threshold = choose(&items, 0.03);
        assert!(threshold > 0.6 && threshold < 0.9, "{threshold}");
    }

    #[test]
    fn a_share_is_kept_by_weight_and_by_one_session_more() {
        let scores = [(0.9, 1.0), (0.5, 9.0), (0.1, 90.0)];
        let flagged = |threshold: f32| -> f64 {
            scores.iter().filter(|(score, _)| *score >= threshold).map(|(_, weight)| weight).sum()
        };
        assert_eq!(flagged(by_share(&scores, 0.0)), 0.0);
        assert_eq!(flagged(by_share(&scores, 0.05)), 1.0);
        assert_eq!(flagged(by_share(&scores, 0.10)), 10.0);
        assert_eq!(by_share(&scores, 1.0), 0.0);
        assert!(by_share(&[(0.3, 5.0), (0.300_000_01, 1.0)], 0.0) > 0.3);
    }

    #[test]
    fn scores_of_zero_and_one_do_no_harm() {
        let items = [item(0.0, 9.0, 0.0), item(1.0, 0.0, 9.0)];
        assert_eq!(choose(&items, 0.03), 0.5);
    }
}
