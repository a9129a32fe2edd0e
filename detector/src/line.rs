//! Lines: bytes up to a line end. Chunks may break a line anywhere; the piece without a line end waits here, cut at
//! `line_bytes_max`. A carriage return before the line end belongs to the line end.

/// One line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Its bytes without the line end, at most `line_bytes_max`.
    pub text: &'a [u8],
    /// Bytes it takes in the file, line end included.
    pub bytes: u64,
    /// Bytes of it that `text` leaves out.
    pub bytes_cut: u64,
    /// Lines of the file that it stands on: more than one where a container runtime split it.
    pub lines: u64,
}

/// The start of a line whose end has not been read yet.
#[derive(Clone, Debug, Default)]
pub struct Partial {
    text: Vec<u8>,
    bytes: u64,
    last: u8,
}

impl Partial {
    /// Bytes of the file that wait here.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `piece`, which has no line end, as the next part of the line.
    pub fn append(&mut self, piece: &[u8], line_bytes_max: usize) {
        self.bytes += piece.len() as u64;
        self.last = piece.last().copied().unwrap_or(self.last);
        let room = line_bytes_max.saturating_sub(self.text.len());
        self.text.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// Forgets the line; its buffer is used again.
    pub fn clear(&mut self) {
        self.text.clear();
        self.bytes = 0;
    }

    /// The line as far as it is here; `end` is the offset behind it, `terminated` says whether a line end follows.
    #[must_use]
    pub fn line(&self, end: u64, terminated: bool, line_bytes_max: usize) -> Line<'_> {
        let offset = end - self.bytes;
        let bytes = self.bytes + u64::from(terminated);
        cut(
            &self.text,
            self.bytes,
            self.last,
            line_bytes_max,
            Line { offset, text: b"", bytes, bytes_cut: 0, lines: 1 },
        )
    }
}

/// The line that is all of `text`, which a line end follows in the file.
#[must_use]
pub fn whole(text: &[u8], offset: u64, line_bytes_max: usize) -> Line<'_> {
    let content = text.len() as u64;
    let last = text.last().copied().unwrap_or(0);
    cut(
        text,
        content,
        last,
        line_bytes_max,
        Line { offset, text: b"", bytes: content + 1, bytes_cut: 0, lines: 1 },
    )
}

/// Fills in text and cut of a line of `content` bytes that starts with `text` and ends with the byte `last`.
fn cut<'a>(text: &'a [u8], content: u64, last: u8, line_bytes_max: usize, line: Line<'a>) -> Line<'a> {
    let content = if content > 0 && last == b'\r' { content - 1 } else { content };
    let kept = usize::try_from(content).unwrap_or(usize::MAX).min(line_bytes_max);
    let text = text.get(..kept).unwrap_or(text);
    Line { text, bytes_cut: content - text.len() as u64, ..line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriage_return_is_part_of_the_line_end() {
        let got = whole(b"ab\r", 7, 10);
        assert_eq!(got, Line { offset: 7, text: b"ab", bytes: 4, bytes_cut: 0, lines: 1 });
    }

    #[test]
    fn long_lines_are_cut_the_same_in_pieces_and_whole() {
        for text in [&b"abcdefgh"[..], b"abcd\r", b"abcde\r", b"abc\r\r", b""] {
            for split in 0..=text.len() {
                let mut partial = Partial::default();
                partial.append(&text[..split], 4);
                partial.append(&text[split..], 4);
                let end = 100 + text.len() as u64;
                assert_eq!(partial.line(end, true, 4), whole(text, 100, 4), "{text:?} at {split}");
            }
        }
    }
}
