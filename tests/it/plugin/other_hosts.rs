//! The modules for other hosts than Fluent Bit, called in wasmtime as those hosts call theirs: the answers are the
//! library's own, what does not fit passes or is refused, and nothing traps.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use blocksift::otlp::Logs;
use blocksift::{Host as Native, Mode, Reply, Time};
use blocksift_tests::wasm::{Host, read_module};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::Value;
use wasmtime::{AsContext, AsContextMut, Caller, Engine, Linker, Memory, Module, Store, TypedFunc};

use super::guest::{FUNCTIONS, compile};
use super::hosts::{Record, model};
use super::{ALL_MODES, few, lines, logs, module_for};

/// More than a module takes in one piece.
const TOO_LARGE_BYTES: usize = 40 * 1_024 * 1_024;
const TAG: &str = "hdfs";

fn memory(caller: &mut Caller<'_, impl Sized + 'static>) -> Memory {
    caller.get_export("memory").unwrap().into_memory().unwrap()
}

/// The module for a host, compiled once for all tests; `None` if it cannot be built here.
fn compiled_for(host: Host) -> Option<&'static (Engine, Module)> {
    static COMPILED: [OnceLock<(Engine, Module)>; Host::ALL.len()] =
        [const { OnceLock::new() }; Host::ALL.len()];
    let path = module_for(host)?;
    Some(COMPILED[host as usize].get_or_init(|| compile(&read_module(&path, host).unwrap()).unwrap()))
}

/// What the guest has there.
fn read(context: impl AsContext, memory: Memory, at: u32, len: u32) -> Vec<u8> {
    memory.data(context.as_context())[at as usize..][..len as usize].to_vec()
}

/// A message in Redpanda Connect or Bento.
#[derive(Default)]
struct Handled {
    content: Vec<u8>,
    metadata: BTreeMap<String, String>,
    is_failed: bool,
    /// Pieces of the guest's memory that are given back behind the call.
    pieces: Vec<u32>,
}

/// Puts bytes into the guest's memory as that host does; what it then returns.
fn hand_over(caller: &mut Caller<'_, Handled>, bytes: &[u8]) -> u64 {
    let malloc = caller.get_export("malloc").unwrap().into_func().unwrap();
    let malloc: TypedFunc<u32, u32> = malloc.typed(&caller).unwrap();
    let at = malloc.call(&mut *caller, bytes.len() as u32).unwrap();
    caller.data_mut().pieces.push(at);
    let memory = memory(caller);
    if memory.write(&mut *caller, at as usize, bytes).is_err() {
        caller.data_mut().is_failed = true;
        return 0;
    }
    u64::from(at) << 32 | bytes.len() as u64
}

/// An instance of Redpanda Connect's module, and its functions by mode.
struct Benthos {
    store: Store<Handled>,
    functions: Vec<TypedFunc<(), ()>>,
    free: TypedFunc<u32, ()>,
}

impl Benthos {
    fn new() -> Option<Self> {
        let (engine, module) = compiled_for(Host::RedpandaConnect)?;
        let mut linker = Linker::new(engine);
        let import = "benthos_wasm";
        let as_bytes = |mut caller: Caller<'_, Handled>| {
            let content = caller.data().content.clone();
            hand_over(&mut caller, &content)
        };
        let set_bytes = |mut caller: Caller<'_, Handled>, at: u32, len: u32| {
            let memory = memory(&mut caller);
            caller.data_mut().content = read(caller.as_context(), memory, at, len);
        };
        let get_meta = |mut caller: Caller<'_, Handled>, at: u32, len: u32| {
            let memory = memory(&mut caller);
            let key = String::from_utf8(read(caller.as_context(), memory, at, len)).unwrap();
            let value = caller.data().metadata.get(&key).cloned().unwrap_or_default();
            hand_over(&mut caller, value.as_bytes())
        };
        linker.func_wrap(import, "v0_msg_as_bytes", as_bytes).unwrap();
        linker.func_wrap(import, "v0_msg_set_bytes", set_bytes).unwrap();
        linker.func_wrap(import, "v0_msg_get_meta", get_meta).unwrap();
        let mut store = Store::new(engine, Handled::default());
        let instance = linker.instantiate(&mut store, module).unwrap();
        let functions =
            FUNCTIONS.iter().map(|(_, name)| instance.get_typed_func(&mut store, name).unwrap()).collect();
        let free = instance.get_typed_func(&mut store, "free").unwrap();
        Some(Self { store, functions, free })
    }

    /// The content of a message behind the call, and whether the host has marked it as failed.
    fn take(&mut self, mode: Mode, time_ms: i64, content: &[u8]) -> (Vec<u8>, bool) {
        let metadata = [("blocksift_time_ms", time_ms.to_string()), ("blocksift_tag", TAG.to_owned())];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        *self.store.data_mut() = Handled { content: content.to_vec(), metadata, ..Handled::default() };
        self.functions[mode as usize].call(&mut self.store, ()).unwrap();
        for piece in std::mem::take(&mut self.store.data_mut().pieces) {
            self.free.call(&mut self.store, piece).unwrap();
        }
        let handled = self.store.data_mut();
        (std::mem::take(&mut handled.content), handled.is_failed)
    }
}

fn milliseconds(record: &Record) -> i64 {
    i64::from(record.time.0) * 1_000
}

#[test]
fn messages_become_what_the_library_makes_of_them() {
    let records = few();
    for mode in ALL_MODES {
        let Some(mut benthos) = Benthos::new() else { return };
        let mut native = Native::new(model());
        let mut changed = 0;
        for (number, record) in records.iter().enumerate() {
            let time = Time::Came(milliseconds(record));
            let expected = match native.take_at(mode, TAG.as_bytes(), time, &record.bytes) {
                Reply::Unchanged => record.bytes.clone(),
                Reply::Dropped => Vec::new(),
                Reply::Text(text) => text.strip_suffix(b"\0").unwrap().to_vec(),
            };
            changed += usize::from(expected != record.bytes && !expected.is_empty());
            let found = benthos.take(mode, milliseconds(record), &record.bytes);
            assert!(found == (expected, false), "{mode:?}, message {number}");
        }
        assert!(changed > 5, "{mode:?}: {changed}");
    }
}

#[test]
fn the_module_for_bento_is_the_one_for_redpanda_connect_but_for_a_name() {
    let Some(path) = module_for(Host::Bento) else { return };
    let bytes = read_module(&path, Host::Bento).unwrap();
    assert!(read_module(&path, Host::RedpandaConnect).unwrap_err().to_string().contains("`bento_wasm`"));
    // Compiling takes seconds, and it is the same code.
    let other = read_module(&module_for(Host::RedpandaConnect).unwrap(), Host::RedpandaConnect).unwrap();
    assert!(bytes.len().abs_diff(other.len()) < 100, "{} and {} bytes", bytes.len(), other.len());
}

#[test]
fn a_message_without_room_passes_and_is_marked_and_the_next_ones_are_taken() {
    let Some(mut benthos) = Benthos::new() else { return };
    let strange = br#"{"log":"081109 203518 143 WARN dfs.X: strange thing about blk_7"}"#;
    let flush = br#"{"blocksift":{"flush":true}}"#;
    assert_eq!(benthos.take(Mode::Flagged, 1_000, strange), (Vec::new(), false));
    let large = vec![b' '; TOO_LARGE_BYTES];
    assert_eq!(benthos.take(Mode::Flagged, 2_000, &large), (large, true));
    let (answer, is_failed) = benthos.take(Mode::Flagged, 3_000, flush);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((&answer["blocksift"]["reply"]["flushed"]["waiting"], is_failed), (&1.into(), false));
    let (report, _) = benthos.take(Mode::Flagged, 4_000, br#"{"blocksift":{"tick":true}}"#);
    assert_eq!(serde_json::from_slice::<Value>(&report).unwrap()["block"], "blk_7");
    assert_eq!(benthos.take(Mode::Flagged, 5_000, b"").0, b"");
}

/// What an OpenTelemetry Collector gives for a batch, and what it gets.
#[derive(Default)]
struct Batch {
    config: Vec<u8>,
    logs: Vec<u8>,
    result: Option<Vec<u8>>,
    reason: String,
}

struct Otelwasm {
    store: Store<Batch>,
    process: TypedFunc<(), u32>,
}

/// Writes what is asked for if there is room for it; the host says nothing else.
fn write(caller: &mut Caller<'_, Batch>, bytes: &[u8], at: u32, room: u32) -> u32 {
    let memory = memory(caller);
    let fits =
        bytes.len() <= room as usize && memory.write(caller.as_context_mut(), at as usize, bytes).is_ok();
    if fits { bytes.len() as u32 } else { 0 }
}

impl Otelwasm {
    fn new(config: &str) -> Option<Self> {
        let (engine, module) = compiled_for(Host::Otelwasm)?;
        let mut linker = Linker::new(engine);
        let import = "opentelemetry.io/wasm";
        let current_logs = |mut caller: Caller<'_, Batch>, at: u32, room: u32| {
            let logs = caller.data().logs.clone();
            write(&mut caller, &logs, at, room)
        };
        let plugin_config = |mut caller: Caller<'_, Batch>, at: u32, room: u32| {
            let config = caller.data().config.clone();
            write(&mut caller, &config, at, room)
        };
        let set_result = |mut caller: Caller<'_, Batch>, at: u32, len: u32| {
            let memory = memory(&mut caller);
            caller.data_mut().result = Some(read(caller.as_context(), memory, at, len));
        };
        let set_reason = |mut caller: Caller<'_, Batch>, at: u32, len: u32| {
            let memory = memory(&mut caller);
            caller.data_mut().reason = String::from_utf8(read(caller.as_context(), memory, at, len)).unwrap();
        };
        linker.func_wrap(import, "currentLogs", current_logs).unwrap();
        linker.func_wrap(import, "getPluginConfig", plugin_config).unwrap();
        linker.func_wrap(import, "setResultLogs", set_result).unwrap();
        linker.func_wrap(import, "setResultStatusReason", set_reason).unwrap();
        let batch = Batch { config: config.as_bytes().to_vec(), ..Batch::default() };
        let mut store = Store::new(engine, batch);
        let instance = linker.instantiate(&mut store, module).unwrap();
        let supported: TypedFunc<(), u32> =
            instance.get_typed_func(&mut store, "getSupportedTelemetry").unwrap();
        assert_eq!(supported.call(&mut store, ()).unwrap(), 2, "logs alone");
        let process = instance.get_typed_func(&mut store, "processLogs").unwrap();
        Some(Self { store, process })
    }

    /// What becomes of a batch; the reason where it is refused.
    fn take(&mut self, logs: Vec<u8>) -> Result<Vec<u8>, String> {
        let batch = self.store.data_mut();
        (batch.logs, batch.result, batch.reason) = (logs, None, String::new());
        let status = self.process.call(&mut self.store, ()).unwrap();
        let batch = self.store.data_mut();
        match status {
            0 => Ok(batch.result.take().expect("a batch that is taken has a result")),
            _ => Err(std::mem::take(&mut batch.reason)),
        }
    }
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(text.to_owned())) }
}

/// A batch of lines of a second.
fn batch(second: u64, lines: &[String]) -> Vec<u8> {
    let record = |line: &String| LogRecord {
        time_unix_nano: (1_700_000_000 + second) * 1_000_000_000,
        body: Some(text(line)),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: lines.iter().map(record).collect(), ..ScopeLogs::default() };
    let attributes =
        vec![KeyValue { key: "host.name".to_owned(), value: Some(text("dn7")), ..KeyValue::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_logs = vec![ResourceLogs { resource, scope_logs: vec![scope], ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

#[test]
fn batches_become_what_the_library_makes_of_them() {
    let log = logs().swap_remove(1);
    let lines: Vec<String> =
        lines(&log).map(|record| record["log"].as_str().unwrap().to_owned()).take(3_000).collect();
    for mode in ["annotate", "flagged", "shadow"] {
        let config = format!(r#"{{"mode":"{mode}","settings":{{"idle_timeout_s":5}}}}"#);
        let Some(mut host) = Otelwasm::new(&config) else { return };
        let mut native = Logs::new(model(), config.as_bytes()).unwrap();
        let (mut expected, mut changed) = (Vec::new(), 0);
        for (second, lines) in (0..).step_by(4).zip(lines.chunks(150)) {
            let given = batch(second, lines);
            native.take(&given, &mut expected).unwrap();
            assert_eq!(host.take(given.clone()).as_ref(), Ok(&expected), "{mode}, second {second}");
            changed += usize::from(expected != given && !expected.is_empty());
        }
        assert!(changed > 5, "{mode}: {changed}");
    }
}

#[test]
fn a_batch_that_cannot_be_taken_is_refused_and_the_next_ones_are_taken() {
    let Some(mut host) = Otelwasm::new("null") else { return };
    let small = batch(0, &["081109 203518 143 INFO dfs.X: fine".to_owned()]);
    assert_eq!(host.take(small.clone()), Ok(Vec::new()));
    assert!(host.take(batch(1, &["x".repeat(TOO_LARGE_BYTES)])).unwrap_err().contains("larger than"));
    // The room is made larger for it.
    let long = format!("081109 203518 143 INFO dfs.X: {}", "x".repeat(1_000));
    assert_eq!(host.take(batch(2, &vec![long; 5_000])), Ok(Vec::new()));
    assert!(host.take(b"\x0a\x05\x12".to_vec()).unwrap_err().contains("OTLP"));
    assert_eq!(host.take(small), Ok(Vec::new()));
    let mut wrong = Otelwasm::new(r#"{"mode":"loud"}"#).unwrap();
    assert!(wrong.take(batch(0, &[])).unwrap_err().contains("plugin_config"));
}
