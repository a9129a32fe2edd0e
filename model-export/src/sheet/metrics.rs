//! Figures of a two-class decision over weighted items.

/// Sessions that share one token sequence, and so one score and one verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Item {
    /// `0.0..=1.0`, higher is worse.
    pub(crate) score: f32,
    /// The verdict.
    pub(crate) flagged: bool,
    /// Normal sessions among them.
    pub(crate) normal: f64,
    /// Abnormal sessions among them.
    pub(crate) abnormal: f64,
}

/// Factors on the sessions of each class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weights {
    /// Factor on a normal session.
    pub(crate) normal: f64,
    /// Factor on an abnormal session.
    pub(crate) abnormal: f64,
}

/// Sessions by label and verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Confusion {
    /// Abnormal, flagged.
    pub(crate) tp: f64,
    /// Normal, flagged.
    pub(crate) fp: f64,
    /// Normal, not flagged.
    pub(crate) tn: f64,
    /// Abnormal, not flagged.
    pub(crate) missed: f64,
}

impl Confusion {
    /// Counts sessions.
    pub(crate) fn new<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut found = Self::default();
        for item in items {
            found.add(item);
        }
        found
    }

    /// Counts the sessions of one item.
    pub(crate) fn add(&mut self, item: &Item) {
        if item.flagged {
            self.tp += item.abnormal;
            self.fp += item.normal;
        } else {
            self.missed += item.abnormal;
            self.tn += item.normal;
        }
    }

    /// With each class's sessions multiplied by its weight.
    #[must_use]
    pub(crate) fn weighted(self, weights: Weights) -> Self {
        Self {
            tp: self.tp * weights.abnormal,
            fp: self.fp * weights.normal,
            tn: self.tn * weights.normal,
            missed: self.missed * weights.abnormal,
        }
    }

    /// Share of the flagged that is abnormal; NaN if nothing is flagged.
    #[must_use]
    pub(crate) fn precision(&self) -> f64 {
        self.tp / (self.tp + self.fp)
    }

    /// Share of the abnormal that is flagged; NaN if nothing is abnormal.
    #[must_use]
    pub(crate) fn recall(&self) -> f64 {
        self.tp / (self.tp + self.missed)
    }

    /// Share of the normal that is not flagged; NaN if nothing is normal.
    #[must_use]
    pub(crate) fn specificity(&self) -> f64 {
        self.tn / (self.tn + self.fp)
    }

    /// Harmonic mean of precision and recall; NaN if nothing is abnormal or flagged.
    #[must_use]
    pub(crate) fn f1(&self) -> f64 {
        2.0 * self.tp / (2.0 * self.tp + self.fp + self.missed)
    }
}

/// What a ranking by score is worth, whatever the threshold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ranking {
    /// Area under the ROC curve; equal scores count half.
    pub(crate) roc_auc: f64,
    /// Average precision of finding the abnormal from the highest score down.
    pub(crate) pr_auc_abnormal: f64,
    /// Average precision of finding the normal from the lowest score up.
    pub(crate) pr_auc_normal: f64,
    /// F1 by threshold, from the highest threshold down; each threshold is a score that occurs.
    pub(crate) curve: Vec<(f32, f64)>,
}

impl Ranking {
    /// Ranks items.
    #[must_use]
    pub(crate) fn new(items: &[Item], weights: Weights) -> Self {
        let mut steps: Vec<(f32, f64, f64)> = items
            .iter()
            .map(|item| (item.score, item.normal * weights.normal, item.abnormal * weights.abnormal))
            .collect();
        steps.sort_by(|a, b| b.0.total_cmp(&a.0));
        steps.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1 += next.1;
                first.2 += next.2;
            }
            same
        });
        let normal: f64 = steps.iter().map(|step| step.1).sum();
        let abnormal: f64 = steps.iter().map(|step| step.2).sum();
        let (mut above_normal, mut above_abnormal) = (0.0, 0.0);
        let (mut area, mut pr_abnormal) = (0.0, 0.0);
        let mut curve = Vec::with_capacity(steps.len());
        for &(score, here_normal, here_abnormal) in &steps {
            area += here_normal * (above_abnormal + here_abnormal / 2.0);
            above_normal += here_normal;
            above_abnormal += here_abnormal;
            pr_abnormal += here_abnormal * above_abnormal / (above_abnormal + above_normal);
            curve.push((score, 2.0 * above_abnormal / (above_abnormal + above_normal + abnormal)));
        }
        let (mut below_normal, mut below_abnormal, mut pr_normal) = (0.0, 0.0, 0.0);
        for &(_, here_normal, here_abnormal) in steps.iter().rev() {
            below_normal += here_normal;
            below_abnormal += here_abnormal;
            pr_normal += here_normal * below_normal / (below_normal + below_abnormal);
        }
        Self {
            roc_auc: area / (normal * abnormal),
            pr_auc_abnormal: pr_abnormal / abnormal,
            pr_auc_normal: pr_normal / normal,
            curve,
        }
    }

    /// The threshold with the highest F1, and that F1; the highest such threshold.
    #[must_use]
    pub(crate) fn best(&self) -> (f32, f64) {
        let better = |best: (f32, f64), next: &(f32, f64)| if next.1 > best.1 { *next } else { best };
        self.curve.iter().fold((1.0, 0.0), better)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Weights = Weights { normal: 1.0, abnormal: 1.0 };

    fn item(score: f32, normal: f64, abnormal: f64) -> Item {
        Item { score, flagged: score >= 0.5, normal, abnormal }
    }

    #[test]
    fn a_hand_made_example() {
        let items = [item(0.9, 0.0, 2.0), item(0.8, 1.0, 0.0), item(0.7, 0.0, 1.0), item(0.1, 6.0, 0.0)];
        let found = Confusion::new(&items);
        assert_eq!(found, Confusion { tp: 3.0, fp: 1.0, tn: 6.0, missed: 0.0 });
        assert_eq!((found.precision(), found.recall()), (0.75, 1.0));
        assert!((found.f1() - 6.0 / 7.0).abs() < 1e-12);
        let ranking = Ranking::new(&items, ONE);
        // Of 21 pairs one is in the wrong order.
        assert!((ranking.roc_auc - 20.0 / 21.0).abs() < 1e-12);
        assert!((ranking.pr_auc_abnormal - (2.0 + 0.75) / 3.0).abs() < 1e-12);
        assert_eq!(ranking.best().0, 0.7);
    }

    #[test]
    fn equal_scores_rank_half() {
        let items = [item(0.5, 3.0, 0.0), item(0.5, 0.0, 5.0)];
        let ranking = Ranking::new(&items, ONE);
        assert_eq!(ranking.roc_auc, 0.5);
        assert_eq!(ranking.curve.len(), 1);
    }

    proptest! {
        #[test]
        fn the_best_f1_is_that_of_some_threshold_and_none_is_higher(
            scores in prop::collection::vec((0u8..20, 0u8..4, 0u8..4), 1..40)
        ) {
            let of = |&(score, normal, abnormal): &(u8, u8, u8)|
                item(f32::from(score) / 20.0, f64::from(normal), f64::from(abnormal));
            let mut items: Vec<Item> = scores.iter().map(of).collect();
            items.push(item(0.9, 1.0, 1.0));
            let weights = Weights { normal: 7.0, abnormal: 1.5 };
            let (threshold, best) = Ranking::new(&items, weights).best();
            let f1_at = |threshold: f32| {
                let judged: Vec<Item> = items.iter()
                    .map(|item| Item { flagged: item.score >= threshold, ..*item }).collect();
                Confusion::new(&judged).weighted(weights).f1()
            };
            prop_assert!((f1_at(threshold) - best).abs() < 1e-9);
            for score in 0u8..20 {
                prop_assert!(f1_at(f32::from(score) / 20.0) <= best + 1e-9);
            }
        }
    }
}
