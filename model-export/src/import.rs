//! `model-export quantize`: a model file of any float ONNX file that keeps the contract (`tokens` int64 [N, L] to `score`
//! float32 [N] or [N, 1]), such as one that PyTorch exports. Convolutions become integers; the rest stays as it is.

mod integers;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use blocksift_detector::Model;
use blocksift_detector::model::{Metadata, TokenizerSpec};
use blocksift_detector::score::onnx;
use blocksift_detector::token::{counts, counts_hash, sequence_hash};
use prost::Message;
use serde_json::Value;
use tract_onnx::pb::{ModelProto, tensor_shape_proto::dimension::Value as Size, type_proto};

use crate::dataset::{Group, group};
use crate::evaluate::{share, verdicts};
use crate::input::Source;
use crate::sheet::metrics::Item;
use crate::sheet::{ABNORMAL_SHARE, Column, Sheet};
use crate::{card, threshold, train};

/// F1 that integers may cost before it is said.
const LOSS: f64 = 0.002;

/// Arguments of `quantize`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Float ONNX file
    file: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Model file whose catalogue and tokens the graph was trained on; without it those of the file itself, or of hdfs-v1
    #[arg(long, value_name = "FILE")]
    like: Option<PathBuf>,
    /// Model file to write
    #[arg(long, short = 'o', default_value = "model.onnx")]
    out: PathBuf,
    /// Name of the model
    #[arg(long, default_value = "own")]
    name: String,
    /// Terms of model and data, for the metadata
    #[arg(long, default_value = card::LICENCE)]
    licence: String,
    /// Threshold; without it the sessions choose
    #[arg(long, value_parser = share)]
    threshold: Option<f64>,
    /// Leave the graph as it is: only metadata are added
    #[arg(long)]
    float: bool,
    /// Seed of the golden inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of abnormal blocks that the figures are weighted to; the default is that of the whole of HDFS_v1
    #[arg(long, default_value_t = ABNORMAL_SHARE, value_parser = share)]
    abnormal_share: f64,
}

/// Runs the command.
///
/// # Errors
/// Says what about the file is not usable.
pub(crate) fn run(args: &Args) -> Result<()> {
    let failed = || format!("{} is not usable", args.file.display());
    let bytes = fs::read(&args.file).with_context(failed)?;
    let proto = ModelProto::decode(bytes.as_slice()).context("not an ONNX file").with_context(failed)?;
    let mut metadata = metadata(args, &proto).with_context(failed)?;
    let tokenizer =
        blocksift_detector::token::Tokenizer::new(metadata.tokenizer.length, &metadata.tokenizer.vocabulary);
    let sessions = args.source.read(&metadata.catalogue, &tokenizer)?;
    let groups = group(&sessions.list);
    about_sessions(&mut metadata, &groups);
    let mut float = loaded(&bytes, &metadata).with_context(failed)?;
    let float_scores = verdicts(&mut float, &groups)?;
    let graph_bytes = if args.float {
        bytes
    } else {
        let windows: Vec<_> = groups.iter().map(|group| tokenizer.window(&group.tokens)).collect();
        integers::quantized(proto, &windows).with_context(failed)?
    };
    let mut model = loaded(&graph_bytes, &metadata)?;
    let scores = verdicts(&mut model, &groups)?;
    metadata.decision.threshold = match args.threshold {
        Some(given) => crate::method::single(given),
        None => threshold::choose(&items(&groups, &scores), args.abnormal_share),
    };
    metadata.decision.quantiles = train::quantiles(&groups, &scores);
    metadata.golden = train::golden(&mut model, args.seed)?;
    let flagged = metadata.decision.threshold;
    let judged =
        |scores: &[(f32, bool)]| scores.iter().map(|(score, _)| (*score, *score >= flagged)).collect();
    let columns = [
        Column { name: if args.float { "model" } else { "int8" }, verdicts: judged(&scores) },
        Column { name: "float", verdicts: judged(&float_scores) },
    ];
    let sheet = Sheet::new("merged", &groups, &columns, None, flagged, args.abnormal_share);
    metadata.scores = Value::Object(sheet.json());
    let bytes = crate::inspect::with_metadata(&graph_bytes, &metadata)?;
    let model = Model::from_onnx(&bytes)?;
    crate::write(&args.out, &bytes)?;
    crate::print(&format!(
        "{} written, {} bytes, model {}; measured on the sessions that calibrated it\n\n{sheet}",
        args.out.display(),
        bytes.len(),
        model.id
    ));
    let f1 = |method: &str| metadata.scores.pointer(&format!("/{method}/all/f1")).and_then(Value::as_f64);
    if let (Some(int8), Some(float)) = (f1("int8"), f1("float"))
        && float - int8 > LOSS
    {
        crate::warn(&format!(
            "integers cost {:.4} of F1; try --float, or train with smaller weights",
            float - int8
        ));
    }
    Ok(())
}

/// Metadata of the file itself, or of the model that it is like, with the length of the graph's own input.
fn metadata(args: &Args, proto: &ModelProto) -> Result<Metadata> {
    let props: BTreeMap<String, String> =
        proto.metadata_props.iter().map(|prop| (prop.key.clone(), prop.value.clone())).collect();
    let mut metadata = if let Some(path) = &args.like {
        crate::inspect::model(path)?.0.metadata
    } else if props.contains_key("blocksift.format") {
        Metadata::from_props(&props)?
    } else {
        onnx::load(crate::catalogue::HDFS_V1)?.0
    };
    let length = length(proto)?.unwrap_or(metadata.tokenizer.length);
    if length != metadata.tokenizer.length {
        metadata.tokenizer = TokenizerSpec { length, ..metadata.tokenizer };
    }
    metadata.name.clone_from(&args.name);
    metadata.licence.clone_from(&args.licence);
    metadata.golden = vec![blocksift_detector::model::Golden {
        tokens: vec![blocksift_detector::token::Token::PAD; length],
        score: 0.0,
    }];
    Ok(metadata)
}

/// Columns of `tokens`, if the graph fixes them.
fn length(proto: &ModelProto) -> Result<Option<usize>> {
    let graph = proto.graph.as_ref().context("it has no graph")?;
    let Some(input) = graph.input.iter().find(|input| input.name == "tokens") else {
        bail!("it has no input `tokens`; name input and output `tokens` and `score` when you export it");
    };
    let kind = input.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else { return Ok(None) };
    let columns = tensor.shape.as_ref().and_then(|shape| shape.dim.get(1)).and_then(|dim| dim.value.as_ref());
    Ok(match columns {
        Some(Size::DimValue(columns)) => usize::try_from(*columns).ok(),
        _ => None,
    })
}

/// What the sessions say: which counts are normal, which sequences were looked at.
fn about_sessions(metadata: &mut Metadata, groups: &[Group]) {
    let normal = groups.iter().filter(|group| group.normal > 0);
    metadata.novelty = normal.map(|group| counts_hash(counts(&group.tokens))).collect();
    metadata.training.sessions = groups.iter().map(|group| group.normal + group.abnormal).sum();
    metadata.training.sequences =
        Metadata::encode_sequences(groups.iter().map(|group| sequence_hash(&group.tokens)));
    metadata.training.data = "unknown: the graph was trained elsewhere".to_owned();
}

fn items(groups: &[Group], scores: &[(f32, bool)]) -> Vec<Item> {
    let item = |(group, &(score, flagged)): (&Group, &(f32, bool))| Item {
        score,
        flagged,
        normal: group.normal as f64,
        abnormal: group.abnormal as f64,
    };
    groups.iter().zip(scores).map(item).collect()
}

/// The model as an agent would load it, but for the golden inputs.
fn loaded(bytes: &[u8], metadata: &Metadata) -> Result<Model> {
    let bytes = crate::inspect::with_metadata(bytes, metadata)?;
    let (mut metadata, scorer) = onnx::load(&bytes)?;
    metadata.golden.clear();
    Ok(Model::new(metadata, &bytes, Box::new(scorer))?)
}

#[cfg(test)]
mod tests;
