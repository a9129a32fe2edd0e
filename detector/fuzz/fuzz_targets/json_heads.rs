//! JSON lines: any bytes, and what a JSON writer wrote.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blocksift_detector_fuzz::json_heads(data));
