//! Metadata of model files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blocksift_detector_fuzz::model_metadata(data));
