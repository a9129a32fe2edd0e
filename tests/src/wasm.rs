//! What `cargo xtask` and the tests share about wasm: how the plugin's module is built, and what its hosts ask of it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasmparser::{ExternalKind, Parser, Payload, Validator, WasmFeatures};

/// What the module is compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Names [`flags`] to cargo.
const FLAGS_VARIABLE: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS";
/// Memory that the module may take, 128 MiB; and no names of functions, which profile settings leave in.
const FLAGS: &str = "-C link-arg=--max-memory=134217728 -C link-arg=--strip-all";
/// Environment variable that names a ready module; the host's name is appended to it for others than Fluent Bit.
const MODULE_VARIABLE: &str = "BLOCKSIFT_PLUGIN_MODULE";
/// Environment variable that names the program that runs a module in WAMR.
pub const WAMR_VARIABLE: &str = "BLOCKSIFT_WAMR";
/// Bytes of a module, at most.
const SIZE_MAX: usize = 1 << 20;
/// What a module is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Fluent Bit, and others with its filter call.
    FluentBit,
    /// The `wasm` processor of Redpanda Connect.
    RedpandaConnect,
    /// The same of Bento.
    Bento,
    /// The `wasm` processor of otelwasm, in an OpenTelemetry Collector.
    Otelwasm,
}

impl Host {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::FluentBit, Self::RedpandaConnect, Self::Bento, Self::Otelwasm];

    /// Its name: that of a feature of the plugin too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FluentBit => "fluent-bit",
            Self::RedpandaConnect => "redpanda-connect",
            Self::Bento => "bento",
            Self::Otelwasm => "otelwasm",
        }
    }

    /// Environment variable that names a ready module.
    #[must_use]
    pub fn module_variable(self) -> String {
        match self {
            Self::FluentBit => MODULE_VARIABLE.to_owned(),
            other => format!("{MODULE_VARIABLE}_{}", other.name().replace('-', "_").to_uppercase()),
        }
    }

    /// What it looks for in a module.
    fn exports(self) -> &'static [&'static str] {
        match self {
            Self::FluentBit | Self::RedpandaConnect | Self::Bento => {
                &["memory", "malloc", "free", "blocksift_annotate", "blocksift_flagged", "blocksift_shadow"]
            }
            Self::Otelwasm => &["memory", "getSupportedTelemetry", "processLogs"],
        }
    }

    /// The module that it offers for import; none where it offers nothing.
    fn imports(self) -> Option<&'static str> {
        match self {
            Self::FluentBit => None,
            Self::RedpandaConnect => Some("benthos_wasm"),
            Self::Bento => Some("bento_wasm"),
            Self::Otelwasm => Some("opentelemetry.io/wasm"),
        }
    }
}

/// Lets cargo build the plugin's module, in a target folder of its own: another compiler, or another target, must not
/// throw away what the workspace has built.
pub fn plugin_arguments(command: &mut Command, target: &Path, host: Host) {
    command.args(["build", "--profile", "plugin", "--target", TARGET, "--package", "blocksift-plugin"]);
    command.args(["--no-default-features", "--features", host.name()]);
    command.arg("--target-dir").arg(target.join("wasm")).env(FLAGS_VARIABLE, flags(target));
}

/// [`FLAGS`], and names for the machine's folders. Cargo leaves these names out of its hashes: what is built already stays
/// as it is.
fn flags(target: &Path) -> String {
    let renamed = renamed_folders(target);
    let renamed = renamed.iter().map(|(from, to)| format!(" --remap-path-prefix={from}={to}"));
    std::iter::once(FLAGS.to_owned()).chain(renamed).collect()
}

/// The machine's folders that compilers put into what they write, and what to call them there, so that the same sources
/// give the same bytes wherever they lie. Of several that fit a path the last one counts.
#[must_use]
pub fn renamed_folders(target: &Path) -> Vec<(String, &'static str)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    // Generated sources lie in the target folder, wherever that is.
    let folders =
        [(root, "/blocksift"), (cargo_home(), "/cargo"), (Some(target.to_owned()), "/blocksift/target")];
    let text = |folder: Option<PathBuf>| folder?.into_os_string().into_string().ok();
    let folders = folders.into_iter().filter_map(|(from, to)| Some((text(from)?, to)));
    // Flags are taken apart at blanks, so a folder with one keeps its name.
    folders.filter(|(from, _)| !from.contains(char::is_whitespace)).collect()
}

/// Where cargo keeps the sources that it has fetched. `None` if neither `CARGO_HOME` nor `HOME` is set.
fn cargo_home() -> Option<PathBuf> {
    let of_user = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(of_user)
}

/// Puts the module that was built last where no other host's takes its place; returns where.
pub fn keep_module(target: &Path, host: Host) -> io::Result<PathBuf> {
    let built = target.join("wasm").join(TARGET).join("plugin/blocksift.wasm");
    let kept = target.join(format!("wasm/blocksift-{}.wasm", host.name()));
    fs::copy(built, &kept)?;
    Ok(kept)
}

/// The module for a host: the one that `cargo xtask test` has built, or one that is built now. `Ok(None)` if this compiler
/// cannot build for wasm.
pub fn plugin_module(host: Host) -> io::Result<Option<PathBuf>> {
    if let Some(path) = env::var_os(host.module_variable()) {
        return Ok(Some(PathBuf::from(path)));
    }
    let found = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output()?;
    if !Path::new(String::from_utf8_lossy(&found.stdout).trim()).is_dir() {
        return Ok(None);
    }
    // A test binary is <target>/<profile>/deps/<name>.
    let test = env::current_exe()?;
    let target = test.ancestors().nth(3).ok_or_else(|| io::Error::other("no target folder"))?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    plugin_arguments(&mut cargo, target, host);
    let status = cargo.status()?;
    if status.success() {
        keep_module(target, host).map(Some)
    } else {
        Err(io::Error::other(format!("cargo: {status}")))
    }
}

/// Reads a module and checks that it is as its host needs it: small, without SIMD, which Fluent Bit refuses, with the
/// functions that the host calls, and with no imports but those that the host offers.
pub fn read_module(path: &Path, host: Host) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    check_bytes(&bytes, host.exports(), host.imports())
        .map_err(|what| io::Error::other(format!("`{}` does not suit its host: {what}", path.display())))?;
    Ok(bytes)
}

fn check_bytes(bytes: &[u8], exports: &[&str], offered: Option<&str>) -> Result<(), String> {
    if bytes.len() > SIZE_MAX {
        return Err(format!("it has {} bytes, {SIZE_MAX} are the limit", bytes.len()));
    }
    let mut missing = exports.to_vec();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| error.to_string())? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(|error| error.to_string())?;
                    if Some(import.module) != offered {
                        return Err(format!("it imports `{}` of `{}`", import.name, import.module));
                    }
                }
            }
            Payload::ExportSection(found) => {
                for export in found {
                    let export = export.map_err(|error| error.to_string())?;
                    if matches!(export.kind, ExternalKind::Func | ExternalKind::Memory) {
                        missing.retain(|name| *name != export.name);
                    }
                }
            }
            _ => {}
        }
    }
    if !missing.is_empty() {
        return Err(format!("it does not export {}", missing.join(", ")));
    }
    // Without its `simd` feature the validator refuses every vector instruction.
    let features = WasmFeatures::default().difference(WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD);
    let mut validator = Validator::new_with_features(features);
    validator.validate_all(bytes).map(drop).map_err(|error| error.to_string())
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
    fn modules_that_hosts_refuse_are_refused() {
        assert!(check_bytes(EMPTY, &[], None).is_ok());
        let importing = [EMPTY, IMPORT].concat();
        assert_eq!(check_bytes(&importing, &[], None).unwrap_err(), "it imports `b` of `a`");
        assert!(
            check_bytes(&importing, &[], Some("c")).is_err()
                && check_bytes(&importing, &[], Some("a")).is_ok()
        );
        let simd = check_bytes(&[EMPTY, SIMD].concat(), &[], None).unwrap_err();
        assert!(simd.to_lowercase().contains("simd"), "{simd}");
        let export = check_bytes(EMPTY, &["malloc"], None).unwrap_err();
        assert_eq!(export, "it does not export malloc");
        // A section without meaning of just that many bytes.
        let large = [EMPTY, b"\x00\xfe\xff\x3f\x00", &[0; SIZE_MAX - 3]].concat();
        assert!(check_bytes(&large, &[], None).unwrap_err().contains("are the limit"));
    }
}
