//! From a graph to the numbers of a table. A graph is folded only if it is of exactly the form that `model-export`
//! writes, in operators, connections, attributes and shapes: a table that leaves something out would score wrongly
//! without saying so.

use super::Folded;
use crate::score::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute, kind};

/// Attributes and their values; a single number is a list of one.
type Attributes<'a> = &'a [(&'a str, &'a [i64])];

/// Operators of a graph that can be folded.
const NODES: usize = 13;
/// They, in their order. The first Relu changes nothing: it only makes the head one product in tract.
const OPERATORS: [&str; NODES] = [
    "Gather",
    "Transpose",
    "QLinearConv",
    "DequantizeLinear",
    "MaxPool",
    "ReduceSum",
    "Concat",
    "Flatten",
    "Relu",
    "Gemm",
    "Relu",
    "Gemm",
    "Sigmoid",
];
/// Which node's output each node reads first. Pool and sum read the features; the Concat also reads the sum.
const READS: [(usize, usize); NODES - 1] =
    [(1, 0), (2, 1), (3, 2), (4, 3), (5, 3), (6, 4), (7, 6), (8, 7), (9, 8), (10, 9), (11, 10), (12, 11)];
/// Attributes that may be there with these values, which are also those of an absent one.
const DEFAULTS: [(&str, &[i64]); 11] = [
    ("alpha", &[1]),
    ("beta", &[1]),
    ("ceil_mode", &[0]),
    ("dilations", &[1]),
    ("group", &[1]),
    ("keepdims", &[1]),
    ("noop_with_empty_axes", &[0]),
    ("pads", &[0, 0]),
    ("storage_order", &[0]),
    ("strides", &[1]),
    ("transA", &[0]),
];
/// Axis of the features, `[N, filters, places]`, over which they are summed.
const PLACES_AXIS: i64 = 2;
/// Numbers of a table, at most: a small file must not ask for all memory.
const TAPS_MAX: usize = 1 << 22;
/// The convolution's sums stay below this, so that their products with a float32 are exact in float64.
const TOTAL_MAX: i64 = 1 << 29;

/// Folds a graph that reads windows of `length` tokens below `rows`.
///
/// # Errors
/// What about the graph is not of the form.
pub(super) fn fold(graph: &GraphProto, length: usize, rows: usize) -> Result<Folded, String> {
    let nodes: &[NodeProto; NODES] = graph
        .node
        .as_slice()
        .try_into()
        .map_err(|_| format!("it has {} nodes, not {NODES}", graph.node.len()))?;
    check_form(graph, nodes)?;
    let [gather, _, conv, dequantize, _, sum, _, _, _, dense, _, out, _] = nodes;
    let stored = Stored(graph);
    let (embedding, shape) = stored.integers(gather, 0)?;
    let &[found, width] = shape.as_slice() else { return Err(format!("the embedding is {shape:?}")) };
    if found != rows {
        return Err(format!("embedding has {found} rows, the tokenizer makes {rows} tokens"));
    }
    let (weights, shape) = stored.integers(conv, 3)?;
    let &[filters, depth, kernel] = shape.as_slice() else {
        return Err(format!("the convolution's weights are {shape:?}"));
    };
    if depth != width || weights.is_empty() {
        return Err(format!("the convolution's weights are {shape:?} for vectors of {width}"));
    }
    if kernel.saturating_mul(filters).saturating_mul(rows) > TAPS_MAX {
        return Err(format!("its table would have more than {TAPS_MAX} numbers"));
    }
    let places = (length + 1).checked_sub(kernel).filter(|places| *places > 0);
    let places = places.ok_or_else(|| format!("a window of {length} is shorter than the kernel"))?;
    check_attributes(nodes, int(kernel), int(places))?;
    let (step, zero) = (stored.scale(conv, 6)?, stored.zero(conv, 7)?);
    let same_step = stored.scale(dequantize, 1)?.to_bits() == step.to_bits();
    if zero != stored.least(conv, 7)? || !same_step || stored.zero(dequantize, 2)? != zero {
        return Err("the features' scale or zero point is not the convolution's".to_owned());
    }
    let zeros = (stored.zero(conv, 2)?, stored.zero(conv, 5)?);
    let multiplier = stored.scale(conv, 1)? * stored.scale(conv, 4)? / step;
    if !multiplier.is_normal() {
        return Err("the convolution's scales are out of range".to_owned());
    }
    if stored.axis(sum, 1)? != PLACES_AXIS {
        return Err("the sum is not over the places of the convolution".to_owned());
    }
    let bias = stored.integers_of(conv, 8, &[filters])?;
    check_totals(&bias, kernel, width)?;
    let (dense_bias, _) = stored.floats(dense, 2)?;
    let hidden = dense_bias.len();
    let dense = stored.floats_of(dense, 1, &[hidden, 2 * filters])?;
    Ok(Folded {
        filters,
        taps: taps(&embedding, &weights, (filters, width, kernel), zeros),
        bias,
        multiplier: f64::from(multiplier),
        step,
        dense: transposed(&dense, 2 * filters),
        dense_bias,
        out: stored.floats_of(out, 1, &[1, hidden])?,
        out_bias: stored.scalar(out, 2)?,
    })
}

/// Operators in their order, each reading what it should.
fn check_form(graph: &GraphProto, nodes: &[NodeProto; NODES]) -> Result<(), String> {
    for (node, operator) in nodes.iter().zip(OPERATORS) {
        if node.op_type != operator || !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(format!("operator `{}` stands where `{operator}` must", node.op_type));
        }
        if node.output.len() != 1 {
            return Err(format!("operator `{operator}` does not have one output"));
        }
    }
    let output = |at: usize| nodes.get(at).and_then(|node| node.output.first());
    let reads =
        |at: usize, input: usize| nodes.get(at).and_then(|node| node.input.get(input)).map(String::as_str);
    let is = |at: usize, input: usize, from: usize| reads(at, input) == output(from).map(String::as_str);
    if !READS.into_iter().all(|(at, from)| is(at, 0, from)) || !is(6, 1, 5) {
        return Err("its operators are not one chain".to_owned());
    }
    let leaves = graph.output.first().map(|output| &output.name);
    if reads(0, 1) != Some("tokens") || leaves != output(NODES - 1) {
        return Err("it does not lead from `tokens` to its output".to_owned());
    }
    Ok(())
}

/// Every attribute has the value that the table is made for. What is here more than [`DEFAULTS`] has must be there,
/// or may be there.
fn check_attributes(nodes: &[NodeProto; NODES], kernel: i64, places: i64) -> Result<(), String> {
    for node in nodes {
        let (needed, allowed): (Attributes<'_>, Attributes<'_>) = match node.op_type.as_str() {
            "Gather" => (&[], &[("axis", &[0])]),
            "Transpose" => (&[("perm", &[0, 2, 1])], &[]),
            "QLinearConv" => (&[], &[("kernel_shape", &[kernel])]),
            "MaxPool" => (&[("kernel_shape", &[places])], &[]),
            "Concat" => (&[("axis", &[1])], &[]),
            "DequantizeLinear" | "Flatten" => (&[], &[("axis", &[1])]),
            "Gemm" => (&[("transB", &[1])], &[]),
            _ => (&[], &[]),
        };
        let is_there = |name: &str| node.attribute.iter().any(|attribute| attribute.name == name);
        if let Some((name, _)) = needed.iter().find(|(name, _)| !is_there(name)) {
            return Err(format!("operator `{}` has no `{name}`", node.op_type));
        }
        for attribute in &node.attribute {
            let mut known = needed.iter().chain(allowed).chain(&DEFAULTS);
            let wanted = known.find(|(name, _)| *name == attribute.name);
            if wanted.is_none_or(|(_, value)| !has_value(attribute, value)) {
                return Err(format!(
                    "operator `{}` has another `{}` than the form",
                    node.op_type, attribute.name
                ));
            }
        }
    }
    Ok(())
}

fn has_value(found: &AttributeProto, wanted: &[i64]) -> bool {
    match found.r#type {
        attribute::INT => wanted == [found.i],
        attribute::INTS => wanted == found.ints,
        #[expect(clippy::float_cmp, reason = "the one factor that changes nothing")]
        attribute::FLOAT => wanted == [1] && found.f == 1.0,
        _ => false,
    }
}

/// No sum of the convolution may overflow.
fn check_totals(bias: &[i32], kernel: usize, width: usize) -> Result<(), String> {
    let bytes = int(kernel).saturating_mul(int(width)).saturating_mul(255 * 255);
    let bias = bias.iter().map(|bias| i64::from(*bias).abs()).max().unwrap_or(0);
    if bytes.saturating_add(bias) < TOTAL_MAX {
        Ok(())
    } else {
        Err("the convolution's sums can overflow".to_owned())
    }
}

/// For each place of the kernel and each token what it adds to each filter.
fn taps(
    embedding: &[i32],
    weights: &[i32],
    (filters, width, kernel): (usize, usize, usize),
    (embedding_zero, weight_zero): (i32, i32),
) -> Vec<Vec<i32>> {
    let tap = |at: usize| {
        let mut tap = Vec::with_capacity(embedding.len() / width * filters);
        for vector in embedding.chunks_exact(width) {
            for filter in weights.chunks_exact(width * kernel) {
                let weights = filter.iter().skip(at).step_by(kernel);
                let products = vector.iter().zip(weights);
                tap.push(
                    products.map(|(value, weight)| (value - embedding_zero) * (weight - weight_zero)).sum(),
                );
            }
        }
        tap
    };
    (0..kernel).map(tap).collect()
}

fn transposed(rows: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| rows.iter().skip(column).step_by(columns).copied()).collect()
}

/// The tensors that are stored in a graph.
struct Stored<'a>(&'a GraphProto);

impl Stored<'_> {
    /// Input `at` of a node, with its shape. Only a tensor whose shape and number of bytes agree is one.
    fn tensor(
        &self,
        node: &NodeProto,
        at: usize,
        bytes: usize,
    ) -> Result<(&TensorProto, Vec<usize>), String> {
        let lacks = || format!("input {at} of operator `{}` is not a stored tensor", node.op_type);
        let name = node.input.get(at).ok_or_else(lacks)?;
        let tensor = self.0.initializer.iter().find(|tensor| tensor.name == *name).ok_or_else(lacks)?;
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|size| usize::try_from(*size).ok()).collect();
        let shape = shape.ok_or_else(|| format!("tensor `{name}` has an impossible shape"))?;
        let size = shape.iter().try_fold(bytes, |size, next| size.checked_mul(*next));
        if size == Some(tensor.raw_data.len()) {
            Ok((tensor, shape))
        } else {
            Err(format!("tensor `{name}` does not hold raw values of its shape"))
        }
    }

    fn integers(&self, node: &NodeProto, at: usize) -> Result<(Vec<i32>, Vec<usize>), String> {
        let bytes = self.tensor_kind(node, at).map(|kind| if kind == kind::INT32 { 4 } else { 1 })?;
        let (tensor, shape) = self.tensor(node, at, bytes)?;
        let raw = &tensor.raw_data;
        let values = match tensor.data_type {
            kind::UINT8 => raw.iter().map(|byte| i32::from(*byte)).collect(),
            kind::INT8 => raw.iter().map(|byte| i32::from(byte.cast_signed())).collect(),
            kind::INT32 => raw.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect(),
            _ => return Err(format!("tensor `{}` does not hold integers", tensor.name)),
        };
        Ok((values, shape))
    }

    fn integers_of(&self, node: &NodeProto, at: usize, wanted: &[usize]) -> Result<Vec<i32>, String> {
        let (values, shape) = self.integers(node, at)?;
        shaped(values, &shape, wanted, node)
    }

    /// Finite numbers.
    fn floats(&self, node: &NodeProto, at: usize) -> Result<(Vec<f32>, Vec<usize>), String> {
        let (tensor, shape) = self.tensor(node, at, 4)?;
        let values: Vec<f32> =
            tensor.raw_data.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        if tensor.data_type == kind::FLOAT && values.iter().all(|value| value.is_finite()) {
            Ok((values, shape))
        } else {
            Err(format!("tensor `{}` does not hold finite float32 numbers", tensor.name))
        }
    }

    fn floats_of(&self, node: &NodeProto, at: usize, wanted: &[usize]) -> Result<Vec<f32>, String> {
        let (values, shape) = self.floats(node, at)?;
        shaped(values, &shape, wanted, node)
    }

    fn scalar(&self, node: &NodeProto, at: usize) -> Result<f32, String> {
        only(&self.floats(node, at)?.0, node)
    }

    /// The one number of a list of axes.
    fn axis(&self, node: &NodeProto, at: usize) -> Result<i64, String> {
        let (tensor, _) = self.tensor(node, at, 8)?;
        match (tensor.data_type, tensor.raw_data.as_chunks().0) {
            (kind::INT64, [word]) => Ok(i64::from_le_bytes(*word)),
            _ => Err(format!("tensor `{}` is not one axis", tensor.name)),
        }
    }

    fn scale(&self, node: &NodeProto, at: usize) -> Result<f32, String> {
        let scale = self.scalar(node, at)?;
        if scale > 0.0 { Ok(scale) } else { Err(format!("operator `{}` has scale {scale}", node.op_type)) }
    }

    fn zero(&self, node: &NodeProto, at: usize) -> Result<i32, String> {
        only(&self.integers(node, at)?.0, node)
    }

    /// The least value of an input's type: as zero point it keeps all below zero out, which is the ReLU of the features.
    fn least(&self, node: &NodeProto, at: usize) -> Result<i32, String> {
        Ok(if self.tensor_kind(node, at)? == kind::INT8 { i32::from(i8::MIN) } else { 0 })
    }

    fn tensor_kind(&self, node: &NodeProto, at: usize) -> Result<i32, String> {
        let name = node.input.get(at);
        let tensor = self.0.initializer.iter().find(|tensor| Some(&tensor.name) == name);
        let kind = tensor.map(|tensor| tensor.data_type);
        kind.ok_or_else(|| format!("input {at} of operator `{}` is not a stored tensor", node.op_type))
    }
}

fn shaped<T>(values: Vec<T>, shape: &[usize], wanted: &[usize], node: &NodeProto) -> Result<Vec<T>, String> {
    if shape == wanted {
        Ok(values)
    } else {
        Err(format!("operator `{}` has a tensor {shape:?} for {wanted:?}", node.op_type))
    }
}

fn only<T: Copy>(values: &[T], node: &NodeProto) -> Result<T, String> {
    match values {
        [value] => Ok(*value),
        _ => Err(format!("operator `{}` has {} values for one", node.op_type, values.len())),
    }
}

/// Sizes are small; ONNX has them signed.
fn int(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
