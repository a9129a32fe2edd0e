//! Static int8: embedding and convolution in integers, with scales fixed once from the weights and from the
//! activations of the training windows. The dense layers stay in float.

use crate::net::{Net, Pass, Ready};

/// Zero point of the convolution's output, where its smallest value lies: what a ReLU cuts off is below it. Values are
/// signed, as tract computes with signed ones: unsigned ones would be shifted in each run.
pub(crate) const FEATURES_ZERO: i8 = i8::MIN;

/// The integer part of a net. A real value is `scale * (stored - zero point)`.
#[derive(Clone, Debug)]
pub(crate) struct Quantized {
    /// `[rows][width]`, zero point 0, so that padding is exactly zero.
    pub(crate) embedding: Vec<i8>,
    /// Scale of the embedding.
    pub(crate) embedding_scale: f32,
    /// `[filters][width][kernel]`, as ONNX orders it; zero point 0.
    pub(crate) conv: Vec<i8>,
    /// Scale of the convolution's weights.
    pub(crate) conv_scale: f32,
    /// `[filters]`, scale `embedding_scale * conv_scale`.
    pub(crate) bias: Vec<i32>,
    /// Scale of the convolution's output, whose zero point is [`FEATURES_ZERO`].
    pub(crate) output_scale: f32,
}

impl Quantized {
    /// Quantizes `net`; `windows` are those of the training set, without padding.
    #[must_use]
    pub(crate) fn new<'a>(net: &Net, windows: impl Iterator<Item = &'a [u16]>) -> Self {
        let shape = net.shape;
        let embedding_scale = largest(&net.embedding) / 127.0;
        let conv_scale = largest(&net.conv) / 127.0;
        let embedding = net.embedding.iter().map(|value| signed((value / embedding_scale).round())).collect();
        let mut conv = Vec::with_capacity(net.conv.len());
        for filter in 0..shape.filters {
            for place in 0..shape.width {
                for offset in 0..shape.kernel {
                    let at = (offset * shape.width + place) * shape.filters + filter;
                    let weight = net.conv.get(at).copied().unwrap_or(0.0);
                    conv.push(signed((weight / conv_scale).round()));
                }
            }
        }
        let bias_scale = embedding_scale * conv_scale;
        let bias = net.conv_bias.iter().map(|bias| whole((bias / bias_scale).round())).collect();
        let ready = Ready::new(net);
        let mut pass = Pass::new(shape);
        let mut highest = 0.0f32;
        for window in windows {
            ready.logit(window, &mut pass);
            highest = pass.pooled.iter().take(shape.filters).copied().fold(highest, f32::max);
        }
        // A net that is never active still needs a scale.
        let output_scale = highest.max(1e-3) / 255.0;
        Self { embedding, embedding_scale, conv, conv_scale, bias, output_scale }
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(1e-6, |largest, value| largest.max(value.abs()))
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is wanted")]
fn signed(value: f32) -> i8 {
    value as i8
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is wanted")]
fn whole(value: f32) -> i32 {
    value as i32
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::net::Shape;

    #[test]
    fn padding_is_exactly_zero_and_values_are_within_half_a_step() {
        let shape = Shape { rows: 5, length: 8, width: 4, kernel: 2, filters: 3, hidden: 2 };
        let net = Net::random(shape, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1));
        let quantized = Quantized::new(&net, [[2u16, 3, 4].as_slice()].into_iter());
        assert!(quantized.embedding[..4].iter().all(|&value| value == 0));
        for (stored, value) in quantized.embedding.iter().zip(&net.embedding) {
            let back = f32::from(*stored) * quantized.embedding_scale;
            assert!((back - value).abs() <= 0.501 * quantized.embedding_scale);
        }
        // [filters][width][kernel] here, [kernel][width][filters] in the net.
        let back = f32::from(quantized.conv[(2 * 4 + 1) * 2 + 1]) * quantized.conv_scale;
        assert!((back - net.conv[(4 + 1) * 3 + 2]).abs() <= 0.501 * quantized.conv_scale);
    }
}
