//! The model to score with: one of those in the program, by its name or by what the logs are, or a file, signed where the
//! configuration asks for that.

use std::path::Path;

use anyhow::Context;
use blocksift_detector::head::{Form, Heads, Layout, Parsed};
use blocksift_detector::time::Zone;
use blocksift_detector::{Model, ModelError, Settings, signature};
use clap::ValueEnum;
use jiff::tz::TimeZone;
use minisign_verify::{PublicKey, Signature};
use serde::Deserialize;

use crate::config::Config;
use crate::files::scan;
use crate::input::Input;

/// Models of this release, by name.
const EMBEDDED: [(&str, &[u8]); 2] = [
    (HADOOP3, include_bytes!("../../models/hadoop3.onnx")),
    (HDFS_V1, include_bytes!("../../models/hdfs-v1.onnx")),
];
/// For what Hadoop 3 writes.
pub(crate) const HADOOP3: &str = "hadoop3";
/// For what Hadoop wrote in 2008; also what the plugin has.
pub(crate) const HDFS_V1: &str = "hdfs-v1";
/// Bytes at the start of a log in which its first record is looked for.
const START_BYTES: u64 = 64 * 1_024;
/// Logs that are looked at, at most: the most recently changed ones.
const LOGS_MAX: usize = 8;

/// What scores by the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// tract runs the model's graph where a table of it does not settle the verdict
    #[default]
    Tract,
    /// The table alone, as in the plugin: equal verdicts, loads at once, the same bits on every machine
    Table,
}

impl Backend {
    fn read(self, bytes: &[u8]) -> Result<Model, ModelError> {
        match self {
            Self::Tract => Model::from_onnx(bytes),
            Self::Table => Model::from_onnx_table(bytes),
        }
    }
}

/// Loads the model at `path`, or the one in the program that has this name.
///
/// # Errors
/// If the file cannot be read or is not a model of this release.
pub(crate) fn load(path: &Path) -> anyhow::Result<Model> {
    load_with(path, Backend::default(), &[])
}

/// As [`load`], but takes a file only if one of `signers` has signed it, unless there are none.
///
/// # Errors
/// As [`load`]'s, or if nobody whose word counts has signed it.
fn load_with(path: &Path, backend: Backend, signers: &[PublicKey]) -> anyhow::Result<Model> {
    if let Some((name, bytes)) = EMBEDDED.iter().find(|(name, _)| path == Path::new(name)) {
        return backend.read(bytes).with_context(|| format!("the embedded model {name} does not load"));
    }
    let bytes = std::fs::read(path).with_context(|| {
        format!("model `{}` cannot be read; check the path and its permissions", path.display())
    })?;
    let unusable = || format!("model `{}` cannot be used", path.display());
    // First of all: nothing else looks at what may come from anybody.
    check_signature(&bytes, signers).with_context(unusable)?;
    backend.read(&bytes).with_context(unusable)
}

/// Why a file's signature does not make it acceptable.
#[derive(Debug, thiserror::Error)]
enum SignatureError {
    #[error("it is not signed, and `model_signed_by` asks for that; sign it with `model-export sign`")]
    None,
    #[error("its signature is none of minisign's; sign it anew with `model-export sign`")]
    Unreadable,
    #[error("none of the keys in `model_signed_by` has signed it")]
    OtherKey,
    #[error("it is not what was signed: it was changed or damaged afterwards")]
    OtherContent,
}

fn check_signature(file: &[u8], signers: &[PublicKey]) -> Result<(), SignatureError> {
    if signers.is_empty() {
        return Ok(());
    }
    let (content, signature) = signature::split(file);
    let signature = signature.ok_or(SignatureError::None)?;
    let signature = Signature::decode(signature).map_err(|_| SignatureError::Unreadable)?;
    let mut failure = SignatureError::OtherKey;
    for signer in signers {
        match signer.verify(content, &signature, false) {
            Ok(()) => return Ok(()),
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(_) => failure = SignatureError::OtherContent,
        }
    }
    Err(failure)
}

/// As [`load`]; without a path the one in the program that fits logs that start so. A file has to be signed by one of
/// `signers`, unless there are none.
///
/// # Errors
/// As [`load`]'s, or if nobody whose word counts has signed it.
pub(crate) fn load_for(
    path: Option<&Path>,
    backend: Backend,
    signers: &[PublicKey],
    starts: impl IntoIterator<Item = Vec<u8>>,
) -> anyhow::Result<Model> {
    load_with(path.unwrap_or_else(|| Path::new(fitting(starts))), backend, signers)
}

/// As [`load_for`], for the model and the logs of a configuration.
///
/// # Errors
/// As [`load_for`]'s.
pub(crate) fn load_configured(path: Option<&Path>, config: &Config) -> anyhow::Result<Model> {
    let backend = config.backend;
    match (path, &config.detector.layout) {
        (None, Some(Layout::HdfsV1)) => load_with(Path::new(HDFS_V1), backend, &[]),
        (None, Some(Layout::Log4j | Layout::Console | Layout::Json)) => {
            load_with(Path::new(HADOOP3), backend, &[])
        }
        _ => {
            let files = scan(&config.logs).files.into_iter().rev().take(LOGS_MAX);
            let starts = files.filter_map(|found| Some(start(&Input::open(&found.path).ok()?)));
            load_for(path, backend, &config.signers, starts)
        }
    }
}

/// The start of a log.
pub(crate) fn start(input: &Input) -> Vec<u8> {
    input.start(START_BYTES)
}

/// The name of the model for the first log that tells its layout; that of today's Hadoop where none does.
fn fitting(starts: impl IntoIterator<Item = Vec<u8>>) -> &'static str {
    match starts.into_iter().find_map(|start| form(&start)) {
        Some(Form::HdfsV1) => HDFS_V1,
        _ => HADOOP3,
    }
}

/// How the first record of a log is laid out.
fn form(start: &[u8]) -> Option<Form> {
    let mut heads = Heads::new(None, Settings::default().line_bytes_max);
    // Times do not matter here, so neither does the zone.
    let mut zone = Zone::new(TimeZone::UTC);
    let mut lines = start.split(|&byte| byte == b'\n');
    lines.find(|line| matches!(heads.parse(line, &mut zone), Parsed::Head(_)))?;
    heads.layout().map(|pinned| pinned.form)
}

#[cfg(test)]
mod tests {
    use blocksift_detector::token::{Token, Window};

    use super::*;

    const OF_2008: &str = "081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block blk_-1 src: /10.0.0.1:1 dest: /10.0.0.1:2\n";
    const OF_TODAY: &str = "/****\n2026-01-01 00:00:00,000 INFO org.apache.hadoop.hdfs.server.datanode.DataNode: Receiving BP-1-127.0.0.1-2:blk_1_1 src: /127.0.0.1:1 dest: /127.0.0.1:2\n";

    #[test]
    fn the_embedded_models_load_by_name() {
        for (name, _) in EMBEDDED {
            let model = load(Path::new(name)).unwrap();
            assert!(model.id.starts_with(&format!("{name}-")));
            assert_eq!(load_with(Path::new(name), Backend::Table, &[]).unwrap().id, model.id);
        }
    }

    #[test]
    fn logs_choose_the_model_by_their_layout() {
        for (starts, expected) in [
            (vec![OF_2008], HDFS_V1),
            (vec![OF_TODAY], HADOOP3),
            (vec!["", "no head\n", OF_2008, OF_TODAY], HDFS_V1),
            (vec!["no head\n"], HADOOP3),
            (vec![], HADOOP3),
        ] {
            let starts = starts.iter().map(|start| start.as_bytes().to_vec());
            let model = load_for(None, Backend::Tract, &[], starts).unwrap();
            assert!(model.id.starts_with(expected), "{expected}: {}", model.id);
        }
        let of_2008 = [OF_2008.as_bytes().to_vec()];
        let named = load_for(Some(Path::new(HADOOP3)), Backend::Table, &[], of_2008).unwrap();
        assert!(named.id.starts_with(HADOOP3), "a name goes before what the logs are");
    }

    #[test]
    fn a_score_is_the_same_to_the_bit_alone_and_among_others() {
        for (name, _) in EMBEDDED {
            let mut model = load(Path::new(name)).unwrap();
            let rows = u64::try_from(model.tokenizer.rows()).unwrap();
            let mut state = 1_u64;
            let mut random = |below: u64| {
                // Knuth's MMIX generator.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let windows: Vec<Window> = (0..200)
                .map(|_| {
                    let tokens: Vec<Token> = (0..1 + random(80))
                        .map(|_| Token(u16::try_from(1 + random(rows - 1)).unwrap()))
                        .collect();
                    model.tokenizer.window(&tokens)
                })
                .collect();
            let together = model.score(&windows).unwrap();
            let alone: Vec<f32> =
                windows.iter().flat_map(|one| model.score(std::slice::from_ref(one)).unwrap()).collect();
            assert_eq!(together, alone);
            let estimates = model.estimate(&windows).unwrap();
            let difference = estimates.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < 1e-3, "{difference}");
        }
    }

    #[test]
    fn a_file_that_is_no_model_is_named() {
        let error = format!("{:#}", load(Path::new("Cargo.toml")).unwrap_err());
        assert!(error.contains("Cargo.toml") && error.contains("not an ONNX file"), "{error}");
        let error = format!("{:#}", load(Path::new("absent.onnx")).unwrap_err());
        assert!(error.contains("absent.onnx"), "{error}");
    }
}
