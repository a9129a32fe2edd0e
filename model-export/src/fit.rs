//! Fits a net to labelled windows. One thread, one seed, one order of operations: equal arguments give equal nets.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::net::{Gradient, Net, Pass, Ready, Shape};

/// Steps until the learning rate reaches its full size.
const WARM_UP: f32 = 50.0;
/// Decay of the mean of gradients, and of their squares (Adam's usual ones).
const MEAN: f32 = 0.9;
const SQUARE: f32 = 0.999;

/// Beyond this a teacher's logit says no more, so that none outweighs the others.
const LOGIT_MAX: f32 = 8.0;

/// One distinct session.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    /// Window without its padding.
    pub(crate) tokens: Vec<u16>,
    /// The label.
    pub(crate) abnormal: bool,
    /// Factor on its loss.
    pub(crate) weight: f32,
}

impl Example {
    /// The same with the square root of its weight.
    pub(crate) fn tempered(&self) -> Self {
        Self { weight: self.weight.sqrt(), ..self.clone() }
    }
}

/// How to fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    /// Passes over the examples.
    pub(crate) epochs: usize,
    /// Examples in a step.
    pub(crate) batch: usize,
    /// Learning rate at its highest.
    pub(crate) rate: f32,
    /// Every second example has this many neighbours swapped for each of its tokens, at most: the order of lines
    /// within a second is chance, and must not matter much.
    pub(crate) swaps: f32,
    /// Share of tokens that become unknown, so that an unknown template is neither fatal nor random.
    pub(crate) unknown: f32,
    /// What a label is short of certainty.
    pub(crate) smoothing: f32,
}

/// Where fitting stands after an epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch<'a> {
    /// From 1.
    pub(crate) number: usize,
    /// Mean loss of what was shown, by weight.
    pub(crate) loss: f32,
    /// The net as it is now.
    pub(crate) net: &'a Net,
}

/// A net fitted to `examples`: to their labels, or to the mean logit that `teachers` give what is shown, if there are
/// any. `watch` is called after each epoch, and fitting ends when it says `false`.
pub(crate) fn fit(
    shape: Shape,
    examples: &[Example],
    recipe: Recipe,
    teachers: &[Net],
    seed: u64,
    watch: &mut dyn FnMut(Epoch<'_>) -> bool,
) -> Net {
    let teachers: Vec<Ready<'_>> = teachers.iter().map(Ready::new).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut net = Net::random(shape, &mut rng);
    let mut adam = Adam::new(shape);
    let mut gradient = Gradient::new(shape);
    let (mut pass, mut teaching) = (Pass::new(shape), Pass::new(shape));
    let mean_weight =
        examples.iter().map(|example| example.weight).sum::<f32>() / examples.len().max(1) as f32;
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let steps = (recipe.epochs * examples.len().div_ceil(recipe.batch)) as f32;
    let mut tokens = Vec::new();
    for number in 1..=recipe.epochs {
        let mut loss = 0.0;
        order.shuffle(&mut rng);
        for batch in order.chunks(recipe.batch) {
            let ready = Ready::new(&net);
            for example in batch.iter().filter_map(|&at| examples.get(at)) {
                tokens.clone_from(&example.tokens);
                vary(&mut tokens, recipe, &mut rng);
                let probability = sigmoid(ready.logit(&tokens, &mut pass));
                let target = match teachers.as_slice() {
                    [] => (f32::from(u8::from(example.abnormal)) - 0.5) * (1.0 - recipe.smoothing) + 0.5,
                    teachers => taught(teachers, &tokens, &mut teaching),
                };
                loss += example.weight * cross_entropy(probability, target);
                let slope = (probability - target) * example.weight / (mean_weight * batch.len() as f32);
                ready.backward(&tokens, slope, &mut pass, &mut gradient);
            }
            let slopes = gradient.take(&net);
            let done = adam.steps() as f32;
            let cosine = 0.5 * (1.0 + (std::f32::consts::PI * done / steps).cos());
            adam.step(&mut net, &slopes, recipe.rate * cosine * ((done + 1.0) / WARM_UP).min(1.0));
        }
        let loss = loss / (mean_weight * examples.len().max(1) as f32);
        if !watch(Epoch { number, loss, net: &net }) {
            break;
        }
    }
    net
}

/// `1 / (1 + e^-x)`.
#[must_use]
pub(crate) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// What a probability costs, given the true one.
#[must_use]
pub(crate) fn cross_entropy(probability: f32, target: f32) -> f32 {
    let sure = probability.clamp(1e-7, 1.0 - 1e-7);
    -target * sure.ln() - (1.0 - target) * (1.0 - sure).ln()
}

/// What several nets, of one shape, say together.
fn taught(teachers: &[Ready<'_>], tokens: &[u16], pass: &mut Pass) -> f32 {
    let logits = teachers.iter().map(|teacher| teacher.logit(tokens, pass).clamp(-LOGIT_MAX, LOGIT_MAX));
    sigmoid(logits.sum::<f32>() / teachers.len() as f32)
}

fn vary(tokens: &mut [u16], recipe: Recipe, rng: &mut ChaCha8Rng) {
    if recipe.unknown > 0.0 {
        for token in tokens.iter_mut() {
            if rng.random::<f32>() < recipe.unknown {
                *token = blocksift_detector::token::Token::UNKNOWN.0;
            }
        }
    }
    if tokens.len() < 2 || rng.random::<f32>() < 0.5 {
        return;
    }
    let most = recipe.swaps * tokens.len() as f32;
    let mut left = rng.random::<f32>() * most;
    while left >= 1.0 {
        let place = rng.random_range(0..tokens.len() - 1);
        tokens.swap(place, place + 1);
        left -= 1.0;
    }
}

/// Adam's running means.
struct Adam {
    mean: Net,
    square: Net,
    mean_left: f32,
    square_left: f32,
    steps: u32,
}

impl Adam {
    fn new(shape: Shape) -> Self {
        Self { mean: Net::zero(shape), square: Net::zero(shape), mean_left: 1.0, square_left: 1.0, steps: 0 }
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn step(&mut self, net: &mut Net, gradient: &Net, rate: f32) {
        self.steps += 1;
        self.mean_left *= MEAN;
        self.square_left *= SQUARE;
        let (mean_scale, square_scale) = (1.0 - self.mean_left, 1.0 - self.square_left);
        let means = self.mean.layers_mut().into_iter().zip(self.square.layers_mut());
        for ((values, slopes), (means, squares)) in
            net.layers_mut().into_iter().zip(gradient.layers()).zip(means)
        {
            for ((value, slope), (mean, square)) in
                values.iter_mut().zip(slopes).zip(means.iter_mut().zip(squares))
            {
                *mean += (1.0 - MEAN) * (slope - *mean);
                *square += (1.0 - SQUARE) * (slope * slope - *square);
                *value -= rate * (*mean / mean_scale) / ((*square / square_scale).sqrt() + 1e-8);
            }
        }
    }
}
