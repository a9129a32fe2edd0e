//! Says whether a model file can be put into the module: `cargo run -p blocksift-plugin --example model -- FILE`.

use std::process::ExitCode;

use blocksift_detector::Model;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to its terminal")]
fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("name a model file");
        return ExitCode::FAILURE;
    };
    let outcome = std::fs::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| Model::from_onnx_table(&bytes).map_err(|error| error.to_string()));
    match outcome {
        Ok(model) => {
            println!("{}", model.id);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("model `{}` cannot be used in a module: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
