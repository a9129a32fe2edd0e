//! Convolutions in integers: static, one scale for each tensor, symmetric int8 weights and uint8 values (QLinearConv), with
//! ranges from the calibration windows. An embedding that only feeds convolutions is stored in integers, too.

use anyhow::{Context, Result, bail};
use blocksift_detector::token::Window;
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType};
use tract_onnx::prelude::*;

/// Windows that ranges are measured on, at most.
const WINDOWS_MAX: usize = 4_000;

/// Smallest and largest value.
type Range = (f32, f32);

/// The file with its convolutions in integers.
///
/// # Errors
/// If it has no convolution, or one whose weights are not stored.
pub(super) fn quantized(mut proto: ModelProto, windows: &[Window]) -> Result<Vec<u8>> {
    let graph = proto.graph.clone().context("it has no graph")?;
    let convs: Vec<NodeProto> = graph.node.iter().filter(|node| node.op_type == "Conv").cloned().collect();
    if convs.is_empty() {
        bail!("it has no convolution, so nothing that is worth quantizing; use --float");
    }
    let mut made = graph.clone();
    for (number, conv) in convs.iter().enumerate() {
        let name = |what: &str| format!("quantized_{number}_{what}");
        let [input, weights, ..] = conv.input.as_slice() else { bail!("a convolution lacks its weights") };
        let Some(output) = conv.output.first() else { bail!("a convolution has no output") };
        let weights =
            stored(&graph, weights).with_context(|| format!("the weights of `{output}` are not stored"))?;
        // A ReLU that follows is the zero point 0.
        let relu = only_reader(&graph, output).filter(|node| node.op_type == "Relu");
        let result = relu.and_then(|node| node.output.first()).unwrap_or(output);
        let (input_scale, integers) = match embedding(&graph, input) {
            Some(table) => (store_table(&mut made, table, &name)?, input.clone()),
            None => {
                let (scale, zero) = step(range(&proto, input, windows)?);
                scalar(&mut made, &name("input_scale"), scale);
                byte(&mut made, &name("input_zero"), zero);
                let inputs = [input.clone(), name("input_scale"), name("input_zero")];
                insert(&mut made, conv, node("QuantizeLinear", &inputs, &name("input")));
                (scale, name("input"))
            }
        };
        let weight_scale = largest(&floats(weights)?) / 127.0;
        let bias = match conv.input.get(2) {
            Some(bias) => floats(stored(&graph, bias).context("a bias is not stored")?)?,
            None => vec![0.0; usize::try_from(*weights.dims.first().unwrap_or(&0))?],
        };
        let (scale, zero) = step(range(&proto, result, windows)?);
        store_weights(&mut made, weights, weight_scale, &bias, input_scale, &name)?;
        scalar(&mut made, &name("weight_scale"), weight_scale);
        scalar(&mut made, &name("scale"), scale);
        byte(&mut made, &name("zero"), zero);
        let inputs = [
            integers,
            name("input_scale"),
            name("input_zero"),
            name("weights"),
            name("weight_scale"),
            name("weight_zero"),
            name("scale"),
            name("zero"),
            name("bias"),
        ];
        let mut integer = node("QLinearConv", &inputs, &name("output"));
        integer.attribute.clone_from(&conv.attribute);
        let back = [name("output"), name("scale"), name("zero")];
        insert(&mut made, conv, integer);
        insert(&mut made, conv, node("DequantizeLinear", &back, result));
        made.node.retain(|other| other != conv && Some(other) != relu);
    }
    drop_unread(&mut made);
    proto.graph = Some(made);
    Ok(proto.encode_to_vec())
}

/// The stored table that a Gather and a Transpose bring to `name`, if nothing else reads what they give.
fn embedding<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    let producer =
        |name: &str| graph.node.iter().find(|node| node.output.iter().any(|output| output == name));
    let transpose = producer(name).filter(|node| node.op_type == "Transpose")?;
    only_reader(graph, name)?;
    let rows = transpose.input.first()?;
    let gather = producer(rows).filter(|node| node.op_type == "Gather")?;
    only_reader(graph, rows)?;
    let table = stored(graph, gather.input.first()?)?;
    only_reader(graph, &table.name)?;
    Some(table)
}

fn stored<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|tensor| tensor.name == name)
}

/// The node that alone reads `name`.
fn only_reader<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a NodeProto> {
    let mut readers = graph.node.iter().filter(|node| node.input.iter().any(|input| input == name));
    let first = readers.next()?;
    let is_output = graph.output.iter().any(|output| output.name == name);
    (readers.next().is_none() && !is_output).then_some(first)
}

/// Replaces a float table by bytes around 128; returns their scale.
fn store_table(made: &mut GraphProto, table: &TensorProto, name: &dyn Fn(&str) -> String) -> Result<f32> {
    let values = floats(table)?;
    let scale = largest(&values) / 127.0;
    let bytes: Vec<u8> = values.iter().map(|value| saturated((value / scale).round() + 128.0)).collect();
    for tensor in made.initializer.iter_mut().filter(|tensor| tensor.name == table.name) {
        *tensor = raw(&table.name, DataType::Uint8, &table.dims, bytes.clone());
    }
    scalar(made, &name("input_scale"), scale);
    byte(made, &name("input_zero"), 128);
    Ok(scale)
}

fn store_weights(
    made: &mut GraphProto,
    weights: &TensorProto,
    scale: f32,
    bias: &[f32],
    input_scale: f32,
    name: &dyn Fn(&str) -> String,
) -> Result<()> {
    let values = floats(weights)?;
    let integers = values.iter().map(|value| signed((value / scale).round()).cast_unsigned()).collect();
    made.initializer.push(raw(&name("weights"), DataType::Int8, &weights.dims, integers));
    made.initializer.push(raw(&name("weight_zero"), DataType::Int8, &[], vec![0]));
    let step = scale * input_scale;
    let biases = bias.iter().flat_map(|bias| whole((bias / step).round()).to_le_bytes()).collect();
    let count = i64::try_from(bias.len())?;
    made.initializer.push(raw(&name("bias"), DataType::Int32, &[count], biases));
    Ok(())
}

/// Scale and zero point for values in a range; zero itself is always exact.
fn step((low, high): Range) -> (f32, u8) {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = ((high - low) / 255.0).max(1e-6);
    (scale, saturated((-low / scale).round()))
}

/// Smallest and largest element of a value of the float graph over the windows.
fn range(proto: &ModelProto, name: &str, windows: &[Window]) -> Result<Range> {
    let length = windows.first().map_or(0, |window| window.0.len());
    let mut proto = proto.clone();
    for port in proto.graph.iter_mut().flat_map(|graph| &mut graph.output) {
        (port.name, port.r#type) = (name.to_owned(), None);
    }
    let mut state = onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true)
        .model_for_proto_model(&proto)?
        .with_input_fact(0, i64::fact([1, length]).into())?
        .into_optimized()?
        .into_runnable()?
        .spawn()?;
    let mut range = (f32::INFINITY, f32::NEG_INFINITY);
    let every = windows.len().div_ceil(WINDOWS_MAX).max(1);
    for window in windows.iter().step_by(every) {
        let tokens: Vec<i64> = window.0.iter().map(|token| i64::from(token.0)).collect();
        let output = state.run(tvec!(Tensor::from_shape(&[1, length], &tokens)?.into()))?;
        let Some(output) = output.first() else { bail!("`{name}` is not computed") };
        let view = output.to_plain_array_view::<f32>()?;
        range = view.iter().fold(range, |(low, high), value| (low.min(*value), high.max(*value)));
    }
    if range.0.is_finite() && range.1.is_finite() { Ok(range) } else { bail!("`{name}` is not finite") }
}

fn floats(tensor: &TensorProto) -> Result<Vec<f32>> {
    if tensor.data_type != DataType::Float as i32 {
        bail!("`{}` does not hold floats", tensor.name);
    }
    if tensor.raw_data.is_empty() {
        return Ok(tensor.float_data.clone());
    }
    let (words, _) = tensor.raw_data.as_chunks::<4>();
    Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(1e-6, |largest, value| largest.max(value.abs()))
}

fn raw(name: &str, kind: DataType, dims: &[i64], raw_data: Vec<u8>) -> TensorProto {
    let (name, dims) = (name.to_owned(), dims.to_vec());
    TensorProto { name, data_type: kind as i32, dims, raw_data, ..TensorProto::default() }
}

fn scalar(made: &mut GraphProto, name: &str, value: f32) {
    made.initializer.push(raw(name, DataType::Float, &[], value.to_le_bytes().to_vec()));
}

fn byte(made: &mut GraphProto, name: &str, value: u8) {
    made.initializer.push(raw(name, DataType::Uint8, &[], vec![value]));
}

fn node(kind: &str, inputs: &[String], output: &str) -> NodeProto {
    NodeProto {
        op_type: kind.to_owned(),
        name: output.to_owned(),
        input: inputs.to_vec(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// Puts a node before the convolution that it stands for.
fn insert(made: &mut GraphProto, conv: &NodeProto, node: NodeProto) {
    let place = made.node.iter().position(|other| other.output == conv.output);
    made.node.insert(place.unwrap_or(made.node.len()), node);
}

/// Takes away what no node reads any more.
fn drop_unread(made: &mut GraphProto) {
    let read: std::collections::BTreeSet<String> =
        made.node.iter().flat_map(|node| node.input.iter().cloned()).collect();
    made.initializer.retain(|tensor| read.contains(&tensor.name));
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is wanted"
)]
fn saturated(value: f32) -> u8 {
    value as u8
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is wanted")]
fn signed(value: f32) -> i8 {
    value as i8
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is wanted")]
fn whole(value: f32) -> i32 {
    value as i32
}
