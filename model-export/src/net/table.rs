//! The embedding folded into the convolution: what each token adds to each filter, for each place in the kernel.

use super::{Net, Shape};

/// `[kernel][rows][filters]`.
#[derive(Clone, Debug)]
pub(super) struct Table {
    values: Vec<f32>,
    rows: usize,
    filters: usize,
}

impl Table {
    pub(super) fn zero(shape: Shape) -> Self {
        let values = vec![0.0; shape.kernel * shape.rows * shape.filters];
        Self { values, rows: shape.rows, filters: shape.filters }
    }

    pub(super) fn new(net: &Net) -> Self {
        let shape = net.shape;
        let mut table = Self::zero(shape);
        let kernel = net.conv.chunks_exact(shape.width * shape.filters);
        for (rows, weights) in table.values.chunks_exact_mut(shape.rows * shape.filters).zip(kernel) {
            for (row, embedding) in
                rows.chunks_exact_mut(shape.filters).zip(net.embedding.chunks_exact(shape.width))
            {
                for (value, weights) in embedding.iter().zip(weights.chunks_exact(shape.filters)) {
                    for (sum, weight) in row.iter_mut().zip(weights) {
                        *sum += value * weight;
                    }
                }
            }
        }
        table
    }

    /// Turns gradients of the table into gradients of embedding and convolution. Padding has none.
    pub(super) fn backward(&self, net: &Net, gradient: &mut Net) {
        let shape = net.shape;
        let size = shape.width * shape.filters;
        let kernel = net.conv.chunks_exact(size).zip(gradient.conv.chunks_exact_mut(size));
        for (rows, (weights, weight_sums)) in self.values.chunks_exact(shape.rows * shape.filters).zip(kernel)
        {
            let embeddings = net.embedding.chunks_exact(shape.width);
            let sums = gradient.embedding.chunks_exact_mut(shape.width);
            for (slopes, (embedding, sums)) in
                rows.chunks_exact(shape.filters).zip(embeddings.zip(sums)).skip(1)
            {
                let by_weight =
                    weights.chunks_exact(shape.filters).zip(weight_sums.chunks_exact_mut(shape.filters));
                for ((value, sum), (weights, weight_sums)) in embedding.iter().zip(sums).zip(by_weight) {
                    for ((slope, weight), weight_sum) in slopes.iter().zip(weights).zip(weight_sums) {
                        *sum += slope * weight;
                        *weight_sum += slope * value;
                    }
                }
            }
        }
    }

    pub(super) fn row(&self, offset: usize, token: u16) -> &[f32] {
        self.values.get(self.range(offset, token)).unwrap_or_default()
    }

    pub(super) fn row_mut(&mut self, offset: usize, token: u16) -> &mut [f32] {
        let range = self.range(offset, token);
        self.values.get_mut(range).unwrap_or_default()
    }

    fn range(&self, offset: usize, token: u16) -> std::ops::Range<usize> {
        let start = (offset * self.rows + usize::from(token)) * self.filters;
        start..start + self.filters
    }
}
