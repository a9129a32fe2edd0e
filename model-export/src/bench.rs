//! `model-export bench`: microseconds a window, one window at a time, as the agent scores it when its cache is cold.

use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use blocksift_detector::Model;
use blocksift_detector::token::{Token, Window};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb;
use tract_onnx::prelude::*;

/// Windows that are scored in turn.
const WINDOWS: usize = 1_000;
/// Windows that are timed together: half a millisecond, so that on a machine with other work some are not interrupted.
const SLICE: usize = 50;
/// Events of a window, as in the median session.
const EVENTS: std::ops::Range<usize> = 12..32;
/// What onnxruntime is asked to do with the same windows.
const SCRIPT: &str = include_str!("bench/onnxruntime.py");

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model files (.onnx)
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Rounds over 1,000 windows, timed 50 at a time; the fastest and the middle fifty are told
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Python that has onnxruntime, to be measured in the same run
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Also tell what the graph costs up to each of its nodes
    #[arg(long)]
    nodes: bool,
}

/// Runs the command.
///
/// # Errors
/// If a model cannot be used, or onnxruntime is asked for and cannot be run.
pub(crate) fn run(args: &Args) -> Result<()> {
    for path in &args.models {
        let (mut model, bytes) = crate::inspect::model(path)?;
        let windows = windows(&model);
        let mut tract = Vec::new();
        let mut estimates = Vec::new();
        let mut measure = |rounds: u32| -> Result<()> {
            for _ in 0..rounds {
                round(&windows, &mut tract, |window| {
                    Ok(model.score(std::slice::from_ref(window)).map(drop)?)
                })?;
                round(&windows, &mut estimates, |window| {
                    Ok(model.estimate(std::slice::from_ref(window)).map(drop)?)
                })?;
            }
            Ok(())
        };
        // Before and after, so that a change of the machine's speed shows on both sides.
        measure(args.rounds.div_ceil(2))?;
        let other = args.python.as_deref().map(|python| onnxruntime(python, path, &windows, args.rounds));
        let other = other.transpose()?;
        measure(args.rounds / 2)?;
        let mut lines =
            vec![format!("model {}, {} bytes, {WINDOWS} windows one by one", model.id, bytes.len())];
        lines.push(format!("  {:<22} {}", "tract", told(tract)));
        lines.push(format!("  {:<22} {}", "estimate (folded)", told(estimates)));
        if let Some((version, fastest, middle)) = other {
            let name = format!("onnxruntime {version}");
            lines.push(format!("  {name:<22} {fastest:6.2} us fastest, {middle:6.2} us middle"));
        }
        if args.nodes {
            lines.extend(by_node(&bytes, &windows, args.rounds)?);
        }
        crate::print(&lines.join("\n"));
    }
    Ok(())
}

/// Windows drawn at random, always the same for one model.
fn windows(model: &Model) -> Vec<Window> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let rows = u16::try_from(model.tokenizer.rows()).unwrap_or(u16::MAX);
    let mut draw = || {
        let events = rng.random_range(EVENTS);
        let tokens: Vec<Token> = (0..events).map(|_| Token(rng.random_range(1..rows))).collect();
        model.tokenizer.window(&tokens)
    };
    (0..WINDOWS).map(|_| draw()).collect()
}

/// Microseconds a window, for each slice of the windows.
fn round<T>(windows: &[T], times: &mut Vec<f64>, mut score: impl FnMut(&T) -> Result<()>) -> Result<()> {
    for slice in windows.chunks(SLICE) {
        let start = Instant::now();
        for window in slice {
            score(black_box(window))?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e6 / slice.len() as f64);
    }
    Ok(())
}

fn told(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
    format!("{:6.2} us fastest, {:6.2} us middle", at(0), at(times.len() / 2))
}

/// Version of onnxruntime, its fastest and its middle slice.
fn onnxruntime(python: &Path, model: &Path, windows: &[Window], rounds: u32) -> Result<(String, f64, f64)> {
    let failed = || format!("{} cannot be run; give a Python with onnxruntime and numpy", python.display());
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(model)
        .arg(rounds.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        let tokens: Vec<&[Token]> = windows.iter().map(|window| window.0.as_ref()).collect();
        stdin.write_all(&serde_json::to_vec(&tokens)?).with_context(failed)?;
    }
    let output = child.wait_with_output().with_context(failed)?;
    if !output.status.success() {
        bail!(failed());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the graph costs up to each of its nodes, in the form that tract makes of it.
fn by_node(bytes: &[u8], windows: &[Window], rounds: u32) -> Result<Vec<String>> {
    let proto = pb::ModelProto::decode(bytes)?;
    let length = windows.first().map_or(0, |window| window.0.len());
    let inputs = windows.iter().map(|window| {
        let tokens: Vec<i64> = window.0.iter().map(|token| i64::from(token.0)).collect();
        Tensor::from_shape(&[1, length], &tokens).map(TValue::from)
    });
    let inputs: Vec<TValue> = inputs.collect::<TractResult<_>>()?;
    let mut lines = Vec::new();
    for node in proto.graph.iter().flat_map(|graph| &graph.node) {
        let Some(output) = node.output.first() else { continue };
        let mut proto = proto.clone();
        for port in proto.graph.iter_mut().flat_map(|graph| &mut graph.output) {
            (port.name, port.r#type) = (output.clone(), None);
        }
        let plan = onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_shapes(true)
            .model_for_proto_model(&proto)?
            .with_input_fact(0, i64::fact([1, length]).into())?
            .into_optimized()?;
        let operators: Vec<String> = plan.nodes.iter().map(|node| node.op.name().into_owned()).collect();
        let mut state = plan.into_runnable()?.spawn()?;
        let mut times = Vec::new();
        for _ in 0..rounds {
            round(&inputs, &mut times, |input| {
                state.run(tvec!(input.clone()))?;
                Ok(())
            })?;
        }
        let kind = format!("up to {}", node.op_type);
        lines.push(format!("    {kind:<24} {}  {}", told(times), operators.join(" ")));
    }
    Ok(lines)
}
