//! Reads a model file and scores windows through tract. The graph is checked before tract sees it: operators, external
//! data, names, types and shapes of input and output, rows of the embedding. A token is checked before each run, since
//! one beyond the embedding panics inside tract's Gather.
//!
//! A score is always the runtime's, one window at a time, so that it cannot depend on its batch. Estimates come from
//! [`Table`] where the graph allows it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use prost::Message;
use tract_onnx::pb::{self, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;

use super::table::Table;
use super::{Score, ScoreError, check_window};
use crate::model::{Metadata, ModelError};
use crate::token::{Token, Window};

/// Name and type of the input.
const INPUT: (&str, DataType) = ("tokens", DataType::Int64);
/// Name and type of the output.
const OUTPUT: (&str, DataType) = ("score", DataType::Float);
/// Operators that a graph may hold: layers and plumbing of a CNN, none that loops, draws at random or holds a graph.
#[rustfmt::skip]
const OPERATORS: &[&str] = &[
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv",
    "DequantizeLinear", "Div", "Elu", "Equal", "Expand", "Flatten", "Gather", "Gemm", "GlobalAveragePool",
    "GlobalMaxPool", "Greater", "HardSigmoid", "Identity", "LeakyRelu", "Less", "MatMul", "Max", "MaxPool", "Min", "Mul",
    "Not", "Pad", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "ReduceMax", "ReduceMean", "ReduceSum", "Relu",
    "Reshape", "Shape", "Sigmoid", "Slice", "Softmax", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
];

/// Largest difference between a score and its estimate on a golden input. Both round the integers alike, so it is one of
/// the order of sums in float32.
const ESTIMATE_TOLERANCE: f32 = 1e-4;

type Plan = Arc<TypedRunnableModel>;

/// Scores windows with tract.
pub struct TractScorer {
    plan: Plan,
    /// Of the plan, with its buffers; made anew after a run that failed.
    state: Option<TypedSimpleState>,
    /// `None` for a graph that cannot be folded.
    table: Option<Table>,
    length: usize,
    rows: usize,
}

/// Reads a model file: its metadata, and its graph made ready to run. The golden inputs are left to
/// [`Model::new`](crate::Model::new).
///
/// # Errors
/// [`ModelError`] saying what about the file is wrong.
pub fn load(bytes: &[u8]) -> Result<(Metadata, TractScorer), ModelError> {
    let proto = pb::ModelProto::decode(bytes).map_err(|error| ModelError::NotOnnx(error.to_string()))?;
    let graph = proto.graph.as_ref().ok_or_else(|| ModelError::NotOnnx("it has no graph".to_owned()))?;
    let props: BTreeMap<String, String> =
        proto.metadata_props.iter().map(|prop| (prop.key.clone(), prop.value.clone())).collect();
    let metadata = Metadata::from_props(&props)?;
    let length = metadata.tokenizer.length;
    let rows = metadata.tokenizer.rows();
    check_operators(graph)?;
    check_ports(graph, length)?;
    check_embedding(graph, rows)?;
    prefer_small_kernels();
    let plan = guarded(|| plan(&proto, length)).map_err(contract)?;
    let mut scorer = TractScorer { plan, state: None, table: None, length, rows };
    // Also warms the plan.
    let padding = Window(vec![Token::PAD; length].into_boxed_slice());
    scorer.score(&[padding]).map_err(|error| contract(error.to_string()))?;
    let table = Table::of_file(bytes, length, rows);
    scorer.table = table.filter(|table| agrees(table.clone(), &mut scorer, &metadata));
    Ok((metadata, scorer))
}

impl Score for TractScorer {
    fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        for window in windows {
            check_window(window, self.length, self.rows)?;
        }
        guarded(|| {
            let mut state = match self.state.take() {
                Some(state) => state,
                None => self.plan.spawn()?,
            };
            let scores = windows.iter().map(|window| run(&mut state, window)).collect::<TractResult<_>>()?;
            self.state = Some(state);
            Ok(scores)
        })
        .map_err(ScoreError::Runtime)
    }

    fn fork(&self) -> Box<dyn Score> {
        Box::new(Self {
            plan: Arc::clone(&self.plan),
            state: None,
            table: self.table.clone(),
            length: self.length,
            rows: self.rows,
        })
    }

    fn estimate(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        let Some(table) = &mut self.table else { return self.score(windows) };
        for window in windows {
            check_window(window, self.length, self.rows)?;
        }
        Ok(windows.iter().map(|window| table.score(window)).collect())
    }

    fn has_estimates(&self) -> bool {
        self.table.is_some()
    }
}

impl std::fmt::Debug for TractScorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TractScorer")
            .field("length", &self.length)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Settles which of tract's integer kernels run, as measured on these small products: AMX made them three times slower
/// than AVX-512 VNNI, and so did its narrow kernel; finding out whether the wide one fits takes longer than loading a
/// model. The results are the same. A choice made by somebody else in this process, or in its environment, stands.
fn prefer_small_kernels() {
    #[cfg(target_arch = "x86_64")]
    {
        use tract_onnx::tract_core::tract_linalg::knobs::{TRACT_AVX512_FMA_UNITS, TRACT_CPU_ISA};

        if TRACT_CPU_ISA.get().is_none() {
            TRACT_CPU_ISA.set(Some("-amx-int8".to_owned()));
        }
        if TRACT_AVX512_FMA_UNITS.get().is_none() {
            TRACT_AVX512_FMA_UNITS.set(Some("2".to_owned()));
        }
    }
}

/// Whether estimates are the scores on the golden inputs.
fn agrees(mut table: Table, scorer: &mut TractScorer, metadata: &Metadata) -> bool {
    metadata.golden.iter().all(|golden| {
        let window = Window(golden.tokens.clone().into_boxed_slice());
        let score = scorer.score(std::slice::from_ref(&window));
        let score = score.ok().and_then(|scores| scores.first().copied());
        score.is_some_and(|score| (score - table.score(&window)).abs() <= ESTIMATE_TOLERANCE)
    })
}

fn run(state: &mut TypedSimpleState, window: &Window) -> TractResult<f32> {
    let tokens: Vec<i64> = window.0.iter().map(|token| i64::from(token.0)).collect();
    let input = Tensor::from_shape(&[1, tokens.len()], &tokens)?;
    let output = state.run(tvec!(input.into()))?;
    let score = match output.first() {
        Some(output) if output.len() == 1 => output.cast_to_scalar::<f32>()?,
        _ => bail!("`score` of one window is not one number"),
    };
    if (0.0..=1.0).contains(&score) { Ok(score) } else { bail!("score {score} is not in 0..=1") }
}

fn plan(proto: &pb::ModelProto, length: usize) -> TractResult<Plan> {
    // Shapes written by a quantizer may name a batch that this plan fixes.
    onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true)
        .model_for_proto_model(proto)?
        .with_input_fact(0, i64::fact([1, length]).into())?
        .into_optimized()?
        .into_runnable()
}

/// Runs tract with its panics turned into errors: a file must not be able to end the process.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| format!("{error:#}")),
        Err(_) => Err("the runtime panicked".to_owned()),
    }
}

fn check_operators(graph: &pb::GraphProto) -> Result<(), ModelError> {
    for node in &graph.node {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") || !OPERATORS.contains(&node.op_type.as_str()) {
            return Err(contract(format!("operator `{}` is not allowed", node.op_type)));
        }
        if node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return Err(contract(format!("operator `{}` holds a graph", node.op_type)));
        }
    }
    let constants = graph.node.iter().flat_map(|node| &node.attribute);
    let constants = constants.flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
    // tract would open the file that the tensor names.
    let external = |tensor: &pb::TensorProto| {
        tensor.data_location.is_some_and(|location| location != 0) || !tensor.external_data.is_empty()
    };
    match graph.initializer.iter().chain(constants).find(|tensor| external(tensor)) {
        Some(tensor) => Err(contract(format!("tensor `{}` lies outside of the file", tensor.name))),
        None => Ok(()),
    }
}

fn check_ports(graph: &pb::GraphProto, length: usize) -> Result<(), ModelError> {
    let stored = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let mut inputs = graph.input.iter().filter(|input| !stored(&input.name));
    let shape = match (inputs.next(), inputs.next()) {
        (Some(input), None) => port(input, INPUT)?,
        _ => return Err(contract("it does not have exactly one input")),
    };
    let columns = match shape.dim.as_slice() {
        [_, columns] => columns.value.as_ref(),
        _ => return Err(contract("`tokens` is not [N, L]")),
    };
    match columns {
        Some(dimension::Value::DimValue(columns)) if usize::try_from(*columns) != Ok(length) => {
            Err(contract(format!("`tokens` has {columns} columns, the tokenizer's length is {length}")))
        }
        _ => match graph.output.as_slice() {
            [output] => port(output, OUTPUT).map(drop),
            _ => Err(contract("it does not have exactly one output")),
        },
    }
}

fn port(
    value: &pb::ValueInfoProto,
    (name, kind): (&str, DataType),
) -> Result<pb::TensorShapeProto, ModelError> {
    if value.name != name {
        return Err(contract(format!("`{}` stands where `{name}` must", value.name)));
    }
    let tensor = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    match tensor {
        Some(type_proto::Value::TensorType(tensor)) if tensor.elem_type == kind as i32 => {
            Ok(tensor.shape.clone().unwrap_or_default())
        }
        _ => Err(contract(format!("`{name}` is not of type {}", kind.as_str_name().to_lowercase()))),
    }
}

/// The embedding is the table that a Gather indexes with `tokens`; more or fewer rows than the tokenizer has tokens
/// mean that graph and vocabulary do not belong together.
fn check_embedding(graph: &pb::GraphProto, rows: usize) -> Result<(), ModelError> {
    let is_tokens = |name: &str| source(graph, name, &["Cast", "Identity"]) == INPUT.0;
    let table = graph.node.iter().find_map(|node| match (node.op_type.as_str(), node.input.as_slice()) {
        ("Gather", [table, indices]) if is_tokens(indices) => Some(table),
        _ => None,
    });
    let table = table.ok_or_else(|| contract("no embedding: no Gather indexed by `tokens`"))?;
    let name = source(graph, table, &["DequantizeLinear", "Identity", "Cast"]);
    let tensor = graph.initializer.iter().find(|tensor| tensor.name == name);
    let found = tensor.and_then(|tensor| tensor.dims.first()).copied();
    match found {
        Some(found) if usize::try_from(found) == Ok(rows) => Ok(()),
        Some(found) => {
            Err(contract(format!("embedding has {found} rows, the tokenizer makes {rows} tokens")))
        }
        None => Err(contract("the embedding is not a stored table")),
    }
}

/// The value that `name` stands for, looked up through nodes of the kinds `through`.
fn source<'a>(graph: &'a pb::GraphProto, name: &'a str, through: &[&str]) -> &'a str {
    let mut name = name;
    // Each step goes to an earlier value of a valid graph; the bound stops at a cycle of an invalid one.
    for _ in 0..graph.node.len() {
        let node = graph.node.iter().find(|node| node.output.iter().any(|output| output == name));
        match node.map(|node| (node.op_type.as_str(), node.input.first())) {
            Some((kind, Some(input))) if through.contains(&kind) => name = input,
            _ => break,
        }
    }
    name
}

fn contract(what: impl Into<String>) -> ModelError {
    ModelError::Contract(what.into())
}

#[cfg(test)]
mod tests;
