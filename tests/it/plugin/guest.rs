//! The module in wasmtime, called as Fluent Bit calls it.

use blocksift::Mode;
use wasmtime::{Config, Engine, Instance, Memory, Module, Result, Store, TypedFunc};

/// Tag, its length, seconds, nanoseconds, record and its length → answer.
type Function = TypedFunc<(u32, u32, u32, u32, u32, u32), u32>;

/// What the exported functions are called.
pub(crate) const FUNCTIONS: [(Mode, &str); 3] = [
    (Mode::Annotate, "blocksift_annotate"),
    (Mode::Flagged, "blocksift_flagged"),
    (Mode::Shadow, "blocksift_shadow"),
];

/// An instance and what it exports.
pub(crate) struct Guest {
    pub(crate) store: Store<()>,
    pub(crate) memory: Memory,
    functions: [Function; FUNCTIONS.len()],
    malloc: TypedFunc<u32, u32>,
    free: TypedFunc<u32, ()>,
}

/// Compiles a module, which must have no vector instructions.
pub(crate) fn compile(bytes: &[u8]) -> Result<(Engine, Module)> {
    let mut config = Config::new();
    config.wasm_relaxed_simd(false).wasm_simd(false);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, bytes)?;
    Ok((engine, module))
}

impl Guest {
    /// An instance without imports.
    pub(crate) fn new((engine, module): &(Engine, Module)) -> Result<Self> {
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, module, &[])?;
        let memory = instance.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?;
        let [annotate, flagged, shadow] =
            FUNCTIONS.map(|(_, name)| instance.get_typed_func(&mut store, name));
        let functions = [annotate?, flagged?, shadow?];
        let malloc = instance.get_typed_func(&mut store, "malloc")?;
        let free = instance.get_typed_func(&mut store, "free")?;
        Ok(Self { store, memory, functions, malloc, free })
    }

    /// What becomes of a record, as its host sees it; `None` if it was dropped.
    pub(crate) fn take(
        &mut self,
        mode: Mode,
        tag: &[u8],
        time: (u32, u32),
        record: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        let (tag_at, record_at) = (self.put(tag)?, self.put(record)?);
        let (tag_len, record_len) = (u32::try_from(tag.len())?, u32::try_from(record.len())?);
        let answer_at = self.call(mode, (tag_at, tag_len), time, (record_at, record_len))?;
        let answer = if answer_at == 0 { None } else { Some(self.text(answer_at)?) };
        self.free(tag_at)?;
        self.free(record_at)?;
        Ok(answer)
    }

    /// Where the answer is; 0 if there is none.
    pub(crate) fn call(
        &mut self,
        mode: Mode,
        tag: (u32, u32),
        time: (u32, u32),
        record: (u32, u32),
    ) -> Result<u32> {
        let [annotate, flagged, shadow] = &self.functions;
        let function = match mode {
            Mode::Annotate => annotate,
            Mode::Flagged => flagged,
            Mode::Shadow => shadow,
        };
        function.call(&mut self.store, (tag.0, tag.1, time.0, time.1, record.0, record.1))
    }

    /// The text there, which a NUL ends.
    pub(crate) fn text(&self, at: u32) -> Result<Vec<u8>> {
        let text = self.memory.data(&self.store).get(at as usize..).unwrap_or_default();
        let end = text.iter().position(|&byte| byte == 0);
        let text = end.and_then(|end| text.get(..end));
        text.map(<[u8]>::to_vec).ok_or_else(|| wasmtime::Error::msg("an answer has no end"))
    }

    /// Puts bytes and a NUL into memory; 0 if there is no room.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<u32> {
        let at = self.malloc.call(&mut self.store, u32::try_from(bytes.len() + 1)?)?;
        if at != 0 {
            self.memory.write(&mut self.store, at as usize, bytes)?;
            self.memory.write(&mut self.store, at as usize + bytes.len(), &[0])?;
        }
        Ok(at)
    }

    pub(crate) fn free(&mut self, at: u32) -> Result<()> {
        self.free.call(&mut self.store, at)
    }
}
