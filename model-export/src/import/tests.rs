//! Tests with float graphs such as other programs export.

use std::fmt::Write as _;

use clap::Parser;
use tempfile::TempDir;
use tract_onnx::pb::OperatorSetIdProto;

use super::*;
use crate::graph::build::Builder;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

const LENGTH: usize = 24;
const ROWS: usize = 35;
const WIDTH: usize = 4;

/// Pseudo-random weights.
fn weights(size: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    (0..size).map(|_| next()).collect()
}

/// One or two convolutions, as PyTorch writes them: padded, with and without ReLU, and pooled by reductions.
fn float(convolutions: usize) -> Vec<u8> {
    let mut graph = Builder::default();
    graph.floats("embedding", &[ROWS, WIDTH], &weights(ROWS * WIDTH, 1));
    graph.floats("conv1", &[6, WIDTH, 3], &weights(6 * WIDTH * 3, 2));
    graph.floats("bias1", &[6], &weights(6, 3));
    graph.node("Gather", &["embedding", "tokens"], "rows", &[]);
    graph.list("Transpose", &["rows"], "channels", ("perm", &[0, 2, 1]));
    graph.list("Conv", &["channels", "conv1", "bias1"], "first", ("pads", &[1, 1]));
    graph.node("Relu", &["first"], "hidden", &[]);
    let last = if convolutions > 1 {
        graph.floats("conv2", &[6, 6, 2], &weights(72, 4));
        graph.list("Conv", &["hidden", "conv2"], "second", ("kernel_shape", &[2]));
        "second"
    } else {
        "hidden"
    };
    graph.list("ReduceMax", &[last], "largest", ("axes", &[2]));
    graph.list("ReduceMean", &[last], "mean", ("axes", &[2]));
    graph.node("Concat", &["largest", "mean"], "pooled", &[("axis", 1)]);
    graph.node("Flatten", &["pooled"], "flat", &[("axis", 1)]);
    graph.floats("out", &[1, 12], &weights(12, 5).iter().map(|weight| weight * 8.0).collect::<Vec<_>>());
    graph.floats("out_bias", &[1], &[-0.2]);
    graph.node("Gemm", &["flat", "out", "out_bias"], "logit", &[("transB", 1)]);
    graph.node("Sigmoid", &["logit"], "score", &[]);
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph.finish(LENGTH)),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

fn quantize(bytes: &[u8], more: &[&str]) -> Result<Model> {
    let folder = TempDir::new()?;
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut sessions = "label,events\n".to_owned();
    for at in 0..60 {
        let events: Vec<String> =
            (0..3 + at % 17).map(|place| (1 + (at * 7 + place * 5) % 33).to_string()).collect();
        writeln!(sessions, "{},{}", u8::from(at % 5 == 0), events.join(" "))?;
    }
    fs::write(path("sessions.csv"), sessions)?;
    fs::write(path("float.onnx"), bytes)?;
    let (input, from, out) = (path("float.onnx"), path("sessions.csv"), path("out.onnx"));
    let given = ["quantize", &input, "--sessions", &from, "-o", &out];
    run(&Cli::try_parse_from(given.iter().chain(more))?.args)?;
    Ok(Model::from_onnx(&fs::read(out)?)?)
}

#[test]
fn graphs_of_other_programs_become_integers_and_keep_their_scores() {
    for convolutions in [1, 2] {
        let bytes = float(convolutions);
        let mut int8 = quantize(&bytes, &[]).unwrap();
        let mut float = quantize(&bytes, &["--float"]).unwrap();
        assert_eq!(int8.tokenizer.length(), LENGTH);
        let mut apart = 0.0f32;
        for at in 0..40u16 {
            let tokens: Vec<_> = (0..at % 24)
                .map(|place| blocksift_detector::token::Token(1 + (at * 3 + place * 11) % 34))
                .collect();
            let window = int8.tokenizer.window(&tokens);
            let scores =
                (int8.score(std::slice::from_ref(&window)).unwrap(), float.score(&[window]).unwrap());
            apart = apart.max((scores.0[0] - scores.1[0]).abs());
        }
        assert!(apart > 0.0 && apart < 0.02, "{convolutions} convolutions: {apart}");
        assert_eq!(int8.metadata.name, "own");
    }
}

#[test]
fn a_graph_without_a_convolution_or_without_tokens_is_told() {
    let mut graph = Builder::default();
    graph.floats("embedding", &[ROWS, 1], &weights(ROWS, 1));
    graph.integers("over", &[1], &[1]);
    graph.node("Gather", &["embedding", "tokens"], "rows", &[]);
    graph.node("ReduceSum", &["rows", "over"], "sum", &[("keepdims", 0)]);
    graph.node("Sigmoid", &["sum"], "score", &[]);
    let mut model = ModelProto { ir_version: 8, graph: Some(graph.finish(LENGTH)), ..ModelProto::default() };
    model.opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    let error = format!("{:#}", quantize(&model.encode_to_vec(), &[]).unwrap_err());
    assert!(error.contains("no convolution"), "{error}");
    assert!(quantize(&model.encode_to_vec(), &["--float"]).is_ok());
    model.graph.as_mut().unwrap().input[0].name = "ids".to_owned();
    let error = format!("{:#}", quantize(&model.encode_to_vec(), &[]).unwrap_err());
    assert!(error.contains("no input `tokens`"), "{error}");
}
