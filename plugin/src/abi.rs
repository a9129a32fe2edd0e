//! The border of the module, and the only place of this crate that may be unsafe: Fluent Bit's filter call, once per
//! mode. The host copies tag and record into our memory, calls, and copies the answer, a text that a NUL ends; NULL
//! drops the record. It frees nothing of ours, so answers lie in one buffer that the next call uses again.
//!
//! The state is taken out for each call and put back after it, so a call that traps leaves none, and the next one
//! begins anew. Pointers are checked against the memory there is.
#![expect(unsafe_code, reason = "hosts speak in pointers")]

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::ptr::{null, null_mut};

use crate::filter::Mode;
use crate::host::{Host, Reply};

/// The model that the module carries; `cargo xtask plugin --model` names another.
const MODEL: &[u8] = include_bytes!(env!("BLOCKSIFT_PLUGIN_MODEL"));
const PAGE_BYTES: usize = 65_536;
/// Bytes of one piece of memory that a host may ask for. What the filter itself takes fits beside the largest.
const ROOM_BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// Bytes of a piece that is kept for the next record, enough for most.
const KEPT_BYTES: usize = 1_024;
/// Room in front of a piece for its length; also its alignment, the largest that costs the allocator nothing.
const HEAD_BYTES: usize = 8;

thread_local! {
    static HOST: Cell<Option<Box<Host>>> = const { Cell::new(None) };
    /// Pieces of memory that wait for the next record: the host asks for two with each.
    static KEPT: [Cell<*mut u8>; 2] = const { [const { Cell::new(null_mut()) }; 2] };
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

/// What the host wrote; `None` for NULL, and for what is not all in our memory.
fn bytes<'a>((start, len): (*const u8, u32)) -> Option<&'a [u8]> {
    let memory = core::arch::wasm32::memory_size(0) * PAGE_BYTES;
    let len = len as usize;
    let end = (start as usize).checked_add(len)?;
    if start.is_null() || end > memory {
        return None;
    }
    // SAFETY: the range is in our memory, where every byte has a value, and nothing writes there before we return: the
    // host waits for us, and the place is not one of our own pieces of memory, or a host wrote over them long before.
    Some(unsafe { std::slice::from_raw_parts(start, len) })
}

/// Memory for the host, which puts tag and record there; NULL if there is none.
// SAFETY: no other symbol has this name: without an operating system there is no C library.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(len: u32) -> *mut u8 {
    let len = len as usize;
    if len <= KEPT_BYTES
        && let Some(kept) = kept()
    {
        return kept;
    }
    // Small pieces are all alike, so that each fits where another was.
    let layout = layout(len.max(KEPT_BYTES)).filter(|_| len <= ROOM_BYTES_MAX);
    let Some(layout) = layout else { return null_mut() };
    // SAFETY: the layout has a size, that of its head at least.
    let start = unsafe { alloc(layout) };
    if start.is_null() {
        return start;
    }
    // SAFETY: the piece has room for its head, and is aligned for more than a length.
    unsafe {
        start.cast::<usize>().write(len.max(KEPT_BYTES));
        start.add(HEAD_BYTES)
    }
}

/// Takes memory back that [`malloc`] gave.
// SAFETY: no other symbol has this name, as above.
#[unsafe(no_mangle)]
pub extern "C" fn free(place: *mut u8) {
    if place.is_null() {
        return;
    }
    // SAFETY: the host gives back what it got from `malloc`, which has a head with its length in front.
    unsafe {
        let start = place.sub(HEAD_BYTES);
        let len = start.cast::<usize>().read();
        if len == KEPT_BYTES && keep(place) {
            return;
        }
        if let Some(layout) = layout(len) {
            dealloc(start, layout);
        }
    }
}

/// A piece that was kept, which is kept no longer.
fn kept() -> Option<*mut u8> {
    KEPT.with(|kept| kept.iter().map(|place| place.replace(null_mut())).find(|place| !place.is_null()))
}

/// Keeps a piece of [`KEPT_BYTES`]; `false` where enough are kept.
fn keep(place: *mut u8) -> bool {
    KEPT.with(|kept| {
        let empty = kept.iter().find(|kept| kept.get().is_null());
        empty.map(|kept| kept.set(place)).is_some()
    })
}

fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.checked_add(HEAD_BYTES)?, HEAD_BYTES).ok()
}
