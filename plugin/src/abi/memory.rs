//! Memory that a host asks for and gives back, to put there what it hands over.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::ptr::null_mut;

const PAGE_BYTES: usize = 65_536;
/// Bytes that a host may hold at a time. What the filter itself takes fits beside them, so no host can starve it.
const HELD_BYTES_MAX: usize = 33 * 1_024 * 1_024;
/// Bytes of a piece that is kept for the next record, enough for most.
const KEPT_BYTES: usize = 1_024;
/// Room in front of a piece for its length; also its alignment, the largest that costs the allocator nothing.
const HEAD_BYTES: usize = 8;

thread_local! {
    /// Bytes that the host holds, and those of the pieces that are kept.
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// Pieces of memory that wait for the next record: the host asks for two with each.
    static KEPT: [Cell<*mut u8>; 2] = const { [const { Cell::new(null_mut()) }; 2] };
}

/// What the host wrote; `None` for NULL, and for what is not all in our memory.
pub(super) fn bytes<'a>((start, len): (*const u8, u32)) -> Option<&'a [u8]> {
    let len = len as usize;
    let end = (start as usize).checked_add(len)?;
    if start.is_null() || end > memory_bytes() {
        return None;
    }
    // SAFETY: the range is in our memory, where every byte has a value, and nothing writes there before we return: the
    // host waits for us, and the place is not one of our own pieces of memory, or a host wrote over them long before.
    Some(unsafe { std::slice::from_raw_parts(start, len) })
}

fn memory_bytes() -> usize {
    core::arch::wasm32::memory_size(0) * PAGE_BYTES
}

/// A piece of memory for the host; `None` if there is none.
pub(super) fn ask(len: u32) -> Option<*mut u8> {
    let len = (len as usize).max(KEPT_BYTES);
    if len == KEPT_BYTES
        && let Some(kept) = kept()
    {
        return Some(kept);
    }
    // Small pieces are all alike, so that each fits where another was.
    let held = HELD.get().checked_add(len).filter(|held| *held <= HELD_BYTES_MAX)?;
    let layout = layout(len)?;
    // SAFETY: the layout has a size, that of its head at least.
    let start = unsafe { alloc(layout) };
    if start.is_null() {
        return None;
    }
    HELD.set(held);
    // SAFETY: the piece has room for its head, and is aligned for more than a length.
    unsafe {
        start.cast::<usize>().write(len);
        Some(start.add(HEAD_BYTES))
    }
}

/// Takes a piece back that [`ask`] gave; what is nowhere in memory is none.
pub(super) fn give_back(place: *mut u8) {
    if place.is_null() || place as usize >= memory_bytes() {
        return;
    }
    // SAFETY: the host gives back what it got from `ask`, which has a head with its length in front.
    unsafe {
        let start = place.sub(HEAD_BYTES);
        let len = start.cast::<usize>().read();
        if len == KEPT_BYTES && keep(place) {
            return;
        }
        if let Some(layout) = layout(len) {
            HELD.set(HELD.get().saturating_sub(len));
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
