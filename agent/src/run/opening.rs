//! Opening the store at the start. While its disk is full, read-only or gives errors, the agent waits, as it does when that
//! happens later: the log files are the buffer.

use std::path::Path;
use std::time::Duration;

use tracing::{error, info};

use super::signals::Signals;
use crate::notify;
use crate::ship::{BACKOFF_MIN, Backoff, chain};
use crate::state::{Restored, StateError, Store};

/// Longest time between two tries, and so how late it is seen that the disk can be written.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// The store in `directory` and what it remembers; `None` if the agent was told to stop before it could be opened.
///
/// # Errors
/// What waiting does not help against.
pub(super) async fn open_store(
    directory: &Path,
    signals: &mut Signals,
) -> Result<Option<(Store, Restored)>, StateError> {
    let mut backoff = Backoff::new(BACKOFF_MIN, PAUSE_MAX);
    loop {
        match Store::open(directory) {
            Ok(opened) => {
                if backoff.failed() {
                    info!("store can be opened: the agent starts");
                }
                return Ok(Some(opened));
            }
            Err(error) if error.is_of_disk() => {
                if !backoff.failed() {
                    error!(
                        error = chain(&error),
                        "store cannot be opened: no lines are read until it can be, which is tried again"
                    );
                }
                notify::waiting("waits for the disk of its store", 3 * PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = signals.stop() => return Ok(None),
            () = tokio::time::sleep(backoff.next(None)) => {}
        }
    }
}
