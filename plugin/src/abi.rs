//! The border of the module, and with the files below the only place of this crate that may be unsafe. A module is made for
//! one kind of host, which a feature of this crate names; `cargo xtask plugin --host` does.
//!
//! The state is taken out for each call and put back after it, so a call that traps leaves none, and the next one
//! begins anew. Pointers are checked against the memory there is.
#![expect(unsafe_code, reason = "hosts speak in pointers")]

#[cfg(any(feature = "redpanda-connect", feature = "bento"))]
pub mod benthos;
#[cfg(feature = "fluent-bit")]
pub mod fluent_bit;
#[cfg(not(feature = "otelwasm"))]
mod memory;
#[cfg(feature = "otelwasm")]
pub mod otelwasm;

/// The model that the module carries; `cargo xtask plugin --model` names another.
const MODEL: &[u8] = include_bytes!(env!("BLOCKSIFT_PLUGIN_MODEL"));
