//! The checks of the detector's tests, for the fuzz targets.

#[path = "../../tests/detector/checks/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
mod checks;

/// Any bytes in any chunks, with whatever else a caller may do between them.
pub fn lines(data: &[u8]) {
    checks::lines(data);
}

/// The same bytes in any chunks, alone or with the work shared, give the same.
pub fn chunks(data: &[u8]) {
    checks::chunks(data);
}

/// JSON lines: any bytes, and what a JSON writer wrote.
pub fn json_heads(data: &[u8]) {
    checks::json_heads(data);
}

/// Snapshots: whole ones and faulty ones.
pub fn snapshots(data: &[u8]) {
    checks::snapshots(data);
}

/// Metadata of model files.
pub fn model_metadata(data: &[u8]) {
    checks::model_metadata(data);
}
