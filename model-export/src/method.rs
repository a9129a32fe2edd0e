//! The methods of the field, each fitted to the same windows, each judged the same way, and each written as a graph that
//! keeps the contract of a model file, so that the agent can run it.
//!
//! They are written here, in a page each, rather than taken from a crate: training data are distinct windows with
//! weights, and a graph needs what a fitted model holds inside; crates give no access to it, or take no weights.

mod adam;
pub(crate) mod autoencoder;
pub(crate) mod counts;
pub(crate) mod features;
pub(crate) mod forest;
pub(crate) mod logistic;
pub(crate) mod matrix;
pub(crate) mod next_event;
pub(crate) mod pca;
pub(crate) mod svm;
mod tree;

use blocksift_detector::template::Template;
use blocksift_detector::token::{Token, Tokenizer};
use tract_onnx::pb::GraphProto;

use crate::dataset::Group;
use features::Features;

/// How sessions are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Method {
    /// Convolution over the events, largest and summed value of each filter; learns from labels
    Cnn,
    /// How likely each event was after those before it: a causal convolution fitted to normal sessions
    NextEvent,
    /// How badly counts survive a narrow hidden layer that was fitted to normal sessions
    Autoencoder,
    /// How few random cuts set a session apart
    IsolationForest,
    /// How far outside of a smooth surface around normal sessions
    OneClassSvm,
    /// How much of a session the main directions of normal ones do not explain
    Pca,
    /// Questions on counts, one after the other; learns from labels
    DecisionTree,
    /// A weighted sum of counts; learns from labels
    LogisticRegression,
    /// Whether a normal session ever had these counts
    CountVector,
}

impl Method {
    /// All that `evaluate` sets beside a model.
    pub(crate) const BASELINES: [Self; 8] = [
        Self::CountVector,
        Self::DecisionTree,
        Self::LogisticRegression,
        Self::IsolationForest,
        Self::OneClassSvm,
        Self::Pca,
        Self::Autoencoder,
        Self::NextEvent,
    ];

    /// Those that learn from sessions without labels.
    pub(crate) const LABEL_FREE: [Self; 6] = [
        Self::CountVector,
        Self::NextEvent,
        Self::Autoencoder,
        Self::Pca,
        Self::OneClassSvm,
        Self::IsolationForest,
    ];

    /// Name in tables and JSON.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::NextEvent => "next_event",
            Self::Autoencoder => "autoencoder",
            Self::IsolationForest => "isolation_forest",
            Self::OneClassSvm => "one_class_svm",
            Self::Pca => "pca",
            Self::DecisionTree => "decision_tree",
            Self::LogisticRegression => "logistic_regression",
            Self::CountVector => "count_vector",
        }
    }
}

/// What methods read of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Reading {
    /// How often each event occurs
    #[default]
    Counts,
    /// The words of the messages, rare ones weighing more, with their number and length
    Words,
}

/// How next events are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Surprise {
    /// By the least likely event's log-probability
    #[default]
    LogProbability,
    /// By the worst place of an event among those that were expected (top-k)
    Rank,
}

/// A distinct window with the weight of its sessions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The window without its padding.
    pub(crate) tokens: Vec<u16>,
    /// Weight of its normal sessions.
    pub(crate) normal: f64,
    /// Weight of its abnormal sessions.
    pub(crate) abnormal: f64,
}

/// What a method is fitted to.
#[derive(Clone, Debug)]
pub(crate) struct Lesson {
    /// Distinct windows.
    pub(crate) samples: Vec<Sample>,
    /// What is read of a window by the methods that do not read its order.
    pub(crate) features: Features,
    /// Tokens that exist.
    pub(crate) rows: usize,
    /// Tokens in a window, L.
    pub(crate) length: usize,
    /// Equal seeds give equal results.
    pub(crate) seed: u64,
    /// For [`Method::NextEvent`].
    pub(crate) surprise: Surprise,
}

impl Lesson {
    /// A lesson on groups; `normal_weight` is the factor on normal sessions.
    #[must_use]
    pub(crate) fn new(
        groups: &[Group],
        tokenizer: &Tokenizer,
        templates: &[Template],
        reading: Reading,
        normal_weight: f64,
        seed: u64,
    ) -> Self {
        let sample = |group: &Group| Sample {
            tokens: window(tokenizer, &group.tokens),
            normal: group.normal as f64 * normal_weight,
            abnormal: group.abnormal as f64,
        };
        let features = match reading {
            Reading::Counts => Features::counts(tokenizer.rows()),
            Reading::Words => Features::words(templates, tokenizer),
        };
        Self {
            samples: groups.iter().map(sample).collect(),
            features,
            rows: tokenizer.rows(),
            length: tokenizer.length(),
            seed,
            surprise: Surprise::default(),
        }
    }

    /// What is read of the windows with normal sessions, and the weight of these.
    fn normal(&self) -> (Vec<Vec<f64>>, Vec<f64>) {
        let normal = self.samples.iter().filter(|sample| sample.normal > 0.0);
        normal.map(|sample| (self.features.of(&sample.tokens), sample.normal)).unzip()
    }
}

/// A method that has been fitted.
pub(crate) trait Fitted: Send {
    /// Score of a window without its padding, `0.0..=1.0`, higher is worse.
    fn score(&self, tokens: &[u16]) -> f32;
    /// Numbers that were fitted.
    fn parameters(&self) -> usize;
    /// The graph that gives the same score.
    fn graph(&self) -> GraphProto;
}

/// Fits any method but the CNN, which has views and teachers of its own.
#[must_use]
pub(crate) fn fit(method: Method, lesson: &Lesson) -> Box<dyn Fitted> {
    match method {
        Method::Cnn | Method::CountVector => Box::new(counts::CountVector::fit(lesson)),
        Method::NextEvent => Box::new(next_event::NextEvent::fit(lesson)),
        Method::Autoencoder => Box::new(autoencoder::Autoencoder::fit(lesson)),
        Method::IsolationForest => Box::new(forest::isolation(lesson)),
        Method::OneClassSvm => Box::new(svm::OneClass::fit(lesson)),
        Method::Pca => Box::new(pca::Pca::fit(lesson)),
        Method::DecisionTree => Box::new(forest::decision_tree(lesson)),
        Method::LogisticRegression => Box::new(logistic::Logistic::fit(lesson)),
    }
}

/// A window without its padding.
#[must_use]
pub(crate) fn window(tokenizer: &Tokenizer, tokens: &[Token]) -> Vec<u16> {
    tokenizer.window(tokens).0.iter().take(tokens.len()).map(|token| token.0).collect()
}

/// The value below which `share` of the weight lies.
pub(crate) fn quantile(values: &[f64], weights: &[f64], share: f64) -> f64 {
    let mut order: Vec<(f64, f64)> = values.iter().copied().zip(weights.iter().copied()).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: f64 = order.iter().map(|(_, weight)| weight).sum();
    let mut below = 0.0;
    let found = order.iter().find(|(_, weight)| {
        below += weight;
        below >= share * all
    });
    found.or(order.last()).map_or(0.0, |(value, _)| *value)
}

/// What a raw measure of oddness is halved by: scores are `raw / (raw + half)`, and this is the raw value that all but
/// one in a hundred normal sessions stay below.
pub(crate) fn half(raw: &[f64], weights: &[f64]) -> f64 {
    quantile(raw, weights, 0.99).max(1e-6)
}

/// A float as the file holds it.
#[expect(clippy::cast_possible_truncation, reason = "the file holds single precision")]
pub(crate) fn single(value: f64) -> f32 {
    value as f32
}

/// Floats as the file holds them.
pub(crate) fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().copied().map(single).collect()
}

#[cfg(test)]
mod tests;
