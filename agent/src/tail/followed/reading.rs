//! Reading a followed file: bytes in order, up to the size seen last, without those that are not text yet.

use std::io;

use memchr::memmem;
use tracing::{debug, warn};

use super::{END_AFTER_MS, Followed, QUIET_AFTER_MS, Step};
use crate::files::Anchor;
use crate::tail::content::Content;
use crate::tail::{Ended, Phase};

impl Followed {
    /// What comes next, up to the size seen last.
    pub(in crate::tail) fn read(&mut self, buffer: &mut [u8], now_ms: i64) -> Step {
        if self.saved.phase != Phase::Followed {
            return self.take_end().map_or(Step::Nothing, Step::End);
        }
        while self.saved.offset < self.saved.size {
            let offset = self.saved.offset;
            let length = self.read_at(buffer, offset);
            let filled = buffer.get(..length).unwrap_or_default();
            let given = self.text(filled, now_ms);
            if given > 0 {
                self.advance(filled.get(..given).unwrap_or_default(), now_ms);
                return Step::Bytes { offset, length: given };
            }
            if self.saved.offset == offset {
                break;
            }
        }
        self.cache.at_end();
        if !self.quiet_told && self.quiet_ms(now_ms) >= QUIET_AFTER_MS {
            self.quiet_told = true;
            // Closing its last record moves the checkpoint.
            self.changed = true;
            return Step::Quiet;
        }
        Step::Nothing
    }

    /// Takes note that its last record is complete; `true` if that is news and all of it was read.
    pub(in crate::tail) fn complete(&mut self) -> bool {
        let is_news = self.saved.phase == Phase::Followed
            && !self.quiet_told
            && self.saved.offset > 0
            && self.saved.offset >= self.saved.size;
        if is_news {
            self.quiet_told = true;
            self.changed = true;
        }
        is_news
    }

    /// How the file ended, if it did and nobody was told; somebody is by this.
    pub(in crate::tail) fn take_end(&mut self) -> Option<Ended> {
        if self.saved.phase == Phase::Followed || self.end_told {
            return None;
        }
        self.end_told = true;
        self.changed = true;
        Some(Ended { file: self.saved.id, gap_bytes: self.gap_bytes.take() })
    }

    /// Goes back to `offset`, below which every byte was read.
    pub(in crate::tail) fn rewind(&mut self, offset: u64) {
        if offset < self.saved.offset {
            self.saved.offset = offset;
            self.last.clear();
            self.quiet_told = false;
            // It may have been closed.
            self.stat = None;
        }
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> usize {
        let Some(content) = &mut self.handle else { return 0 };
        let wanted = usize::try_from(self.saved.size - offset).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        let filled = match content {
            Content::Plain(file) => {
                let filled = self.cache.read(file, buffer, offset);
                // Asked afterwards: if it was truncated since the look, these may be bytes of its next contents.
                filled.and_then(|length| Ok((length, self.saved.fingerprint.fits(&content.head()?))))
            }
            Content::Packed(_) => content.read(buffer, offset).map(|length| (length, true)),
        };
        match filled {
            Ok((length, true)) => length,
            Ok((_, false)) => {
                self.stat = None;
                0
            }
            Err(error) => {
                warn!(path = %self.saved.path.display(), offset, %error, "file cannot be read; it is tried again");
                self.handle = None;
                self.stat = None;
                0
            }
        }
    }

    /// How many of the bytes at the offset can be given. Zero bytes at the end of what there is are waited upon: on NFS
    /// a file's size may be seen before its bytes. Zero bytes at the start of a line never are text: a writer that was not
    /// told of a truncation left them, or a crash of the machine; they are skipped.
    fn text(&mut self, bytes: &[u8], now_ms: i64) -> usize {
        let zeros_at_end = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
        let text = bytes.len() - zeros_at_end;
        if bytes.is_empty() {
            return 0;
        }
        if text > 0 {
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            if zeros > 0 && self.at_line_start() {
                self.skip(zeros);
                return 0;
            }
            let line = memmem::find(bytes.get(..text).unwrap_or_default(), b"\n\0");
            return line.map_or(text, |end| end + 1);
        }
        let to_end = self.saved.offset + bytes.len() as u64 >= self.saved.size;
        let ending = self.rotated || self.gone_since_ms.is_some();
        if to_end && !(ending && self.quiet_ms(now_ms) >= END_AFTER_MS) {
            return 0;
        }
        if self.at_line_start() {
            self.skip(bytes.len());
            return 0;
        }
        bytes.len()
    }

    /// Whether the byte before the offset ends a line; so it is taken to be after a restart.
    fn at_line_start(&self) -> bool {
        self.last.last().is_none_or(|&byte| byte == b'\n')
    }

    fn skip(&mut self, zeros: usize) {
        debug!(path = %self.saved.path.display(), offset = self.saved.offset, zeros, "zero bytes are skipped");
        self.saved.offset += zeros as u64;
        self.last.clear();
        self.changed = true;
    }

    /// Moves behind `bytes`, which were read.
    fn advance(&mut self, bytes: &[u8], now_ms: i64) {
        if self.last.is_empty() && self.saved.offset > 0 {
            let known = self.saved.offset.min(Anchor::BYTES_MAX.into());
            let before = self.handle.as_mut().map(|content| {
                content.bytes(self.saved.offset - known, usize::try_from(known).unwrap_or_default())
            });
            self.last = before.and_then(io::Result::ok).unwrap_or_default();
        }
        let start = bytes.len().saturating_sub(Anchor::BYTES_MAX.into());
        self.last.extend_from_slice(bytes.get(start..).unwrap_or_default());
        self.last.drain(..self.last.len().saturating_sub(Anchor::BYTES_MAX.into()));
        self.saved.offset += bytes.len() as u64;
        self.saved.anchor = Anchor::behind(&self.last, self.saved.offset);
        self.active_ms = now_ms;
        self.quiet_told = false;
        self.changed = true;
    }
}
