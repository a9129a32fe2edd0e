//! The network: embedding, convolution, ReLU, largest and summed value of each filter, two dense layers, sigmoid.
//! Forward and backward are written out by hand and checked against finite differences in the tests.
//!
//! An embedding followed by a convolution is a sum of table rows, one table for each place in the kernel, and that is
//! how both passes compute it. The embedding of padding is zero, so all windows that lie in the padding are alike and
//! are computed once.

mod table;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use table::Table;

/// Factor on the summed values, so that they enter the dense layer at the size of the largest ones.
pub(crate) const SUM_SCALE: f32 = 0.1;

/// Sizes of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Rows of the embedding: tokens that exist, padding and unknown included.
    pub(crate) rows: usize,
    /// Tokens in a window, L.
    pub(crate) length: usize,
    /// Width of the embedding.
    pub(crate) width: usize,
    /// Tokens that a filter sees.
    pub(crate) kernel: usize,
    /// Filters of the convolution.
    pub(crate) filters: usize,
    /// Units of the hidden dense layer.
    pub(crate) hidden: usize,
}

impl Shape {
    /// Windows of the kernel in a window of tokens.
    #[must_use]
    pub(crate) fn places(&self) -> usize {
        self.length + 1 - self.kernel
    }

    /// Number of parameters.
    #[must_use]
    pub(crate) fn parameters(&self) -> usize {
        self.sizes().iter().sum()
    }

    fn sizes(&self) -> [usize; 7] {
        [
            self.rows * self.width,
            self.kernel * self.width * self.filters,
            self.filters,
            self.hidden * 2 * self.filters,
            self.hidden,
            self.hidden,
            1,
        ]
    }
}

/// The parameters, or their gradients; each matrix is row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Net {
    /// Sizes of the layers.
    pub(crate) shape: Shape,
    /// `[rows][width]`; row 0, padding, stays zero.
    pub(crate) embedding: Vec<f32>,
    /// `[kernel][width][filters]`.
    pub(crate) conv: Vec<f32>,
    /// `[filters]`.
    pub(crate) conv_bias: Vec<f32>,
    /// `[hidden][2 * filters]`: largest values, then summed values.
    pub(crate) dense: Vec<f32>,
    /// `[hidden]`.
    pub(crate) dense_bias: Vec<f32>,
    /// `[hidden]`.
    pub(crate) out: Vec<f32>,
    /// One number.
    pub(crate) out_bias: Vec<f32>,
}

impl Net {
    /// All parameters zero.
    #[must_use]
    pub(crate) fn zero(shape: Shape) -> Self {
        let [embedding, conv, conv_bias, dense, dense_bias, out, out_bias] =
            shape.sizes().map(|size| vec![0.0; size]);
        Self { shape, embedding, conv, conv_bias, dense, dense_bias, out, out_bias }
    }

    /// Parameters drawn at random, each layer at the scale that keeps the size of what passes through it.
    #[must_use]
    pub(crate) fn random(shape: Shape, rng: &mut ChaCha8Rng) -> Self {
        let mut net = Self::zero(shape);
        let mut fill = |values: &mut [f32], scale: f32| {
            for value in values {
                *value = rng.random_range(-scale..scale);
            }
        };
        let scale = |inputs: usize| (6.0 / inputs as f32).sqrt();
        fill(net.embedding.get_mut(shape.width..).unwrap_or_default(), 1.0);
        fill(&mut net.conv, scale(shape.kernel * shape.width) * 0.7);
        fill(&mut net.conv_bias, 0.1);
        fill(&mut net.dense, scale(2 * shape.filters) * 0.7);
        fill(&mut net.out, scale(shape.hidden) * 0.7);
        net
    }

    /// All parameters, layer by layer.
    pub(crate) fn layers_mut(&mut self) -> [&mut Vec<f32>; 7] {
        [
            &mut self.embedding,
            &mut self.conv,
            &mut self.conv_bias,
            &mut self.dense,
            &mut self.dense_bias,
            &mut self.out,
            &mut self.out_bias,
        ]
    }

    /// All parameters, layer by layer.
    #[must_use]
    pub(crate) fn layers(&self) -> [&Vec<f32>; 7] {
        [
            &self.embedding,
            &self.conv,
            &self.conv_bias,
            &self.dense,
            &self.dense_bias,
            &self.out,
            &self.out_bias,
        ]
    }
}

/// What one pass over a window leaves behind; reused from window to window.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    /// `[2 * filters]`: largest value of each filter, then its scaled sum.
    pub(crate) pooled: Vec<f32>,
    /// Place of the largest value of each filter; the number of places with tokens stands for the padding.
    largest: Vec<usize>,
    /// `[places][filters]` before ReLU.
    before: Vec<f32>,
    hidden: Vec<f32>,
    upstream: Vec<f32>,
}

impl Pass {
    /// Room for one pass through a net of this shape.
    #[must_use]
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            pooled: vec![0.0; 2 * shape.filters],
            largest: vec![0; shape.filters],
            before: vec![0.0; shape.places() * shape.filters],
            hidden: vec![0.0; shape.hidden],
            upstream: vec![0.0; 2 * shape.filters],
        }
    }
}

/// A net made ready to run: its tables beside it.
#[derive(Clone, Debug)]
pub(crate) struct Ready<'a> {
    net: &'a Net,
    table: Table,
}

impl<'a> Ready<'a> {
    /// Computes the tables.
    #[must_use]
    pub(crate) fn new(net: &'a Net) -> Self {
        Self { net, table: Table::new(net) }
    }

    /// The logit of a window given without its padding: at most L tokens, each below `rows`.
    pub(crate) fn logit(&self, tokens: &[u16], pass: &mut Pass) -> f32 {
        self.pool(tokens, pass);
        dense(self.net, pass)
    }

    /// Convolution, ReLU and pooling.
    fn pool(&self, tokens: &[u16], pass: &mut Pass) {
        let shape = self.net.shape;
        let places = tokens.len().min(shape.places());
        let padding = shape.places() - places;
        let (largest, sum) = pass.pooled.split_at_mut(shape.filters);
        // Places that see padding alone give the bias; the first of them has the number `places`.
        for ((largest, sum), (bias, at)) in
            largest.iter_mut().zip(&mut *sum).zip(self.net.conv_bias.iter().zip(&mut pass.largest))
        {
            let value = bias.max(0.0);
            *sum = value * padding as f32;
            (*largest, *at) = if padding > 0 { (value, places) } else { (-1.0, 0) };
        }
        for (place, row) in pass.before.chunks_exact_mut(shape.filters).take(places).enumerate() {
            row.copy_from_slice(&self.net.conv_bias);
            for (offset, token) in tokens.iter().skip(place).take(shape.kernel).enumerate() {
                add(row, self.table.row(offset, *token));
            }
            for (((value, largest), sum), at) in
                row.iter().zip(&mut *largest).zip(&mut *sum).zip(&mut pass.largest)
            {
                let value = value.max(0.0);
                *sum += value;
                if value > *largest {
                    (*largest, *at) = (value, place);
                }
            }
        }
        sum.iter_mut().for_each(|sum| *sum *= SUM_SCALE);
    }

    /// Adds the gradient of a window to `gradient`; `slope` is the loss's derivative by the logit, and `pass` is as
    /// [`logit`](Self::logit) left it for the same tokens.
    pub(crate) fn backward(&self, tokens: &[u16], slope: f32, pass: &mut Pass, gradient: &mut Gradient) {
        dense_backward(self.net, slope, pass, &mut gradient.net);
        let shape = self.net.shape;
        let places = tokens.len().min(shape.places());
        let padding = (shape.places() - places) as f32;
        let (to_largest, to_sum) = pass.upstream.split_at(shape.filters);
        let mut slopes = vec![0.0; shape.filters];
        for (place, before) in pass.before.chunks_exact(shape.filters).take(places).enumerate() {
            for ((((slope, before), to_largest), to_sum), at) in
                slopes.iter_mut().zip(before).zip(to_largest).zip(to_sum).zip(&pass.largest)
            {
                let through = if *at == place { to_largest + to_sum } else { *to_sum };
                *slope = if *before > 0.0 { through } else { 0.0 };
            }
            add(&mut gradient.net.conv_bias, &slopes);
            for (offset, token) in tokens.iter().skip(place).take(shape.kernel).enumerate() {
                add(gradient.table.row_mut(offset, *token), &slopes);
            }
        }
        for ((((sum, bias), to_largest), to_sum), at) in gradient
            .net
            .conv_bias
            .iter_mut()
            .zip(&self.net.conv_bias)
            .zip(to_largest)
            .zip(to_sum)
            .zip(&pass.largest)
        {
            if *bias > 0.0 && padding > 0.0 {
                *sum += padding * to_sum + if *at == places { *to_largest } else { 0.0 };
            }
        }
    }
}

/// Gradients of a batch while it is summed.
#[derive(Clone, Debug)]
pub(crate) struct Gradient {
    net: Net,
    table: Table,
}

impl Gradient {
    /// Zero.
    #[must_use]
    pub(crate) fn new(shape: Shape) -> Self {
        Self { net: Net::zero(shape), table: Table::zero(shape) }
    }

    /// The gradient of every parameter of `net`; starts again from zero.
    pub(crate) fn take(&mut self, net: &Net) -> Net {
        let mut gradient = std::mem::replace(&mut self.net, Net::zero(net.shape));
        self.table.backward(net, &mut gradient);
        self.table = Table::zero(net.shape);
        gradient
    }
}

/// The two dense layers on `pass.pooled`.
pub(crate) fn dense(net: &Net, pass: &mut Pass) -> f32 {
    let rows = net.dense.chunks_exact(2 * net.shape.filters);
    let mut logit = net.out_bias.first().copied().unwrap_or(0.0);
    for (((hidden, row), bias), out) in pass.hidden.iter_mut().zip(rows).zip(&net.dense_bias).zip(&net.out) {
        *hidden = (bias + dot(row, &pass.pooled)).max(0.0);
        logit += *hidden * out;
    }
    logit
}

/// Adds the dense layers' gradient and leaves what goes on to the pooled values in `pass`.
fn dense_backward(net: &Net, slope: f32, pass: &mut Pass, gradient: &mut Net) {
    pass.upstream.fill(0.0);
    for bias in &mut gradient.out_bias {
        *bias += slope;
    }
    let width = 2 * net.shape.filters;
    let rows = net.dense.chunks_exact(width).zip(gradient.dense.chunks_exact_mut(width));
    let units = pass.hidden.iter().zip(&net.out).zip(&mut gradient.out).zip(&mut gradient.dense_bias);
    for ((((hidden, out), out_sum), bias_sum), (row, row_sum)) in units.zip(rows) {
        *out_sum += slope * hidden;
        if *hidden > 0.0 {
            let slope = slope * out;
            *bias_sum += slope;
            for ((sum, pooled), (up, weight)) in
                row_sum.iter_mut().zip(&pass.pooled).zip(pass.upstream.iter_mut().zip(row))
            {
                *sum += slope * pooled;
                *up += slope * weight;
            }
        }
    }
    for up in pass.upstream.iter_mut().skip(net.shape.filters) {
        *up *= SUM_SCALE;
    }
}

fn add(to: &mut [f32], what: &[f32]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += what;
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Four sums that do not wait for each other; the order is fixed, so the result is too.
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0f32; 4];
    for (a, b) in a4.iter().zip(b4) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests;
