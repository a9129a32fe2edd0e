//! The wasm step: detector and plugin for wasm32-unknown-unknown, and what a host asks of the plugin's module.
//!
//! The standard library for that target comes from rustup where it can fetch it, otherwise from Debian's packages,
//! unpacked into the target folder. Nothing is installed in the system.

mod debian;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::cargo;
use crate::test::Outcome;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// Memory that the plugin may take, 128 MiB.
const MEMORY_FLAG: &str = "-C link-arg=--max-memory=134217728";

/// What compiles for wasm.
enum Toolchain {
    /// The compiler that compiles everything else.
    Own,
    /// The one of Debian's packages, which has to build the standard library first.
    Debian(debian::Toolchain),
}

/// Builds both crates and checks the plugin's module.
pub(crate) fn check(from_debian: bool) -> Result<Outcome> {
    let toolchain = match find(from_debian) {
        Ok(toolchain) => toolchain,
        Err(error) => return Ok(Outcome::Skipped(format!("there is no compiler for {TARGET}: {error:#}"))),
    };
    cargo::run(build(&toolchain, "blocksift-detector").arg("--no-default-features"))?;
    cargo::run(&mut build(&toolchain, "blocksift-plugin"))?;
    let module = target_folder().join(TARGET).join("release/blocksift.wasm");
    check_module(&module).with_context(|| format!("`{}` does not suit its hosts", module.display()))?;
    Ok(Outcome::Passed)
}

fn find(from_debian: bool) -> Result<Toolchain> {
    if !from_debian {
        if has_target()? {
            return Ok(Toolchain::Own);
        }
        // Its failure is normal where rustup is missing or can fetch nothing.
        let added = cargo::output(cargo::program("rustup").args(["target", "add", TARGET]));
        match added {
            Ok(_) if has_target()? => return Ok(Toolchain::Own),
            Ok(_) => println!("rustup added {TARGET} to another toolchain; trying Debian's packages"),
            Err(error) => println!("rustup has no {TARGET} ({error:#}); trying Debian's packages"),
        }
    }
    debian::toolchain(&cargo::target_folder().join("wasm-toolchain")).map(Toolchain::Debian)
}

fn has_target() -> Result<bool> {
    let folder =
        cargo::output(cargo::program("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(Path::new(folder.trim()).is_dir())
}

/// A target folder of its own: another compiler must not throw away what the workspace has built.
fn target_folder() -> PathBuf {
    cargo::target_folder().join("wasm")
}

fn build(toolchain: &Toolchain, package: &str) -> Command {
    let mut command = cargo::cargo();
    command.args(["build", "--release", "--target", TARGET, "--package", package, "--target-dir"]);
    command.arg(target_folder()).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", MEMORY_FLAG);
    if let Toolchain::Debian(debian) = toolchain {
        command.args(["-Z", "build-std=std,panic_abort"]).envs(debian.environment());
    }
    command
}

/// No imports and no SIMD: hosts such as Fluent Bit refuse both.
fn check_module(path: &Path) -> Result<()> {
    let bytes = fs::read(path)?;
    check_bytes(&bytes)?;
    println!("{}: {} bytes, no imports, no SIMD", path.display(), bytes.len());
    Ok(())
}

fn check_bytes(bytes: &[u8]) -> Result<()> {
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ImportSection(imports) = payload?
            && imports.count() > 0
        {
            bail!("it has imports");
        }
    }
    // Without its `simd` feature the validator refuses every vector instruction.
    Validator::new_with_features(WasmFeatures::default()).validate_all(bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";
    /// `(import "a" "b" (memory 1))`
    const IMPORT: &[u8] = b"\x02\x08\x01\x01a\x01b\x02\x00\x01";
    /// `(func (drop (v128.const i32x4 0 0 0 0)))`: type, function and code section.
    const SIMD: &[u8] = b"\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x17\x01\x15\x00\xfd\x0c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x1a\x0b";

    #[test]
    fn modules_with_imports_or_simd_are_refused() {
        assert!(check_bytes(EMPTY).is_ok());
        let import = check_bytes(&[EMPTY, IMPORT].concat()).unwrap_err().to_string();
        assert_eq!(import, "it has imports");
        let simd = check_bytes(&[EMPTY, SIMD].concat()).unwrap_err().to_string();
        assert!(simd.to_lowercase().contains("simd"), "{simd}");
    }
}
