//! `plugin ENGINE MODULE FUNCTION MODEL`: calls the plugin for each record on standard input, in wasmtime or natively, and
//! says what it measured on standard output. `tests/wamr` does so in WAMR; `cargo xtask bench plugin` runs both.
#![allow(clippy::print_stdout, reason = "its caller reads standard output")]

#[path = "../../it/plugin/guest.rs"]
mod guest;

use std::env;
use std::fs;
use std::hint::black_box;
use std::io::{self, BufReader};
use std::time::{Duration, Instant};

use blocksift::{Host, Mode};
use blocksift_tests::plugin_host::{Measured, Record};
use rustix::time::{ClockId, clock_gettime};

use guest::{FUNCTIONS, Guest};

fn main() -> io::Result<()> {
    // cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [engine, module, function, model] = arguments.as_slice() else {
        return Err(io::Error::other("arguments: ENGINE MODULE FUNCTION MODEL"));
    };
    let mode = FUNCTIONS.iter().find(|(_, name)| name == function).map(|(mode, _)| *mode);
    let mode = mode.ok_or_else(|| io::Error::other(format!("the module has no `{function}`")))?;
    let measured = match engine.as_str() {
        "native" => native(mode, fs::read(model)?.leak())?,
        "wasmtime" => wasmtime(mode, &fs::read(module)?)?,
        _ => return Err(io::Error::other("ENGINE is native or wasmtime")),
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn native(mode: Mode, model: &'static [u8]) -> io::Result<Measured> {
    let mut host = Host::new(model);
    measure(Duration::ZERO, |record| {
        black_box(host.take(mode, &record.tag, record.time, &record.bytes));
        Ok(0)
    })
}

fn wasmtime(mode: Mode, module: &[u8]) -> io::Result<Measured> {
    let began = cpu_time();
    let mut guest =
        guest::compile(module).and_then(|compiled| Guest::new(&compiled)).map_err(io::Error::other)?;
    let load = cpu_time() - began;
    measure(load, |record| {
        black_box(guest.take(mode, &record.tag, record.time, &record.bytes)).map_err(io::Error::other)?;
        Ok(guest.memory.data_size(&guest.store) as u64)
    })
}

/// Measures `take` for each record; it tells the bytes of memory there are. Asking for the CPU time at each would take a
/// tenth of what a record takes natively.
fn measure(load: Duration, mut take: impl FnMut(&Record) -> io::Result<u64>) -> io::Result<Measured> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut records = Vec::new();
    while let Some(record) = Record::read(&mut input)? {
        records.push(record);
    }
    let Some((first, further)) = records.split_first() else {
        return Err(io::Error::other("there are no records"));
    };
    let began = cpu_time();
    let mut memory_bytes = take(first)?;
    let first_call = cpu_time() - began;
    let (began, mut slowest) = (cpu_time(), Duration::ZERO);
    for record in further {
        let called = Instant::now();
        memory_bytes = take(record)?;
        slowest = slowest.max(called.elapsed());
    }
    let all = cpu_time() - began;
    let calls = u32::try_from(further.len().max(1)).unwrap_or(u32::MAX);
    let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Ok(Measured {
        load_us: microseconds(load),
        first_call_us: microseconds(first_call),
        mean_ns: u64::try_from((all / calls).as_nanos()).unwrap_or(u64::MAX),
        slowest_us: microseconds(slowest),
        memory_bytes,
    })
}

/// CPU time of the process so far: compiling takes several threads.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
