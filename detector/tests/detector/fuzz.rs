//! The checks that fuzzing runs, over choices and logs that proptest makes up: a few cases in every run, and about a
//! minute's worth of each where it is asked for (`cargo xtask test fuzz`). So many cases rather than so much time, since
//! tests do not look at the clock.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::checks;
use crate::log::{KINDS, Log};

/// Cases of a check in every run of the tests.
const CASES: u32 = 64;

/// Choices, then a log with a few faults in its bytes.
fn choices_and_log() -> impl Strategy<Value = Vec<u8>> {
    let choices = prop::collection::vec(any::<u8>(), 40);
    let records = prop::collection::vec((0..KINDS, any::<u32>()), 0..60);
    let faults = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (choices, records, faults).prop_map(|(mut bytes, records, faults)| {
        let mut log = Log::with(&records);
        for (at, byte) in faults.into_iter().filter(|_| !log.is_empty()).collect::<Vec<_>>() {
            let at = at.index(log.len());
            log[at] = byte;
        }
        bytes.extend(log);
        bytes
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..400)
}

/// Bytes that JSON is made of, among any others.
fn json_like() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\n",
            "null",
            "-1.5e3",
            " ",
            "\n",
            "\"message\":",
            "\"level\":\"INFO\"",
            "\"timeMillis\":1700000000000",
            "\"thrown\":{",
            "\"cause\":{",
            "{\"log\":\"",
            "\"time\":\"2024-05-06T07:08:09Z\"",
            "\"@timestamp\":",
            "\"instant\":{\"epochSecond\":1",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
        "\\PC{0,8}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

fn run(cases: u32, strategy: &impl Strategy<Value = Vec<u8>>, check: fn(&[u8])) {
    let config = Config { cases, source_file: Some(file!()), ..Config::default() };
    let checked = TestRunner::new(config).run(strategy, |data| {
        check(&data);
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

/// A short and a long test of a check over inputs of one kind.
macro_rules! checks {
    ($($name:ident: $check:path, $strategy:expr, $long:literal;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn short() {
                run(CASES, &$strategy, $check);
            }

            #[test]
            #[ignore = "takes about a minute; `cargo xtask test fuzz` runs it"]
            fn long() {
                run($long, &$strategy, $check);
            }
        }
    )*};
}

checks! {
    lines: checks::lines, prop_oneof![4 => choices_and_log(), 1 => any_bytes()], 80_000;
    chunks: checks::chunks, prop_oneof![9 => choices_and_log(), 1 => any_bytes()], 8_000;
    json_heads: checks::json_heads, prop_oneof![json_like(), any_bytes()], 60_000;
    snapshots: checks::snapshots, choices_and_log(), 30_000;
    model_metadata: checks::model_metadata, prop_oneof![json_like(), any_bytes()], 250_000;
}
