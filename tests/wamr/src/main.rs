//! `blocksift-wamr MODULE FUNCTION`: calls a filter of Fluent Bit's interface for each record on standard input, in WAMR
//! with Fluent Bit's default stack and heap of 8 KiB each, and writes each answer to standard output.
//!
//! A record is: seconds, nanoseconds, length of the tag, tag, length of the record, record; all numbers `u32`, little
//! endian; a length of `u32::MAX` is a record that is NULL. An answer is a byte (0 none, 1 a text, 2 a trap), a length and
//! so many bytes. In the end, what was measured is told on standard error as one JSON object, times in CPU time.

use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::time::Duration;
use std::{env, fs};

use rustix::time::{ClockId, clock_gettime};
use wamrx::{Engine, Func, Instance, InstanceConfig, Linker, Module, Val};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Fluent Bit's default for both.
const STACK_AND_HEAP_BYTES: u32 = 8_192;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [module, function] = arguments.as_slice() else {
        return Err("usage: blocksift-wamr MODULE FUNCTION".into());
    };
    let bytes = fs::read(module)?;
    let began = cpu_time();
    let engine = Engine::new()?;
    let module = Module::new(&engine, &bytes)?;
    let mut config = InstanceConfig::new();
    config
        .exec_stack_size(STACK_AND_HEAP_BYTES)
        .aux_stack_size(STACK_AND_HEAP_BYTES)
        .heap_size(STACK_AND_HEAP_BYTES);
    let instance = Linker::new(&engine).instantiate_with(module, &config)?;
    let loaded = cpu_time() - began;
    let filter = Filter::new(&instance, function)?;
    let (mut input, mut output) = (BufReader::new(io::stdin().lock()), BufWriter::new(io::stdout().lock()));
    let (mut first, mut all, mut slowest, mut calls) = (None, Duration::ZERO, Duration::ZERO, 0_u32);
    while let Some(record) = Record::read(&mut input)? {
        let began = cpu_time();
        let answer = filter.call(&record);
        let took = cpu_time() - began;
        if first.is_none() {
            first = Some(took);
        } else {
            (all, slowest, calls) = (all + took, slowest.max(took), calls + 1);
        }
        answer?.write(&mut output)?;
    }
    output.flush()?;
    let memory = instance.get_memory("memory")?.data().len();
    let mean_ns = all.as_nanos() / u128::from(calls.max(1));
    eprintln!(
        "{{\"load_us\":{},\"first_call_us\":{},\"mean_ns\":{mean_ns},\"slowest_us\":{},\"memory_bytes\":{memory}}}",
        loaded.as_micros(),
        first.unwrap_or_default().as_micros(),
        slowest.as_micros()
    );
    Ok(())
}

/// CPU time of this thread so far.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// A record and what comes with it.
struct Record {
    time: [u32; 2],
    tag: Vec<u8>,
    /// `None` is NULL.
    bytes: Option<Vec<u8>>,
}

impl Record {
    /// The next one; `None` at the end.
    fn read(input: &mut impl Read) -> Result<Option<Self>> {
        let mut first = [0; 4];
        match input.read_exact(&mut first) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        }
        let seconds = u32::from_le_bytes(first);
        let nanoseconds = number(input)?;
        let tag = bytes(input)?.ok_or("a tag is NULL")?;
        Ok(Some(Self { time: [seconds, nanoseconds], tag, bytes: bytes(input)? }))
    }
}

fn number(input: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn bytes(input: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let len = number(input)?;
    if len == u32::MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    input.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// What a call came to.
enum Answer {
    None,
    Text(Vec<u8>),
    Trap(String),
}

impl Answer {
    fn write(&self, output: &mut impl Write) -> Result<()> {
        let (kind, bytes) = match self {
            Self::None => (0, &[][..]),
            Self::Text(text) => (1, text.as_slice()),
            Self::Trap(why) => (2, why.as_bytes()),
        };
        output.write_all(&[kind])?;
        output.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
        Ok(output.write_all(bytes)?)
    }
}

/// The functions of a module.
struct Filter<'a> {
    instance: &'a Instance,
    function: Func<'a>,
    malloc: Func<'a>,
    free: Func<'a>,
}

impl<'a> Filter<'a> {
    fn new(instance: &'a Instance, function: &str) -> Result<Self> {
        Ok(Self {
            instance,
            function: instance.get_func(function)?,
            malloc: instance.get_func("malloc")?,
            free: instance.get_func("free")?,
        })
    }

    /// What Fluent Bit does for a record.
    fn call(&self, record: &Record) -> Result<Answer> {
        let tag = self.put(&record.tag)?;
        let (text, len) = match &record.bytes {
            Some(bytes) => (self.put(bytes)?, bytes.len()),
            None => (0, 1_000),
        };
        let arguments = [tag, as_i32(record.tag.len())?, record.time[0].cast_signed(), record.time[1].cast_signed()];
        let arguments: Vec<Val> =
            arguments.into_iter().chain([text, as_i32(len)?]).map(Val::I32).collect();
        let mut results = [Val::I32(0)];
        let answer = match self.function.call(&arguments, &mut results) {
            Err(trap) => Answer::Trap(trap.to_string()),
            Ok(()) => self.text(results[0])?,
        };
        for place in [tag, text].into_iter().filter(|place| *place != 0) {
            self.free.call(&[Val::I32(place)], &mut [])?;
        }
        Ok(answer)
    }

    /// Puts bytes and a NUL into the module's memory; 0 if it has no room.
    fn put(&self, bytes: &[u8]) -> Result<i32> {
        let mut results = [Val::I32(0)];
        self.malloc.call(&[Val::I32(as_i32(bytes.len() + 1)?)], &mut results)?;
        let Val::I32(place) = results[0] else { return Err("malloc gives no i32".into()) };
        if place != 0 {
            let start = place.cast_unsigned() as usize;
            let mut memory = self.instance.get_memory("memory")?;
            let room = memory.data_mut().get_mut(start..=start + bytes.len()).ok_or("malloc gives no memory")?;
            room[..bytes.len()].copy_from_slice(bytes);
            room[bytes.len()] = 0;
        }
        Ok(place)
    }

    fn text(&self, result: Val) -> Result<Answer> {
        let Val::I32(place) = result else { return Err("the filter gives no i32".into()) };
        if place == 0 {
            return Ok(Answer::None);
        }
        let memory = self.instance.get_memory("memory")?;
        let text = memory.data().get(place.cast_unsigned() as usize..).ok_or("the answer is not in memory")?;
        let end = text.iter().position(|&byte| byte == 0).ok_or("the answer has no end")?;
        Ok(if end == 0 { Answer::None } else { Answer::Text(text[..end].to_vec()) })
    }
}

fn as_i32(len: usize) -> Result<i32> {
    Ok(u32::try_from(len)?.cast_signed())
}
