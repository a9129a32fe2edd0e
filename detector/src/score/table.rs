//! Scores without a runtime. In the nets that `model-export` writes, an embedding followed by a convolution is a sum of
//! table rows, one for each token under the kernel: a window costs a microsecond instead of a run of the graph, and the
//! code is small enough for a WASM filter. [`fold`] makes the table from the file's own integers.
//!
//! A score is the same bits on every machine: the integers are rounded exactly, everything after them is float32 in one
//! fixed order without fused operations, and the exponential is computed in the same steps everywhere.

mod fold;
mod places;

use std::collections::BTreeMap;

use prost::Message;

use super::proto::{GraphProto, ModelProto};
use super::{Score, ScoreError, check_window};
use crate::model::{Metadata, ModelError};
use crate::token::{Token, Window};
use places::Places;

/// Added and taken away, it rounds a small number to an integer, ties to even: 1.5 * 2^52 leaves no bit for a fraction.
/// Unlike the function for it, this is a vector instruction on every CPU.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Scores windows with a table: for WASM, and where tract is too heavy.
#[derive(Clone, Debug)]
pub struct TableScorer {
    table: Table,
    length: usize,
    rows: usize,
}

/// Reads a model file: its metadata, and its graph folded into a table. The golden inputs are left to
/// [`Model::new`](crate::Model::new).
///
/// # Errors
/// [`ModelError`] saying what about the file is wrong; [`ModelError::Fold`] for a graph that is no table.
pub fn load(bytes: &[u8]) -> Result<(Metadata, TableScorer), ModelError> {
    let proto = ModelProto::decode(bytes).map_err(|error| ModelError::NotOnnx(error.to_string()))?;
    let graph = proto.graph.ok_or_else(|| ModelError::NotOnnx("it has no graph".to_owned()))?;
    let props: BTreeMap<String, String> =
        proto.metadata_props.into_iter().map(|prop| (prop.key, prop.value)).collect();
    let metadata = Metadata::from_props(&props)?;
    let (length, rows) = (metadata.tokenizer.length, metadata.tokenizer.rows());
    let table = Table::new(&graph, length, rows).map_err(ModelError::Fold)?;
    Ok((metadata, TableScorer { table, length, rows }))
}

impl Score for TableScorer {
    fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        let mut scores = Vec::with_capacity(windows.len());
        for window in windows {
            check_window(window, self.length, self.rows)?;
            let score = self.table.score(window);
            // Finite weights can still be too large to add up.
            if !(0.0..=1.0).contains(&score) {
                return Err(ScoreError::Runtime(format!("score {score} is not in 0..=1")));
            }
            scores.push(score);
        }
        Ok(scores)
    }

    fn fork(&self) -> Box<dyn Score> {
        Box::new(self.clone())
    }
}

/// The folded net, with its buffers.
#[derive(Clone, Debug)]
pub(super) struct Table {
    folded: Folded,
    buffers: Buffers,
    /// Where there are no vectors, and windows are short enough.
    seen: Option<Places>,
}

/// The numbers of a folded net.
#[derive(Clone, Debug)]
struct Folded {
    filters: usize,
    /// For each place of the kernel `[rows, filters]`: what a token there adds to each filter.
    taps: Vec<Vec<i32>>,
    bias: Vec<i32>,
    /// From the convolution's integers to steps of the features; a float32, as the file has its scales.
    multiplier: f64,
    /// Value of one step of the features.
    step: f32,
    /// `[2 * filters, hidden]`: a row is what one input adds to each hidden value.
    dense: Vec<f32>,
    dense_bias: Vec<f32>,
    out: Vec<f32>,
    out_bias: f32,
}

/// Intermediate values of one window, kept for the next.
#[derive(Clone, Debug)]
struct Buffers {
    /// `[filters]` each. Steps of the features are whole numbers, so their sums are exact.
    totals: Vec<i32>,
    largest: Vec<f64>,
    sum: Vec<f64>,
    /// `[hidden]`
    hidden: Vec<f32>,
}

impl Table {
    /// Folds a graph that reads windows of `length` tokens below `rows`.
    ///
    /// # Errors
    /// What about the graph is not of the form.
    fn new(graph: &GraphProto, length: usize, rows: usize) -> Result<Self, String> {
        let folded = fold::fold(graph, length, rows)?;
        let (filters, hidden) = (folded.filters, folded.dense_bias.len());
        let buffers = Buffers {
            totals: vec![0; filters],
            largest: vec![0.0; filters],
            sum: vec![0.0; filters],
            hidden: vec![0.0; hidden],
        };
        let is_slow = cfg!(target_arch = "wasm32") && length <= places::PLACES_MAX;
        let seen = is_slow.then(|| Places::new(folded.taps.len(), filters));
        Ok(Self { folded, buffers, seen })
    }

    /// The table of a file that was found to be a model; `None` if it cannot be folded.
    #[cfg(feature = "tract")]
    pub(super) fn of_file(bytes: &[u8], length: usize, rows: usize) -> Option<Self> {
        let graph = ModelProto::decode(bytes).ok()?.graph?;
        Self::new(&graph, length, rows).ok()
    }

    /// The score of a window of the right length whose tokens are within the vocabulary.
    pub(super) fn score(&mut self, window: &Window) -> f32 {
        let Self { folded, buffers, seen } = self;
        folded.pool(window, buffers, seen.as_mut());
        folded.head(buffers)
    }
}

impl Folded {
    /// Largest step and sum of the steps of each filter.
    fn pool(&self, window: &Window, buffers: &mut Buffers, seen: Option<&mut Places>) {
        let kernel = self.taps.len();
        let places = (window.0.len() + 1).saturating_sub(kernel);
        let content = window.0.iter().rposition(|token| *token != Token::PAD).map_or(0, |last| last + 1);
        // From here on there is only padding under the kernel: those places are alike.
        let spoken = content.min(places);
        let under = window.0.windows(kernel).take(spoken);
        let padding = window.0.get(spoken..spoken + kernel).map(|under| (under, places - spoken));
        if let Some(seen) = seen {
            seen.clear();
            under.for_each(|under| seen.add(self, under, 1, &mut buffers.totals));
            if let Some((under, times)) = padding {
                seen.add(self, under, times as u64, &mut buffers.totals);
            }
            return seen.read(buffers);
        }
        let Buffers { totals, largest, sum, .. } = buffers;
        largest.fill(0.0);
        sum.fill(0.0);
        for under in under {
            self.convolve(under, totals);
            self.gather(totals, 1.0, largest, sum);
        }
        if let Some((under, times)) = padding {
            self.convolve(under, totals);
            self.gather(totals, float(times).into(), largest, sum);
        }
    }

    fn convolve(&self, under: &[Token], totals: &mut [i32]) {
        totals.copy_from_slice(&self.bias);
        for (tap, token) in self.taps.iter().zip(under) {
            let start = usize::from(token.0) * self.filters;
            let row = tap.get(start..start + self.filters).unwrap_or_default();
            for (total, value) in totals.iter_mut().zip(row) {
                *total += value;
            }
        }
    }

    /// Makes a step of the features of a total. The product of a 24-bit and a 29-bit number is exact in float64, so this
    /// rounds as integer runtimes do.
    #[inline(always)]
    fn step_of(&self, total: i32) -> f64 {
        (f64::from(total) * self.multiplier).clamp(0.0, 255.0) + ROUND - ROUND
    }

    /// Adds the steps of `totals`, which stand for `times` places.
    fn gather(&self, totals: &[i32], times: f64, largest: &mut [f64], sum: &mut [f64]) {
        for ((total, largest), sum) in totals.iter().zip(largest).zip(sum) {
            let step = self.step_of(*total);
            *largest = if step > *largest { step } else { *largest };
            *sum += step * times;
        }
    }

    /// The dense layers: inputs in their order, each added to all hidden values.
    fn head(&self, buffers: &mut Buffers) -> f32 {
        let Buffers { largest, sum, hidden, .. } = buffers;
        hidden.fill(0.0);
        let pooled = largest.iter().chain(sum.iter()).map(|steps| narrow(*steps) * self.step);
        for (input, weights) in pooled.zip(self.dense.chunks_exact(self.dense_bias.len())) {
            for (hidden, weight) in hidden.iter_mut().zip(weights) {
                *hidden += weight * input;
            }
        }
        let mut logit = 0.0_f32;
        for ((hidden, bias), out) in hidden.iter().zip(&self.dense_bias).zip(&self.out) {
            let active = hidden + bias;
            logit += if active > 0.0 { active * out } else { 0.0 };
        }
        // Not the standard library's: that one is the platform's.
        1.0 / (1.0 + libm::expf(-(logit + self.out_bias)))
    }
}

/// A count of places: at most the length of a window.
#[expect(clippy::cast_precision_loss, reason = "counts of places are far below 2^24")]
fn float(count: usize) -> f32 {
    count as f32
}

/// A sum of steps: a whole number below 2^24.
#[expect(clippy::cast_possible_truncation, reason = "whole numbers below 2^24 are exact in float32")]
fn narrow(steps: f64) -> f32 {
    steps as f32
}

#[cfg(test)]
mod tests;
