//! Snapshots: whole ones and faulty ones.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blocksift_detector_fuzz::snapshots(data));
