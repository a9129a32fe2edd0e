//! How sure a figure is: the 95 % interval of F1 under resampling, by block and by token sequence.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::metrics::{Confusion, Item, Weights};

/// Resamples of each kind.
const RESAMPLES: usize = 1_000;

/// Lower and upper end, 2.5 % of the resamples beyond each.
pub(crate) type Interval = [f64; 2];

/// Blocks drawn anew within their class, as if other blocks of the same cluster had been sampled.
#[must_use]
pub(crate) fn by_block(found: Confusion, weights: Weights, seed: u64) -> Interval {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (normal, abnormal) = (found.fp + found.tn, found.tp + found.missed);
    interval((0..RESAMPLES).map(|_| {
        let missed = binomial(abnormal, found.missed / abnormal, &mut rng);
        let fp = binomial(normal, found.fp / normal, &mut rng);
        Confusion { tp: abnormal - missed, fp, tn: normal - fp, missed }.weighted(weights).f1()
    }))
}

/// Whole token sequences drawn anew, as if other kinds of session had occurred. Wider, as a few sequences hold most
/// sessions.
#[must_use]
pub(crate) fn by_sequence(items: &[Item], weights: Weights, seed: u64) -> Interval {
    if items.is_empty() {
        return [f64::NAN; 2];
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    interval((0..RESAMPLES).map(|_| {
        let drawn = (0..items.len()).filter_map(|_| items.get(rng.random_range(0..items.len())));
        Confusion::new(drawn).weighted(weights).f1()
    }))
}

/// How many of `count` draws hit with probability `share`; counts the gaps between hits, or between misses if hits
/// are the more frequent.
fn binomial(count: f64, share: f64, rng: &mut ChaCha8Rng) -> f64 {
    if share > 0.5 {
        return count - binomial(count, 1.0 - share, rng);
    }
    // The share is NaN if there is nothing to draw from.
    if share.is_nan() || share <= 0.0 {
        return 0.0;
    }
    let (mut hits, mut at) = (0.0, 0.0);
    loop {
        let gap = ((1.0 - rng.random::<f64>()).ln() / (1.0 - share).ln()).floor();
        at += gap + 1.0;
        if at > count {
            return hits;
        }
        hits += 1.0;
    }
}

fn interval(figures: impl Iterator<Item = f64>) -> Interval {
    let mut figures: Vec<f64> = figures.filter(|figure| figure.is_finite()).collect();
    figures.sort_by(f64::total_cmp);
    let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
    [at(figures.len() * 25 / 1_000), at((figures.len() * 975 / 1_000).min(figures.len().saturating_sub(1)))]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Weights = Weights { normal: 1.0, abnormal: 1.0 };

    #[test]
    fn the_interval_holds_the_figure_and_narrows_with_more_blocks() {
        let few = Confusion { tp: 90.0, fp: 10.0, tn: 900.0, missed: 10.0 };
        let many = few.weighted(Weights { normal: 100.0, abnormal: 100.0 });
        let (wide, narrow) = (by_block(few, ONE, 1), by_block(many, ONE, 1));
        assert!(wide[0] < few.f1() && few.f1() < wide[1]);
        assert!(narrow[1] - narrow[0] < (wide[1] - wide[0]) / 4.0);
        assert_eq!(by_block(few, ONE, 1), wide);
    }

    #[test]
    fn draws_have_the_mean_they_should_have() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for share in [0.02, 0.3, 0.9] {
            let sum: f64 = (0..2_000).map(|_| binomial(100.0, share, &mut rng)).sum();
            assert!((sum / 2_000.0 - 100.0 * share).abs() < 1.0, "{share}: {sum}");
        }
        assert_eq!(binomial(10.0, 0.0, &mut rng), 0.0);
        assert_eq!(binomial(0.0, f64::NAN, &mut rng), 0.0);
    }

    #[test]
    fn sequences_that_differ_in_size_make_the_interval_wide() {
        let item = |flagged, abnormal| Item { score: 0.0, flagged, normal: 0.0, abnormal };
        let even: Vec<Item> = (0..100).map(|at| item(at % 10 != 0, 10.0)).collect();
        let mut uneven = even.clone();
        uneven[1].abnormal = 2_000.0;
        let width = |interval: Interval| interval[1] - interval[0];
        assert!(width(by_sequence(&uneven, ONE, 5)) > width(by_sequence(&even, ONE, 5)));
    }
}
