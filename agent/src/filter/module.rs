//! One filter: a module, its instance, and how a record gets into it and out again.
//!
//! `function(tag, tag_len, seconds, nanoseconds, record, record_len)` gets pointers into the module's memory, both
//! texts with a NUL behind them, and returns a pointer to a text that a NUL ends, or NULL. The texts are put where the
//! module's `malloc` says, or, without one, into pages that are added to its memory once.

use std::path::Path;

use memchr::memchr;
use serde_json::Value;
use wasmtime::{
    Engine, ExternType, Instance, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, Trap,
    TypedFunc, ValType,
};

use super::Record;
use crate::config;

/// Bytes of an answer; a longer one is bad.
const ANSWER_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Fuel for starting a module, in units of that for a record.
const START_FUEL: u64 = 10;
const PAGE_BYTES: usize = 65_536;

/// Tag, its length, seconds, nanoseconds, record and its length → answer.
type Function = TypedFunc<(u32, u32, u32, u32, u32, u32), u32>;

/// What a filter made of a record.
#[derive(Debug)]
pub(super) enum Answer {
    /// This is shipped instead.
    Record(Record),
    /// Nothing is.
    Drop,
}

/// Why a filter made nothing of a record.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It trapped.
    #[error("it trapped: {0}")]
    Trap(String),
    /// It took too long.
    #[error("it ran out of fuel; raise fuel_max, or see what it is doing")]
    OutOfFuel,
    /// It answered with something else than a JSON object.
    #[error("its answer is no JSON object: {0}")]
    BadAnswer(&'static str),
}

/// A loaded filter.
pub(super) struct Filter {
    config: config::Filter,
    engine: Engine,
    module: Module,
    linker: Linker<StoreLimits>,
    function: String,
    /// `None` after a trap, which may have left it half changed.
    running: Option<Running>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Filter").field("config", &self.config).finish_non_exhaustive()
    }
}

/// An instance and what of it is called.
struct Running {
    store: Store<StoreLimits>,
    memory: Memory,
    function: Function,
    malloc: Option<(TypedFunc<u32, u32>, TypedFunc<u32, ()>)>,
    /// Pages of our own in a module without `malloc`: first byte and length.
    scratch: (usize, usize),
}

impl Filter {
    /// Reads, compiles and starts a module.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn load(engine: &Engine, config: &config::Filter) -> Result<Self, String> {
        let bytes = std::fs::read(&config.wasm).map_err(|error| format!("it cannot be read: {error}"))?;
        let module = Module::new(engine, bytes).map_err(|error| format!("no WASM module: {error:#}"))?;
        let mut linker = Linker::new(engine);
        // Modules ask for more than they use: what they do use of it traps.
        linker
            .define_unknown_imports_as_traps(&module)
            .map_err(|error| format!("its imports cannot be given: {error:#}"))?;
        let function = match &config.function {
            Some(name) => name.clone(),
            None => only_filter(&module)?,
        };
        let mut filter =
            Self { config: config.clone(), engine: engine.clone(), module, linker, function, running: None };
        filter.running = Some(filter.start().map_err(|error| format!("it cannot be started: {error:#}"))?);
        Ok(filter)
    }

    pub(super) fn path(&self) -> &Path {
        &self.config.wasm
    }

    /// Calls the filter.
    ///
    /// # Errors
    /// If it made nothing of the record. It has lost its state then, unless just the answer was bad.
    pub(super) fn apply(&mut self, tag: &str, at_ns: u64, record: &Record) -> Result<Answer, Trouble> {
        let text = serde_json::to_vec(record).map_err(|_| Trouble::BadAnswer("the record has no JSON"))?;
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start().map_err(trouble)?,
        };
        let answer = running.call(self.config.fuel_max, tag, at_ns, &text).map_err(trouble)?;
        self.running = Some(running);
        match answer {
            None => Ok(Answer::Drop),
            Some(text) if text.is_empty() => Ok(Answer::Drop),
            Some(text) => match serde_json::from_slice(&text) {
                Ok(Value::Object(record)) => Ok(Answer::Record(record)),
                Ok(_) => Err(Trouble::BadAnswer("it is another kind of JSON")),
                Err(_) => Err(Trouble::BadAnswer("it is no JSON")),
            },
        }
    }

    fn start(&self) -> wasmtime::Result<Running> {
        let limits = StoreLimitsBuilder::new().memory_size(self.config.memory_bytes_max).build();
        let mut store = Store::new(&self.engine, limits);
        store.limiter(|limits| limits);
        store.set_fuel(self.config.fuel_max.saturating_mul(START_FUEL))?;
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        // A library for WASI begins with this.
        if let Ok(start) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            start.call(&mut store, ())?;
        }
        let function = instance.get_typed_func(&mut store, &self.function)?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?;
        let malloc = malloc(&instance, &mut store);
        Ok(Running { store, memory, function, malloc, scratch: (0, 0) })
    }
}

impl Running {
    /// The answer; `None` is NULL.
    fn call(&mut self, fuel: u64, tag: &str, at_ns: u64, record: &[u8]) -> wasmtime::Result<Option<Vec<u8>>> {
        self.store.set_fuel(fuel)?;
        let room = tag.len() + record.len() + 2;
        let at = self.room(room)?;
        let record_at = at + tag.len() + 1;
        for (at, text) in [(at, tag.as_bytes()), (record_at, record)] {
            self.memory.write(&mut self.store, at, text)?;
            self.memory.write(&mut self.store, at + text.len(), &[0])?;
        }
        let (seconds, nanoseconds) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000);
        let arguments = (
            u32::try_from(at)?,
            u32::try_from(tag.len())?,
            u32::try_from(seconds)?,
            u32::try_from(nanoseconds)?,
            u32::try_from(record_at)?,
            u32::try_from(record.len())?,
        );
        let answer_at = self.function.call(&mut self.store, arguments)?;
        let answer = match answer_at {
            0 => None,
            at => Some(self.text(usize::try_from(at)?)?),
        };
        if let Some((_, free)) = &self.malloc {
            free.call(&mut self.store, u32::try_from(at)?)?;
        }
        Ok(answer)
    }

    /// Where so many bytes can be put.
    fn room(&mut self, bytes: usize) -> wasmtime::Result<usize> {
        if let Some((malloc, _)) = &self.malloc {
            return match malloc.call(&mut self.store, u32::try_from(bytes)?)? {
                0 => Err(wasmtime::Error::msg("its malloc has no memory for the record")),
                at => Ok(usize::try_from(at)?),
            };
        }
        if self.scratch.1 < bytes {
            let start = self.memory.data_size(&self.store);
            let pages = bytes.div_ceil(PAGE_BYTES);
            self.memory.grow(&mut self.store, pages as u64)?;
            self.scratch = (start, pages * PAGE_BYTES);
        }
        Ok(self.scratch.0)
    }

    /// The bytes at `at` up to a NUL.
    fn text(&self, at: usize) -> wasmtime::Result<Vec<u8>> {
        let data = self.memory.data(&self.store).get(at..).unwrap_or_default();
        let data = data.get(..ANSWER_BYTES_MAX).unwrap_or(data);
        let end = memchr(0, data).ok_or_else(|| wasmtime::Error::msg("its answer has no end"))?;
        Ok(data.get(..end).unwrap_or_default().to_vec())
    }
}

/// The only exported function of the filters' type.
fn only_filter(module: &Module) -> Result<String, String> {
    let is_filter = |of: &ExternType| match of {
        ExternType::Func(function) => {
            let all_i32 =
                function.params().chain(function.results()).all(|kind| matches!(kind, ValType::I32));
            all_i32 && function.params().len() == 6 && function.results().len() == 1
        }
        _ => false,
    };
    let mut names =
        module.exports().filter(|export| is_filter(&export.ty())).map(|export| export.name().to_owned());
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name),
        (None, _) => Err("it exports no function with six i32 that returns an i32".to_owned()),
        (Some(one), Some(other)) => Err(format!(
            "it exports several filters, such as `{one}` and `{other}`; name one with `function`"
        )),
    }
}

fn malloc(
    instance: &Instance,
    store: &mut Store<StoreLimits>,
) -> Option<(TypedFunc<u32, u32>, TypedFunc<u32, ()>)> {
    let malloc = instance.get_typed_func(&mut *store, "malloc").ok()?;
    let free = instance.get_typed_func(&mut *store, "free").ok()?;
    Some((malloc, free))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn trouble(error: wasmtime::Error) -> Trouble {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Trouble::OutOfFuel,
        Some(trap) => Trouble::Trap(trap.to_string()),
        None => Trouble::Trap(format!("{error:#}")),
    }
}
