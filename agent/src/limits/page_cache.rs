//! Reading that leaves the page cache to those whose node it is. A log's end has just been written and is cached anyway;
//! its past has to come from the disk, and pages that are read once would push out data that others need. So once a
//! read had to wait for the disk, what was read is dropped again, up to where the file's end is reached. What was cached
//! before stays: it may be somebody else's.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::files::read_up_to;

/// How one file is read.
#[derive(Debug, Default)]
pub(crate) struct PageCache {
    /// The last read that could tell had to wait for the disk, and the file's end has not been reached since.
    cold: bool,
}

impl PageCache {
    /// Fills as much of `buffer` as the file has from `offset` on, and drops what this brought into the page cache.
    pub(crate) fn read(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let cached = if self.cold { 0 } else { read_cached(file, buffer, offset) };
        let rest = buffer.get_mut(cached..).unwrap_or_default();
        let filled = cached + read_up_to(file, rest, offset + cached as u64)?;
        if cached < filled {
            self.cold = true;
        }
        if self.cold
            && let Some(length) = NonZeroU64::new(filled as u64)
        {
            // Where it is not possible the pages stay, as they do for everybody else.
            fadvise(file, offset, Some(length), Advice::DontNeed).unwrap_or_default();
        }
        Ok(filled)
    }

    /// Notes that all the file has was read: what follows is written from now on.
    pub(crate) fn at_end(&mut self) {
        self.cold = false;
    }
}

/// Bytes that the page cache has from `offset` on. Where it cannot be asked, nothing is known to be cold: the whole
/// buffer is read.
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> usize {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match preadv2(file, &mut [IoSliceMut::new(rest)], offset + filled as u64, ReadWriteFlags::NOWAIT) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            // The file system does not know, or the file cannot be read, which the reading after this will say.
            Err(_) => return read_up_to(file, buffer, offset).unwrap_or(0),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: usize) -> File {
        // In the build folder: /tmp may be a file system without a disk.
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&content(bytes)).unwrap();
        file.sync_all().unwrap();
        file
    }

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    fn read_all(file: &File, cache: &mut PageCache) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 100_000]);
        loop {
            let filled = cache.read(file, &mut buffer, all.len() as u64).unwrap();
            if filled == 0 {
                return all;
            }
            all.extend_from_slice(&buffer[..filled]);
        }
    }

    #[test]
    fn what_was_cached_stays_cached() {
        let file = file(1 << 20);
        let mut cache = PageCache::default();
        assert_eq!(read_all(&file, &mut cache), content(1 << 20));
        assert!(!cache.cold);
        assert_eq!(read_cached(&file, &mut vec![0; 1 << 20], 0), 1 << 20);
    }

    #[test]
    fn what_came_from_the_disk_is_dropped_again() {
        let file = file(1 << 20);
        let whole = NonZeroU64::new(1 << 20);
        fadvise(&file, 0, whole, Advice::DontNeed).unwrap();
        if read_cached(&file, &mut vec![0; 1 << 20], 0) == 1 << 20 {
            println!("skipped: this file system keeps its pages, or does not tell");
            return;
        }
        fadvise(&file, 0, whole, Advice::DontNeed).unwrap();
        let mut cache = PageCache::default();
        assert_eq!(read_all(&file, &mut cache), content(1 << 20));
        assert!(cache.cold);
        assert!(read_cached(&file, &mut vec![0; 1 << 20], 0) < 1 << 20);
        cache.at_end();
        assert!(!cache.cold);
    }
}
