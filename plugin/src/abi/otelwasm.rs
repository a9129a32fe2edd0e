//! The `wasm` processor of otelwasm, in an OpenTelemetry Collector: one call for each batch of logs, which is had in OTLP's
//! binary form by calling the host, as is the configuration, and given back by calling it again.

use std::cell::Cell;

use super::MODEL;
use crate::otlp::Logs;

/// Of logs among the kinds of telemetry.
const LOGS: u32 = 1 << 1;
/// What a call comes to.
const OK: u32 = 0;
const ERROR: u32 = 1;
/// Bytes of room for a batch: at first, and at most. The host does not say how large one is, only that it is too large.
const ROOM_BYTES: usize = 256 * 1_024;
const ROOM_BYTES_MAX: usize = 8 * 1_024 * 1_024;

thread_local! {
    static STATE: Cell<Option<Box<State>>> = const { Cell::new(None) };
}

struct State {
    /// `Err` if the configuration cannot be used.
    logs: Result<Logs, String>,
    given: Vec<u8>,
    made: Vec<u8>,
}

#[link(wasm_import_module = "opentelemetry.io/wasm")]
// SAFETY: declared as the host defines them.
unsafe extern "C" {
    /// Writes the batch if the room is enough for it; its length, or 0.
    #[link_name = "currentLogs"]
    fn current_logs(room: *mut u8, room_len: u32) -> u32;
    /// Writes the configuration, likewise.
    #[link_name = "getPluginConfig"]
    fn plugin_config(room: *mut u8, room_len: u32) -> u32;
    #[link_name = "setResultLogs"]
    safe fn set_result_logs(logs: *const u8, len: u32);
    #[link_name = "setResultStatusReason"]
    safe fn set_result_status_reason(reason: *const u8, len: u32);
}

/// What can be processed: logs alone.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn getSupportedTelemetry() -> u32 {
    LOGS
}

/// Processes a batch. An error refuses it, and none of it was taken.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub extern "C" fn processLogs() -> u32 {
    let mut state = STATE.take().unwrap_or_else(|| Box::new(State::new()));
    let outcome = state.process();
    STATE.set(Some(state));
    let Err(reason) = outcome else { return OK };
    set_result_status_reason(reason.as_ptr(), u32::try_from(reason.len()).unwrap_or(0));
    ERROR
}

impl State {
    fn new() -> Self {
        let mut given = Vec::new();
        // Without a configuration there is nothing to be had.
        let logs = match fetch(plugin_config, &mut given) {
            Some(config) => Logs::new(MODEL, config),
            None => Logs::new(MODEL, b"{}"),
        };
        Self { logs, given: Vec::new(), made: Vec::new() }
    }

    fn process(&mut self) -> Result<(), String> {
        let logs = self.logs.as_mut().map_err(|reason| reason.clone())?;
        let Some(batch) = fetch(current_logs, &mut self.given) else {
            self.given = Vec::new();
            return Err(format!("the batch is empty or larger than {ROOM_BYTES_MAX} bytes"));
        };
        logs.take(batch, &mut self.made).map_err(|error| error.to_string())?;
        set_result_logs(self.made.as_ptr(), u32::try_from(self.made.len()).unwrap_or(0));
        Ok(())
    }
}

/// What the host has, in a room that is made larger until it is enough; `None` for nothing, and for too much.
fn fetch(from: unsafe extern "C" fn(*mut u8, u32) -> u32, room: &mut Vec<u8>) -> Option<&[u8]> {
    if room.is_empty() {
        room.resize(ROOM_BYTES, 0);
    }
    loop {
        let room_len = u32::try_from(room.len()).ok()?;
        // SAFETY: the host writes no more than there is room for.
        let len = unsafe { from(room.as_mut_ptr(), room_len) };
        if len > 0 {
            return room.get(..usize::try_from(len).ok()?);
        }
        let further = room.len();
        if further * 2 > ROOM_BYTES_MAX || room.try_reserve_exact(further).is_err() {
            return None;
        }
        room.resize(further * 2, 0);
    }
}
