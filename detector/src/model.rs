//! A model: one .onnx file and what its `metadata_props` say. The graph maps `tokens` int64 `[N, L]` to `score`
//! float32 `[N, 1]` or `[N]`; everything else that a verdict needs is in [`Metadata`].

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64;

use crate::score::{Score, ScoreError};
use crate::signature;
use crate::template::{Catalogue, Template, TemplateId};
use crate::token::{Refinement, Token, Tokenizer, Window};

/// Version of the metadata this code reads and writes.
pub const FORMAT: &str = "1";
/// Largest difference between a golden score in the file and the one computed at load; one int8 step may round
/// differently between runtimes.
pub const GOLDEN_TOLERANCE: f32 = 2e-3;
/// Tokens in a window, at most.
pub const LENGTH_MAX: usize = 1_024;

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Not an ONNX file.
    #[error("not an ONNX file ({0}); give a .onnx file written by `model-export train`")]
    NotOnnx(String),
    /// A metadata field that every blocksift model has is absent.
    #[error(
        "metadata field `{0}` is missing: this ONNX file is not a blocksift model; write one with `model-export`"
    )]
    MissingField(&'static str),
    /// A metadata field does not parse.
    #[error("metadata field `{field}` is invalid ({what}); write the model again with `model-export`")]
    InvalidField {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Written by another version of the format.
    #[error(
        "model format is `{0}`, this program reads `{FORMAT}`; use a model and a program of the same release"
    )]
    Format(String),
    /// The graph does not keep the contract.
    #[error(
        "graph does not keep the contract ({0}): it must map `tokens` int64 [N, L] to `score` float32 [N] or [N, 1]"
    )]
    Contract(String),
    /// The graph is none that can be scored by a table.
    #[error(
        "graph cannot be folded into a table ({0}); use a program with tract, or a model written by `model-export train`"
    )]
    Fold(String),
    /// A stored input gives another score here.
    #[error(
        "golden input {index} scores {found} here, {expected} in the file; the file is damaged or this CPU computes differently"
    )]
    Golden {
        /// Which of the stored inputs.
        index: usize,
        /// Score stored in the file.
        expected: f32,
        /// Score computed here.
        found: f32,
    },
}

/// How tokens are made; `vocabulary` lists template ids in token order, from token 2 on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSpec {
    /// Tokens in a window, L.
    pub length: usize,
    /// Template ids in token order.
    pub vocabulary: Vec<TemplateId>,
    /// Templates whose tokens depend on a parameter or on the silence before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refinements: Vec<Refinement>,
    /// Records that name no block form sessions of the node, one for each stretch of so many milliseconds of the log's
    /// time; `None` only counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_window_ms: Option<NonZeroU32>,
}

impl TokenizerSpec {
    /// A tokenizer whose tokens are the templates and nothing else.
    #[must_use]
    pub fn plain(length: usize, vocabulary: Vec<TemplateId>) -> Self {
        Self { length, vocabulary, refinements: Vec::new(), node_window_ms: None }
    }

    /// The tokenizer that this describes.
    #[must_use]
    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::refined(self.length, &self.vocabulary, &self.refinements)
    }

    /// Rows that the embedding needs.
    pub(crate) fn rows(&self) -> usize {
        let refined: usize = self.refinements.iter().map(Refinement::tokens).sum();
        self.vocabulary.len() + usize::from(Token::FIRST) + refined
    }

    fn check_refinements(&self) -> Result<(), ModelError> {
        let rising = |bounds: &[i64]| bounds.is_sorted_by(|one, next| one < next);
        let sound = |(at, refinement): (usize, &Refinement)| {
            self.vocabulary.contains(&refinement.template)
                && rising(&refinement.bounds)
                && rising(&refinement.gaps_ms)
                && self.refinements.iter().skip(at + 1).all(|other| other.template != refinement.template)
        };
        if !self.refinements.iter().enumerate().all(sound) {
            let what = "a refinement's template is not in the vocabulary or refined twice, or its bounds do not rise";
            return Err(invalid("blocksift.tokenizer", what));
        }
        let rows = self.refinements.iter().try_fold(self.vocabulary.len(), |rows, refinement| {
            let ranges = (refinement.bounds.len() + 1).checked_mul(refinement.gaps_ms.len() + 1)?;
            rows.checked_add(ranges)
        });
        if rows.is_none_or(|rows| rows > usize::from(u16::MAX) - 2) {
            return Err(invalid("blocksift.tokenizer", "refinements make too many tokens"));
        }
        Ok(())
    }
}

/// How a score becomes a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// A score at or above this is flagged, `0.0..=1.0`.
    pub threshold: f32,
    /// Also flag a session whose count vector no normal training session had.
    pub novel_counts: bool,
    /// Also flag a session with an unknown template at level WARN or worse.
    pub unknown_warn: bool,
    /// Scores of normal training sessions at the quantiles 0, .1, .2 ... 1, by which drift is judged.
    pub quantiles: Vec<f32>,
}

/// What the model was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// xxh3 of the data files, 16 hexadecimal digits.
    pub data: String,
    /// Seed of the run.
    pub seed: u64,
    /// Sessions trained on (threshold selection included).
    pub sessions: u64,
    /// [`sequence_hash`](crate::token::sequence_hash) of every session trained on, little-endian, base64.
    pub sequences: String,
}

/// An input with the score it must have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// Token numbers, L of them.
    pub tokens: Vec<Token>,
    /// `0.0..=1.0`.
    pub score: f32,
}

/// Everything of a model but its graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// Name, such as `hdfs-v1`.
    pub name: String,
    /// Terms of the model and of its training data.
    pub licence: String,
    /// Templates that the matcher knows.
    pub catalogue: Vec<Template>,
    /// How tokens are made.
    pub tokenizer: TokenizerSpec,
    /// How a score becomes a verdict.
    pub decision: Decision,
    /// [`counts_hash`](crate::token::counts_hash) of every normal training session.
    pub novelty: HashSet<u64>,
    /// What it was trained on.
    pub training: Training,
    /// Scores measured when it was trained, as `model-export evaluate --json` prints them.
    pub scores: serde_json::Value,
    /// Inputs with the scores they must have.
    pub golden: Vec<Golden>,
}

impl Metadata {
    /// The `metadata_props` of the file: names and values, in a fixed order.
    ///
    /// # Errors
    /// [`ModelError::InvalidField`] if a value cannot be written as JSON (a score that is not finite).
    pub fn to_props(&self) -> Result<Vec<(&'static str, String)>, ModelError> {
        let mut novelty: Vec<u64> = self.novelty.iter().copied().collect();
        novelty.sort_unstable();
        let novelty: Vec<u8> = novelty.into_iter().flat_map(u64::to_le_bytes).collect();
        Ok(vec![
            ("blocksift.format", FORMAT.to_owned()),
            ("blocksift.name", self.name.clone()),
            ("blocksift.licence", self.licence.clone()),
            ("blocksift.catalogue", json("blocksift.catalogue", &self.catalogue)?),
            ("blocksift.tokenizer", json("blocksift.tokenizer", &self.tokenizer)?),
            ("blocksift.decision", json("blocksift.decision", &self.decision)?),
            ("blocksift.novelty", BASE64.encode(novelty)),
            ("blocksift.training", json("blocksift.training", &self.training)?),
            ("blocksift.scores", json("blocksift.scores", &self.scores)?),
            ("blocksift.golden", json("blocksift.golden", &self.golden)?),
        ])
    }

    /// Reads the `metadata_props` of a file and checks every field.
    ///
    /// # Errors
    /// [`ModelError`] naming the field that is missing or invalid.
    pub fn from_props(props: &BTreeMap<String, String>) -> Result<Self, ModelError> {
        let format = text(props, "blocksift.format")?;
        if format != FORMAT {
            return Err(ModelError::Format(format));
        }
        let metadata = Self {
            name: text(props, "blocksift.name")?,
            licence: text(props, "blocksift.licence")?,
            catalogue: field(props, "blocksift.catalogue")?,
            tokenizer: field(props, "blocksift.tokenizer")?,
            decision: field(props, "blocksift.decision")?,
            novelty: hashes(props, "blocksift.novelty")?,
            training: field(props, "blocksift.training")?,
            scores: field(props, "blocksift.scores")?,
            golden: field(props, "blocksift.golden")?,
        };
        metadata.check()?;
        Ok(metadata)
    }

    /// [`sequence_hash`](crate::token::sequence_hash) of every session trained on.
    ///
    /// # Errors
    /// [`ModelError::InvalidField`] if the field is not base64 of whole 32-bit words.
    pub fn trained_sequences(&self) -> Result<HashSet<u32>, ModelError> {
        let bytes = decode("blocksift.training", &self.training.sequences)?;
        let (words, rest) = bytes.as_chunks::<4>();
        if rest.is_empty() {
            Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
        } else {
            Err(invalid("blocksift.training", "sequences are not whole 32-bit words"))
        }
    }

    /// Encodes what [`trained_sequences`](Self::trained_sequences) decodes.
    #[must_use]
    pub fn encode_sequences(hashes: impl IntoIterator<Item = u32>) -> String {
        let mut hashes: Vec<u32> = hashes.into_iter().collect();
        hashes.sort_unstable();
        hashes.dedup();
        BASE64.encode(hashes.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
    }

    fn check(&self) -> Result<(), ModelError> {
        if !(1..=LENGTH_MAX).contains(&self.tokenizer.length) {
            return Err(invalid("blocksift.tokenizer", "length is not in 1..=1024"));
        }
        let known: HashSet<TemplateId> = self.catalogue.iter().map(Template::id).collect();
        if !self.tokenizer.vocabulary.iter().all(|id| known.contains(id)) {
            return Err(invalid(
                "blocksift.tokenizer",
                "vocabulary names a template that the catalogue lacks",
            ));
        }
        let unique: HashSet<&TemplateId> = self.tokenizer.vocabulary.iter().collect();
        if unique.len() != self.tokenizer.vocabulary.len() || unique.len() > usize::from(u16::MAX - 2) {
            return Err(invalid("blocksift.tokenizer", "vocabulary repeats a template or is too long"));
        }
        if !(0.0..=1.0).contains(&self.decision.threshold) {
            return Err(invalid("blocksift.decision", "threshold is not in 0..=1"));
        }
        self.tokenizer.check_refinements()?;
        let rows = self.tokenizer.rows();
        let fits = |golden: &Golden| {
            golden.tokens.len() == self.tokenizer.length
                && golden.tokens.iter().all(|token| usize::from(token.0) < rows)
        };
        if self.golden.is_empty() || !self.golden.iter().all(fits) {
            return Err(invalid("blocksift.golden", "no inputs, or inputs that the tokenizer cannot make"));
        }
        Ok(())
    }
}

/// A model ready to score.
pub struct Model {
    /// What its file says.
    pub metadata: Metadata,
    /// Name and content hash, as `<name>-<12 hexadecimal digits>`.
    pub id: String,
    /// Makes its windows.
    pub tokenizer: Tokenizer,
    /// Matches its templates, and the built-in ones behind them.
    pub catalogue: Catalogue,
    pub(crate) scorer: Box<dyn Score>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Model {
    /// Reads an ONNX file with tract, checks its metadata and its graph and scores its golden inputs.
    ///
    /// # Errors
    /// [`ModelError`] saying what about the file is wrong.
    #[cfg(feature = "tract")]
    pub fn from_onnx(bytes: &[u8]) -> Result<Self, ModelError> {
        let (metadata, scorer) = crate::score::onnx::load(bytes)?;
        Self::new(metadata, bytes, Box::new(scorer))
    }

    /// Reads an ONNX file without tract: checks its metadata, folds its graph into a table and scores its golden inputs
    /// with it. The scores are the same bits on every machine, and tract's within the rounding of float32. Only nets of
    /// the form that `model-export train` writes can be folded.
    ///
    /// # Errors
    /// [`ModelError`] saying what about the file is wrong.
    pub fn from_onnx_table(bytes: &[u8]) -> Result<Self, ModelError> {
        let (metadata, scorer) = crate::score::table::load(bytes)?;
        Self::new(metadata, bytes, Box::new(scorer))
    }

    /// A model from its parts; `bytes` is the file whose hash, without a signature, becomes part of the id.
    ///
    /// # Errors
    /// [`ModelError::Golden`] or [`ModelError::Contract`] if `scorer` does not give the golden scores.
    pub fn new(metadata: Metadata, bytes: &[u8], mut scorer: Box<dyn Score>) -> Result<Self, ModelError> {
        for (index, golden) in metadata.golden.iter().enumerate() {
            let window = Window(golden.tokens.clone().into_boxed_slice());
            let scores = scorer.score(&[window]).map_err(|error| ModelError::Contract(error.to_string()))?;
            let found = scores.first().copied().unwrap_or(f32::NAN);
            let difference = (found - golden.score).abs();
            if difference.is_nan() || difference > GOLDEN_TOLERANCE {
                return Err(ModelError::Golden { index, expected: golden.score, found });
            }
        }
        let id = format!("{}-{:012x}", metadata.name, xxh3_64(signature::split(bytes).0) >> 16);
        let tokenizer = metadata.tokenizer.tokenizer();
        let catalogue = Catalogue::with_builtin(metadata.catalogue.clone());
        Ok(Self { metadata, id, tokenizer, catalogue, scorer })
    }

    /// The same model for a further detector; nothing of it is checked or compiled again.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            metadata: self.metadata.clone(),
            id: self.id.clone(),
            tokenizer: self.tokenizer.clone(),
            catalogue: self.catalogue.clone(),
            scorer: self.scorer.fork(),
        }
    }

    /// Scores of windows, in their order.
    ///
    /// # Errors
    /// [`ScoreError`] if a window is not one of this model's.
    pub fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        self.scorer.score(windows)
    }

    /// As [`score`](Self::score), but faster where that can be had; see [`Score::estimate`].
    ///
    /// # Errors
    /// As [`score`](Self::score)'s.
    pub fn estimate(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        self.scorer.estimate(windows)
    }
}

fn text(props: &BTreeMap<String, String>, name: &'static str) -> Result<String, ModelError> {
    props.get(name).cloned().ok_or(ModelError::MissingField(name))
}

fn field<T: DeserializeOwned>(props: &BTreeMap<String, String>, name: &'static str) -> Result<T, ModelError> {
    serde_json::from_str(&text(props, name)?).map_err(|error| invalid(name, error))
}

fn hashes(props: &BTreeMap<String, String>, name: &'static str) -> Result<HashSet<u64>, ModelError> {
    let bytes = decode(name, &text(props, name)?)?;
    let (words, rest) = bytes.as_chunks::<8>();
    if rest.is_empty() {
        Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    } else {
        Err(invalid(name, "not whole 64-bit words"))
    }
}

fn decode(name: &'static str, text: &str) -> Result<Vec<u8>, ModelError> {
    BASE64.decode(text).map_err(|error| invalid(name, error))
}

fn json<T: Serialize>(name: &'static str, value: &T) -> Result<String, ModelError> {
    serde_json::to_string(value).map_err(|error| invalid(name, error))
}

fn invalid(field: &'static str, what: impl std::fmt::Display) -> ModelError {
    ModelError::InvalidField { field, what: what.to_string() }
}
