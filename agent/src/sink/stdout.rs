//! Standard output. What was written there counts as delivered: who reads a pipe has to keep it.

use std::io::{self, Write};

/// Writes all of `bytes`.
///
/// # Errors
/// [`io::ErrorKind::BrokenPipe`] when the reader is gone, others as the system has them.
pub(super) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
