//! Any bytes in any chunks, with whatever else a caller may do between them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blocksift_detector_fuzz::lines(data));
