//! Lines from standard input. Nobody can be told that a line was taken; who writes waits while the journal is full.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::{error, info};

use super::Journal;
use super::journal::JournalError;

/// Name of the stream.
const STREAM: &str = "stdin";
/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1_024;
/// Bytes without a line end that are kept back until it comes; what is longer is kept piece by piece.
const LINE_BYTES_MAX: usize = 1_024 * 1_024;
/// Pause before trying again to keep lines.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads on a thread of its own: a read of standard input cannot be cancelled, and must not hold up the end of the
/// process. `ended` is called after the last line is in the journal.
///
/// # Errors
/// When there is no thread.
pub(super) fn start(journal: Arc<Journal>, ended: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let work = move || {
        read(io::stdin().lock(), |lines| keep(&journal, lines));
        info!("standard input has ended");
        ended();
    };
    thread::Builder::new().name("stdin".to_owned()).spawn(work).map(drop)
}

fn keep(journal: &Journal, lines: &[u8]) {
    let mut told = false;
    while let Err(error) = journal.append(None, &[(STREAM, lines)], false) {
        // The journal tells itself when it is full.
        if !told && !matches!(error, JournalError::Full) {
            error!(
                error = crate::ship::chain(&error),
                "lines of standard input cannot be kept; trying again"
            );
            told = true;
        }
        thread::sleep(PAUSE);
    }
}

/// Hands over whole lines as they come, and at the end what is left with a line end.
fn read(mut input: impl Read, mut keep: impl FnMut(&[u8])) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut lines = Vec::new();
    loop {
        match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => lines.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                error!(%error, "standard input cannot be read to its end");
                break;
            }
        }
        let whole = match memchr::memrchr(b'\n', &lines) {
            Some(end) => end + 1,
            None if lines.len() >= LINE_BYTES_MAX => lines.len(),
            None => continue,
        };
        keep(lines.get(..whole).unwrap_or_default());
        lines.drain(..whole);
    }
    if !lines.is_empty() {
        lines.push(b'\n');
        keep(&lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(7).min(buffer.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn lines_are_kept_whole_and_the_last_one_gets_its_end() {
        for (text, expected) in [("", ""), ("one\ntwo\n\nthree", "one\ntwo\n\nthree\n"), ("x\n", "x\n")] {
            let mut kept = Vec::new();
            read(Slow(text.as_bytes()), |lines| {
                assert!(lines.ends_with(b"\n"));
                kept.extend_from_slice(lines);
            });
            assert_eq!(String::from_utf8(kept).unwrap(), expected);
        }
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let mut sizes = Vec::new();
        read(io::repeat(b'x').take(3 * LINE_BYTES_MAX as u64), |lines| sizes.push(lines.len()));
        assert_eq!(sizes.iter().sum::<usize>(), 3 * LINE_BYTES_MAX);
        assert!(sizes.iter().all(|&size| size <= LINE_BYTES_MAX + CHUNK_BYTES));
    }
}
