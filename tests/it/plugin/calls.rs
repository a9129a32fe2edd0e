//! Calls that no host should make, on the module in wasmtime: any records, pointers and lengths, in any order and at any
//! time, also while the host holds all the memory it gets. Each is answered by nothing, by the record itself or by a
//! JSON object; none traps; all are counted.

use std::path::Path;

use blocksift::Mode;
use blocksift_detector::json::Members;
use rand::RngExt;
use serde_json::{Value, json};

use super::guest::Guest;
use super::hostile::Hostile;
use super::hosts::{compiled, wamr_many};
use super::{ALL_MODES, START_S, module, say, skip};

/// Calls of the test that always runs.
const CALLS: u64 = 30_000;
/// Names how many the long one makes, and with which seed.
const CALLS_VARIABLE: &str = "BLOCKSIFT_SOAK_CALLS";
const CALLS_SOAK: u64 = 10_000_000;
const SEED_VARIABLE: &str = "BLOCKSIFT_SEED";
/// Of so many calls of the long one, one is made in WAMR too, in each mode.
const WAMR_SHARE: u64 = 10;
/// So often the host takes all the memory that it gets, for a while.
const SQUEEZE_EVERY: u64 = 10_000;
const SQUEEZE_CALLS: u64 = 200;
/// Calls that are logged in the long one.
const TOLD_EVERY: u64 = 1_000_000;

/// A host that makes calls and knows what became of them.
struct Caller {
    guest: Guest,
    hostile: Hostile,
    /// Pieces of memory that it holds, for a while.
    held: Vec<u32>,
    /// By mode.
    calls: [Calls; ALL_MODES.len()],
}

/// Calls of one mode by what was given and answered.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    records: u64,
    /// Of them those that were answered by nothing.
    dropped: u64,
    /// Without a record: NULL, or not all in memory.
    lost: u64,
}

impl Caller {
    fn new(path: &Path, seed: u64) -> Self {
        let guest = Guest::new(compiled(path)).unwrap();
        Self { guest, hostile: Hostile::new(seed), held: Vec::new(), calls: Default::default() }
    }

    fn one_of(&mut self, count: u32) -> bool {
        self.hostile.random().random_range(0..count) == 0
    }

    /// One call, with what is around it.
    fn make(&mut self, number: u64) {
        let mode = ALL_MODES[self.hostile.random().random_range(0..ALL_MODES.len())];
        let record = self.hostile.record();
        let tag_bytes = &b"hdfs.var.log.a\0\xff"[..self.hostile.random().random_range(0..17)];
        let tag_at = self.guest.put(tag_bytes).unwrap();
        let record_at = self.guest.put(&record.bytes).unwrap();
        let (mut tag, mut given) = ((tag_at, tag_bytes.len() as u32), (record_at, record.bytes.len() as u32));
        if self.one_of(30) {
            let random = self.hostile.random();
            match random.random_range(0..5) {
                0 => tag = (u32::MAX - random.random_range(0..99), random.random()),
                1 => tag = (0, random.random()),
                2 => given = (0, random.random()),
                3 => given.1 = u32::MAX - random.random_range(0..9),
                _ => given.1 = random.random_range(0..=given.1),
            }
        }
        self.call(number, mode, tag, record.time, given);
        // Given back in another order than asked for.
        self.held.extend([tag_at, record_at]);
        while self.held.len() > self.hostile.random().random_range(0..4) {
            self.give_back();
        }
    }

    fn call(&mut self, number: u64, mode: Mode, tag: (u32, u32), time: (u32, u32), record: (u32, u32)) {
        let at = self.guest.call(mode, tag, time, record);
        let at = at.unwrap_or_else(|trap| panic!("call {number} in {mode:?}: {trap:?}"));
        let calls = &mut self.calls[mode as usize];
        let memory = self.guest.memory.data(&self.guest.store);
        let end = u64::from(record.0) + u64::from(record.1);
        if record.0 == 0 || end > memory.len() as u64 {
            calls.lost += 1;
        } else {
            calls.records += 1;
            calls.dropped += u64::from(at == 0);
        }
        if at != 0 && at != record.0 {
            let answer = self.guest.text(at).unwrap();
            let mut members = Members::of(answer.trim_ascii());
            let is_object = members.by_ref().count() > 0 && members.closed();
            // What is added to a broken record does not mend it.
            let given = memory.get(record.0 as usize..end as usize).unwrap_or_default();
            let is_broken = serde_json::from_slice::<Value>(given).is_err() && record.0 != 0;
            assert!(
                is_object || is_broken,
                "call {number} in {mode:?}: {}",
                String::from_utf8_lossy(&answer)
            );
        }
    }

    fn give_back(&mut self) {
        let at = self.hostile.random().random_range(0..self.held.len());
        let place = self.held.swap_remove(at);
        self.guest.free(place).unwrap();
    }

    /// Makes calls while it holds all the memory that it gets but for a little: large pieces, then smaller ones.
    fn squeeze(&mut self, number: u64) {
        let mut pieces = Vec::new();
        let little = self.guest.put(&[0; 20_000]).unwrap();
        for bytes in [16 << 20, 1 << 20, 60_000, 900] {
            let piece = vec![0; bytes];
            loop {
                let place = self.guest.put(&piece).unwrap();
                if place == 0 {
                    break;
                }
                pieces.push(place);
            }
        }
        self.guest.free(little).unwrap();
        for number in number..number + SQUEEZE_CALLS {
            self.make(number);
        }
        for place in pieces {
            self.guest.free(place).unwrap();
        }
    }

    /// The counts of a mode, from its summary, and what was called up to then.
    fn counts(&mut self, mode: Mode) -> (Value, Calls) {
        let configure = json!({ "blocksift": { "configure": { "summary_interval_s": 1 } } });
        let tick = json!({ "blocksift": { "tick": true } });
        let line = json!({ "log": "081109 203518 143 INFO dfs.X: a line" });
        // The clock believes a time that is far away when several agree, and what waits comes before.
        for second in 0..1_000_000_u32 {
            let text = match second {
                0 => configure.to_string(),
                1..9 => line.to_string(),
                _ => tick.to_string(),
            };
            let before = self.calls[mode as usize];
            let place = self.guest.put(text.as_bytes()).unwrap();
            let at =
                self.guest.call(mode, (0, 0), (START_S + second, 0), (place, text.len() as u32)).unwrap();
            self.calls[mode as usize].records += 1;
            self.calls[mode as usize].dropped += u64::from(at == 0);
            let answer = if at == 0 { Vec::new() } else { self.guest.text(at).unwrap() };
            self.guest.free(place).unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
            // One of an earlier moment may have waited.
            if let Some(summary) = answer["blocksift"].get("summary").filter(|_| second > 100) {
                return (summary.clone(), before);
            }
        }
        panic!("{mode:?} gives no summary");
    }
}

fn run(calls: u64, seed: u64) {
    let Some(path) = module() else { return };
    let mut caller = Caller::new(&path, seed);
    let mut number = 0;
    while number < calls {
        if number % SQUEEZE_EVERY == SQUEEZE_EVERY / 2 {
            caller.squeeze(number);
            number += SQUEEZE_CALLS;
        } else {
            caller.make(number);
            number += 1;
        }
        if number.is_multiple_of(TOLD_EVERY) {
            say(&format!("{number} calls, {:?}\n", caller.calls));
        }
    }
    for mode in ALL_MODES {
        let (summary, called) = caller.counts(mode);
        let count = |name: &str| summary[name].as_u64().unwrap();
        // A summary is made at the beginning of the call that it leaves with, whose record it counts but does not class.
        let near = |name: &str, expected: u64| {
            assert!(count(name).abs_diff(expected) <= 1, "{mode:?}: {called:?}, {summary}");
        };
        near("records", called.records);
        near("records_dropped", called.dropped);
        near("records_lost", called.lost);
        let classes =
            ["records_read", "records_unread", "records_beyond_nodes", "records_control"].map(count);
        near("records", classes.iter().sum());
        assert!(classes.iter().all(|&class| class > 0), "{mode:?}: {summary}");
    }
}

#[test]
fn no_call_traps() {
    run(CALLS, 23);
}

/// Those that the caller asks for.
fn calls_and_seed() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    (number(CALLS_VARIABLE).unwrap_or(CALLS_SOAK), number(SEED_VARIABLE).unwrap_or(1))
}

#[test]
#[ignore = "an hour; `cargo xtask soak soak_calls`"]
fn soak_calls_of_the_module() {
    let (calls, seed) = calls_and_seed();
    run(calls, seed);
}

#[test]
#[ignore = "minutes for each mode; `cargo xtask soak soak_calls_in_wamr`"]
fn soak_calls_in_wamr() {
    let Some(path) = module() else { return };
    let (calls, seed) = calls_and_seed();
    let calls = calls / WAMR_SHARE;
    for mode in ALL_MODES {
        let mut hostile = Hostile::new(seed + 1);
        match wamr_many(&path, mode, (0..calls).map(|_| hostile.record())) {
            Some((answers, measured)) => {
                assert_eq!(answers, calls);
                say(&format!("WAMR, {mode:?}: {calls} calls, {measured:?}\n"));
            }
            None => skip("WAMR was not built, see `cargo xtask soak`"),
        }
    }
}
