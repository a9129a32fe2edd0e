//! The model to score with: the one in the program, or a file.

use std::path::Path;

use anyhow::Context;
use blocksift_detector::Model;

/// `models/hdfs-v1.onnx` of this release.
const EMBEDDED: &[u8] = include_bytes!("../../models/hdfs-v1.onnx");

/// Loads the model at `path`, or the embedded one.
///
/// # Errors
/// If the file cannot be read or is not a model of this release.
pub(crate) fn load(path: Option<&Path>) -> anyhow::Result<Model> {
    match path {
        None => Model::from_onnx(EMBEDDED).context("the embedded model does not load"),
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| {
                format!("model `{}` cannot be read; check the path and its permissions", path.display())
            })?;
            Model::from_onnx(&bytes).with_context(|| format!("model `{}` cannot be used", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use blocksift_detector::token::{Token, Window};

    use super::*;

    #[test]
    fn the_embedded_model_loads() {
        assert!(load(None).unwrap().id.starts_with("hdfs-v1-"));
    }

    #[test]
    fn a_score_is_the_same_to_the_bit_alone_and_among_others() {
        let mut model = load(None).unwrap();
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

    #[test]
    fn a_file_that_is_no_model_is_named() {
        let error = format!("{:#}", load(Some(Path::new("Cargo.toml"))).unwrap_err());
        assert!(error.contains("Cargo.toml") && error.contains("not an ONNX file"), "{error}");
        let error = format!("{:#}", load(Some(Path::new("absent.onnx"))).unwrap_err());
        assert!(error.contains("absent.onnx"), "{error}");
    }
}
