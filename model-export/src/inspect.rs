//! `model-export inspect`: what a model file is, from the file alone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use blocksift_detector::Model;

/// Reads a model file.
///
/// # Errors
/// Says which file is not usable, and why.
pub(crate) fn model(path: &Path) -> Result<(Model, Vec<u8>)> {
    let bytes =
        fs::read(path).with_context(|| format!("model {} cannot be read; check the path", path.display()))?;
    let model =
        Model::from_onnx(&bytes).with_context(|| format!("model {} is not usable", path.display()))?;
    Ok((model, bytes))
}
