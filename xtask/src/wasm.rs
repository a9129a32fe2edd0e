//! The wasm step: detector and plugin for wasm32-unknown-unknown, and what a host asks of the plugin's module.
//!
//! The standard library for that target comes from rustup where it can fetch it, otherwise from Debian's packages,
//! unpacked into the target folder. Nothing is installed in the system.

mod debian;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use blocksift_tests::wasm::{self, TARGET};

use crate::cargo;
use crate::test::Outcome;

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
    let target = cargo::target_folder();
    cargo::run(build(&toolchain, "blocksift-detector", &target).arg("--no-default-features"))?;
    cargo::run(&mut build(&toolchain, "blocksift-plugin", &target))?;
    report(&wasm::module_path(&target))?;
    Ok(Outcome::Passed)
}

/// Builds the module that the end-to-end tests drive; `None` where nothing compiles for wasm.
pub(crate) fn check_module(from_debian: bool) -> Result<Option<PathBuf>> {
    let toolchain = match find(from_debian) {
        Ok(toolchain) => toolchain,
        Err(error) => {
            println!("there is no compiler for {TARGET}, so its test skips: {error:#}");
            return Ok(None);
        }
    };
    let target = cargo::target_folder();
    let mut command = cargo::cargo();
    wasm::check_module_arguments(&mut command, &target);
    cargo::run(with_toolchain(&mut command, &toolchain))?;
    let module = wasm::module_path(&target);
    report(&module)?;
    Ok(Some(module))
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

fn build(toolchain: &Toolchain, package: &str, target: &Path) -> Command {
    let mut command = cargo::cargo();
    wasm::build_arguments(&mut command, package, target);
    with_toolchain(&mut command, toolchain);
    command
}

fn with_toolchain<'a>(command: &'a mut Command, toolchain: &Toolchain) -> &'a mut Command {
    if let Toolchain::Debian(debian) = toolchain {
        command.args(["-Z", "build-std=std,panic_abort"]).envs(debian.environment());
    }
    command
}

fn report(module: &Path) -> Result<()> {
    let bytes = wasm::read_module(module)?;
    println!("{}: {} bytes, no imports, no SIMD", module.display(), bytes.len());
    Ok(())
}
