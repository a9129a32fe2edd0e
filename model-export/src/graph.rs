//! Writes a quantized net as an ONNX file. Operators and their order are those that tract runs fastest: QLinearConv
//! with one scale for all weights, pools with a fixed kernel. Equal arguments give equal bytes.

use blocksift_detector::ModelError;
use blocksift_detector::model::Metadata;
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use crate::net::{Net, SUM_SCALE};
use crate::quantize::{EMBEDDING_ZERO, Quantized};

/// The file's bytes. Head and shape are those of `net`.
///
/// # Errors
/// If the metadata cannot be written, or breaks the rules that a reader checks.
pub(crate) fn write(net: &Net, quantized: &Quantized, metadata: &Metadata) -> Result<Vec<u8>, ModelError> {
    let mut props = Vec::new();
    for (key, value) in metadata.to_props()? {
        props.push(StringStringEntryProto { key: key.to_owned(), value });
    }
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        producer_name: "blocksift model-export".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph(net, quantized)),
        metadata_props: props,
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

fn graph(net: &Net, quantized: &Quantized) -> GraphProto {
    let pool = [("kernel_shape", vec![int(net.shape.places())])];
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
    let node = vec![
        node("Gather", &["embedding", "tokens"], "rows", &[]),
        list("Transpose", &["rows"], "vectors", &[("perm", vec![0, 2, 1])]),
        list(
            "QLinearConv",
            &qlinear_inputs,
            "features_int8",
            &[("kernel_shape", vec![int(net.shape.kernel)])],
        ),
        node("DequantizeLinear", &["features_int8", "features_scale", "features_zero"], "features", &[]),
        list("MaxPool", &["features"], "largest", &pool),
        list("AveragePool", &["features"], "mean", &pool),
        node("Concat", &["largest", "mean"], "pooled", &[("axis", 1)]),
        node("Flatten", &["pooled"], "pooled_flat", &[("axis", 1)]),
        node("Gemm", &["pooled_flat", "dense", "dense_bias"], "hidden_in", &[("transB", 1)]),
        node("Relu", &["hidden_in"], "hidden", &[]),
        node("Gemm", &["hidden", "out", "out_bias"], "logit", &[("transB", 1)]),
        node("Sigmoid", &["logit"], "score", &[]),
    ];
    GraphProto {
        name: "blocksift".to_owned(),
        node,
        initializer: initializers(net, quantized),
        input: vec![port("tokens", DataType::Int64, int(net.shape.length))],
        output: vec![port("score", DataType::Float, 1)],
        ..GraphProto::default()
    }
}

fn initializers(net: &Net, quantized: &Quantized) -> Vec<TensorProto> {
    let shape = net.shape;
    let (filters, hidden) = (int(shape.filters), int(shape.hidden));
    // The pool gives the mean where the net takes the scaled sum.
    let to_mean = shape.places() as f32 * SUM_SCALE;
    let mut dense = net.dense.clone();
    for row in dense.chunks_exact_mut(2 * shape.filters) {
        row.iter_mut().skip(shape.filters).for_each(|weight| *weight *= to_mean);
    }
    let conv: Vec<u8> = quantized.conv.iter().map(|weight| weight.cast_unsigned()).collect();
    let bias: Vec<u8> = quantized.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
    vec![
        tensor(
            "embedding",
            DataType::Uint8,
            &[int(shape.rows), int(shape.width)],
            quantized.embedding.clone(),
        ),
        floats("embedding_scale", &[], &[quantized.embedding_scale]),
        tensor("embedding_zero", DataType::Uint8, &[], vec![EMBEDDING_ZERO]),
        tensor("conv", DataType::Int8, &[filters, int(shape.width), int(shape.kernel)], conv),
        floats("conv_scale", &[], &[quantized.conv_scale]),
        tensor("conv_zero", DataType::Int8, &[], vec![0]),
        tensor("conv_bias", DataType::Int32, &[filters], bias),
        floats("features_scale", &[], &[quantized.output_scale]),
        tensor("features_zero", DataType::Uint8, &[], vec![0]),
        floats("dense", &[hidden, 2 * filters], &dense),
        floats("dense_bias", &[hidden], &net.dense_bias),
        floats("out", &[1, hidden], &net.out),
        floats("out_bias", &[1], &net.out_bias),
    ]
}

fn node(kind: &str, inputs: &[&str], output: &str, numbers: &[(&str, i64)]) -> NodeProto {
    let attribute = numbers.iter().map(|(name, value)| AttributeProto {
        name: (*name).to_owned(),
        r#type: AttributeType::Int as i32,
        i: *value,
        ..AttributeProto::default()
    });
    NodeProto {
        op_type: kind.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attribute.collect(),
        ..NodeProto::default()
    }
}

fn list(kind: &str, inputs: &[&str], output: &str, lists: &[(&str, Vec<i64>)]) -> NodeProto {
    let attribute = lists.iter().map(|(name, values)| AttributeProto {
        name: (*name).to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values.clone(),
        ..AttributeProto::default()
    });
    NodeProto { attribute: attribute.collect(), ..node(kind, inputs, output, &[]) }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    tensor(name, DataType::Float, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn tensor(name: &str, kind: DataType, dims: &[i64], raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: kind as i32,
        dims: dims.to_vec(),
        raw_data,
        ..TensorProto::default()
    }
}

/// A value of shape `[N, columns]`.
fn port(name: &str, kind: DataType, columns: i64) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = [Value::DimParam("N".to_owned()), Value::DimValue(columns)];
    let dim = dim.map(|value| Dimension { denotation: String::new(), value: Some(value) });
    let shape = Some(TensorShapeProto { dim: dim.to_vec() });
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { denotation: String::new(), value }),
        ..ValueInfoProto::default()
    }
}

/// Sizes are small; ONNX wants them signed.
fn int(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
