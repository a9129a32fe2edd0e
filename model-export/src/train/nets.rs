//! Fits several nets, and one that learns from them all.

use blocksift_detector::token::{Token, Tokenizer};
use indicatif::ProgressBar;

use super::data::Data;
use super::journal::Entry;
use super::views::Views;
use super::{Args, Parts};
use crate::dataset::Group;
use crate::fit::{Epoch, Example, Recipe, cross_entropy, fit, sigmoid};
use crate::method::window;
use crate::net::{Net, Pass, Ready, Shape};
use crate::sheet::metrics::{Item, Ranking, Weights};

/// What nets are fitted to and watched by.
pub(super) struct Examples {
    shape: Shape,
    train: Vec<Example>,
    validation: Vec<Example>,
}

impl Examples {
    pub(super) fn new(data: &Data, parts: &Parts, views: &Views, args: &Args, normal: f32) -> Self {
        let tokenizer = data.tokenizer.tokenizer();
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
            train.extend(examples(groups, &tokenizer, on_normal, on_abnormal));
        };
        let node = args.node_weight;
        add(&parts.train, normal, 1.0);
        // These have the natural class ratio, in which a normal session counts as much as an abnormal one.
        add(&views.by_node, normal * node, normal * node);
        add(&views.namenode, normal * node, node);
        add(&views.made_up, normal * node, normal * node);
        add(&unknown_alone(shape.length), normal, 0.0);
        let natural = natural_weight(&parts.validation, args.abnormal_share);
        let validation = examples(&parts.validation, &tokenizer, natural, 1.0);
        Self { shape, train, validation }
    }

    /// The windows trained on, without their padding.
    pub(super) fn windows(&self) -> impl Iterator<Item = &[u16]> {
        self.train.iter().map(|example| example.tokens.as_slice())
    }
}

/// Factor on normal sessions that leaves abnormal ones their natural share of the whole.
#[expect(clippy::cast_possible_truncation, reason = "a weight needs no more digits")]
pub(super) fn natural_weight(groups: &[Group], abnormal_share: f64) -> f32 {
    let count = |class: fn(&Group) -> u64| groups.iter().map(class).sum::<u64>() as f64;
    let odds = (1.0 - abnormal_share) / abnormal_share;
    (odds * count(|group| group.abnormal) / count(|group| group.normal)) as f32
}

/// One normal session of each length that consists of unknown templates alone. They are what a newer Hadoop writes every day
/// and say nothing; where they are WARN or worse, a rule of its own flags them.
fn unknown_alone(length: usize) -> Vec<Group> {
    let group = |events| Group { tokens: vec![Token::UNKNOWN; events], normal: 1, ..Group::default() };
    (1..=length).map(group).collect()
}

/// An example for each class that a group has sessions of.
fn examples(groups: &[Group], tokenizer: &Tokenizer, on_normal: f32, on_abnormal: f32) -> Vec<Example> {
    let mut found = Vec::new();
    for group in groups {
        let tokens = window(tokenizer, &group.tokens);
        for (count, factor, abnormal) in
            [(group.normal, on_normal, false), (group.abnormal, on_abnormal, true)]
        {
            if count > 0 {
                found.push(Example { tokens: tokens.clone(), abnormal, weight: count as f32 * factor });
            }
        }
    }
    found
}

/// A net that says what `args.nets` nets say together, at the cost of one. These are fitted side by side, each by its
/// own seed, so the outcome does not depend on the number of cores.
pub(super) fn fitted(examples: &Examples, args: &Args) -> (Net, Vec<Entry>) {
    let recipe = Recipe {
        epochs: args.epochs as usize,
        batch: args.batch as usize,
        rate: args.rate,
        swaps: args.swaps,
        unknown: args.unknown,
        smoothing: args.smoothing,
    };
    let bar = crate::progress(
        u64::from(args.nets + 1) * u64::from(args.epochs),
        "epochs {pos}/{len} {elapsed} {msg}",
    );
    let numbers: Vec<u64> = (0..u64::from(args.nets)).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut nets, mut entries) = (Vec::new(), Vec::new());
    for numbers in numbers.chunks(workers) {
        std::thread::scope(|scope| {
            let fitting: Vec<_> = numbers
                .iter()
                .map(|&number| {
                    let seed = (args.seed << 16) + number;
                    let bar = &bar;
                    scope.spawn(move || watched(examples, &examples.train, recipe, &[], seed, args, bar))
                })
                .collect();
            for (net, seen) in fitting.into_iter().filter_map(|fitting| fitting.join().ok()) {
                entries.extend(seen.into_iter().map(|entry| Entry { net: nets.len(), ..entry }));
                nets.push(net);
            }
        });
    }
    // What is rare counts more here: the teachers' logits are sure of it, as labels are not.
    let lesson: Vec<Example> = examples.train.iter().map(Example::tempered).collect();
    let seed = (args.seed << 16) + u64::from(u16::MAX);
    let (net, seen) = watched(examples, &lesson, recipe, &nets, seed, args, &bar);
    entries.extend(seen.into_iter().map(|entry| Entry { net: nets.len(), ..entry }));
    bar.finish_and_clear();
    (net, entries)
}

/// Fits one net and looks at it after each epoch; with patience, the net as it was at its best.
fn watched(
    examples: &Examples,
    lesson: &[Example],
    recipe: Recipe,
    teachers: &[Net],
    seed: u64,
    args: &Args,
    bar: &ProgressBar,
) -> (Net, Vec<Entry>) {
    let mut entries: Vec<Entry> = Vec::new();
    let mut best: Option<(f32, usize, Net)> = None;
    let mut watch = |epoch: Epoch<'_>| {
        let entry = judged(examples, epoch);
        bar.inc(1);
        bar.set_message(format!("loss {:.4} validation F1 {:.4}", entry.loss, entry.validation_f1));
        let loss = entry.validation_loss;
        entries.push(entry);
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, epoch.number, epoch.net.clone()));
        }
        let since = best.as_ref().map_or(0, |(_, at, _)| epoch.number - at);
        args.patience == 0 || since < args.patience as usize
    };
    let last = fit(examples.shape, lesson, recipe, teachers, seed, &mut watch);
    let kept = best.filter(|_| args.patience > 0).map(|(.., net)| net);
    bar.inc((recipe.epochs - entries.len()) as u64);
    (kept.unwrap_or(last), entries)
}

/// Loss and best F1 of the validation sessions.
fn judged(examples: &Examples, epoch: Epoch<'_>) -> Entry {
    let ready = Ready::new(epoch.net);
    let mut pass = Pass::new(epoch.net.shape);
    let (mut loss, mut weights) = (0.0, 0.0);
    let mut items = Vec::with_capacity(examples.validation.len());
    for example in &examples.validation {
        let score = sigmoid(ready.logit(&example.tokens, &mut pass));
        let weight = f64::from(example.weight);
        loss += example.weight * cross_entropy(score, f32::from(u8::from(example.abnormal)));
        weights += example.weight;
        let (normal, abnormal) = if example.abnormal { (0.0, weight) } else { (weight, 0.0) };
        items.push(Item { score, flagged: false, normal, abnormal });
    }
    let (_, validation_f1) = Ranking::new(&items, Weights { normal: 1.0, abnormal: 1.0 }).best();
    let validation_loss = loss / weights.max(f32::MIN_POSITIVE);
    Entry { net: 0, epoch: epoch.number, loss: epoch.loss, validation_loss, validation_f1 }
}

/// Scores of the float net, in the order of the groups.
pub(super) fn scores(net: &Net, tokenizer: &Tokenizer, groups: &[Group]) -> Vec<f32> {
    let ready = Ready::new(net);
    let mut pass = Pass::new(net.shape);
    groups.iter().map(|group| sigmoid(ready.logit(&window(tokenizer, &group.tokens), &mut pass))).collect()
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
