//! Tests of filters, written as text.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Memory with room for texts from 1024 on.
const MEMORY: &str = r#"(memory (export "memory") 1)"#;
/// Type and name of a filter.
const FILTER: &str = r#"(func (export "filter") (param $tag i32) (param $tag_len i32) (param $sec i32) (param $nsec i32)
    (param $record i32) (param $len i32) (result i32)"#;

struct Loaded {
    filters: Filters,
    _folder: TempDir,
}

fn load_with(
    modules: &[&str],
    function: Option<&str>,
    memory_bytes_max: usize,
) -> Result<Loaded, FilterError> {
    let folder = TempDir::new().unwrap();
    let configured: Vec<config::Filter> = (0..)
        .zip(modules)
        .map(|(number, module)| {
            let wasm = folder.path().join(format!("{number}.wasm"));
            // What cannot be translated is written as it is.
            fs::write(&wasm, wat::parse_str(module).unwrap_or_else(|_| module.as_bytes().to_vec())).unwrap();
            config::Filter {
                wasm,
                function: function.map(str::to_owned),
                fuel_max: 1_000_000,
                memory_bytes_max,
            }
        })
        .collect();
    Filters::load(&configured).map(|filters| Loaded { filters, _folder: folder })
}

fn load(body: &str) -> Loaded {
    load_with(&[&module(body)], None, 16 << 20).unwrap()
}

fn module(body: &str) -> String {
    format!("(module {MEMORY} {FILTER} {body}))")
}

fn record() -> Record {
    let Value::Object(record) =
        json!({"block": "blk_-1", "score": 0.5, "line": "a \"quoted\" \u{fffd} line"})
    else {
        unreachable!()
    };
    record
}

/// Answers with a text of its own.
fn saying(text: &str) -> String {
    let text = text.replace('"', "\\22");
    format!(r#"(module {MEMORY} (data (i32.const 1024) "{text}\00") {FILTER} (i32.const 1024)))"#)
}

#[test]
fn what_a_filter_answers_is_shipped() {
    let mut loaded = load("(local.get $record)");
    assert_eq!(loaded.filters.apply(record(), 1), Some(record()));
    let mut renamed = load_with(&[&saying(r#"{"id":"blk_-1"}"#)], None, 1 << 20).unwrap();
    let Value::Object(expected) = json!({"id": "blk_-1"}) else { unreachable!() };
    assert_eq!(renamed.filters.apply(record(), 1), Some(expected));
    assert_eq!(renamed.filters.counts(), Counts::default());
}

/// Renames the first field that a record begins with, `{"block"`, by writing into the record.
#[test]
fn a_filter_can_rename_a_field_in_place() {
    let body = r"(i32.store8 (i32.add (local.get $record) (i32.const 2)) (i32.const 66)) (local.get $record)";
    let answer = load(body).filters.apply(record(), 1).unwrap();
    assert_eq!(answer["Block"], "blk_-1");
    assert!(!answer.contains_key("block") && answer["line"] == record()["line"]);
}

#[test]
fn a_filter_sees_tag_time_and_lengths() {
    // NULL unless everything is as expected.
    let body = r"(i32.and (i32.and
        (i32.eq (i32.load8_u (local.get $tag)) (i32.const 98))
        (i32.eq (i32.load8_u (i32.add (local.get $tag) (local.get $tag_len))) (i32.const 0)))
      (i32.and (i32.eq (local.get $sec) (i32.const 1700000000)) (i32.eq (local.get $nsec) (i32.const 5))))
      (if (result i32) (then (local.get $record)) (else (i32.const 0)))";
    assert_eq!(load(body).filters.apply(record(), 1_700_000_000_000_000_005), Some(record()));
}

#[test]
fn null_and_nothing_drop_the_record() {
    for filter in [module("(i32.const 0)"), saying("")] {
        let mut loaded = load_with(&[&filter], None, 1 << 20).unwrap();
        assert_eq!(loaded.filters.apply(record(), 1), None);
        assert_eq!(loaded.filters.counts(), Counts { dropped: 1, ..Counts::default() });
    }
}

#[test]
fn a_filter_that_traps_or_never_ends_passes_the_record_on_and_is_counted() {
    let looping = load("(loop (br 0)) (i32.const 0)");
    let trapping = load("unreachable");
    let outside = load("(i32.load (i32.const 100000000))");
    let beyond = load("(i32.const -5)");
    let expected = [
        Counts { out_of_fuel: 2, ..Counts::default() },
        Counts { trapped: 2, ..Counts::default() },
        Counts { trapped: 2, ..Counts::default() },
        Counts { trapped: 2, ..Counts::default() },
    ];
    for (mut loaded, expected) in [looping, trapping, outside, beyond].into_iter().zip(expected) {
        for _ in 0..2 {
            assert_eq!(loaded.filters.apply(record(), 1), Some(record()));
        }
        assert_eq!(loaded.filters.counts(), expected);
    }
}

#[test]
fn answers_that_are_no_object_pass_the_record_on_and_are_counted() {
    for answer in ["[1]", "{", "\\ff"] {
        let mut loaded = load_with(&[&saying(answer)], None, 1 << 20).unwrap();
        assert_eq!(loaded.filters.apply(record(), 1), Some(record()));
        assert_eq!(loaded.filters.counts(), Counts { bad_answers: 1, ..Counts::default() });
    }
}

#[test]
fn a_filter_gets_no_more_memory_than_it_may_have() {
    // Asks for 1,000 pages and answers with the record only if it got none.
    let body = r"(i32.eq (memory.grow (i32.const 1000)) (i32.const -1))
        (if (result i32) (then (local.get $record)) (else (i32.const 0)))";
    let mut loaded = load_with(&[&module(body)], None, 1 << 20).unwrap();
    assert_eq!(loaded.filters.apply(record(), 1), Some(record()));
    assert_eq!(loaded.filters.counts(), Counts::default());
    // A record for which there is no room passes unchanged.
    let mut large = record();
    large.insert("line".to_owned(), Value::String("x".repeat(2 << 20)));
    assert_eq!(loaded.filters.apply(large.clone(), 1), Some(large));
    assert_eq!(loaded.filters.counts().trapped, 1);
}

/// Drops every second record, and traps when it meets a score below zero.
const COUNTING: &str = r#"(module (memory (export "memory") 2) (global $seen (mut i32) (i32.const 0))
    (global $top (mut i32) (i32.const 65536)) (global $freed (mut i32) (i32.const 0))
    (func (export "malloc") (param i32) (result i32) (global.get $top))
    (func (export "free") (param i32) (global.set $freed (i32.add (global.get $freed) (i32.const 1))))
    (func (export "other") (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $freed))
    (func (export "count") (param i32 i32 i32 i32 i32 i32) (result i32)
      (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
      (if (i32.eqz (local.get 2)) (then unreachable))
      (if (result i32) (i32.and (global.get $seen) (i32.const 1)) (then (local.get 4)) (else (i32.const 0)))))"#;

#[test]
fn a_filter_keeps_its_state_until_it_traps() {
    let mut loaded = load_with(&[COUNTING], Some("count"), 1 << 20).unwrap();
    let second = 1_000_000_000;
    let passes: Vec<bool> = (0..4).map(|_| loaded.filters.apply(record(), second).is_some()).collect();
    assert_eq!(passes, [true, false, true, false]);
    assert!(loaded.filters.apply(record(), second).is_some());
    // Before 1970-01-01T00:00:01 it traps, and begins anew: the next record is its first again.
    assert!(loaded.filters.apply(record(), 0).is_some());
    assert!(loaded.filters.apply(record(), second).is_some());
    assert_eq!(loaded.filters.counts(), Counts { dropped: 2, trapped: 1, ..Counts::default() });
}

#[test]
fn filters_stand_in_a_row() {
    let mut loaded =
        load_with(&[&saying(r#"{"a":1}"#), &module("(local.get $record)")], None, 1 << 20).unwrap();
    assert_eq!(loaded.filters.apply(record(), 1).unwrap()["a"], 1);
    assert!(Filters::load(&[]).unwrap().is_empty());
}

#[test]
fn a_module_that_cannot_be_used_is_refused_with_its_reason() {
    let importing = r#"(module (import "env" "x" (func $x)) (memory (export "memory") 1)
        (func (export "f") (param i32 i32 i32 i32 i32 i32) (result i32) (call $x) (local.get 4)))"#;
    let mut loaded = load_with(&[importing], None, 1 << 20).unwrap();
    assert_eq!(loaded.filters.apply(record(), 1), Some(record()));
    assert_eq!(loaded.filters.counts().trapped, 1);
    for (module, function, reason) in [
        ("(module)", None, "exports no function"),
        ("(nonsense", None, "no WASM module"),
        (COUNTING, None, "several filters"),
        (COUNTING, Some("free"), "cannot be started"),
        (&format!("(module {FILTER} (i32.const 0)))"), None, "exports no memory"),
    ] {
        let error = load_with(&[module], function, 1 << 20).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("0.wasm"), "{error}");
    }
    let absent =
        config::Filter { wasm: "/nonexistent.wasm".into(), function: None, fuel_max: 1, memory_bytes_max: 1 };
    assert!(Filters::load(&[absent]).unwrap_err().to_string().contains("/nonexistent.wasm"));
}
