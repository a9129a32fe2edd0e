//! `[[filter]]`: WASM filters in front of shipping.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::raw::Key;
use super::{Check, MIB};

/// A checked `[[filter]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Path of the module.
    pub(crate) wasm: PathBuf,
    /// Function to call; `None` is the only one of the right type.
    pub(crate) function: Option<String>,
    /// Instructions, roughly, that one record may take.
    pub(crate) fuel_max: u64,
    /// Bytes of the module's memory.
    pub(crate) memory_bytes_max: usize,
}

/// `[[filter]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFilter {
    /// Path of a WASM module with Fluent Bit's filter interface. Required.
    wasm: Spanned<String>,
    /// Function of the module that filters. Default: the only one of the right type.
    function: Key<String>,
    /// Fuel for one record, about one unit an instruction; a filter that needs more is stopped, and the record passes
    /// unchanged. 1000 to 10000000000, default 100000000: a few tenths of a second.
    fuel_max: Key<u64>,
    /// Bytes of memory that the module may have; what asks for more gets none. 64 KiB to 4 GiB, default 16 MiB.
    memory_bytes_max: Key<u64>,
}

impl Check {
    pub(super) fn filters(&mut self, raw: Vec<RawFilter>) -> Vec<Filter> {
        raw.into_iter().map(|raw| self.filter(raw)).collect()
    }

    fn filter(&mut self, raw: RawFilter) -> Filter {
        Filter {
            wasm: raw.wasm.into_inner().into(),
            function: raw.function.map(Spanned::into_inner),
            fuel_max: self.number("fuel_max", raw.fuel_max, 100_000_000, 1_000..=10_000_000_000),
            memory_bytes_max: self.count(
                "memory_bytes_max",
                raw.memory_bytes_max,
                16 * MIB,
                MIB / 16..=4_096 * MIB,
            ),
        }
    }
}
