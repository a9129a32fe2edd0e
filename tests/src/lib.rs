//! What the end-to-end tests and `cargo xtask demo` share: the log [`simulate`], a real cluster
//! ([`hdfs`]) and the children they run
//! ([`process`], [`http`], [`binaries`], [`maven`], [`wasm`], [`plugin_host`]). Depends on no other crate of the workspace, so that `xtask`
//! compiles fast.
#![allow(clippy::missing_errors_doc, reason = "errors here are plain I/O errors of test set-ups")]

pub mod binaries;
pub mod hdfs;
pub mod http;
pub mod maven;
pub mod plugin_host;
pub mod process;
pub mod simulate;
pub mod wasm;
