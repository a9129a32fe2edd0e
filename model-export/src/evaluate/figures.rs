//! Curves of one method over one view: what each threshold would give, and how scores lie.

use serde_json::{Value, json};

use crate::sheet::metrics::{Item, Weights};

/// Bins of the histogram and of the calibration.
const BINS: u8 = 20;

/// What a threshold gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// A score at or above this is flagged.
    pub(crate) threshold: f32,
    /// Share of the abnormal that is flagged.
    pub(crate) recall: f64,
    /// Share of the normal that is flagged.
    pub(crate) fall_out: f64,
    /// Share of the flagged that is abnormal, weighted.
    pub(crate) precision: f64,
    /// Share of what is not flagged that is normal, weighted; NaN if all is flagged.
    pub(crate) normal_precision: f64,
}

impl Step {
    /// Harmonic mean of precision and recall.
    #[must_use]
    pub(crate) fn f1(&self) -> f64 {
        2.0 * self.precision * self.recall / (self.precision + self.recall)
    }
}

/// Scores in one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bin {
    /// Normal sessions, weighted.
    pub(crate) normal: f64,
    /// Abnormal sessions, weighted.
    pub(crate) abnormal: f64,
    /// Sum of the scores, weighted.
    pub(crate) scores: f64,
}

/// The curves.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// From the highest threshold down; each is a score that occurs.
    pub(crate) steps: Vec<Step>,
    /// Of equal width from 0 to 1.
    pub(crate) bins: Vec<Bin>,
    /// Normal sessions, unweighted.
    pub(crate) normal: f64,
    /// Abnormal sessions, unweighted.
    pub(crate) abnormal: f64,
}

impl Figures {
    /// Of judged items; `weights` give the classes their natural ratio.
    #[must_use]
    pub(crate) fn new(items: &[Item], weights: Weights) -> Self {
        let mut order: Vec<&Item> = items.iter().collect();
        order.sort_by(|a, b| b.score.total_cmp(&a.score));
        let normal: f64 = items.iter().map(|item| item.normal).sum();
        let abnormal: f64 = items.iter().map(|item| item.abnormal).sum();
        let (mut fp, mut tp) = (0.0, 0.0);
        let mut steps: Vec<Step> = Vec::new();
        for item in order {
            fp += item.normal;
            tp += item.abnormal;
            let (flagged, rest) = (
                tp * weights.abnormal + fp * weights.normal,
                (abnormal - tp) * weights.abnormal + (normal - fp) * weights.normal,
            );
            let step = Step {
                threshold: item.score,
                recall: tp / abnormal,
                fall_out: fp / normal,
                precision: tp * weights.abnormal / flagged,
                normal_precision: (normal - fp) * weights.normal / rest,
            };
            match steps.last_mut() {
                Some(last) if last.threshold == item.score => *last = step,
                _ => steps.push(step),
            }
        }
        let mut bins = vec![Bin::default(); usize::from(BINS)];
        for item in items {
            let number = (0..BINS).rev().find(|bin| item.score >= f32::from(*bin) / f32::from(BINS));
            if let Some(bin) = bins.get_mut(usize::from(number.unwrap_or(0))) {
                let (normal, abnormal) = (item.normal * weights.normal, item.abnormal * weights.abnormal);
                bin.normal += normal;
                bin.abnormal += abnormal;
                bin.scores += f64::from(item.score) * (normal + abnormal);
            }
        }
        Self { steps, bins, normal, abnormal }
    }

    /// What a threshold gives that need not occur as a score.
    #[must_use]
    pub(crate) fn at(&self, threshold: f32) -> Option<Step> {
        let place = self.steps.partition_point(|step| step.threshold >= threshold);
        self.steps.get(place.checked_sub(1)?).map(|step| Step { threshold, ..*step })
    }

    /// Mean difference between the score and the share of abnormal sessions in each bin, by weight (ECE).
    #[must_use]
    pub(crate) fn calibration_error(&self) -> f64 {
        let all: f64 = self.bins.iter().map(|bin| bin.normal + bin.abnormal).sum();
        self.bins.iter().map(|bin| (bin.scores - bin.abnormal).abs()).sum::<f64>() / all
    }

    /// Highest recall at no more than so many false flags on a node and day, and the threshold for it.
    #[must_use]
    pub(crate) fn recall_within(&self, false_flags: f64, normal_per_day: f64) -> Option<Step> {
        self.steps.iter().rev().find(|step| step.fall_out * normal_per_day <= false_flags).copied()
    }

    /// At most some hundred points of each curve; `normal_per_day` is the number of normal sessions of a node and day.
    #[must_use]
    pub(crate) fn json(&self, normal_per_day: f64) -> Value {
        let every = self.steps.len().div_ceil(200).max(1);
        let last = self.steps.len().saturating_sub(1);
        let kept = self.steps.iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last);
        let steps: Vec<Value> = kept
            .map(|(_, step)| {
                json!({
                    "threshold": step.threshold,
                    "recall": step.recall,
                    "fall_out": step.fall_out,
                    "precision": step.precision,
                    "normal_precision": step.normal_precision,
                    "f1": step.f1(),
                    "false_flags_per_node_and_day": step.fall_out * normal_per_day,
                })
            })
            .collect();
        let bins: Vec<Value> = self
            .bins
            .iter()
            .map(|bin| json!({ "normal": bin.normal, "abnormal": bin.abnormal, "scores": bin.scores }))
            .collect();
        json!({ "sweep": steps, "histogram": bins, "calibration_error": self.calibration_error() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Weights = Weights { normal: 1.0, abnormal: 1.0 };

    fn figures() -> Figures {
        let item = |score, normal, abnormal| Item { score, flagged: false, normal, abnormal };
        Figures::new(
            &[item(0.9, 0.0, 2.0), item(0.6, 1.0, 1.0), item(0.6, 1.0, 0.0), item(0.1, 8.0, 1.0)],
            ONE,
        )
    }

    #[test]
    fn steps_are_those_of_the_scores_that_occur() {
        let steps = figures().steps;
        assert_eq!(steps.iter().map(|step| step.threshold).collect::<Vec<_>>(), [0.9, 0.6, 0.1]);
        assert_eq!((steps[1].recall, steps[1].fall_out, steps[1].precision), (0.75, 0.2, 0.6));
        assert_eq!(steps[1].normal_precision, 8.0 / 9.0);
        assert_eq!(figures().at(0.7).unwrap().recall, 0.5);
        assert!(figures().at(0.95).is_none());
    }

    #[test]
    fn a_budget_of_false_flags_gives_the_recall_within_it() {
        // Ten normal sessions a day: a fall-out of .2 is two false flags.
        assert_eq!(figures().recall_within(1.0, 10.0).unwrap().threshold, 0.9);
        assert_eq!(figures().recall_within(2.0, 10.0).unwrap().threshold, 0.6);
    }

    #[test]
    fn bins_hold_all_and_a_sure_and_right_score_is_calibrated() {
        let item = |score, normal, abnormal| Item { score, flagged: false, normal, abnormal };
        let sure = Figures::new(&[item(1.0, 0.0, 5.0), item(0.0, 5.0, 0.0)], ONE);
        assert_eq!(sure.calibration_error(), 0.0);
        let all: f64 = figures().bins.iter().map(|bin| bin.normal + bin.abnormal).sum();
        assert_eq!(all, 14.0);
    }
}
