//! `model-export inspect`: what a model file is, from the file alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use blocksift_detector::Model;
use blocksift_detector::model::Metadata;
use prost::Message;
use serde_json::{Value, json};
use tract_onnx::pb::{self, StringStringEntryProto};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file (.onnx)
    model: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Says what about the file is not usable.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (model, bytes) = model(&args.model)?;
    let proto = pb::ModelProto::decode(bytes.as_slice())?;
    let found = facts(&model, &bytes, &proto)?;
    if args.json {
        crate::print(&serde_json::to_string_pretty(&found)?);
    } else {
        let lines = found.as_object().into_iter().flatten().map(|(name, value)| match value {
            Value::String(text) => format!("{name:<20} {text}"),
            value => format!("{name:<20} {value}"),
        });
        crate::print(&lines.collect::<Vec<String>>().join("\n"));
    }
    Ok(())
}

fn facts(model: &Model, bytes: &[u8], proto: &pb::ModelProto) -> Result<Value> {
    let metadata = &model.metadata;
    let graph = proto.graph.clone().unwrap_or_default();
    let mut operators: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(&node.op_type).or_default() += 1;
    }
    let elements = |tensor: &pb::TensorProto| tensor.dims.iter().product::<i64>();
    let opset = proto.opset_import.first().map_or(0, |opset| opset.version);
    let rules = [
        ("score", true),
        ("novel_counts", metadata.decision.novel_counts),
        ("unknown_template", metadata.decision.unknown_warn),
    ];
    let rules: Vec<&str> = rules.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    Ok(json!({
        "id": model.id,
        "bytes": bytes.len(),
        "opset": opset,
        "int8": is_int8(bytes)?,
        "operators": operators,
        "stored_numbers": graph.initializer.iter().map(elements).sum::<i64>(),
        "length": metadata.tokenizer.length,
        "vocabulary": metadata.tokenizer.vocabulary.len(),
        "catalogue": metadata.catalogue.len(),
        "threshold": metadata.decision.threshold,
        "flagged_by": rules,
        "quantiles": metadata.decision.quantiles,
        "novelty": metadata.novelty.len(),
        "trained_sessions": metadata.training.sessions,
        "trained_sequences": metadata.trained_sequences()?.len(),
        "data": metadata.training.data,
        "seed": metadata.training.seed,
        "golden_inputs": format!("{}, all as stored", metadata.golden.len()),
        "measured_f1": metadata.scores.get("f1").cloned().unwrap_or(Value::Null),
        "licence": metadata.licence,
    }))
}

/// Reads a model file and checks it as an agent does.
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

/// The file with other metadata; everything else stays as it is.
///
/// # Errors
/// If the bytes are no ONNX file, or the metadata cannot be written.
pub(crate) fn with_metadata(bytes: &[u8], metadata: &Metadata) -> Result<Vec<u8>> {
    let mut proto = pb::ModelProto::decode(bytes)?;
    proto.metadata_props.retain(|prop| !prop.key.starts_with("blocksift."));
    for (key, value) in metadata.to_props()? {
        proto.metadata_props.push(StringStringEntryProto { key: key.to_owned(), value });
    }
    Ok(proto.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_model_is_told_from_its_file_and_takes_other_metadata() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/hdfs-v1.onnx"));
        let (found, bytes) = model(path).unwrap();
        let facts = facts(&found, &bytes, &pb::ModelProto::decode(bytes.as_slice()).unwrap()).unwrap();
        assert_eq!((&facts["int8"], &facts["vocabulary"]), (&json!(true), &json!(33)));
        assert_eq!(facts["operators"]["QLinearConv"], 1);
        let mut metadata = found.metadata;
        metadata.decision.threshold = 0.75;
        let changed = with_metadata(&bytes, &metadata).unwrap();
        assert_eq!(Model::from_onnx(&changed).unwrap().metadata, metadata);
    }
}
