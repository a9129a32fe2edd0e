//! From a fitted method to the bytes of a model file.

use std::collections::HashSet;

use anyhow::Result;
use blocksift_detector::Model;
use blocksift_detector::model::{Decision, Golden, Metadata, TokenizerSpec, Training};
use blocksift_detector::template::Template;
use blocksift_detector::token::{Token, Tokenizer, counts, counts_hash, sequence_hash};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tract_onnx::pb::GraphProto;

use crate::dataset::Group;
use crate::graph;
use crate::method::{Fitted, window};
use crate::net::Net;
use crate::quantize::Quantized;

/// Golden inputs in a file.
pub(super) const GOLDEN: usize = 8;

/// What was fitted.
pub(super) enum Made {
    /// The net, and its integer form.
    Cnn(Box<Net>, Box<Quantized>),
    /// Any other method; its file holds floats.
    Other(Box<dyn Fitted>),
}

impl Made {
    /// The graph of the file.
    pub(super) fn graph(&self) -> GraphProto {
        match self {
            Self::Cnn(net, quantized) => graph::cnn(net, quantized),
            Self::Other(fitted) => fitted.graph(),
        }
    }

    /// Numbers that were fitted.
    pub(super) fn parameters(&self) -> usize {
        match self {
            Self::Cnn(net, _) => net.shape.parameters(),
            Self::Other(fitted) => fitted.parameters(),
        }
    }

    /// Scores before quantization, in the order of the groups.
    pub(super) fn float_scores(&self, tokenizer: &Tokenizer, groups: &[Group]) -> Vec<f32> {
        match self {
            Self::Cnn(net, _) => super::nets::scores(net, tokenizer, groups),
            Self::Other(fitted) => {
                groups.iter().map(|group| fitted.score(&window(tokenizer, &group.tokens))).collect()
            }
        }
    }

    /// The model as an agent would load it, but for the golden inputs, which are still to be found.
    pub(super) fn load(&self, metadata: &Metadata) -> Result<Model> {
        let bytes = graph::write(self.graph(), metadata)?;
        let (mut metadata, scorer) = blocksift_detector::score::onnx::load(&bytes)?;
        metadata.golden.clear();
        Ok(Model::new(metadata, &bytes, Box::new(scorer))?)
    }
}

/// What metadata are made of.
pub(super) struct About<'a> {
    pub(super) name: &'a str,
    pub(super) licence: &'a str,
    pub(super) catalogue: &'a [Template],
    pub(super) tokenizer: &'a TokenizerSpec,
    pub(super) unknown_warn: bool,
    /// Fingerprint of the data.
    pub(super) data: &'a str,
    pub(super) seed: u64,
}

/// Metadata of a model that knows the groups `known`, and whose normal sessions among `train` are not novel.
pub(super) fn metadata(about: &About<'_>, train: &[&Group], known: &[&Group]) -> Metadata {
    let normal = train.iter().filter(|group| group.normal > 0);
    let novelty: HashSet<u64> = normal.map(|group| counts_hash(counts(&group.tokens))).collect();
    Metadata {
        name: about.name.to_owned(),
        licence: about.licence.to_owned(),
        catalogue: about.catalogue.to_vec(),
        tokenizer: about.tokenizer.clone(),
        decision: Decision {
            threshold: 0.5,
            novel_counts: false,
            unknown_warn: about.unknown_warn,
            quantiles: Vec::new(),
        },
        novelty,
        training: Training {
            data: about.data.to_owned(),
            seed: about.seed,
            sessions: known.iter().map(|group| group.normal + group.abnormal).sum(),
            sequences: Metadata::encode_sequences(known.iter().map(|group| sequence_hash(&group.tokens))),
        },
        scores: Value::Null,
        // Replaced once the file can be run; a reader wants at least one.
        golden: vec![Golden { tokens: vec![Token::PAD; about.tokenizer.length], score: 0.0 }],
    }
}

/// Inputs drawn at random, of all lengths and templates, with the scores they have.
///
/// # Errors
/// If the model cannot be run.
pub(crate) fn golden(model: &mut Model, seed: u64) -> Result<Vec<Golden>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (length, rows) = (model.tokenizer.length(), u16::try_from(model.tokenizer.rows())?);
    let mut found = Vec::with_capacity(GOLDEN);
    for at in 0..GOLDEN {
        let events = length * at / (GOLDEN - 1);
        let tokens: Vec<Token> = (0..events).map(|_| Token(rng.random_range(1..rows))).collect();
        let window = model.tokenizer.window(&tokens);
        let score = model.score(std::slice::from_ref(&window))?.first().copied().unwrap_or(f32::NAN);
        found.push(Golden { tokens: window.0.to_vec(), score });
    }
    Ok(found)
}

/// Scores of the normal sessions at the quantiles 0, .1 ... 1.
pub(crate) fn quantiles(groups: &[Group], scores: &[(f32, bool)]) -> Vec<f32> {
    let mut sorted: Vec<(f32, u64)> =
        groups.iter().zip(scores).map(|(group, (score, _))| (*score, group.normal)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: u64 = sorted.iter().map(|(_, count)| count).sum();
    let at = |tenth: u64| {
        let mut below = 0;
        let found = sorted.iter().find(|(_, count)| {
            below += count;
            *count > 0 && below * 10 >= all * tenth
        });
        found.map_or(0.0, |(score, _)| *score)
    };
    (0..=10).map(at).collect()
}
