//! The `wasm` processor of Redpanda Connect and Bento, which both have it from Benthos: a function without arguments for
//! each message, which is had by calling the host and changed by calling it again. There is no call that drops a message: one
//! that is dropped is left empty, for a mapping behind the processor to delete. Nor does the host tell the time: metadata of
//! the message does.

use std::cell::Cell;

use super::MODEL;
use super::memory::{ask, bytes, give_back};
use crate::filter::Mode;
use crate::host::{Host, Reply};
use crate::record::Time;

/// Metadata: ms since 1970 of a message, in decimal.
const TIME_KEY: &str = "blocksift_time_ms";
/// Metadata: where a message came from.
const TAG_KEY: &str = "blocksift_tag";
/// What `malloc` gives if there is no memory: nowhere, so that the host fails to write there. It would take 0 for a place.
const NOWHERE: *mut u8 = usize::MAX as *mut u8;

thread_local! {
    static HOST: Cell<Option<Box<Host>>> = const { Cell::new(None) };
}

#[cfg_attr(feature = "redpanda-connect", link(wasm_import_module = "benthos_wasm"))]
#[cfg_attr(not(feature = "redpanda-connect"), link(wasm_import_module = "bento_wasm"))]
// SAFETY: declared as the host defines them. It checks what it is given against our memory, writes only into pieces that it
// asked for, and gives those back itself.
unsafe extern "C" {
    /// The message: its place in the high half, its length in the low one; 0 if the host could not hand it over.
    safe fn v0_msg_as_bytes() -> u64;
    safe fn v0_msg_set_bytes(content: *const u8, len: u32);
    /// A value of the metadata, as above; empty where there is none.
    safe fn v0_msg_get_meta(key: *const u8, key_len: u32) -> u64;
}

/// Every message passes, with block and template; verdicts ride along.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn blocksift_annotate() {
    take(Mode::Annotate);
}

/// Messages of the log are left empty; reports and summaries leave in their place.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn blocksift_flagged() {
    take(Mode::Flagged);
}

/// Every message passes; reports and summaries ride along.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn blocksift_shadow() {
    take(Mode::Shadow);
}

fn take(mode: Mode) {
    let mut host = HOST.take().unwrap_or_else(|| Box::new(Host::new(MODEL)));
    if let Some(message) = handed_over(v0_msg_as_bytes()) {
        let time = metadata(TIME_KEY).and_then(|time| std::str::from_utf8(time).ok()?.parse().ok());
        let tag = metadata(TAG_KEY).unwrap_or_default();
        match host.take_at(mode, tag, Time::Came(time.unwrap_or(0)), message) {
            Reply::Unchanged => {}
            Reply::Dropped => v0_msg_set_bytes(message.as_ptr(), 0),
            Reply::Text(text) => {
                let text = text.strip_suffix(b"\0").unwrap_or(text);
                v0_msg_set_bytes(text.as_ptr(), u32::try_from(text.len()).unwrap_or(0));
            }
        }
    } else {
        // The host has marked it as failed, and it passes.
        host.lost(mode, 0);
    }
    HOST.set(Some(host));
}

fn metadata<'a>(key: &str) -> Option<&'a [u8]> {
    handed_over(v0_msg_get_meta(key.as_ptr(), u32::try_from(key.len()).unwrap_or(0)))
}

/// What the host put into our memory; it is there until we return.
fn handed_over<'a>(place_and_len: u64) -> Option<&'a [u8]> {
    let place = usize::try_from(place_and_len >> 32).ok()?;
    let len = u32::try_from(place_and_len & u64::from(u32::MAX)).ok()?;
    bytes((place as *const u8, len))
}

/// Memory for the host, which puts messages and metadata there.
// SAFETY: no other symbol has this name: without an operating system there is no C library.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(len: u32) -> *mut u8 {
    ask(len).unwrap_or(NOWHERE)
}

/// Takes memory back that [`malloc`] gave.
// SAFETY: no other symbol has this name, as above.
#[unsafe(no_mangle)]
pub extern "C" fn free(place: *mut u8) {
    give_back(place);
}
