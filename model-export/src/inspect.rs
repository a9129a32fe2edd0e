//! `model-export inspect`: what a model file is, from the file alone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use blocksift_detector::Model;
use prost::Message;
use tract_onnx::pb;

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

/// Whether the graph computes in integers.
///
/// # Errors
/// If the bytes are no ONNX file.
pub(crate) fn is_int8(bytes: &[u8]) -> Result<bool> {
    let proto = pb::ModelProto::decode(bytes)?;
    Ok(proto.graph.iter().flat_map(|graph| &graph.node).any(|node| node.op_type.starts_with("QLinear")))
}
