//! Where the binaries of the workspace are. They are built, once and in the caller's own profile, unless
//! `BLOCKSIFT_BINARIES` names a folder that has them.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Environment variable that names a folder with ready binaries.
pub const FOLDER_VARIABLE: &str = "BLOCKSIFT_BINARIES";
/// Packages with a binary.
pub const PACKAGES: [&str; 3] = ["blocksift-agent", "blocksift-collector", "blocksift-model-export"];

/// The binary `name`, for instance `blocksift-agent`.
///
/// # Panics
/// If the binaries cannot be built: without them no test can go on.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| match folder() {
        Ok(folder) => folder,
        Err(error) => {
            #[expect(clippy::panic, reason = "tests cannot run without the binaries")]
            {
                panic!("the binaries cannot be built: {error}")
            }
        }
    });
    folder.join(name)
}

fn folder() -> io::Result<PathBuf> {
    if let Some(folder) = env::var_os(FOLDER_VARIABLE) {
        return Ok(PathBuf::from(folder));
    }
    // A test binary is <target>/<profile>/deps/<name>.
    let test = env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).ok_or_else(|| io::Error::other("no target folder"))?;
    let target = profile.parent().ok_or_else(|| io::Error::other("no target folder"))?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.arg("build").arg("--bins").arg("--target-dir").arg(target);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let status = cargo.status()?;
    if status.success() {
        Ok(profile.to_path_buf())
    } else {
        Err(io::Error::other(format!("cargo: {status}")))
    }
}
