//! The program that runs a module in WAMR, the engine in Fluent Bit (`tests/wamr`). It needs cmake, a C compiler and
//! libclang to be built, so it is no part of the workspace. Where libclang is missing it is taken from Debian's packages,
//! unpacked into the target folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cargo;

/// Where bindgen looks for libclang.
const LIBCLANG_VARIABLE: &str = "LIBCLANG_PATH";
/// Further arguments for libclang.
const CLANG_VARIABLE: &str = "BINDGEN_EXTRA_CLANG_ARGS";

/// The program, built; why not where that is impossible.
pub(crate) fn host() -> Result<Result<PathBuf, String>> {
    let target = cargo::target_folder().join("wamr");
    let program = target.join("release/blocksift-wamr");
    if cargo::output(cargo::program("cmake").arg("--version")).is_err() {
        return Ok(Err("cmake is not installed, without which WAMR cannot be built".to_owned()));
    }
    let mut command = cargo::cargo();
    command.current_dir(cargo::root().join("tests/wamr"));
    command.args(["build", "--release", "--locked", "--target-dir"]).arg(&target);
    if std::env::var_os(LIBCLANG_VARIABLE).is_none() {
        match libclang(&target.join("libclang")) {
            Ok(None) => {}
            Ok(Some(folder)) => {
                // It needs a library of LLVM, which lies beside.
                let beside = folder.join(format!("../../{}-linux-gnu", std::env::consts::ARCH));
                command.env(LIBCLANG_VARIABLE, folder).env("LD_LIBRARY_PATH", beside);
            }
            Err(error) => return Ok(Err(format!("there is no libclang for WAMR's bindings: {error:#}"))),
        }
    }
    if std::env::var_os(CLANG_VARIABLE).is_none()
        && let Some(headers) = headers()
    {
        command.env(CLANG_VARIABLE, format!("-I{}", headers.display()));
    }
    cargo::run(&mut command)?;
    Ok(Ok(program))
}

/// The folder with libclang; `None` where the system has it.
fn libclang(folder: &Path) -> Result<Option<PathBuf>> {
    if cargo::output(cargo::program("ldconfig").arg("-p")).is_ok_and(|known| known.contains("libclang.so")) {
        return Ok(None);
    }
    let libraries = folder.join("usr/lib/llvm-14/lib");
    if !libraries.join("libclang.so.1").exists() {
        fs::create_dir_all(folder)?;
        let packages = ["libclang1-14", "libllvm14"];
        let download =
            || cargo::output(cargo::program("apt-get").current_dir(folder).arg("download").args(packages));
        if download().is_err() {
            cargo::output(cargo::program("apt-get").arg("update"))?;
            download()?;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                cargo::output(cargo::program("dpkg").arg("-x").arg(&path).arg(folder))?;
            }
        }
    }
    Ok(Some(libraries))
}

/// Headers of the compiler itself, which libclang alone does not bring: those of gcc do.
fn headers() -> Option<PathBuf> {
    let said = cargo::output(cargo::program("cc").arg("-print-file-name=include")).ok()?;
    Some(PathBuf::from(said.trim())).filter(|folder| folder.join("stddef.h").is_file())
}
