//! blocksift as a WASM filter: the detector inside log pipelines that people already run.
//!
//! It will export the filter call of Fluent Bit (one record in, at most one record out, as JSON), pass every record on
//! unchanged whatever happens, and add flagged sessions to the stream. The tag, the record and the answer will cross the
//! border in one file, `abi.rs`. So far it says which version and which model files it goes with, and with the feature
//! `check` it exports the detector as it is, so that a test can compare its reports with those of a native one.

#[cfg(feature = "check")]
pub mod abi;
#[cfg(feature = "check")]
pub mod check;

/// Version of the plugin and of the model files that it reads, as `<version> (model format <format>)`.
#[must_use]
pub fn version() -> String {
    format!("{} (model format {})", env!("CARGO_PKG_VERSION"), blocksift_detector::model::FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_names_plugin_and_model_format() {
        let format = format!("(model format {})", blocksift_detector::model::FORMAT);
        assert!(version().starts_with(env!("CARGO_PKG_VERSION")));
        assert!(version().ends_with(&format));
    }
}
