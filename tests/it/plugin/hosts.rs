//! The plugin in its hosts: natively, in wasmtime, and in WAMR with the stack and heap of Fluent Bit. Each takes the
//! same records and gives what becomes of each.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use blocksift::{Host, Mode, Reply};
use blocksift_tests::wasm;
use tempfile::NamedTempFile;
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};

/// The model that the module carries.
pub(crate) const MODEL: &[u8] = include_bytes!("../../../models/hdfs-v1.onnx");
pub(crate) const TAG: &[u8] = b"hdfs.dn1";

/// A record and its time since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) time: (u32, u32),
    pub(crate) bytes: Vec<u8>,
}

/// What became of a record; `None` if it was dropped.
pub(crate) type Answer = Option<Vec<u8>>;

/// What the exported function of a mode is called.
pub(crate) fn function(mode: Mode) -> &'static str {
    match mode {
        Mode::Annotate => "blocksift_annotate",
        Mode::Flagged => "blocksift_flagged",
        Mode::Shadow => "blocksift_shadow",
    }
}

/// The library itself.
pub(crate) fn native(mode: Mode, records: &[Record]) -> Vec<Answer> {
    let mut host = Host::new(MODEL);
    let mut take = |record: &Record| match host.take(mode, TAG, record.time, &record.bytes) {
        Reply::Unchanged => Some(record.bytes.clone()),
        Reply::Dropped => None,
        Reply::Text(text) => Some(text.strip_suffix(b"\0").expect("a text ends with NUL").to_vec()),
    };
    records.iter().map(&mut take).collect()
}

/// The module in wasmtime, without imports and without vector instructions. A trap is a panic.
pub(crate) fn wasmtime(module: &Path, mode: Mode, records: &[Record]) -> Vec<Answer> {
    // Compiled once for all tests.
    static COMPILED: OnceLock<(Engine, Module)> = OnceLock::new();
    let (engine, module) = COMPILED.get_or_init(|| {
        let mut config = Config::new();
        config.wasm_relaxed_simd(false).wasm_simd(false);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, wasm::read_module(module).unwrap()).unwrap();
        (engine, module)
    });
    let mut guest = Guest::new(engine, module, mode);
    records.iter().map(|record| guest.take(record)).collect()
}

struct Guest {
    store: Store<()>,
    memory: Memory,
    filter: TypedFunc<(u32, u32, u32, u32, u32, u32), u32>,
    malloc: TypedFunc<u32, u32>,
    free: TypedFunc<u32, ()>,
}

impl Guest {
    fn new(engine: &Engine, module: &Module, mode: Mode) -> Self {
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let filter = instance.get_typed_func(&mut store, function(mode)).unwrap();
        let malloc = instance.get_typed_func(&mut store, "malloc").unwrap();
        let free = instance.get_typed_func(&mut store, "free").unwrap();
        Self { store, memory, filter, malloc, free }
    }

    fn take(&mut self, record: &Record) -> Answer {
        let (tag, text) = (self.put(TAG), self.put(&record.bytes));
        let (tag_len, len) = (TAG.len() as u32, record.bytes.len() as u32);
        let arguments = (tag, tag_len, record.time.0, record.time.1, text, len);
        let at = self.filter.call(&mut self.store, arguments).unwrap();
        let answer = (at != 0).then(|| {
            let memory = self.memory.data(&self.store);
            let text = &memory[at as usize..];
            text[..text.iter().position(|&byte| byte == 0).unwrap()].to_vec()
        });
        for place in [tag, text] {
            self.free.call(&mut self.store, place).unwrap();
        }
        answer
    }

    fn put(&mut self, bytes: &[u8]) -> u32 {
        let place = self.malloc.call(&mut self.store, bytes.len() as u32 + 1).unwrap();
        assert_ne!(place, 0, "no room for {} bytes", bytes.len());
        self.memory.write(&mut self.store, place as usize, bytes).unwrap();
        self.memory.write(&mut self.store, place as usize + bytes.len(), &[0]).unwrap();
        place
    }
}

/// The module in WAMR, by the program that `cargo xtask test` builds for it, with what that program measured; `None`
/// where it was not built. A trap is a panic.
pub(crate) fn wamr(module: &Path, mode: Mode, records: &[Record]) -> Option<(Vec<Answer>, String)> {
    let host = std::env::var_os(wasm::WAMR_VARIABLE)?;
    let mut input = NamedTempFile::new().unwrap();
    let mut frames = Vec::new();
    for Record { time, bytes } in records {
        frames.extend([time.0, time.1, TAG.len() as u32].into_iter().flat_map(u32::to_le_bytes));
        frames.extend_from_slice(TAG);
        frames.extend((bytes.len() as u32).to_le_bytes());
        frames.extend_from_slice(bytes);
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
    Some((answers, said))
}
