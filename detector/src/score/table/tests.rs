//! Tests of the table: against a plain evaluation of the graph, on the shipped model, and of what is refused.

use proptest::prelude::*;

use super::*;
use crate::model::Model;
use crate::score::SHIPPED;
use crate::score::proto::{
    AttributeProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto, attribute, kind,
};

/// A net as the file has it.
#[derive(Clone, Debug)]
struct Net {
    /// `[rows][width]`
    embedding: Vec<Vec<u8>>,
    embedding_zero: u8,
    /// `[filters][width][kernel]`
    conv: Vec<Vec<Vec<i8>>>,
    bias: Vec<i32>,
    /// Of the embedding, the convolution and the features.
    scales: [f32; 3],
    /// `[hidden][2 * filters]`
    dense: Vec<Vec<f32>>,
    dense_bias: Vec<f32>,
    out: Vec<f32>,
    out_bias: f32,
    length: usize,
}

fn net() -> impl Strategy<Value = Net> {
    let sizes = (2..6_usize, 1..4_usize, 1..5_usize, 1..4_usize, 1..4_usize, 4..9_usize);
    sizes.prop_flat_map(|(rows, width, filters, kernel, hidden, length)| {
        let weight = -2.0..2.0_f32;
        let weights = |len: usize| prop::collection::vec(weight.clone(), len);
        let conv = prop::collection::vec(any::<i8>(), kernel);
        let conv = prop::collection::vec(prop::collection::vec(conv, width), filters);
        let embedding = prop::collection::vec(prop::collection::vec(any::<u8>(), width), rows);
        let integers = (embedding, any::<u8>(), conv, prop::collection::vec(-9_000..9_000_i32, filters));
        let dense = prop::collection::vec(weights(2 * filters), hidden);
        let scales = [0.001..0.1_f32, 0.001..0.1_f32, 0.002..0.02_f32];
        let floats = (scales, dense, weights(hidden), weights(hidden), weight);
        (integers, floats, Just(length)).prop_map(|(integers, floats, length)| Net {
            embedding: integers.0,
            embedding_zero: integers.1,
            conv: integers.2,
            bias: integers.3,
            scales: floats.0,
            dense: floats.1,
            dense_bias: floats.2,
            out: floats.3,
            out_bias: floats.4,
            length,
        })
    })
}

impl Net {
    /// The graph run operator by operator, as the ONNX specification defines them, in float64.
    fn run(&self, tokens: &[u16]) -> f64 {
        let [embedding, conv, step] = self.scales;
        let multiplier = f64::from(embedding * conv / step);
        let kernel = self.conv[0][0].len();
        let features: Vec<Vec<f64>> = (self.conv.iter().zip(&self.bias))
            .map(|(filter, bias)| {
                let places = tokens.windows(kernel).map(|under| {
                    let mut total = i64::from(*bias);
                    for (at, token) in under.iter().enumerate() {
                        let vector = &self.embedding[usize::from(*token)];
                        for (value, weights) in vector.iter().zip(filter) {
                            let value = i64::from(*value) - i64::from(self.embedding_zero);
                            total += value * i64::from(weights[at]);
                        }
                    }
                    let scaled = i32::try_from(total).map(f64::from).unwrap() * multiplier;
                    scaled.round_ties_even().clamp(0.0, 255.0) * f64::from(step)
                });
                places.collect()
            })
            .collect();
        let largest = features.iter().map(|places| places.iter().copied().fold(0.0, f64::max));
        let sum = features.iter().map(|places| places.iter().sum());
        let pooled: Vec<f64> = largest.chain(sum).collect();
        let mut logit = f64::from(self.out_bias);
        for ((weights, bias), out) in self.dense.iter().zip(&self.dense_bias).zip(&self.out) {
            let dot: f64 =
                weights.iter().zip(&pooled).map(|(weight, input)| f64::from(*weight) * input).sum();
            logit += (dot + f64::from(*bias)).max(0.0) * f64::from(*out);
        }
        1.0 / (1.0 + (-logit).exp())
    }

    fn graph(&self) -> GraphProto {
        let (filters, width, kernel) = (self.conv.len(), self.conv[0].len(), self.conv[0][0].len());
        let places = self.length + 1 - kernel;
        let [embedding, conv, step] = self.scales;
        let conv_bytes = self.conv.iter().flatten().flatten().map(|weight| weight.cast_unsigned()).collect();
        let bias = self.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let dense: Vec<f32> = self.dense.concat();
        let qlinear = ["vectors", "e_scale", "e_zero", "conv", "c_scale", "c_zero", "step", "zero", "bias"];
        GraphProto {
            node: vec![
                node("Gather", &["embedding", "tokens"], "rows", &[]),
                node("Transpose", &["rows"], "vectors", &[("perm", &[0, 2, 1])]),
                node("QLinearConv", &qlinear, "int8", &[("kernel_shape", &[kernel])]),
                node("DequantizeLinear", &["int8", "step", "zero"], "features", &[]),
                node("MaxPool", &["features"], "largest", &[("kernel_shape", &[places])]),
                node("ReduceSum", &["features", "places"], "sum", &[("keepdims", &[1])]),
                node("Concat", &["largest", "sum"], "pooled", &[("axis", &[1])]),
                node("Flatten", &["pooled"], "flat", &[]),
                node("Relu", &["flat"], "inputs", &[]),
                node("Gemm", &["inputs", "dense", "dense_bias"], "hidden_in", &[("transB", &[1])]),
                node("Relu", &["hidden_in"], "hidden", &[]),
                node("Gemm", &["hidden", "out", "out_bias"], "logit", &[("transB", &[1])]),
                node("Sigmoid", &["logit"], "score", &[]),
            ],
            initializer: vec![
                tensor("embedding", kind::UINT8, &[self.embedding.len(), width], self.embedding.concat()),
                floats("e_scale", &[], &[embedding]),
                tensor("e_zero", kind::UINT8, &[], vec![self.embedding_zero]),
                tensor("conv", kind::INT8, &[filters, width, kernel], conv_bytes),
                floats("c_scale", &[], &[conv]),
                tensor("c_zero", kind::INT8, &[], vec![0]),
                tensor("bias", kind::INT32, &[filters], bias),
                floats("step", &[], &[step]),
                tensor("zero", kind::INT8, &[], vec![0x80]),
                tensor("places", kind::INT64, &[1], 2_i64.to_le_bytes().to_vec()),
                floats("dense", &[self.dense.len(), 2 * filters], &dense),
                floats("dense_bias", &[self.dense.len()], &self.dense_bias),
                floats("out", &[1, self.out.len()], &self.out),
                floats("out_bias", &[1], &[self.out_bias]),
            ],
            output: vec![ValueInfoProto { name: "score".to_owned() }],
        }
    }
}

fn node(kind: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[usize])]) -> NodeProto {
    let attribute = attributes.iter().map(|(name, values)| AttributeProto {
        name: (*name).to_owned(),
        r#type: if matches!(kind, "Gemm" | "Concat" | "ReduceSum") {
            attribute::INT
        } else {
            attribute::INTS
        },
        i: i64::try_from(values[0]).unwrap(),
        ints: values.iter().map(|value| i64::try_from(*value).unwrap()).collect(),
        f: 0.0,
    });
    NodeProto {
        op_type: kind.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attribute.collect(),
        domain: String::new(),
    }
}

fn tensor(name: &str, kind: i32, dims: &[usize], raw_data: Vec<u8>) -> TensorProto {
    let dims = dims.iter().map(|size| i64::try_from(*size).unwrap()).collect();
    TensorProto { name: name.to_owned(), data_type: kind, dims, raw_data }
}

fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    tensor(name, kind::FLOAT, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn window(tokens: &[u16]) -> Window {
    Window(tokens.iter().copied().map(Token).collect())
}

proptest! {
    /// Padding may also stand between other tokens: nothing but the tokenizer forbids it.
    #[test]
    fn a_table_scores_as_the_graph_does(
        (net, tokens) in net().prop_flat_map(|net| {
            let token = 0..u16::try_from(net.embedding.len()).unwrap();
            let tokens = prop::collection::vec(prop_oneof![Just(0_u16), token], net.length);
            (Just(net), prop::collection::vec(tokens, 4))
        })
    ) {
        let mut table = Table::new(&net.graph(), net.length, net.embedding.len()).unwrap();
        let seen = Places::new(table.folded.taps.len(), table.folded.filters);
        let mut remembering = Table { seen: Some(seen), ..table.clone() };
        for tokens in tokens {
            let score = table.score(&window(&tokens));
            let (found, expected) = (f64::from(score), net.run(&tokens));
            prop_assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            // From places that are remembered it is the same in every bit.
            prop_assert_eq!(remembering.score(&window(&tokens)).to_bits(), score.to_bits());
        }
    }

    #[test]
    fn bytes_that_are_no_model_are_an_error(
        file in prop::sample::select(SHIPPED.to_vec()), at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..40)
    ) {
        let mut file = file.to_vec();
        let at = at.index(file.len());
        file.splice(at..(at + bytes.len()).min(file.len()), bytes);
        if let Ok(mut model) = Model::from_onnx_table(&file) {
            let padding = window(&vec![0; model.metadata.tokenizer.length]);
            prop_assert!(model.score(&[padding]).is_ok());
        }
    }
}

fn small() -> Net {
    Net {
        embedding: vec![vec![128, 128], vec![130, 100], vec![90, 255]],
        embedding_zero: 128,
        conv: vec![vec![vec![100, -50], vec![3, 127]], vec![vec![-128, 5], vec![60, 70]]],
        bias: vec![40, -7],
        scales: [0.01, 0.01, 0.02],
        dense: vec![vec![0.5, -1.0, 2.0, 0.25]],
        dense_bias: vec![0.125],
        out: vec![1.5],
        out_bias: -0.75,
        length: 4,
    }
}

/// Why the graph is refused once it is changed so.
fn refusal(change: impl FnOnce(&mut GraphProto)) -> String {
    let mut graph = small().graph();
    change(&mut graph);
    Table::new(&graph, 4, 3).unwrap_err()
}

#[test]
fn a_graph_of_another_form_is_refused() {
    type Break = fn(&mut GraphProto);
    let cases: [(&str, Break); 18] = [
        ("12 nodes", |graph| drop(graph.node.pop())),
        ("operator `Tanh` stands where `Sigmoid`", |graph| graph.node[12].op_type = "Tanh".to_owned()),
        ("operator `Gemm` stands", |graph| graph.node[9].domain = "com.example".to_owned()),
        ("not one chain", |graph| graph.node[5].input[0] = "largest".to_owned()),
        ("does not lead from `tokens`", |graph| graph.node[0].input[1] = "words".to_owned()),
        ("does not lead from `tokens`", |graph| graph.output.clear()),
        ("`MaxPool` has another `kernel_shape`", |graph| graph.node[4].attribute[0].ints = vec![2]),
        ("`Gemm` has no `transB`", |graph| graph.node[9].attribute.clear()),
        ("`Flatten` has another `auto_pad`", |graph| {
            graph.node[7] = node("Flatten", &["pooled"], "flat", &[("auto_pad", &[1])]);
        }),
        ("embedding has 4 rows", |graph| {
            graph.initializer[0] = tensor("embedding", kind::UINT8, &[4, 2], vec![0; 8]);
        }),
        ("for vectors of 1", |graph| {
            graph.initializer[0] = tensor("embedding", kind::UINT8, &[3, 1], vec![0; 3]);
        }),
        ("does not hold raw values", |graph| graph.initializer[3].raw_data.truncate(7)),
        ("has scale -1", |graph| graph.initializer[7] = floats("step", &[], &[-1.0])),
        ("zero point", |graph| graph.initializer[8].raw_data = vec![1]),
        ("sums can overflow", |graph| graph.initializer[6].raw_data = vec![0x7f; 8]),
        ("not over the places", |graph| graph.initializer[9].raw_data[0] = 1),
        ("`ReduceSum` has another `keepdims`", |graph| graph.node[5].attribute[0].i = 0),
        ("finite", |graph| graph.initializer[13] = floats("out_bias", &[1], &[f32::NAN])),
    ];
    assert!(Table::new(&small().graph(), 4, 3).is_ok());
    for (what, change) in cases {
        let error = refusal(change);
        assert!(error.contains(what), "`{what}` not in: {error}");
    }
    assert!(Table::new(&small().graph(), 1, 3).unwrap_err().contains("shorter than the kernel"));
}

#[test]
fn every_single_missing_part_is_refused() {
    for at in 0..small().graph().initializer.len() {
        let error = refusal(|graph| drop(graph.initializer.remove(at)));
        assert!(error.contains("is not a stored tensor"), "{error}");
    }
    for at in 0..13 {
        let error = refusal(|graph| graph.node[at].output.clear());
        assert!(error.contains("does not have one output"), "{error}");
    }
}

#[test]
fn the_shipped_models_are_tables_with_their_golden_scores() {
    for file in SHIPPED {
        let mut model = Model::from_onnx_table(file).unwrap();
        assert!(!model.scorer.has_estimates());
        let golden = model.metadata.golden.clone();
        for golden in &golden {
            let found = model.score(&[Window(golden.tokens.clone().into())]).unwrap()[0];
            assert!((found - golden.score).abs() < 1e-5, "{found} {}", golden.score);
        }
    }
}

/// In float32 some products land on the other side of a half.
#[test]
fn steps_are_rounded_as_integers_are() {
    SHIPPED.into_iter().for_each(rounds_as_integers_are);
}

fn rounds_as_integers_are(file: &[u8]) {
    let proto = ModelProto::decode(file).unwrap();
    let scorer = load(file).unwrap().1;
    let table = Table::new(&proto.graph.unwrap(), scorer.length, scorer.rows).unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "it is a float32")]
    let bits = (table.folded.multiplier as f32).to_bits();
    let (mantissa, shift) = (i64::from(bits & 0x7f_ffff | 0x80_0000), 150 - (bits >> 23));
    for total in -100..30_000_i32 {
        let product = i64::from(total.max(0)) * mantissa;
        let (whole, rest) = (product >> shift, product & ((1 << shift) - 1));
        let up = rest * 2 > 1 << shift || (rest * 2 == 1 << shift && whole % 2 == 1);
        let expected = f64::from(i32::try_from(whole + i64::from(up)).unwrap().min(255));
        let (mut largest, mut sum) = ([0.0], [0.0]);
        table.folded.gather(&[total], 3.0, &mut largest, &mut sum);
        assert_eq!((largest, sum), ([expected], [3.0 * expected]), "{total}");
    }
}

/// Pins every step of the arithmetic: other bits on another machine mean that two nodes can disagree.
#[test]
fn scores_are_the_same_bits_on_every_machine() {
    assert_eq!(SHIPPED.map(hash_of_scores), [0xc61a_45cb_336f_4ed8, 0x269f_f5ef_8188_60b0]);
}

fn hash_of_scores(file: &[u8]) -> u64 {
    let mut model = Model::from_onnx_table(file).unwrap();
    let rows = u16::try_from(model.metadata.tokenizer.rows()).unwrap();
    let length = model.metadata.tokenizer.length;
    let mut hash = 0_u64;
    let mut next = 1_u32;
    for _ in 0..2_000 {
        let mut tokens = vec![0_u16; length];
        for token in tokens.iter_mut().take(1 + (next >> 8) as usize % length) {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *token = u16::try_from(next >> 16).unwrap() % rows;
        }
        let score = model.score(&[window(&tokens)]).unwrap()[0];
        hash = hash.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(score.to_bits());
    }
    hash
}

#[test]
fn windows_of_another_model_are_errors() {
    let mut model = Model::from_onnx_table(SHIPPED[0]).unwrap();
    let error = model.score(&[window(&[2])]).unwrap_err();
    let length = model.metadata.tokenizer.length;
    assert!(matches!(error, ScoreError::Length { found: 1, expected } if expected == length), "{error}");
    let error = model.score(&[window(&vec![9_999; length])]).unwrap_err();
    assert!(matches!(error, ScoreError::Token { token: 9_999, .. }), "{error}");
}

#[test]
fn what_is_not_a_table_says_so() {
    for bytes in [&b""[..], b"not a model", &[0xff; 100]] {
        assert!(matches!(load(bytes).unwrap_err(), ModelError::NotOnnx(_)));
    }
    let mut proto = ModelProto::decode(SHIPPED[0]).unwrap();
    proto.graph.as_mut().unwrap().node[9].op_type = "Elu".to_owned();
    let error = load(&proto.encode_to_vec()).unwrap_err().to_string();
    assert!(error.contains("cannot be folded") && error.contains("`Elu`"), "{error}");
    proto.metadata_props = vec![StringStringEntryProto { key: "a".to_owned(), value: String::new() }];
    let error = load(&proto.encode_to_vec()).unwrap_err();
    assert!(matches!(error, ModelError::MissingField("blocksift.format")), "{error}");
}
