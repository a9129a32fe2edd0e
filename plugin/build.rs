//! Names the model file that the WASM module carries: `BLOCKSIFT_PLUGIN_MODEL`, or the one of this repository.

use std::env;
use std::path::Path;

fn main() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/hdfs-v1.onnx");
    let model = env::var_os("BLOCKSIFT_PLUGIN_MODEL").map_or(own, Into::into);
    println!("cargo::rerun-if-env-changed=BLOCKSIFT_PLUGIN_MODEL");
    println!("cargo::rustc-env=BLOCKSIFT_PLUGIN_MODEL={}", model.display());
}
