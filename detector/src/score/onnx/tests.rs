//! Tests of the model reader, on a graph of four nodes: an embedding of width 1, its largest value, a sigmoid.

use std::collections::HashSet;

use proptest::prelude::*;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};

use super::*;
use crate::model::{Decision, Golden, Model, TokenizerSpec, Training};
use crate::score::SHIPPED;
use crate::template::Template;

const LENGTH: usize = 4;
/// Rows: padding, unknown, one template.
const TABLE: [f32; 3] = [-4.0, 0.0, 2.0];

fn template() -> Template {
    Template {
        text: "served <blk>".to_owned(),
        logger: "dfs.DataNode".to_owned(),
        level: "INFO".to_owned(),
        key: Some(3),
    }
}

fn metadata() -> Metadata {
    Metadata {
        name: "tiny".to_owned(),
        licence: "Apache-2.0".to_owned(),
        catalogue: vec![template()],
        tokenizer: TokenizerSpec::plain(LENGTH, vec![template().id()]),
        decision: Decision { threshold: 0.5, novel_counts: false, unknown_warn: false, quantiles: vec![] },
        novelty: HashSet::new(),
        training: Training { data: String::new(), seed: 1, sessions: 1, sequences: String::new() },
        scores: serde_json::json!({}),
        golden: vec![Golden { tokens: vec![Token(2), Token(0), Token(0), Token(0)], score: sigmoid(2.0) }],
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn node(kind: &str, inputs: &[&str], output: &str) -> pb::NodeProto {
    pb::NodeProto {
        op_type: kind.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

fn value(name: &str, kind: DataType, dims: &[Option<i64>]) -> pb::ValueInfoProto {
    let dim = dims.iter().map(|dim| pb::tensor_shape_proto::Dimension {
        denotation: String::new(),
        value: Some(match dim {
            Some(size) => dimension::Value::DimValue(*size),
            None => dimension::Value::DimParam("N".to_owned()),
        }),
    });
    let shape = pb::TensorShapeProto { dim: dim.collect() };
    let tensor = TensorType { elem_type: kind as i32, shape: Some(shape) };
    pb::ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(pb::TypeProto { denotation: String::new(), value: Some(Value::TensorType(tensor)) }),
        ..Default::default()
    }
}

fn proto() -> pb::ModelProto {
    let mut reduce = node("ReduceMax", &["embedded"], "largest");
    reduce.attribute = vec![
        pb::AttributeProto { name: "axes".to_owned(), r#type: 7, ints: vec![1], ..Default::default() },
        pb::AttributeProto { name: "keepdims".to_owned(), r#type: 2, i: 0, ..Default::default() },
    ];
    let table = pb::TensorProto {
        name: "embedding".to_owned(),
        dims: vec![3, 1],
        data_type: DataType::Float as i32,
        float_data: TABLE.to_vec(),
        ..Default::default()
    };
    let graph = pb::GraphProto {
        name: "tiny".to_owned(),
        node: vec![
            node("Identity", &["tokens"], "indices"),
            node("Gather", &["embedding", "indices"], "embedded"),
            reduce,
            node("Sigmoid", &["largest"], "score"),
        ],
        initializer: vec![table],
        input: vec![value("tokens", DataType::Int64, &[None, Some(4)])],
        output: vec![value("score", DataType::Float, &[None, Some(1)])],
        ..Default::default()
    };
    let props = metadata().to_props().unwrap().into_iter();
    pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        metadata_props: props
            .map(|(key, value)| pb::StringStringEntryProto { key: key.to_owned(), value })
            .collect(),
        ..Default::default()
    }
}

fn load_with(change: impl FnOnce(&mut pb::ModelProto)) -> Result<(Metadata, TractScorer), ModelError> {
    let mut proto = proto();
    change(&mut proto);
    load(&proto.encode_to_vec())
}

/// What the error says if the graph is changed so.
fn refusal(change: impl FnOnce(&mut pb::GraphProto)) -> String {
    load_with(|proto| change(proto.graph.as_mut().unwrap())).unwrap_err().to_string()
}

fn window(tokens: [u16; LENGTH]) -> Window {
    Window(tokens.map(Token).into())
}

#[test]
fn a_model_scores_alike_alone_and_among_others() {
    let (found, mut scorer) = load(&proto().encode_to_vec()).unwrap();
    assert_eq!(found, metadata());
    let windows = [window([2, 0, 0, 0]), window([1, 0, 0, 0]), window([1, 2, 2, 1])];
    let together = scorer.score(&windows).unwrap();
    assert!((together[1] - 0.5).abs() < 1e-6);
    for (window, score) in windows.iter().zip(&together) {
        assert_eq!(scorer.score(std::slice::from_ref(window)).unwrap(), [*score]);
    }
    let many: Vec<Window> = windows.iter().cycle().take(75).cloned().collect();
    assert_eq!(scorer.score(&many).unwrap(), together.repeat(25));
    let estimates = scorer.estimate(&many).unwrap();
    assert_eq!(estimates.len(), 75);
    for (estimate, score) in estimates.iter().zip(together.repeat(25)) {
        assert!((estimate - score).abs() < 1e-6);
    }
    assert_eq!(scorer.score(&[]).unwrap(), [0f32; 0]);
}

/// Largest difference between table and runtime over `windows` of a model. What is not that near the threshold is on the
/// same side of it.
fn largest_difference(model: &[u8], windows: &[Window]) -> f32 {
    let (metadata, mut runtime) = load(model).unwrap();
    assert!(runtime.has_estimates());
    let (_, mut table) = crate::score::table::load(model).unwrap();
    let scores = runtime.score(windows).unwrap();
    assert_eq!(runtime.estimate(windows).unwrap(), table.score(windows).unwrap());
    let (mut largest, threshold) = (0.0_f32, metadata.decision.threshold);
    for (score, estimate) in scores.iter().zip(table.score(windows).unwrap()) {
        largest = largest.max((score - estimate).abs());
        let is_near = (score - threshold).abs() <= 1e-5;
        assert!(is_near || (*score >= threshold) == (estimate >= threshold), "{score} {estimate}");
    }
    largest
}

/// One of the models that ship, and windows as sessions make them: frequent tokens are few and repeat.
fn windows() -> impl Strategy<Value = (&'static [u8], Vec<Window>)> {
    prop::sample::select(SHIPPED.to_vec()).prop_flat_map(|model| {
        let tokenizer = load(model).unwrap().0.tokenizer;
        let (length, rows) = (tokenizer.length, u16::try_from(tokenizer.rows()).unwrap());
        let token = prop_oneof![1..rows, 4..9_u16, 22..30_u16];
        let content = prop::collection::vec((token, 1..4_usize), 1..40);
        let window = content.prop_map(move |content| {
            let tokens =
                content.into_iter().flat_map(|(token, times)| std::iter::repeat_n(Token(token), times));
            Window(tokens.chain(std::iter::repeat(Token::PAD)).take(length).collect())
        });
        (Just(model), prop::collection::vec(window, 100))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn the_table_gives_the_scores_of_the_runtime((model, windows) in windows()) {
        let difference = largest_difference(model, &windows);
        prop_assert!(difference <= 1e-5, "{difference}");
    }
}

#[test]
fn a_loaded_model_passes_its_golden_inputs_and_another_fails() {
    let bytes = proto().encode_to_vec();
    let model = Model::from_onnx(&bytes).unwrap();
    assert!(model.id.starts_with("tiny-"));
    let (mut metadata, scorer) = load(&bytes).unwrap();
    metadata.golden[0].score = 0.25;
    let error = Model::new(metadata, &bytes, Box::new(scorer)).unwrap_err();
    assert!(matches!(error, ModelError::Golden { index: 0, .. }), "{error}");
}

#[test]
fn a_token_beyond_the_vocabulary_and_a_short_window_are_errors() {
    let (_, mut scorer) = load(&proto().encode_to_vec()).unwrap();
    let error = scorer.score(&[window([2, 0, 0, 0]), window([2, 3, 0, 0])]).unwrap_err();
    assert!(matches!(error, ScoreError::Token { token: 3, rows: 3 }), "{error}");
    let error = scorer.score(&[Window([Token(2)].into())]).unwrap_err();
    assert!(matches!(error, ScoreError::Length { found: 1, expected: LENGTH }), "{error}");
}

#[test]
fn a_graph_that_breaks_the_contract_is_refused() {
    type Break = fn(&mut pb::GraphProto);
    let cases: [(&str, Break); 9] = [
        ("operator `Loop`", |graph| graph.node[0].op_type = "Loop".to_owned()),
        ("operator `Identity`", |graph| graph.node[0].domain = "com.example".to_owned()),
        ("outside of the file", |graph| {
            graph.initializer[0].data_location = Some(DataLocation::External as i32);
        }),
        ("`words` stands where `tokens`", |graph| graph.input[0].name = "words".to_owned()),
        ("not of type int64", |graph| {
            graph.input[0] = value("tokens", DataType::Float, &[None, Some(4)]);
        }),
        ("5 columns", |graph| graph.input[0] = value("tokens", DataType::Int64, &[None, Some(5)])),
        ("exactly one output", |graph| graph.output.clear()),
        ("2 rows", |graph| graph.initializer[0].dims = vec![2, 1]),
        ("no embedding", |graph| graph.node[1].op_type = "Add".to_owned()),
    ];
    for (what, change) in cases {
        let error = refusal(change);
        assert!(error.contains(what), "`{what}` not in: {error}");
    }
}

#[test]
fn a_score_beyond_one_is_refused() {
    let error = refusal(|graph| graph.node[3].op_type = "Identity".to_owned());
    assert!(error.contains("not in 0..=1"), "{error}");
}

#[test]
fn a_cycle_of_nodes_is_an_error() {
    let error = refusal(|graph| graph.node[0].input[0] = "indices".to_owned());
    assert!(error.contains("no embedding"), "{error}");
}

#[test]
fn what_is_not_a_model_is_an_error() {
    for bytes in [&b""[..], b"not a model", &[0xff; 100]] {
        assert!(matches!(load(bytes).unwrap_err(), ModelError::NotOnnx(_)));
    }
    let error = load_with(|proto| proto.metadata_props.clear()).unwrap_err();
    assert!(matches!(error, ModelError::MissingField("blocksift.format")), "{error}");
    let whole = proto().encode_to_vec();
    for cut in 0..whole.len() {
        assert!(load(&whole[..cut]).is_err(), "cut at {cut}");
    }
}
