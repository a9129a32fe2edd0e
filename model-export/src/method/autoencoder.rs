//! Autoencoder: features through a narrow hidden layer and back, fitted to normal sessions; the score is what is lost.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb::GraphProto;

use super::adam::Adam;
use super::features::{Features, Scale, finish};
use super::matrix::{distance2, dot};
use super::{Fitted, Lesson, half, single, singles};

/// Units of the hidden layer.
const HIDDEN: usize = 10;
/// Passes over the sessions.
const EPOCHS: usize = 120;
/// Sessions in a step.
const BATCH: usize = 32;
/// Learning rate at its highest.
const RATE: f64 = 0.005;

/// The fitted layers.
pub(crate) struct Autoencoder {
    features: Features,
    scale: Scale,
    layers: Layers,
    half: f64,
    length: usize,
}

/// `[hidden][width]`, `[hidden]`, `[width][hidden]`, `[width]`, one after the other.
struct Layers {
    values: Vec<f64>,
    width: usize,
}

/// The four parts of [`Layers`].
type Parts<'a> = (&'a [f64], &'a [f64], &'a [f64], &'a [f64]);

impl Layers {
    fn random(width: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut values = vec![0.0; 2 * HIDDEN * width + HIDDEN + width];
        let (inner, outer) = ((3.0 / width as f64).sqrt(), (3.0 / HIDDEN as f64).sqrt());
        values.iter_mut().take(HIDDEN * width).for_each(|value| *value = rng.random_range(-inner..inner));
        let out = values.iter_mut().skip(HIDDEN * width + HIDDEN).take(HIDDEN * width);
        out.for_each(|value| *value = rng.random_range(-outer..outer));
        Self { values, width }
    }

    fn parts(&self) -> Parts<'_> {
        let (inner, rest) = self.values.split_at(HIDDEN * self.width);
        let (inner_bias, rest) = rest.split_at(HIDDEN);
        let (outer, outer_bias) = rest.split_at(HIDDEN * self.width);
        (inner, inner_bias, outer, outer_bias)
    }

    fn hidden(&self, x: &[f64]) -> Vec<f64> {
        let (inner, bias, ..) = self.parts();
        inner.chunks_exact(self.width).zip(bias).map(|(row, bias)| (dot(row, x) + bias).max(0.0)).collect()
    }

    fn back(&self, hidden: &[f64]) -> Vec<f64> {
        let (.., outer, bias) = self.parts();
        outer.chunks_exact(HIDDEN).zip(bias).map(|(row, bias)| dot(row, hidden) + bias).collect()
    }

    /// Adds the slopes of `weight * |x - back|^2`.
    fn slopes(&self, x: &[f64], weight: f64, slopes: &mut [f64]) {
        let hidden = self.hidden(x);
        let back = self.back(&hidden);
        let (_, _, outer, _) = self.parts();
        let (to_inner, rest) = slopes.split_at_mut(HIDDEN * self.width);
        let (to_inner_bias, rest) = rest.split_at_mut(HIDDEN);
        let (to_outer, to_outer_bias) = rest.split_at_mut(HIDDEN * self.width);
        let mut to_hidden = vec![0.0; HIDDEN];
        let rows = outer.chunks_exact(HIDDEN).zip(to_outer.chunks_exact_mut(HIDDEN));
        for (((back, x), bias), (row, sums)) in back.iter().zip(x).zip(to_outer_bias).zip(rows) {
            let slope = 2.0 * weight * (back - x);
            *bias += slope;
            for ((weight, sum), (to, hidden)) in row.iter().zip(sums).zip(to_hidden.iter_mut().zip(&hidden)) {
                *sum += slope * hidden;
                *to += slope * weight;
            }
        }
        let units =
            hidden.iter().zip(&to_hidden).zip(to_inner_bias).zip(to_inner.chunks_exact_mut(self.width));
        for (((hidden, slope), bias), sums) in units {
            if *hidden > 0.0 {
                *bias += slope;
                sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += slope * x);
            }
        }
    }
}

impl Autoencoder {
    /// Fits to normal sessions; a session that occurs often counts by the root of its number.
    #[must_use]
    pub(crate) fn fit(lesson: &Lesson) -> Self {
        let (rows, weights) = lesson.normal();
        let scale = Scale::new(&rows, &weights, lesson.features.width);
        let inputs: Vec<Vec<f64>> = rows.iter().map(|row| scale.of(row)).collect();
        let roots: Vec<f64> = weights.iter().map(|weight| weight.sqrt()).collect();
        let mean = roots.iter().sum::<f64>() / roots.len().max(1) as f64;
        let mut rng = ChaCha8Rng::seed_from_u64(lesson.seed);
        let mut layers = Layers::random(lesson.features.width, &mut rng);
        let mut adam = Adam::new(layers.values.len());
        let mut slopes = vec![0.0; layers.values.len()];
        let mut order: Vec<(&Vec<f64>, f64)> = inputs.iter().zip(roots.iter().copied()).collect();
        for epoch in 0..EPOCHS {
            order.shuffle(&mut rng);
            let rate = RATE * (1.0 - epoch as f64 / EPOCHS as f64);
            for batch in order.chunks(BATCH) {
                slopes.fill(0.0);
                for (input, root) in batch {
                    layers.slopes(input, root / (mean * batch.len() as f64), &mut slopes);
                }
                adam.step(&mut layers.values, &slopes, rate);
            }
        }
        let features = lesson.features.clone();
        let mut fitted = Self { features, scale, layers, half: 1.0, length: lesson.length };
        let raw: Vec<f64> = rows.iter().map(|row| fitted.raw(row)).collect();
        fitted.half = half(&raw, &weights);
        fitted
    }

    fn raw(&self, row: &[f64]) -> f64 {
        let x = self.scale.of(row);
        distance2(&x, &self.layers.back(&self.layers.hidden(&x)))
    }
}

impl Fitted for Autoencoder {
    fn score(&self, tokens: &[u16]) -> f32 {
        let raw = self.raw(&self.features.of(tokens));
        single(raw / (raw + self.half))
    }

    fn parameters(&self) -> usize {
        self.layers.values.len() + 2 * self.layers.width + 1
    }

    fn graph(&self) -> GraphProto {
        let width = self.layers.width;
        let (inner, inner_bias, outer, outer_bias) = self.layers.parts();
        let mut graph = self.features.builder();
        self.scale.node(&mut graph);
        graph.floats("inner", &[HIDDEN, width], &singles(inner));
        graph.floats("inner_bias", &[HIDDEN], &singles(inner_bias));
        graph.floats("outer", &[width, HIDDEN], &singles(outer));
        graph.floats("outer_bias", &[width], &singles(outer_bias));
        graph.node("Gemm", &["scaled", "inner", "inner_bias"], "hidden_in", &[("transB", 1)]);
        graph.node("Relu", &["hidden_in"], "hidden", &[]);
        graph.node("Gemm", &["hidden", "outer", "outer_bias"], "back", &[("transB", 1)]);
        graph.node("Sub", &["scaled", "back"], "lost", &[]);
        graph.node("Mul", &["lost", "lost"], "squares", &[]);
        graph.node("ReduceSum", &["squares", "over_events"], "raw", &[("keepdims", 1)]);
        finish(graph, "raw", self.half, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_finite_differences() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut layers = Layers::random(4, &mut rng);
        let x = [0.3, -1.0, 0.7, 2.0];
        let mut slopes = vec![0.0; layers.values.len()];
        layers.slopes(&x, 0.5, &mut slopes);
        for (at, slope) in slopes.iter().enumerate() {
            let mut loss = |by: f64| {
                layers.values[at] += by;
                let lost = 0.5 * distance2(&x, &layers.back(&layers.hidden(&x)));
                layers.values[at] -= by;
                lost
            };
            let difference = (loss(1e-6) - loss(-1e-6)) / 2e-6;
            assert!((difference - slope).abs() < 1e-5, "{at}: {difference} {slope}");
        }
    }
}
