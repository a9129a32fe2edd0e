//! A compiler for wasm from Debian's packages, unpacked into a private folder, for machines where rustup can fetch
//! nothing. Debian ships no built standard library for wasm32-unknown-unknown but its source, so cargo builds it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Written last into the folder: without it the folder is made anew.
const COMPLETE: &str = "complete";

/// The unpacked compiler.
pub(super) struct Toolchain {
    folder: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    /// What cargo needs to know to compile with it.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("RUSTC", self.folder.join("rustc")),
            ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", self.linker.clone()),
            // The standard library is built from source, which only nightly does without this.
            ("RUSTC_BOOTSTRAP", PathBuf::from("1")),
        ]
    }
}

/// The compiler in `folder`, which is filled if it is not complete (138 MB to fetch).
pub(super) fn toolchain(folder: &Path) -> Result<Toolchain> {
    if !folder.join(COMPLETE).is_file() {
        fill(folder)?;
    }
    let linker = fs::read_dir(folder.join("usr/bin"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wasm-ld-")));
    let linker = linker.context("the unpacked packages have no wasm-ld")?;
    Ok(Toolchain { folder: folder.to_path_buf(), linker })
}

fn fill(folder: &Path) -> Result<()> {
    let packages = match packages() {
        Ok(packages) => packages,
        // Without package lists nothing is known; with old ones the versions may be gone.
        Err(_) => {
            cargo::output(cargo::program("apt-get").arg("update"))?;
            packages()?
        }
    };
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let archives = folder.join("archives");
    fs::create_dir_all(&archives)?;
    println!("fetching {}", packages.join(" "));
    let download =
        || cargo::program("apt-get").current_dir(&archives).arg("download").args(&packages).output();
    if !download()?.status.success() {
        cargo::output(cargo::program("apt-get").arg("update"))?;
        cargo::output(cargo::program("apt-get").current_dir(&archives).arg("download").args(&packages))?;
    }
    for entry in fs::read_dir(&archives)? {
        cargo::output(cargo::program("dpkg").arg("-x").arg(entry?.path()).arg(folder))?;
    }
    link_source(folder)?;
    write_wrapper(folder)?;
    fs::remove_dir_all(&archives)?;
    cargo::output(cargo::program(&folder.join("rustc")).arg("-vV")).context("Debian's rustc does not run")?;
    fs::write(folder.join(COMPLETE), "")?;
    Ok(())
}

/// The packages to fetch. Versions are part of some names: one names the next.
fn packages() -> Result<Vec<String>> {
    let library = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(&library, "libllvm")?;
    let linker = llvm.replace("libllvm", "lld-");
    let fixed = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"];
    Ok(fixed.into_iter().map(str::to_owned).chain([library, llvm, linker]).collect())
}

fn dependency(package: &str, start: &str) -> Result<String> {
    let listed = cargo::output(cargo::program("apt-cache").args(["depends", package]))?;
    let names = listed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    match names.into_iter().find(|name| name.starts_with(start)) {
        Some(name) => Ok(name.to_owned()),
        None => bail!("package `{package}` names no `{start}...`; is this Debian 12?"),
    }
}

/// Puts the source of the standard library where cargo looks for it.
fn link_source(folder: &Path) -> Result<()> {
    let source = fs::read_dir(folder.join("usr/src"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.join("library").is_dir())
        .context("package `rust-web-src` has no standard library")?;
    let rustlib = folder.join("usr/lib/rustlib/src");
    fs::create_dir_all(&rustlib)?;
    let link = rustlib.join("rust");
    // The package may bring a link of its own, into the system's folders.
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    symlink(source, link)?;
    Ok(())
}

/// A `rustc` that finds its libraries in the folder.
fn write_wrapper(folder: &Path) -> Result<()> {
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = format!("{0}/usr/lib/{machine}:{0}/usr/lib", folder.display());
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{libraries}' exec '{}/usr/bin/rustc' \"$@\"\n",
        folder.display()
    );
    let path = folder.join("rustc");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
