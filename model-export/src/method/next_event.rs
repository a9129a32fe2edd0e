//! Next-event model: how likely each event is after those before it, and the end of the session after its last. A causal
//! convolution over the last events, then a dense layer and a softmax; fitted to normal sessions alone. As DeepLog (Du
//! et al., 2017), with a convolution in place of the LSTM.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb::{GraphProto, tensor_proto::DataType};

use super::adam::Adam;
use super::features::finish;
use super::matrix::dot;
use super::{Fitted, Lesson, Surprise, half, single, singles};
use crate::graph::build::{Builder, int};

/// Events that are looked back at.
const BACK: usize = 10;
/// Filters of the convolution.
const FILTERS: usize = 24;
/// Passes over the sessions.
const EPOCHS: usize = 25;
/// Sessions in a step.
const BATCH: usize = 16;
/// Learning rate at its highest.
const RATE: f64 = 0.01;
/// Least probability; beyond it an event is as good as impossible.
const LEAST: f64 = 1e-7;
/// Places that an event may have among the expected ones before it is odd, when judged by rank (DeepLog's g).
const TOP: f64 = 9.0;

/// The fitted layers.
pub(crate) struct NextEvent {
    layers: Layers,
    surprise: Surprise,
    half: f64,
    length: usize,
}

/// `[BACK][rows][FILTERS]` (the latest event last), `[FILTERS]`, `[rows][FILTERS]`, `[rows]`, one after the other.
struct Layers {
    values: Vec<f64>,
    rows: usize,
}

/// Where the parts of [`Layers`] begin.
struct Places {
    bias: usize,
    dense: usize,
    dense_bias: usize,
}

impl Layers {
    fn random(rows: usize, rng: &mut ChaCha8Rng) -> Self {
        let places = Self::places(rows);
        let mut values = vec![0.0; places.dense_bias + rows];
        values.iter_mut().take(places.bias).for_each(|value| *value = rng.random_range(-0.3..0.3));
        values.iter_mut().take(places.dense).skip(places.bias).for_each(|bias| *bias = 0.1);
        let dense = values.iter_mut().take(places.dense_bias).skip(places.dense);
        dense.for_each(|value| *value = rng.random_range(-0.3..0.3));
        Self { values, rows }
    }

    fn places(rows: usize) -> Places {
        let bias = BACK * rows * FILTERS;
        Places { bias, dense: bias + FILTERS, dense_bias: bias + FILTERS + rows * FILTERS }
    }

    fn part(&self, from: usize, size: usize) -> &[f64] {
        self.values.get(from..from + size).unwrap_or_default()
    }

    /// Where the table row of an event lies that is `back` (1..) events ago.
    fn row(&self, back: usize, token: u16) -> usize {
        ((BACK - back) * self.rows + usize::from(token)) * FILTERS
    }

    /// The events before `place`, the latest first, with how long ago each was.
    fn before(tokens: &[u16], place: usize) -> impl Iterator<Item = (usize, u16)> {
        tokens.iter().take(place).rev().take(BACK).zip(1..).map(|(token, back)| (back, *token))
    }

    fn hidden(&self, tokens: &[u16], place: usize) -> Vec<f64> {
        let mut hidden = self.part(Self::places(self.rows).bias, FILTERS).to_vec();
        for (back, token) in Self::before(tokens, place) {
            let row = self.part(self.row(back, token), FILTERS);
            hidden.iter_mut().zip(row).for_each(|(hidden, value)| *hidden += value);
        }
        hidden.iter_mut().for_each(|hidden| *hidden = hidden.max(0.0));
        hidden
    }

    fn logits(&self, hidden: &[f64]) -> Vec<f64> {
        let places = Self::places(self.rows);
        let dense = self.part(places.dense, self.rows * FILTERS).chunks_exact(FILTERS);
        dense
            .zip(self.part(places.dense_bias, self.rows))
            .map(|(row, bias)| dot(row, hidden) + bias)
            .collect()
    }

    /// Adds the slopes of `-weight * ln p(what comes at place)`.
    fn slopes(&self, tokens: &[u16], place: usize, weight: f64, slopes: &mut [f64]) {
        let places = Self::places(self.rows);
        let hidden = self.hidden(tokens, place);
        let actual = usize::from(tokens.get(place).copied().unwrap_or(0));
        let mut to_hidden = vec![0.0; FILTERS];
        for (row, probability) in softmax(&self.logits(&hidden)).into_iter().enumerate() {
            let slope = weight * (probability - if row == actual { 1.0 } else { 0.0 });
            let dense = self.part(places.dense + row * FILTERS, FILTERS);
            let sums = slopes.iter_mut().skip(places.dense + row * FILTERS);
            for ((sum, hidden), (to, weight)) in sums.zip(&hidden).zip(to_hidden.iter_mut().zip(dense)) {
                *sum += slope * hidden;
                *to += slope * weight;
            }
            slopes.iter_mut().skip(places.dense_bias + row).take(1).for_each(|sum| *sum += slope);
        }
        to_hidden.iter_mut().zip(&hidden).filter(|(_, hidden)| **hidden <= 0.0).for_each(|(to, _)| *to = 0.0);
        let starts = Self::before(tokens, place).map(|(back, token)| self.row(back, token));
        for start in starts.chain([places.bias]) {
            let sums = slopes.get_mut(start..start + FILTERS).unwrap_or_default();
            sums.iter_mut().zip(&to_hidden).for_each(|(sum, slope)| *sum += slope);
        }
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

impl NextEvent {
    /// Fits to normal sessions; a session that occurs often counts by the root of its number.
    #[must_use]
    pub(crate) fn fit(lesson: &Lesson) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(lesson.seed);
        let mut layers = Layers::random(lesson.rows, &mut rng);
        let normal: Vec<(&[u16], f64)> = lesson
            .samples
            .iter()
            .filter(|sample| sample.normal > 0.0)
            .map(|sample| (sample.tokens.as_slice(), sample.normal))
            .collect();
        let mean = normal.iter().map(|(_, weight)| weight.sqrt()).sum::<f64>() / normal.len().max(1) as f64;
        let mut adam = Adam::new(layers.values.len());
        let mut slopes = vec![0.0; layers.values.len()];
        let mut order = normal.clone();
        for epoch in 0..EPOCHS {
            order.shuffle(&mut rng);
            let rate = RATE * (1.0 - epoch as f64 / EPOCHS as f64);
            for batch in order.chunks(BATCH) {
                slopes.fill(0.0);
                let events: usize = batch.iter().map(|(tokens, _)| tokens.len() + 1).sum();
                for (tokens, weight) in batch {
                    let weight = weight.sqrt() / (mean * events as f64);
                    for place in 0..=tokens.len().min(lesson.length - 1) {
                        layers.slopes(tokens, place, weight, &mut slopes);
                    }
                }
                adam.step(&mut layers.values, &slopes, rate);
            }
        }
        let mut fitted = Self { layers, surprise: lesson.surprise, half: TOP, length: lesson.length };
        if lesson.surprise == Surprise::LogProbability {
            let (raw, weights): (Vec<f64>, Vec<f64>) =
                normal.iter().map(|(tokens, weight)| (fitted.raw(tokens), *weight)).unzip();
            fitted.half = half(&raw, &weights);
        }
        fitted
    }

    /// The worst event's surprise; the end of a session is an event, unless the window is full.
    fn raw(&self, tokens: &[u16]) -> f64 {
        let surprise = |place: usize| {
            let logits = self.layers.logits(&self.layers.hidden(tokens, place));
            let actual = usize::from(tokens.get(place).copied().unwrap_or(0));
            match self.surprise {
                Surprise::LogProbability => {
                    -(softmax(&logits).get(actual).copied().unwrap_or(0.0) + LEAST).ln()
                }
                Surprise::Rank => {
                    let own = logits.get(actual).copied().unwrap_or(f64::NEG_INFINITY);
                    logits.iter().filter(|logit| **logit > own).count() as f64
                }
            }
        };
        (0..=tokens.len().min(self.length - 1)).map(surprise).fold(0.0, f64::max)
    }

    /// Adds `logits`, `[N, rows, L]`: what is expected at each place.
    fn expect(&self, graph: &mut Builder) {
        let rows = self.layers.rows;
        let places = Layers::places(rows);
        let identity = |without_padding: bool| -> Vec<f32> {
            let one = |at: usize| at.is_multiple_of(rows + 1) && !(without_padding && at == 0);
            (0..rows * rows).map(|at| f32::from(u8::from(one(at)))).collect()
        };
        // [BACK][rows][FILTERS] to [FILTERS][rows][BACK].
        let table = self.layers.part(0, places.bias);
        let mut conv = Vec::with_capacity(table.len());
        for filter in 0..FILTERS {
            for row in 0..rows {
                let at = |back: usize| (back * rows + row) * FILTERS + filter;
                conv.extend((0..BACK).filter_map(|back| table.get(at(back)).copied()));
            }
        }
        graph.floats("events", &[rows, rows], &identity(true));
        graph.floats("events_and_end", &[rows, rows], &identity(false));
        graph.floats("conv", &[FILTERS, rows, BACK], &singles(&conv));
        graph.floats("conv_bias", &[FILTERS], &singles(self.layers.part(places.bias, FILTERS)));
        graph.floats("dense", &[rows, FILTERS, 1], &singles(self.layers.part(places.dense, rows * FILTERS)));
        graph.floats("dense_bias", &[rows], &singles(self.layers.part(places.dense_bias, rows)));
        graph.integers("from", &[1], &[0]);
        graph.integers("to", &[1], &[self.length]);
        graph.integers("along", &[1], &[2]);
        graph.node("Gather", &["events", "tokens"], "happened", &[]);
        graph.list("Transpose", &["happened"], "channels", ("perm", &[0, 2, 1]));
        // One place more than the window has: after its last event.
        graph.list("Conv", &["channels", "conv", "conv_bias"], "seen_and_more", ("pads", &[int(BACK), 0]));
        graph.node("Slice", &["seen_and_more", "from", "to", "along"], "seen", &[]);
        graph.node("Relu", &["seen"], "hidden", &[]);
        graph.node("Conv", &["hidden", "dense", "dense_bias"], "logits", &[]);
    }

    /// Adds `surprises`, `[N, L]`: how odd what happened is; beyond the end of a session it is zero.
    fn judge(&self, graph: &mut Builder) {
        graph.integers("over_rows", &[1], &[1]);
        graph.node("Gather", &["events_and_end", "tokens"], "all_happened", &[]);
        graph.list("Transpose", &["all_happened"], "actual", ("perm", &[0, 2, 1]));
        match self.surprise {
            Surprise::LogProbability => {
                graph.floats("least", &[1], &singles(&[LEAST]));
                graph.node("Softmax", &["logits"], "probabilities", &[("axis", 1)]);
                graph.node("Mul", &["probabilities", "actual"], "own_alone", &[]);
                graph.node("ReduceSum", &["own_alone", "over_rows"], "own", &[("keepdims", 0)]);
                graph.node("Add", &["own", "least"], "own_raised", &[]);
                graph.node("Log", &["own_raised"], "logs", &[]);
                graph.node("Neg", &["logs"], "surprises", &[]);
            }
            Surprise::Rank => {
                graph.node("Mul", &["logits", "actual"], "own_alone", &[]);
                graph.node("ReduceSum", &["own_alone", "over_rows"], "own", &[("keepdims", 1)]);
                graph.node("Greater", &["logits", "own"], "is_likelier", &[]);
                let to = [("to", i64::from(DataType::Float as i32))];
                graph.node("Cast", &["is_likelier"], "likelier", &to);
                graph.node("ReduceSum", &["likelier", "over_rows"], "surprises", &[("keepdims", 0)]);
            }
        }
    }
}

impl Fitted for NextEvent {
    fn score(&self, tokens: &[u16]) -> f32 {
        let raw = self.raw(tokens);
        single(raw / (raw + self.half))
    }

    fn parameters(&self) -> usize {
        self.layers.values.len()
    }

    fn graph(&self) -> GraphProto {
        let mut graph = Builder::default();
        self.expect(&mut graph);
        self.judge(&mut graph);
        // A place counts if the one before it holds an event; the first always does.
        let rows = self.layers.rows;
        let is_event: Vec<f32> = (0..rows).map(|row| f32::from(u8::from(row > 0))).collect();
        graph.floats("is_event", &[rows], &is_event);
        graph.floats("one", &[], &[1.0]);
        graph.integers("one_before", &[4], &[0, 1, 0, 0]);
        graph.integers("last", &[1], &[self.length - 1]);
        graph.integers("across", &[1], &[1]);
        graph.node("Gather", &["is_event", "tokens"], "is_here", &[]);
        graph.node("Slice", &["is_here", "from", "last", "across"], "is_before", &[]);
        graph.node("Pad", &["is_before", "one_before", "one"], "counted", &[]);
        graph.node("Mul", &["surprises", "counted"], "counted_surprises", &[]);
        graph.list("ReduceMax", &["counted_surprises"], "raw", ("axes", &[1]));
        finish(graph, "raw", self.half, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_finite_differences() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut layers = Layers::random(5, &mut rng);
        let tokens = [2u16, 3, 3, 4];
        for place in [0, 2, 4] {
            let mut slopes = vec![0.0; layers.values.len()];
            layers.slopes(&tokens, place, 0.7, &mut slopes);
            for at in (0..layers.values.len()).step_by(3) {
                let actual = usize::from(tokens.get(place).copied().unwrap_or(0));
                let mut loss = |by: f64| {
                    layers.values[at] += by;
                    let lost = -0.7 * softmax(&layers.logits(&layers.hidden(&tokens, place)))[actual].ln();
                    layers.values[at] -= by;
                    lost
                };
                let difference = (loss(1e-6) - loss(-1e-6)) / 2e-6;
                assert!((difference - slopes[at]).abs() < 1e-5, "{place} {at}: {difference} {}", slopes[at]);
            }
        }
    }
}
