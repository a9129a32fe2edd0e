//! Fits several nets and chooses the one that validation likes best.

use blocksift_detector::token::{Token, Tokenizer};

use super::{Args, Data, progress};
use crate::dataset::{Group, Part};
use crate::fit::{Example, Recipe, fit, sigmoid};
use crate::net::{Net, Pass, Ready, Shape};
use crate::sheet::metrics::{Item, Ranking, Weights};

/// What nets are fitted to and chosen by.
pub(super) struct Examples {
    shape: Shape,
    train: Vec<Example>,
    validation: Vec<Group>,
    tokenizer: Tokenizer,
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
        for group in data.of(Part::Train) {
            let tokens = window(&tokenizer, &group.tokens);
            for (count, abnormal) in [(group.normal, false), (group.abnormal, true)] {
                if count > 0 {
                    let factor = if abnormal { 1.0 } else { args.normal_weight };
                    train.push(Example { tokens: tokens.clone(), abnormal, weight: count as f32 * factor });
                }
            }
        }
        Self { shape, train, validation: data.of(Part::Validation), tokenizer }
    }

    /// The windows trained on, without their padding.
    pub(super) fn windows(&self) -> impl Iterator<Item = &[u16]> {
        self.train.iter().map(|example| example.tokens.as_slice())
    }

    /// Weighted F1 at its best threshold, then the area under the precision-recall curve: higher is better.
    fn quality(&self, net: &Net, abnormal_share: f64) -> (f64, f64) {
        let scores = scores(net, &self.tokenizer, &self.validation);
        let item = |(group, score): (&Group, f32)| Item {
            score,
            flagged: false,
            normal: group.normal as f64,
            abnormal: group.abnormal as f64,
        };
        let items: Vec<Item> = self.validation.iter().zip(scores).map(item).collect();
        let normal: f64 = items.iter().map(|item| item.normal).sum();
        let abnormal: f64 = items.iter().map(|item| item.abnormal).sum();
        let weights =
            Weights { normal: (1.0 - abnormal_share) / normal, abnormal: abnormal_share / abnormal };
        let ranking = Ranking::new(&items, weights);
        (ranking.best().1, ranking.pr_auc_abnormal)
    }
}

/// The best of `args.nets` nets. They are fitted side by side, each by its own seed, so the outcome does not depend
/// on the number of cores.
pub(super) fn best(examples: &Examples, args: &Args) -> Net {
    let recipe = Recipe {
        epochs: args.epochs as usize,
        batch: args.batch as usize,
        rate: args.rate,
        swaps: args.swaps,
        unknown: args.unknown,
    };
    let bar = progress(u64::from(args.nets * args.epochs), "epochs {pos}/{len} {elapsed}");
    let seeds: Vec<u64> = (0..u64::from(args.nets)).map(|net| (args.seed << 16) + net).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut nets = Vec::new();
    for seeds in seeds.chunks(workers) {
        std::thread::scope(|scope| {
            let fitting: Vec<_> = seeds
                .iter()
                .map(|&seed| {
                    let tick = || bar.inc(1);
                    scope.spawn(move || fit(examples.shape, &examples.train, recipe, seed, &tick))
                })
                .collect();
            nets.extend(fitting.into_iter().filter_map(|fitting| fitting.join().ok()));
        });
    }
    bar.finish_and_clear();
    let mut best: Option<((f64, f64), Net)> = None;
    for net in nets {
        let quality = examples.quality(&net, args.abnormal_share);
        if best.as_ref().is_none_or(|(found, _)| quality > *found) {
            best = Some((quality, net));
        }
    }
    best.map_or_else(|| Net::zero(examples.shape), |(_, net)| net)
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
