//! The lines of late, as they came, so that a report can show them: there is no file to read them from again. So many
//! bytes of them, the oldest make room; a report whose line is gone shows the template alone.

use std::collections::VecDeque;

/// Bytes of lines that are kept and given up together.
const PAGE_BYTES: usize = 32 * 1_024;
/// Bytes of one line that are kept, as the agent shows them; a longer one ends with [`CUT`].
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1_024;
const CUT: &str = " [cut]";

/// Where a line is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Number of its page, counted from the first there ever was.
    page: u64,
    start: u32,
    end: u32,
    is_cut: bool,
}

/// Lines of all streams in the order in which they came.
#[derive(Debug)]
pub(crate) struct Lines {
    pages: VecDeque<Vec<u8>>,
    /// Number of the first page that is kept.
    first: u64,
    pages_max: usize,
}

impl Lines {
    /// Keeps `bytes_max` bytes, in whole pages; none if that is less than one.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { pages: VecDeque::new(), first: 0, pages_max: bytes_max / PAGE_BYTES }
    }

    /// Keeps a line that is without its line end.
    pub(crate) fn keep(&mut self, line: &[u8]) -> Option<Place> {
        if self.pages_max == 0 {
            return None;
        }
        let kept = line.get(..LINE_BYTES_MAX).unwrap_or(line);
        if self.pages.back().is_none_or(|page| page.len() + kept.len() > PAGE_BYTES) {
            self.turn();
        }
        let page = self.pages.back_mut()?;
        let start = page.len();
        page.extend_from_slice(kept);
        let number = self.first + self.pages.len() as u64 - 1;
        Some(Place {
            page: number,
            start: u32::try_from(start).ok()?,
            end: u32::try_from(start + kept.len()).ok()?,
            is_cut: kept.len() < line.len(),
        })
    }

    /// Begins a page, by the memory of the oldest if there is no room for another.
    fn turn(&mut self) {
        let page = if self.pages.len() < self.pages_max {
            Vec::with_capacity(PAGE_BYTES)
        } else {
            let mut page = self.pages.pop_front().unwrap_or_default();
            self.first += 1;
            page.clear();
            page
        };
        self.pages.push_back(page);
    }

    /// Whether a line is still kept.
    pub(crate) fn has(&self, place: Place) -> bool {
        place.page >= self.first
    }

    /// Appends a line to `text`, invalid UTF-8 replaced; `false` if it is not kept any more.
    pub(crate) fn append(&self, place: Place, text: &mut String) -> bool {
        let page =
            place.page.checked_sub(self.first).and_then(|at| self.pages.get(usize::try_from(at).ok()?));
        let line = page.and_then(|page| page.get(place.start as usize..place.end as usize));
        let Some(line) = line else { return false };
        text.push_str(&String::from_utf8_lossy(line));
        if place.is_cut {
            text.push_str(CUT);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &Lines, place: Place) -> Option<String> {
        let mut text = String::new();
        lines.append(place, &mut text).then_some(text)
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let mut lines = Lines::new(2 * PAGE_BYTES);
        let places: Vec<Place> =
            (0..5).map(|number| lines.keep(format!("{number:0>20000}").as_bytes()).unwrap()).collect();
        assert!(!lines.has(places[0]) && !lines.has(places[1]) && lines.has(places[2]));
        assert_eq!(text(&lines, places[1]), None);
        assert!(text(&lines, places[4]).unwrap().ends_with(CUT));
        let short = lines.keep(b"a\xff").unwrap();
        assert_eq!(text(&lines, short).unwrap(), "a\u{fffd}");
    }

    #[test]
    fn no_room_keeps_nothing() {
        assert!(Lines::new(PAGE_BYTES - 1).keep(b"a").is_none());
    }
}
