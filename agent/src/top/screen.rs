//! The terminal: single keys, the alternate screen, lines drawn over those before. Given back as it was, however the
//! page ends.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::view::Line;

/// Tenths of a second that a key is waited for at a time.
const KEY_WAIT_TENTHS: u8 = 1;
/// Size of a terminal that does not tell it.
const SIZE: (usize, usize) = (80, 24);
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";
const ESCAPE: u8 = 0x1b;
const CONTROL_C: u8 = 0x03;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The end of the program.
    End,
    /// Another order of the files.
    Sort,
    /// That the page stands still, or goes on.
    Pause,
}

/// The terminal of this process.
pub(super) struct Screen {
    out: io::Stdout,
    before: Termios,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// If standard input is none.
    pub(super) fn open() -> anyhow::Result<Self> {
        let keys = || -> rustix::io::Result<Termios> {
            let before = tcgetattr(io::stdin())?;
            let mut raw = before.clone();
            raw.make_raw();
            // A read returns after this time, with or without a key.
            raw.special_codes[SpecialCodeIndex::VMIN] = 0;
            raw.special_codes[SpecialCodeIndex::VTIME] = KEY_WAIT_TENTHS;
            tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
            Ok(before)
        };
        let before = keys().context("standard input is no terminal that gives single keys; use --once")?;
        let mut screen = Self { out: io::stdout(), before };
        screen.out.write_all(ENTER)?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(&self.out) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            Ok(_) | Err(_) => SIZE,
        }
    }

    /// Draws a page.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        draw(&mut self.out, lines)
    }

    /// The next key that means something, if it comes within `patience`.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn wish(&self, patience: Duration) -> io::Result<Option<Wish>> {
        let until = Instant::now() + patience;
        let mut keys = [0; 64];
        loop {
            let count = io::stdin().lock().read(&mut keys)?;
            if let Some(wish) = of_keys(keys.get(..count).unwrap_or_default()) {
                return Ok(Some(wish));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where it fails, the terminal is gone.
        drop(self.out.write_all(LEAVE).and_then(|()| self.out.flush()));
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).unwrap_or_default();
    }
}

/// What was typed. A function key is Escape with more behind it and asks for nothing.
fn of_keys(keys: &[u8]) -> Option<Wish> {
    match keys {
        [ESCAPE] => Some(Wish::End),
        [ESCAPE, ..] => None,
        keys => keys.iter().find_map(|key| match key {
            b'q' | b'Q' | &CONTROL_C => Some(Wish::End),
            b's' | b'S' => Some(Wish::Sort),
            b'p' | b'P' | b' ' => Some(Wish::Pause),
            _ => None,
        }),
    }
}

/// Draws over what was there, line by line, so that nothing flickers.
fn draw(out: &mut impl Write, lines: &[Line]) -> io::Result<()> {
    for (row, line) in (1..).zip(lines) {
        let strong = if line.strong { "\x1b[1m" } else { "" };
        write!(out, "\x1b[{row};1H{strong}{}\x1b[0m\x1b[K", line.text)?;
    }
    out.write_all(b"\x1b[J")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_sort_and_pause() {
        for (keys, wish) in [
            (&b"q"[..], Some(Wish::End)),
            (b"\x1b", Some(Wish::End)),
            (b"\x03", Some(Wish::End)),
            (b"xs", Some(Wish::Sort)),
            (b" ", Some(Wish::Pause)),
            (b"\x1b[15~q", None),
            (b"", None),
        ] {
            assert_eq!(of_keys(keys), wish, "{keys:?}");
        }
    }

    #[test]
    fn a_page_is_drawn_over_the_one_before() {
        let mut out = Vec::new();
        let line = |text: &str, strong| Line { text: text.to_owned(), strong };
        draw(&mut out, &[line("head", true), line("row", false)]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "\x1b[1;1H\x1b[1mhead\x1b[0m\x1b[K\x1b[2;1Hrow\x1b[0m\x1b[K\x1b[J");
    }
}
