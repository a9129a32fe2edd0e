//! The same bytes in any chunks, alone or with the work shared, give the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blocksift_detector_fuzz::chunks(data));
