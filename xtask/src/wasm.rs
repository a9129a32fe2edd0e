//! The plugin's module for wasm32-unknown-unknown, and what its hosts ask of it; `cargo xtask plugin` and the wasm step.
//!
//! The standard library for that target comes from rustup where it can fetch it, otherwise from Debian's packages,
//! unpacked into the target folder. Nothing is installed in the system.

mod debian;
mod wamr;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use blocksift_tests::wasm::{self, Host, TARGET};
use clap::builder::PossibleValuesParser;

use crate::cargo;
use crate::test::Outcome;

pub(crate) use wamr::host as wamr_host;

/// Names the model file to the plugin's build.
const MODEL_VARIABLE: &str = "BLOCKSIFT_PLUGIN_MODEL";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Model that the module carries.
    #[arg(long, value_name = "FILE", default_value = "models/hdfs-v1.onnx")]
    model: PathBuf,
    /// What the module is for.
    #[arg(long, value_parser = PossibleValuesParser::new(Host::ALL.map(Host::name)), default_value = Host::FluentBit.name())]
    host: String,
    /// Put the module here [default: blocksift.wasm, or blocksift-HOST.wasm for others than Fluent Bit]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Build with the compiler of Debian's packages even where rustup has the target.
    #[arg(long)]
    from_debian: bool,
}

/// What compiles for wasm.
enum Toolchain {
    /// The compiler that compiles everything else.
    Own,
    /// The one of Debian's packages, which has to build the standard library first.
    Debian(debian::Toolchain),
}

/// Builds the module with a model of choice.
pub(crate) fn plugin(arguments: &Arguments) -> Result<()> {
    let model = arguments.model.canonicalize();
    let model = model.with_context(|| format!("there is no model `{}`", arguments.model.display()))?;
    // With one that it cannot use the module would pass everything unchanged.
    let check = ["run", "--quiet", "--package", "blocksift-plugin", "--example", "model", "--"];
    cargo::run(cargo::cargo().args(check).arg(&model))?;
    let toolchain = find(arguments.from_debian)?;
    let host = Host::ALL.into_iter().find(|host| host.name() == arguments.host).unwrap_or(Host::FluentBit);
    let target = cargo::target_folder();
    cargo::run(build(&toolchain, &target, host).env(MODEL_VARIABLE, &model))?;
    let module = wasm::keep_module(&target, host)?;
    report(&module, host)?;
    let output = arguments.output.clone().unwrap_or_else(|| match host {
        Host::FluentBit => PathBuf::from("blocksift.wasm"),
        other => PathBuf::from(format!("blocksift-{}.wasm", other.name())),
    });
    std::fs::copy(&module, &output).with_context(|| format!("`{}` cannot be written", output.display()))?;
    println!("{}: for {}, see plugin/README.md", output.display(), host.name());
    Ok(())
}

/// Builds the modules and checks them.
pub(crate) fn check(from_debian: bool) -> Result<Outcome> {
    for host in Host::ALL {
        if let Err(why) = module(host, from_debian)? {
            return Ok(Outcome::Skipped(why));
        }
    }
    Ok(Outcome::Passed)
}

/// The module that ships for a host, built and checked; why not where nothing compiles for wasm.
pub(crate) fn module(host: Host, from_debian: bool) -> Result<Result<PathBuf, String>> {
    let toolchain = match find(from_debian) {
        Ok(toolchain) => toolchain,
        Err(error) => return Ok(Err(format!("there is no compiler for {TARGET}: {error:#}"))),
    };
    let target = cargo::target_folder();
    cargo::run(&mut build(&toolchain, &target, host))?;
    let module = wasm::keep_module(&target, host)?;
    report(&module, host)?;
    Ok(Ok(module))
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

fn build(toolchain: &Toolchain, target: &Path, host: Host) -> Command {
    let mut command = cargo::cargo();
    wasm::plugin_arguments(&mut command, target, host);
    if let Toolchain::Debian(debian) = toolchain {
        command.args(["-Z", "build-std=std,panic_abort"]).envs(debian.environment());
    }
    command
}

fn report(module: &Path, host: Host) -> Result<()> {
    let bytes = wasm::read_module(module, host)?;
    println!("{}: {} bytes, no SIMD, no imports but its host's", module.display(), bytes.len());
    Ok(())
}
