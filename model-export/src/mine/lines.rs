//! The heads of a log's lines, read with bounded memory.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, Result};
use blocksift_detector::head::{Head, Heads, Parsed};
use blocksift_detector::time::Zone;
use indicatif::ProgressBar;
use jiff::tz::TimeZone;

use crate::input::open;

/// Bytes of a line that are looked at; what is beyond is passed over.
const LINE_BYTES_MAX: usize = 64 * 1_024;

/// Lines of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// With a head.
    pub(super) headed: u64,
    /// Without one: they continue a record.
    pub(super) headless: u64,
}

/// Bytes that a log takes on the disk.
pub(super) fn bytes(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |file| file.len())
}

/// Gives each head of `log` with a message to `take`. The bar moves with the bytes read, unpacked ones if the log is
/// packed.
///
/// # Errors
/// If the log cannot be read.
pub(super) fn read(log: &Path, bar: &ProgressBar, mut take: impl FnMut(&Head<'_>)) -> Result<Read> {
    let mut reader = open(log)?;
    // The layout is that of a file. Times do not matter here, so neither does the zone.
    let (mut heads, mut zone) = (Heads::new(None, LINE_BYTES_MAX), Zone::new(TimeZone::UTC));
    let (mut line, mut read) = (Vec::new(), Read::default());
    for number in 1u64.. {
        let bytes = next(&mut reader, &mut line)
            .with_context(|| format!("{} cannot be read beyond line {number}", log.display()))?;
        if bytes == 0 {
            break;
        }
        bar.inc(bytes);
        match heads.parse(line.trim_ascii_end(), &mut zone) {
            Parsed::Head(head) => {
                read.headed += 1;
                if !head.message.is_empty() {
                    take(&head);
                }
            }
            Parsed::Continuation(_) | Parsed::Partial => read.headless += 1,
        }
    }
    bar.finish_and_clear();
    Ok(read)
}

/// Reads the next line, cut at [`LINE_BYTES_MAX`], and says how many bytes it takes; 0 at the end.
fn next(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<u64> {
    line.clear();
    let mut bytes = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        let length = piece.len();
        reader.consume(length);
        bytes += length as u64;
        if end.is_some() || length == 0 {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_counted_whole() {
        let text = [&b"ab\n\n"[..], &vec![b'x'; 100_000], b"\nlast"].concat();
        let mut reader = std::io::BufReader::with_capacity(7, text.as_slice());
        let mut line = Vec::new();
        let mut read = Vec::new();
        loop {
            let bytes = next(&mut reader, &mut line).unwrap();
            if bytes == 0 {
                break;
            }
            read.push((bytes, line.len()));
        }
        assert_eq!(read, [(3, 3), (1, 1), (100_001, LINE_BYTES_MAX), (4, 4)]);
    }
}
