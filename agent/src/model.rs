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
    use super::*;

    #[test]
    fn the_embedded_model_loads() {
        assert!(load(None).unwrap().id.starts_with("hdfs-v1-"));
    }

    #[test]
    fn a_file_that_is_no_model_is_named() {
        let error = format!("{:#}", load(Some(Path::new("Cargo.toml"))).unwrap_err());
        assert!(error.contains("Cargo.toml") && error.contains("not an ONNX file"), "{error}");
        let error = format!("{:#}", load(Some(Path::new("absent.onnx"))).unwrap_err());
        assert!(error.contains("absent.onnx"), "{error}");
    }
}
