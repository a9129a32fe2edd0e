//! The independent check of the models that ship: onnx's own checker, and onnxruntime's scores beside tract's on 1,000
//! windows each. Needs python3 and, the first time, the network: packages go to an environment of its own under `target`.
//! Where it cannot be made, the test says so and passes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blocksift_detector::Model;
use blocksift_detector::token::{Token, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Windows of each model.
const WINDOWS: usize = 1_000;
/// One int8 step may round differently, and moves a score by less than this.
const TOLERANCE: f64 = 2e-3;
/// What the check imports.
const PACKAGES: [&str; 3] = ["onnx>=1.18", "onnxruntime>=1.20", "numpy>=2"];

/// A Python that has the packages; says why where there is none.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("independent");
    let python = folder.join("bin/python");
    let can_import = |python: &Path| {
        let import = Command::new(python).args(["-c", "import onnx, onnxruntime, numpy"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    if can_import(&python) {
        return Some(python);
    }
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).output();
    if !made.is_ok_and(|output| output.status.success()) {
        return skipped("python3 with the module venv is not there");
    }
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
    let got = Command::new(&python).args(options).args(["--timeout", "20"]).args(PACKAGES).output();
    match got {
        Ok(output) if output.status.success() && can_import(&python) => Some(python),
        _ => skipped("onnx and onnxruntime could not be installed"),
    }
}

fn skipped(why: &str) -> Option<PathBuf> {
    // Not by a macro: the output of a test that passes is not shown.
    let line = format!("SKIPPED: {why}; no model is checked by onnxruntime\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// Windows of every length, half of them such as logs hold: a write, a delete, and something in between.
fn windows(model: &Model) -> Vec<Window> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let rows = u16::try_from(model.tokenizer.rows()).unwrap();
    let length = model.tokenizer.length();
    (0..WINDOWS)
        .map(|at| {
            let events = at % (length + 1);
            let usual = [6u16, 23, 6, 12, 10, 27, 27, 24, 22];
            let draw = |place: usize, rng: &mut ChaCha8Rng| match usual.get(place % usual.len()) {
                Some(&token) if at % 2 == 0 && token < rows && rng.random_range(0..8u8) > 0 => Token(token),
                _ => Token(rng.random_range(1..rows)),
            };
            let tokens: Vec<Token> = (0..events).map(|place| draw(place, &mut rng)).collect();
            model.tokenizer.window(&tokens)
        })
        .collect()
}

fn check(python: &Path, path: &Path) -> Value {
    let mut model = Model::from_onnx(&std::fs::read(path).unwrap()).unwrap();
    let windows = windows(&model);
    let scores = model.score(&windows).unwrap();
    let windows: Vec<&[Token]> = windows.iter().map(|window| window.0.as_ref()).collect();
    let given = json!({ "model": path, "windows": windows, "scores": scores });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent.py");
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{} does not pass the check", path.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn onnxruntime_gives_the_scores_of_every_model_that_ships() {
    let Some(python) = python() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let models: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    assert!(!models.is_empty());
    for path in models {
        let found = check(&python, &path);
        assert_eq!(found["windows"], WINDOWS, "{found}");
        assert!(found["apart"].as_f64().unwrap() <= TOLERANCE, "{}: {found}", path.display());
        let mean = found["mean_score"].as_f64().unwrap();
        assert!(mean > 0.02 && mean < 0.98, "the windows tell nothing: {found}");
    }
}
