//! Estimates without the runtime. In the nets that `model-export` writes, an embedding followed by a convolution is a
//! sum of table rows, one for each token under the kernel: a window costs a microsecond instead of a run of the graph.
//! Made from the file's own integers; only for graphs of exactly this form, and only if it gives the runtime's score
//! on the golden inputs.

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto::DataType};

use crate::token::{Token, Window};

/// The graphs that can be folded: operators in their order.
const OPERATORS: [&str; 13] = [
    "Gather",
    "Transpose",
    "QLinearConv",
    "DequantizeLinear",
    "MaxPool",
    "AveragePool",
    "Concat",
    "Flatten",
    "Relu",
    "Gemm",
    "Relu",
    "Gemm",
    "Sigmoid",
];

/// Added and taken away, it rounds a small number to an integer, ties to even: 1.5 * 2^23 leaves no bit for a fraction.
/// Unlike the function for it, this is a vector instruction on every CPU.
const ROUND: f32 = 12_582_912.0;

/// The folded net.
#[derive(Clone, Debug)]
pub(super) struct Table {
    filters: usize,
    /// For each place of the kernel `[rows, filters]`: what a token there adds to each filter.
    taps: Vec<Vec<i32>>,
    bias: Vec<i32>,
    /// From the convolution's integers to steps of the features.
    multiplier: f32,
    /// Value of one step of the features.
    step: f32,
    /// `[hidden, 2 * filters]`
    dense: Vec<f32>,
    dense_bias: Vec<f32>,
    out: Vec<f32>,
    out_bias: f32,
}

impl Table {
    /// Folds a graph; `None` if it is not of the form.
    pub(super) fn new(graph: &GraphProto) -> Option<Self> {
        let nodes: &[NodeProto; 13] = graph.node.as_slice().try_into().ok()?;
        if !nodes.iter().map(|node| node.op_type.as_str()).eq(OPERATORS) || !is_chain(nodes) {
            return None;
        }
        let [gather, _, conv, _, _, _, _, _, _, dense, _, out, _] = nodes;
        let stored = |node: &NodeProto, at: usize| {
            let name = node.input.get(at)?;
            graph.initializer.iter().find(|tensor| tensor.name == *name)
        };
        let embedding = integers(stored(gather, 0)?)?;
        let weights = stored(conv, 3)?;
        let [filters, width, kernel] = *weights.dims.as_slice() else { return None };
        let (filters, width, kernel) =
            (usize::try_from(filters).ok()?, usize::try_from(width).ok()?, usize::try_from(kernel).ok()?);
        let (input_zero, weight_zero) =
            (scalar(&integers(stored(conv, 2)?)?)?, scalar(&integers(stored(conv, 5)?)?)?);
        let weights = integers(weights)?;
        let scale = |at| scalar(&floats(stored(conv, at)?)?);
        let step = scale(6)?;
        let features_zero = stored(conv, 7)?;
        if filters * width * kernel != weights.len() || width == 0 || !is_least(features_zero)? {
            return None;
        }
        let tap = |at: usize| {
            let of_token = |vector: &[i32]| {
                let of_filter = |filter: &[i32]| {
                    let weights = filter.iter().skip(at).step_by(kernel);
                    vector
                        .iter()
                        .zip(weights)
                        .map(|(value, weight)| (value - input_zero) * (weight - weight_zero))
                        .sum()
                };
                weights.chunks_exact(width * kernel).map(of_filter).collect::<Vec<i32>>()
            };
            embedding.chunks_exact(width).flat_map(of_token).collect()
        };
        let table = Self {
            filters,
            taps: (0..kernel).map(tap).collect(),
            bias: integers(stored(conv, 8)?)?,
            multiplier: scale(1)? * scale(4)? / step,
            step,
            dense: floats(stored(dense, 1)?)?,
            dense_bias: floats(stored(dense, 2)?)?,
            out: floats(stored(out, 1)?)?,
            out_bias: scalar(&floats(stored(out, 2)?)?)?,
        };
        let hidden = table.dense_bias.len();
        let fits = table.bias.len() == filters
            && table.dense.len() == hidden * 2 * filters
            && table.out.len() == hidden
            && filters > 0;
        fits.then_some(table)
    }

    /// The score of a window whose tokens are within the vocabulary.
    pub(super) fn estimate(&self, window: &Window) -> f32 {
        let places = (window.0.len() + 1).saturating_sub(self.taps.len());
        let mut largest = vec![0.0_f32; self.filters];
        let mut sum = vec![0.0_f32; self.filters];
        let mut totals = vec![0; self.filters];
        let mut place = 0;
        while let Some(under) = window.0.get(place..place + self.taps.len()) {
            // All places from the first one that has only padding under it on are alike.
            let padding = under.iter().all(|token| *token == Token::PAD);
            let times = if padding { places - place } else { 1 };
            self.convolve(under, &mut totals);
            for ((total, largest), sum) in totals.iter().zip(&mut largest).zip(&mut sum) {
                #[expect(clippy::cast_precision_loss, reason = "sums of bytes are far below 2^24")]
                let feature = (*total as f32 * self.multiplier).clamp(0.0, 255.0) + ROUND - ROUND;
                *largest = largest.max(feature);
                #[expect(clippy::cast_precision_loss, reason = "at most the length of a window")]
                let times = times as f32;
                *sum += feature * times;
            }
            place += times;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most the length of a window")]
        let mean = self.step / places.max(1) as f32;
        let pooled: Vec<f32> = largest
            .iter()
            .map(|value| value * self.step)
            .chain(sum.iter().map(|value| value * mean))
            .collect();
        self.head(&pooled)
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

    fn head(&self, pooled: &[f32]) -> f32 {
        let rows = self.dense.chunks_exact(pooled.len()).zip(&self.dense_bias).zip(&self.out);
        let logit: f32 = rows
            .map(|((weights, bias), out)| {
                let hidden: f32 = weights.iter().zip(pooled).map(|(weight, value)| weight * value).sum();
                (hidden + bias).max(0.0) * out
            })
            .sum();
        1.0 / (1.0 + (-(logit + self.out_bias)).exp())
    }
}

/// Whether each node reads what it should: the chain, with both pools on the features.
fn is_chain(nodes: &[NodeProto; 13]) -> bool {
    let output = |at: usize| nodes.get(at).and_then(|node| node.output.first());
    let reads = |at: usize, input: usize, from: usize| {
        nodes.get(at).and_then(|node| node.input.get(input)) == output(from)
    };
    let pools = [(4, 3), (5, 3), (6, 4)];
    let before = [(1, 0), (2, 1), (3, 2)];
    let after = [(7, 6), (8, 7), (9, 8), (10, 9), (11, 10), (12, 11)];
    let straight = before.into_iter().chain(pools).chain(after);
    straight.into_iter().all(|(at, from)| reads(at, 0, from)) && reads(6, 1, 5)
}

/// Whether a zero point is the least value of its type, so that nothing below zero is stored: the ReLU.
fn is_least(zero: &TensorProto) -> Option<bool> {
    let least = if DataType::try_from(zero.data_type) == Ok(DataType::Int8) { i32::from(i8::MIN) } else { 0 };
    Some(scalar(&integers(zero)?)? == least)
}

fn scalar<T: Copy>(values: &[T]) -> Option<T> {
    match values {
        [value] => Some(*value),
        _ => None,
    }
}

fn integers(tensor: &TensorProto) -> Option<Vec<i32>> {
    let kind = DataType::try_from(tensor.data_type).ok()?;
    match kind {
        DataType::Uint8 => Some(tensor.raw_data.iter().map(|byte| i32::from(*byte)).collect()),
        DataType::Int8 => Some(tensor.raw_data.iter().map(|byte| i32::from(byte.cast_signed())).collect()),
        DataType::Int32 => {
            let (words, rest) = tensor.raw_data.as_chunks::<4>();
            rest.is_empty().then(|| words.iter().map(|word| i32::from_le_bytes(*word)).collect())
        }
        _ => None,
    }
}

fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let (words, rest) = tensor.raw_data.as_chunks::<4>();
    let is_float = DataType::try_from(tensor.data_type) == Ok(DataType::Float);
    (is_float && rest.is_empty()).then(|| words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}
