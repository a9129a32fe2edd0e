//! Fluent Bit's filter call, once per mode. The host copies tag and record into our memory, calls, and copies the answer,
//! a text that a NUL ends; NULL drops the record. It frees nothing of ours, so answers lie in one buffer that the next
//! call uses again.

use std::cell::Cell;
use std::ptr::{null, null_mut};

use super::MODEL;
use super::memory::{ask, bytes, give_back};
use crate::filter::Mode;
use crate::host::{Host, Reply};

thread_local! {
    static HOST: Cell<Option<Box<Host>>> = const { Cell::new(None) };
}

/// Every record passes, with block and template; verdicts ride along.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn blocksift_annotate(
    tag: *const u8,
    tag_len: u32,
    seconds: u32,
    nanoseconds: u32,
    record: *const u8,
    record_len: u32,
) -> *const u8 {
    take(Mode::Annotate, (tag, tag_len), (seconds, nanoseconds), (record, record_len))
}

/// Records of the log are dropped; reports and summaries leave in their place.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn blocksift_flagged(
    tag: *const u8,
    tag_len: u32,
    seconds: u32,
    nanoseconds: u32,
    record: *const u8,
    record_len: u32,
) -> *const u8 {
    take(Mode::Flagged, (tag, tag_len), (seconds, nanoseconds), (record, record_len))
}

/// Every record passes; reports and summaries ride along.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn blocksift_shadow(
    tag: *const u8,
    tag_len: u32,
    seconds: u32,
    nanoseconds: u32,
    record: *const u8,
    record_len: u32,
) -> *const u8 {
    take(Mode::Shadow, (tag, tag_len), (seconds, nanoseconds), (record, record_len))
}

fn take(mode: Mode, tag: (*const u8, u32), time: (u32, u32), record: (*const u8, u32)) -> *const u8 {
    let mut host = HOST.take().unwrap_or_else(|| Box::new(Host::new(MODEL)));
    let reply = match bytes(record) {
        Some(record) => host.take(mode, bytes(tag).unwrap_or_default(), time, record),
        None => host.lost(mode, record.1),
    };
    let answer = match reply {
        Reply::Unchanged => record.0,
        Reply::Dropped => null(),
        Reply::Text(text) => text.as_ptr(),
    };
    HOST.set(Some(host));
    answer
}

/// Memory for the host, which puts tag and record there; NULL if there is none.
// SAFETY: no other symbol has this name: without an operating system there is no C library.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(len: u32) -> *mut u8 {
    ask(len).unwrap_or(null_mut())
}

/// Takes memory back that [`malloc`] gave.
// SAFETY: no other symbol has this name, as above.
#[unsafe(no_mangle)]
pub extern "C" fn free(place: *mut u8) {
    give_back(place);
}
