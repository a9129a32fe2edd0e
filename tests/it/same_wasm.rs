//! The same lines give the same reports natively and on wasm32: the detector with its table in a module under wasmtime,
//! natively with the same table, and natively with tract.

use std::collections::BTreeMap;
use std::io::{Write, stderr};

use blocksift::check::{Check, MODEL};
use blocksift_detector::Model;
use blocksift_tests::simulate::{Dialect, Plan, batch_with};
use blocksift_tests::wasm;
use serde_json::Value;
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};

/// Lengths of the chunks that are pushed, over and over.
const CHUNKS: [usize; 7] = [1, 4_099, 77, 65_537, 2, 333_331, 8_191];
/// Blocks of each log.
const BLOCKS: u64 = 2_000;
/// What the clock advances from one pair of chunks to the next: sessions fall silent, are scored and speak again.
const TICK_MS: i64 = 7_000;
/// Largest difference between a score by table and one by tract.
const TOLERANCE: f64 = 1e-5;

/// What takes bytes and gives an answer in the end.
trait Run {
    fn push(&mut self, file: u32, offset: u64, bytes: &[u8]);
    fn tick(&mut self, now_ms: i64);
    fn end_of_file(&mut self, file: u32);
    fn finish(&mut self) -> Vec<u8>;
}

impl Run for Check {
    fn push(&mut self, file: u32, offset: u64, bytes: &[u8]) {
        self.room(u32::try_from(bytes.len()).unwrap()).copy_from_slice(bytes);
        Self::push(self, file, offset);
    }

    fn tick(&mut self, now_ms: i64) {
        Self::tick(self, now_ms);
    }

    fn end_of_file(&mut self, file: u32) {
        Self::end_of_file(self, file);
    }

    fn finish(&mut self) -> Vec<u8> {
        Self::finish(self).unwrap();
        self.answer().to_vec()
    }
}

/// The module in a machine of its own, without imports and without vector instructions.
struct Guest {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

impl Guest {
    fn new(module: &[u8]) -> Self {
        let mut config = Config::new();
        config.wasm_relaxed_simd(false).wasm_simd(false);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, module).unwrap();
        assert_eq!(module.imports().len(), 0);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let mut guest = Self { store, instance, memory };
        assert_eq!(guest.call::<(), i32>("check_start", ()), 0);
        guest
    }

    fn call<P: wasmtime::WasmParams, R: wasmtime::WasmResults>(&mut self, name: &str, arguments: P) -> R {
        let function: TypedFunc<P, R> = self.instance.get_typed_func(&mut self.store, name).unwrap();
        function.call(&mut self.store, arguments).unwrap()
    }
}

impl Run for Guest {
    fn push(&mut self, file: u32, offset: u64, bytes: &[u8]) {
        let room: u32 = self.call("check_room", u32::try_from(bytes.len()).unwrap());
        self.memory.write(&mut self.store, room as usize, bytes).unwrap();
        assert_eq!(self.call::<_, i32>("check_push", (file, offset)), 0);
    }

    fn tick(&mut self, now_ms: i64) {
        assert_eq!(self.call::<_, i32>("check_tick", now_ms), 0);
    }

    fn end_of_file(&mut self, file: u32) {
        assert_eq!(self.call::<_, i32>("check_end_of_file", file), 0);
    }

    fn finish(&mut self) -> Vec<u8> {
        let len = usize::try_from(self.call::<_, i32>("check_finish", ())).unwrap();
        let at = self.call::<_, u32>("check_answer", ()) as usize;
        self.memory.data(&self.store)[at..at + len].to_vec()
    }
}

/// Logs of Hadoop of 2008 and of Hadoop 3, with faults.
fn logs() -> Vec<Vec<u8>> {
    let log = |dialect| {
        let plan = Plan { faults_per_1000: 60, ..Plan::archive_of(dialect, 31, BLOCKS) };
        batch_with(plan, |_| true).log
    };
    Dialect::ALL.into_iter().map(log).collect()
}

/// Pushes the logs side by side, in chunks that end anywhere.
fn run(logs: &[Vec<u8>], run: &mut dyn Run) -> Vec<u8> {
    let mut offsets = vec![0; logs.len()];
    let mut now_ms = 0;
    for chunk in CHUNKS.into_iter().cycle() {
        for (file, (log, offset)) in (0..).zip(logs.iter().zip(&mut offsets)) {
            let bytes = &log[*offset..log.len().min(*offset + chunk)];
            run.push(file, *offset as u64, bytes);
            *offset += bytes.len();
        }
        now_ms += TICK_MS;
        run.tick(now_ms);
        if logs.iter().zip(&offsets).all(|(log, offset)| log.len() == *offset) {
            break;
        }
    }
    for file in (0..).take(logs.len()) {
        run.end_of_file(file);
    }
    run.finish()
}

/// Verdict and score of each report, by session and revision.
fn verdicts(answer: &Value) -> BTreeMap<(String, u64), (bool, f64)> {
    let reports = answer["reports"].as_array().unwrap().iter();
    let verdict = |report: &Value| {
        let key = (report["id"].as_str().unwrap().to_owned(), report["revision"].as_u64().unwrap());
        (key, (report["flagged"].as_bool().unwrap(), report["score"].as_f64().unwrap()))
    };
    reports.map(verdict).collect()
}

#[test]
fn equal_lines_give_equal_reports_natively_and_on_wasm32() {
    let Some(module) = wasm::check_module().unwrap() else {
        writeln!(stderr(), "SKIPPED: this compiler cannot build for {}", wasm::TARGET).unwrap();
        return;
    };
    let module = wasm::read_module(&module).unwrap();
    let logs = logs();
    let native = run(&logs, &mut Check::new().unwrap());
    let guest = run(&logs, &mut Guest::new(&module));
    // Compared as values first, because that says what is different.
    let (native_value, guest_value): (Value, Value) =
        (serde_json::from_slice(&native).unwrap(), serde_json::from_slice(&guest).unwrap());
    assert_eq!(native_value["summary"], guest_value["summary"]);
    assert_eq!(verdicts(&native_value), verdicts(&guest_value));
    assert!(native == guest, "the verdicts are equal, but something else in the reports is not");

    let reports = native_value["reports"].as_array().unwrap();
    let flagged = reports.iter().filter(|report| report["flagged"] == true).count();
    let by_score = reports.iter().filter(|report| report["reasons"][0] == "score").count();
    assert!(by_score > 50 && flagged > 50, "{by_score} of {flagged} flagged by score");
    assert_eq!(native_value["summary"]["score_errors"], 0);
}

#[test]
fn equal_lines_give_equal_verdicts_by_table_and_by_tract() {
    let logs = logs();
    let table = run(&logs, &mut Check::new().unwrap());
    let tract = run(&logs, &mut Check::with_model(Model::from_onnx(MODEL).unwrap()));
    let table = verdicts(&serde_json::from_slice(&table).unwrap());
    let tract = verdicts(&serde_json::from_slice(&tract).unwrap());
    assert!(table.keys().eq(tract.keys()), "other sessions are reported");
    for ((key, table), tract) in table.iter().zip(tract.values()) {
        assert_eq!(table.0, tract.0, "{key:?}");
        assert!((table.1 - tract.1).abs() <= TOLERANCE, "{key:?}: {} {}", table.1, tract.1);
    }
}
