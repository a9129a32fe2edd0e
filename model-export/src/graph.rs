//! Writes a net as an ONNX file. Operators and their order are those that tract runs fastest: QLinearConv
//! with one scale for all weights, pools with a fixed kernel. Equal arguments give equal bytes.

pub(crate) mod build;

use blocksift_detector::ModelError;
use blocksift_detector::model::Metadata;
use prost::Message;
use tract_onnx::pb::{
    GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, tensor_proto::DataType,
};

use crate::net::{Net, SUM_SCALE};
use crate::quantize::{FEATURES_ZERO, Quantized};
use build::{Builder, int};

/// A file's bytes: `graph` with its metadata.
///
/// # Errors
/// If the metadata cannot be written, or breaks the rules that a reader checks.
pub(crate) fn write(graph: GraphProto, metadata: &Metadata) -> Result<Vec<u8>, ModelError> {
    let mut props = Vec::new();
    for (key, value) in metadata.to_props()? {
        props.push(StringStringEntryProto { key: key.to_owned(), value });
    }
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        producer_name: "blocksift model-export".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        metadata_props: props,
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

/// The graph of a quantized net. Head and shape are those of `net`.
#[must_use]
pub(crate) fn cnn(net: &Net, quantized: &Quantized) -> GraphProto {
    let qlinear_inputs = [
        "vectors",
        "embedding_scale",
        "embedding_zero",
        "conv",
        "conv_scale",
        "conv_zero",
        "features_scale",
        "features_zero",
        "conv_bias",
    ];
    let pool = [int(net.shape.places())];
    let kernel = [int(net.shape.kernel)];
    let mut graph = Builder::default();
    graph.node("Gather", &["embedding", "tokens"], "rows", &[]);
    graph.list("Transpose", &["rows"], "vectors", ("perm", &[0, 2, 1]));
    graph.list("QLinearConv", &qlinear_inputs, "features_int8", ("kernel_shape", &kernel));
    graph.node("DequantizeLinear", &["features_int8", "features_scale", "features_zero"], "features", &[]);
    graph.list("MaxPool", &["features"], "largest", ("kernel_shape", &pool));
    // A sum over the last axis is a vector kernel in tract, a pool that averages adds one number after the other.
    graph.node("ReduceSum", &["features", "places"], "sum", &[("keepdims", 1)]);
    graph.node("Concat", &["largest", "sum"], "pooled", &[("axis", 1)]);
    graph.node("Flatten", &["pooled"], "pooled_flat", &[("axis", 1)]);
    // Pooled values are not negative, so this changes none. Without it tract would split the product that follows in
    // two, one for each kind of pool, which costs it .7 us a window.
    graph.node("Relu", &["pooled_flat"], "pooled_whole", &[]);
    graph.node("Gemm", &["pooled_whole", "dense", "dense_bias"], "hidden_in", &[("transB", 1)]);
    graph.node("Relu", &["hidden_in"], "hidden", &[]);
    graph.node("Gemm", &["hidden", "out", "out_bias"], "logit", &[("transB", 1)]);
    graph.node("Sigmoid", &["logit"], "score", &[]);
    initializers(&mut graph, net, quantized);
    graph.finish(net.shape.length)
}

fn initializers(graph: &mut Builder, net: &Net, quantized: &Quantized) {
    let shape = net.shape;
    // The graph sums where the net takes the scaled sum.
    let mut dense = net.dense.clone();
    for row in dense.chunks_exact_mut(2 * shape.filters) {
        row.iter_mut().skip(shape.filters).for_each(|weight| *weight *= SUM_SCALE);
    }
    let conv: Vec<u8> = quantized.conv.iter().map(|weight| weight.cast_unsigned()).collect();
    let bias: Vec<u8> = quantized.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
    let embedding = quantized.embedding.iter().map(|value| value.cast_unsigned()).collect();
    graph.tensor("embedding", DataType::Int8, &[shape.rows, shape.width], embedding);
    graph.floats("embedding_scale", &[], &[quantized.embedding_scale]);
    graph.tensor("embedding_zero", DataType::Int8, &[], vec![0]);
    graph.tensor("conv", DataType::Int8, &[shape.filters, shape.width, shape.kernel], conv);
    graph.floats("conv_scale", &[], &[quantized.conv_scale]);
    graph.tensor("conv_zero", DataType::Int8, &[], vec![0]);
    graph.tensor("conv_bias", DataType::Int32, &[shape.filters], bias);
    graph.floats("features_scale", &[], &[quantized.output_scale]);
    graph.tensor("features_zero", DataType::Int8, &[], vec![FEATURES_ZERO.cast_unsigned()]);
    graph.integers("places", &[1], &[2]);
    graph.floats("dense", &[shape.hidden, 2 * shape.filters], &dense);
    graph.floats("dense_bias", &[shape.hidden], &net.dense_bias);
    graph.floats("out", &[1, shape.hidden], &net.out);
    graph.floats("out_bias", &[1], &net.out_bias);
}
