//! The plugin in its hosts: natively, in wasmtime, and in WAMR with the stack and heap of Fluent Bit. Each takes the
//! same records and gives what becomes of each.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use blocksift::{Host, Mode, Reply};
use blocksift_tests::plugin_host::{self, Measured};
use blocksift_tests::wasm;
use tempfile::NamedTempFile;
use wasmtime::{Engine, Module};

use super::guest::{FUNCTIONS, Guest, compile};

/// Names the model that the module carries, as for the plugin's build.
const MODEL_VARIABLE: &str = "BLOCKSIFT_PLUGIN_MODEL";
pub(crate) const TAG: &[u8] = b"hdfs.dn1";

/// A record and its time since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) time: (u32, u32),
    pub(crate) bytes: Vec<u8>,
}

/// What became of a record; `None` if it was dropped.
pub(crate) type Answer = Option<Vec<u8>>;

/// The model that the module carries.
pub(crate) fn model() -> &'static [u8] {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    MODEL.get_or_init(|| match std::env::var_os(MODEL_VARIABLE) {
        Some(path) => std::fs::read(path).unwrap(),
        None => include_bytes!("../../../models/hdfs-v1.onnx").to_vec(),
    })
}

/// What the exported function of a mode is called.
fn function(mode: Mode) -> &'static str {
    FUNCTIONS.iter().find(|(its, _)| *its == mode).unwrap().1
}

/// The library itself.
pub(crate) fn native(mode: Mode, records: &[Record]) -> Vec<Answer> {
    let mut host = Host::new(model());
    let mut take = |record: &Record| match host.take(mode, TAG, record.time, &record.bytes) {
        Reply::Unchanged => Some(record.bytes.clone()),
        Reply::Dropped => None,
        Reply::Text(text) => Some(text.strip_suffix(b"\0").expect("a text ends with NUL").to_vec()),
    };
    records.iter().map(&mut take).collect()
}

/// The module compiled for wasmtime, once for all tests.
pub(crate) fn compiled(module: &Path) -> &'static (Engine, Module) {
    static COMPILED: OnceLock<(Engine, Module)> = OnceLock::new();
    COMPILED.get_or_init(|| compile(&wasm::read_module(module, wasm::Host::FluentBit).unwrap()).unwrap())
}

/// The module in wasmtime. A trap is a panic.
pub(crate) fn wasmtime(module: &Path, mode: Mode, records: &[Record]) -> Vec<Answer> {
    let mut guest = Guest::new(compiled(module)).unwrap();
    records.iter().map(|record| guest.take(mode, TAG, record.time, &record.bytes).unwrap()).collect()
}

/// The module in WAMR, by the program that `cargo xtask test` builds for it, with what that program measured; `None`
/// where it was not built. A trap is a panic.
pub(crate) fn wamr(module: &Path, mode: Mode, records: &[Record]) -> Option<(Vec<Answer>, Measured)> {
    let host = std::env::var_os(wasm::WAMR_VARIABLE)?;
    let mut input = NamedTempFile::new().unwrap();
    let mut frames = Vec::new();
    for Record { time, bytes } in records {
        let record = plugin_host::Record { time: *time, tag: TAG.to_vec(), bytes: bytes.clone() };
        record.append_to(&mut frames);
    }
    input.write_all(&frames).unwrap();
    let output = Command::new(host)
        .arg(module)
        .arg(function(mode))
        .stdin(Stdio::from(input.reopen().unwrap()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let mut rest = output.stdout.as_slice();
    let mut answers = Vec::new();
    while let [kind, a, b, c, d, text @ ..] = rest {
        let (text, behind) = text.split_at(u32::from_le_bytes([*a, *b, *c, *d]) as usize);
        assert_ne!(*kind, 2, "record {}: {}", answers.len(), String::from_utf8_lossy(text));
        answers.push((*kind == 1).then(|| text.to_vec()));
        rest = behind;
    }
    assert_eq!(answers.len(), records.len());
    Some((answers, serde_json::from_str(&said).unwrap()))
}

/// As [`wamr`] for more records than memory holds: how many answers there were, and what the program measured.
pub(crate) fn wamr_many(
    module: &Path,
    mode: Mode,
    records: impl Iterator<Item = Record> + Send,
) -> Option<(u64, Measured)> {
    let host = std::env::var_os(wasm::WAMR_VARIABLE)?;
    let mut child = Command::new(host)
        .arg(module)
        .arg(function(mode))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = BufWriter::new(child.stdin.take().unwrap());
    let mut output = BufReader::new(child.stdout.take().unwrap());
    // What is moved is closed where an answer fails, which ends the program.
    let answers = std::thread::scope(move |scope| {
        scope.spawn(move || {
            let mut frame = Vec::new();
            for Record { time, bytes } in records {
                frame.clear();
                plugin_host::Record { time, tag: TAG.to_vec(), bytes }.append_to(&mut frame);
                input.write_all(&frame).unwrap();
            }
            input.flush().unwrap();
        });
        let (mut answers, mut head, mut text) = (0, [0; 5], Vec::new());
        while output.read_exact(&mut head).is_ok() {
            let [kind, length @ ..] = head;
            text.resize(u32::from_le_bytes(length) as usize, 0);
            output.read_exact(&mut text).unwrap();
            assert_ne!(kind, 2, "record {answers}: {}", String::from_utf8_lossy(&text));
            answers += 1;
        }
        answers
    });
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    Some((answers, serde_json::from_str(&said).unwrap()))
}
