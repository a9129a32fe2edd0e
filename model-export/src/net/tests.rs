//! Tests of the net: gradients against finite differences, shapes, padding.

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;

const SHAPE: Shape = Shape { rows: 6, length: 8, width: 3, kernel: 2, filters: 4, hidden: 3 };

fn net(seed: u64) -> Net {
    Net::random(SHAPE, &mut ChaCha8Rng::seed_from_u64(seed))
}

fn logit(net: &Net, tokens: &[u16]) -> f32 {
    Ready::new(net).logit(tokens, &mut Pass::new(net.shape))
}

/// The same network from its definition, without tables.
fn plain(net: &Net, tokens: &[u16]) -> f32 {
    let Shape { length, width, kernel, filters, .. } = net.shape;
    let mut window = tokens.to_vec();
    window.resize(length, 0);
    let (mut largest, mut sums) = (vec![0.0f32; filters], vec![0.0f32; filters]);
    for place in 0..=length - kernel {
        for filter in 0..filters {
            let mut value = net.conv_bias[filter];
            for offset in 0..kernel {
                for at in 0..width {
                    let embedded = net.embedding[usize::from(window[place + offset]) * width + at];
                    value += embedded * net.conv[(offset * width + at) * filters + filter];
                }
            }
            largest[filter] = largest[filter].max(value);
            sums[filter] += value.max(0.0) * SUM_SCALE;
        }
    }
    let pooled: Vec<f32> = largest.into_iter().chain(sums).collect();
    let mut found = net.out_bias[0];
    for (unit, row) in net.dense.chunks(2 * filters).enumerate() {
        let hidden: f32 = row.iter().zip(&pooled).map(|(weight, value)| weight * value).sum();
        found += net.out[unit] * (hidden + net.dense_bias[unit]).max(0.0);
    }
    found
}

/// Shares of the parameters whose gradient differs from the finite difference; a ReLU or a maximum may change its
/// mind within the step, so a few may.
fn differing(net: &Net, tokens: &[u16]) -> f32 {
    let mut gradient = Gradient::new(SHAPE);
    let mut pass = Pass::new(SHAPE);
    let ready = Ready::new(net);
    ready.logit(tokens, &mut pass);
    ready.backward(tokens, 1.0, &mut pass, &mut gradient);
    let gradient = gradient.take(net);
    let (mut differ, mut all) = (0.0, 0.0);
    for layer in 0..7 {
        for at in 0..net.layers()[layer].len() {
            // The embedding of padding is fixed.
            if layer == 0 && at < SHAPE.width {
                assert_eq!(gradient.embedding[at], 0.0);
                continue;
            }
            let moved = |by: f32| {
                let mut moved = net.clone();
                moved.layers_mut()[layer][at] += by;
                f64::from(logit(&moved, tokens))
            };
            let step = 1e-3;
            let difference = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            let found = f64::from(gradient.layers()[layer][at]);
            all += 1.0;
            if (found - difference).abs() > 2e-3 + 0.02 * difference.abs() {
                differ += 1.0;
            }
        }
    }
    differ / all
}

#[test]
fn gradients_are_those_of_finite_differences() {
    // Where a ReLU or a maximum changes its mind within the step, a whole filter differs; that is rare.
    let mut kinks = 0;
    for seed in 0..20 {
        for tokens in [&[2u16, 3, 4, 5, 2][..], &[1], &[5, 4, 3, 2, 1, 2, 3, 4]] {
            let share = differing(&net(seed), tokens);
            kinks += usize::from(share > 0.0);
            assert!(share < 0.15, "seed {seed}, {tokens:?}: {share} of the gradients differ");
        }
    }
    assert!(kinks <= 12, "{kinks} of 60 windows have gradients that differ");
}

#[test]
fn gradients_of_a_batch_add_up_and_start_again_from_zero() {
    let net = net(1);
    let (ready, mut pass, mut gradient) = (Ready::new(&net), Pass::new(SHAPE), Gradient::new(SHAPE));
    let mut one = |gradient: &mut Gradient| {
        ready.logit(&[2, 3], &mut pass);
        ready.backward(&[2, 3], 0.5, &mut pass, gradient);
    };
    one(&mut gradient);
    let single = gradient.take(&net);
    one(&mut gradient);
    assert_eq!(gradient.take(&net), single);
    assert_eq!(gradient.take(&net), Net::zero(SHAPE));
}

proptest! {
    #[test]
    fn tables_give_what_the_definition_gives(
        seed in 0u64..1_000, tokens in prop::collection::vec(1u16..6, 0..=8)
    ) {
        let net = net(seed);
        let (found, expected) = (logit(&net, &tokens), plain(&net, &tokens));
        prop_assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}
