//! Fits several nets, and one that learns from them all.

use blocksift_detector::token::{Token, Tokenizer};

use super::views::Views;
use super::{Args, Data, progress};
use crate::dataset::{Group, Part};
use crate::fit::{Example, Recipe, fit, sigmoid};
use crate::net::{Net, Pass, Ready, Shape};

/// What nets are fitted to and chosen by.
pub(super) struct Examples {
    shape: Shape,
    train: Vec<Example>,
}

impl Examples {
    pub(super) fn new(data: &Data, args: &Args) -> Self {
        let tokenizer = Tokenizer::new(data.tokenizer.length, &data.tokenizer.vocabulary);
        let shape = Shape {
            rows: tokenizer.rows(),
            length: tokenizer.length(),
            width: args.width as usize,
            kernel: args.kernel as usize,
            filters: args.filters as usize,
            hidden: args.hidden as usize,
        };
        let mut train = Vec::new();
        let mut add = |groups: &[Group], on_normal: f32, on_abnormal: f32| {
            for group in groups {
                let tokens = window(&tokenizer, &group.tokens);
                for (count, factor, abnormal) in
                    [(group.normal, on_normal, false), (group.abnormal, on_abnormal, true)]
                {
                    if count > 0 {
                        train.push(Example {
                            tokens: tokens.clone(),
                            abnormal,
                            weight: count as f32 * factor,
                        });
                    }
                }
            }
        };
        let whole = data.of(Part::Train);
        let normal = args.normal_weight.unwrap_or_else(|| natural_weight(&whole, args.abnormal_share));
        let node = args.node_weight;
        let views = Views::new(data, Part::Train);
        add(&whole, normal, 1.0);
        // These have the natural class ratio, in which a normal session counts as much as an abnormal one.
        add(&views.by_node, normal * node, normal * node);
        add(&views.namenode, normal * node, node);
        add(&views.made_up, normal * node, normal * node);
        Self { shape, train }
    }

    /// The windows trained on, without their padding.
    pub(super) fn windows(&self) -> impl Iterator<Item = &[u16]> {
        self.train.iter().map(|example| example.tokens.as_slice())
    }
}

/// Factor on normal sessions that leaves abnormal ones their natural share of the whole.
#[expect(clippy::cast_possible_truncation, reason = "a weight needs no more digits")]
fn natural_weight(groups: &[Group], abnormal_share: f64) -> f32 {
    let count = |class: fn(&Group) -> u64| groups.iter().map(class).sum::<u64>() as f64;
    let odds = (1.0 - abnormal_share) / abnormal_share;
    (odds * count(|group| group.abnormal) / count(|group| group.normal)) as f32
}

/// A net that says what `args.nets` nets say together, at the cost of one. These are fitted side by side, each by its
/// own seed, so the outcome does not depend on the number of cores.
pub(super) fn fitted(examples: &Examples, args: &Args) -> Net {
    let recipe = Recipe {
        epochs: args.epochs as usize,
        batch: args.batch as usize,
        rate: args.rate,
        swaps: args.swaps,
        unknown: args.unknown,
    };
    let bar = progress(u64::from(args.nets + 1) * u64::from(args.epochs), "epochs {pos}/{len} {elapsed}");
    let seeds: Vec<u64> = (0..u64::from(args.nets)).map(|net| (args.seed << 16) + net).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut nets = Vec::new();
    for seeds in seeds.chunks(workers) {
        std::thread::scope(|scope| {
            let fitting: Vec<_> = seeds
                .iter()
                .map(|&seed| {
                    let tick = || bar.inc(1);
                    scope.spawn(move || fit(examples.shape, &examples.train, recipe, &[], seed, &tick))
                })
                .collect();
            nets.extend(fitting.into_iter().filter_map(|fitting| fitting.join().ok()));
        });
    }
    // What is rare counts more here: the teachers' logits are sure of it, as labels are not.
    let lesson: Vec<Example> = examples.train.iter().map(Example::tempered).collect();
    let seed = (args.seed << 16) + u64::from(u16::MAX);
    let net = fit(examples.shape, &lesson, recipe, &nets, seed, &|| bar.inc(1));
    bar.finish_and_clear();
    net
}

/// Scores of the float net, in the order of the groups.
pub(super) fn scores(net: &Net, tokenizer: &Tokenizer, groups: &[Group]) -> Vec<f32> {
    let ready = Ready::new(net);
    let mut pass = Pass::new(net.shape);
    groups.iter().map(|group| sigmoid(ready.logit(&window(tokenizer, &group.tokens), &mut pass))).collect()
}

/// A window without its padding.
fn window(tokenizer: &Tokenizer, tokens: &[Token]) -> Vec<u16> {
    tokenizer.window(tokens).0.iter().take(tokens.len()).map(|token| token.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_that_lacks_normals_has_them_weighted_up() {
        let group = |normal, abnormal| Group { normal, abnormal, ..Group::default() };
        assert!((natural_weight(&[group(97, 0), group(0, 3)], 0.03) - 1.0).abs() < 1e-6);
        assert!((natural_weight(&[group(10, 0), group(0, 10)], 0.2) - 4.0).abs() < 1e-6);
    }
}
