//! Logistic regression: a weighted sum of features, fitted by Newton's method with a small penalty on large weights.

use tract_onnx::pb::GraphProto;

use super::features::{Features, Scale};
use super::matrix::{Matrix, dot};
use super::{Fitted, Lesson, single, singles};

/// Steps at most; Newton's method is done long before.
const STEPS: usize = 50;
/// Penalty on the square of a weight, as the share of the whole loss.
const PENALTY: f64 = 1e-4;

/// The fitted weights.
pub(crate) struct Logistic {
    features: Features,
    weights: Vec<f64>,
    bias: f64,
    length: usize,
}

impl Logistic {
    /// Fits to the labels.
    #[must_use]
    pub(crate) fn fit(lesson: &Lesson) -> Self {
        let width = lesson.features.width;
        let rows: Vec<Vec<f64>> =
            lesson.samples.iter().map(|sample| lesson.features.of(&sample.tokens)).collect();
        let all: Vec<f64> = lesson.samples.iter().map(|sample| sample.normal + sample.abnormal).collect();
        let scale = Scale::new(&rows, &all, width);
        let total: f64 = all.iter().sum();
        // The last of the inputs is the bias's.
        let inputs: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| scale.of(row).into_iter().map(|value| value.clamp(-20.0, 20.0)).chain([1.0]).collect())
            .collect();
        let mut weights = vec![0.0; width + 1];
        for _ in 0..STEPS {
            let mut slope: Vec<f64> = weights.iter().map(|weight| PENALTY * weight).collect();
            let mut curve = Matrix::zero(width + 1, width + 1);
            (0..=width).for_each(|at| curve.set(at, at, PENALTY));
            for (input, sample) in inputs.iter().zip(&lesson.samples) {
                let probability = 1.0 / (1.0 + (-dot(input, &weights)).exp());
                let both = sample.normal + sample.abnormal;
                let error = (both * probability - sample.abnormal) / total;
                slope.iter_mut().zip(input).for_each(|(slope, input)| *slope += error * input);
                curve.add_outer(input, (both * probability * (1.0 - probability) / total).max(1e-12));
            }
            let step = curve.solve(&slope);
            let largest = step.iter().fold(0.0f64, |largest, step| largest.max(step.abs()));
            // Far from the solution a whole step may overshoot.
            let share = (2.0 / largest.max(1e-300)).min(1.0);
            weights.iter_mut().zip(&step).for_each(|(weight, step)| *weight -= share * step);
            if largest < 1e-8 {
                break;
            }
        }
        // The scale becomes part of the weights.
        let mut bias = weights.pop().unwrap_or(0.0);
        for ((weight, mean), factor) in weights.iter_mut().zip(&scale.mean).zip(&scale.factor) {
            *weight *= factor;
            bias -= *weight * mean;
        }
        Self { features: lesson.features.clone(), weights, bias, length: lesson.length }
    }
}

impl Fitted for Logistic {
    fn score(&self, tokens: &[u16]) -> f32 {
        single(1.0 / (1.0 + (-dot(&self.features.of(tokens), &self.weights) - self.bias).exp()))
    }

    fn parameters(&self) -> usize {
        self.weights.len() + 1
    }

    fn graph(&self) -> GraphProto {
        let mut graph = self.features.builder();
        graph.floats("weights", &[1, self.weights.len()], &singles(&self.weights));
        graph.floats("bias", &[1], &singles(&[self.bias]));
        graph.node("Gemm", &["features", "weights", "bias"], "logit", &[("transB", 1)]);
        graph.node("Sigmoid", &["logit"], "score", &[]);
        graph.finish(self.length)
    }
}
