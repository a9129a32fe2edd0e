//! The border of the module: what a host calls, and the only place of this crate that may be unsafe. Here it is so only
//! in that it names its exports: no pointer of the host's is followed. The host asks for room, writes there, and says
//! what to do with it; answers lie where [`check_answer`] says until the next call.
//!
//! The state is taken out for each call and put back after it. A call that traps leaves none, and later ones say so.
#![expect(unsafe_code, reason = "an export is an attribute that is called unsafe")]

use std::cell::Cell;

use crate::check::Check;

/// What a call says that could not do its work.
const FAILED: i32 = -1;

thread_local! {
    static CHECK: Cell<Option<Box<Check>>> = const { Cell::new(None) };
}

/// Starts anew. `0`, or `-1` if the embedded model cannot be used.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn check_start() -> i32 {
    let Ok(check) = Check::new() else { return FAILED };
    CHECK.set(Some(Box::new(check)));
    0
}

/// Room for `len` bytes that the host writes before it calls [`check_push`]; null if there is none.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn check_room(len: u32) -> *mut u8 {
    with(std::ptr::null_mut(), |check| check.room(len).as_mut_ptr())
}

/// Pushes what the host wrote as the bytes of a file at an offset.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn check_push(file: u32, offset: u64) -> i32 {
    with(FAILED, |check| {
        check.push(file, offset);
        0
    })
}

/// Tells the time.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn check_tick(now_ms: i64) -> i32 {
    with(FAILED, |check| {
        check.tick(now_ms);
        0
    })
}

/// Ends a file.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn check_end_of_file(file: u32) -> i32 {
    with(FAILED, |check| {
        check.end_of_file(file);
        0
    })
}

/// Scores what is left, and makes the answer: how many bytes it has, or `-1`.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn check_finish() -> i32 {
    with(FAILED, |check| check.finish().ok().and_then(|len| i32::try_from(len).ok()).unwrap_or(FAILED))
}

/// Where the answer lies.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn check_answer() -> *const u8 {
    with(std::ptr::null(), |check| check.answer().as_ptr())
}

fn with<T>(otherwise: T, work: impl FnOnce(&mut Check) -> T) -> T {
    let Some(mut check) = CHECK.take() else { return otherwise };
    let result = work(&mut check);
    CHECK.set(Some(check));
    result
}
