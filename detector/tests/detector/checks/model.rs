//! A model that needs no file: templates of old and new DataNodes, and scores that are made up from the tokens.

use std::collections::HashSet;
use std::num::NonZeroU32;

use blocksift_detector::Model;
use blocksift_detector::model::{Decision, Golden, Metadata, TokenizerSpec, Training};
use blocksift_detector::score::{Score, ScoreError};
use blocksift_detector::template::{Template, TemplateId};
use blocksift_detector::token::{Refinement, Token, Window};

/// Tokens of a window.
const LENGTH: usize = 16;

const TEXTS: [&str; 12] = [
    "Receiving block <blk> src: /<ip>:<port> dest: /<ip>:<port>",
    "Received block <blk> of size <n> from /<ip>",
    "PacketResponder <n> for block <blk> terminating",
    "Deleting block <blk> file <path>",
    "Exception in receiveBlock for block <blk> <exception>",
    "BLOCK* ask <node>:<port> to delete  <blk> <blk> ...",
    "<node>:<port> Served block <blk> to /<ip>",
    "Receiving <blk> src: /<ip>:<port> dest: /<ip>:<port>",
    "Received <blk> size <bytes> from /<ip>",
    "PacketResponder: <blk>, type=<*> terminating",
    "Scheduling <blk> file <path> for deletion",
    "Slow BlockReceiver write data to disk cost:<duration_ms>ms (threshold=<n>ms)",
];

/// Which sessions are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reported {
    /// Every one: no counts are those of normal sessions.
    All,
    /// None.
    None,
}

/// A model of the templates above.
pub(crate) fn model(reported: Reported, node_window_ms: Option<NonZeroU32>) -> Model {
    Model::new(metadata(reported, node_window_ms), b"no file", Box::new(Mixed)).unwrap()
}

/// What the file of that model would say.
pub(crate) fn metadata(reported: Reported, node_window_ms: Option<NonZeroU32>) -> Metadata {
    let catalogue = TEXTS.iter().map(|&text| Template {
        text: text.to_owned(),
        logger: String::new(),
        level: String::new(),
        key: None,
    });
    // The last two are known, but have no tokens of their own.
    let vocabulary: Vec<TemplateId> = TEXTS[..10].iter().map(|text| TemplateId::of(text)).collect();
    let refined = |template: usize, parameter| Refinement {
        template: vocabulary[template],
        parameter,
        bounds: vec![1_000, 67_108_864],
        gaps_ms: vec![5_000],
    };
    let refinements = vec![refined(1, 1), refined(8, 1)];
    let mut tokens = vec![Token::PAD; LENGTH];
    tokens[..3].copy_from_slice(&[Token(2), Token(3), Token(4)]);
    let score = score(&tokens);
    let all = reported == Reported::All;
    Metadata {
        name: "made-up".to_owned(),
        licence: "Apache-2.0".to_owned(),
        catalogue: catalogue.collect(),
        tokenizer: TokenizerSpec { length: LENGTH, vocabulary, refinements, node_window_ms },
        decision: Decision {
            threshold: 1.0,
            novel_counts: all,
            unknown_warn: all,
            quantiles: vec![0.0, 0.5],
        },
        novelty: HashSet::from([1, u64::MAX]),
        training: Training { data: String::new(), seed: 1, sessions: 2, sequences: "AQAAAA==".to_owned() },
        scores: serde_json::json!({ "f1": 0.5 }),
        golden: vec![Golden { tokens, score }],
    }
}

/// Mixes the tokens of a window into a number below 1, which depends on their order.
#[derive(Clone, Copy, Debug)]
struct Mixed;

impl Score for Mixed {
    fn fork(&self) -> Box<dyn Score> {
        Box::new(*self)
    }

    fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        Ok(windows.iter().map(|window| score(&window.0)).collect())
    }
}

fn score(tokens: &[Token]) -> f32 {
    let mixed = tokens.iter().fold(7_u16, |sum, token| sum.wrapping_mul(31).wrapping_add(token.0));
    f32::from(mixed % 1_000) / 1_000.0
}

/// Gives the golden scores of any metadata, and `0.5` for all else: a model for metadata whose graph is not there.
#[derive(Clone, Debug)]
pub(crate) struct Parrot(pub(crate) Vec<Golden>);

impl Score for Parrot {
    fn fork(&self) -> Box<dyn Score> {
        Box::new(self.clone())
    }

    fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        let golden = |window: &Window| self.0.iter().find(|golden| golden.tokens[..] == window.0[..]);
        Ok(windows.iter().map(|window| golden(window).map_or(0.5, |golden| golden.score)).collect())
    }
}
