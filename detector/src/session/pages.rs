//! Memory for the events of sessions: pieces of a few sizes, cut from pages that all sizes share. A page whose pieces
//! are all free again can serve another size, so what sessions outgrow is not lost.

/// Bytes of a page of pieces that are not large. Each size has one that is not full.
const PAGE_BYTES: usize = 8 * 1_024;
/// Bytes of a page of large pieces.
const LARGE_PAGE_BYTES: usize = 64 * 1_024;
/// Bytes of a piece from which on it is large.
const LARGE_BYTES_MIN: usize = 2 * 1_024;
/// Low bits of a [`Piece`]: its place in the page, in units of the size.
const PLACE_BITS: u32 = 12;
/// No page.
const NONE: u32 = u32::MAX;
/// No place.
const NO_PLACE: u16 = u16::MAX;

/// Sizes of pieces in bytes, multiples of 32. Most sessions take 128 bytes or less, and each size that one grows through
/// costs it a copy.
const SIZES: [usize; 23] = [
    64, 128, 192, 256, 320, 384, 512, 640, 768, 1_024, 1_536, 2_048, 3_072, 4_096, 6_144, 8_192, 12_288,
    16_384, 24_576, 32_768, 40_960, 49_152, 65_504,
];
/// Bytes that are copied at once.
const COPIED_BYTES: usize = 32;

/// Bytes that the largest piece holds.
pub(crate) const PIECE_BYTES_MAX: usize = 65_504;

/// Which of the sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(u8);

impl Size {
    pub(crate) const SMALLEST: Self = Self(0);

    /// The smallest size that holds `bytes`; `None` if there is none.
    pub(crate) fn holding(bytes: usize) -> Option<Self> {
        let at = match bytes {
            0..=64 => 0,
            65..=128 => 1,
            _ => SIZES.iter().position(|&size| size >= bytes)?,
        };
        u8::try_from(at).ok().map(Self)
    }

    pub(crate) fn bytes(self) -> usize {
        SIZES.get(usize::from(self.0)).copied().unwrap_or(PIECE_BYTES_MAX)
    }

    fn is_large(self) -> bool {
        self.bytes() >= LARGE_BYTES_MIN
    }

    /// Bytes of the pages that such pieces are cut from.
    fn page_bytes(self) -> usize {
        if self.is_large() { LARGE_PAGE_BYTES } else { PAGE_BYTES }
    }
}

/// A piece of memory: page and place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece(u32);

impl Piece {
    /// No piece.
    pub(crate) const NONE: Self = Self(u32::MAX);

    fn new(page: u32, place: u16) -> Self {
        Self(page << PLACE_BITS | u32::from(place))
    }

    fn page(self) -> u32 {
        self.0 >> PLACE_BITS
    }

    fn place(self) -> u16 {
        let place = self.0 & ((1 << PLACE_BITS) - 1);
        u16::try_from(place).unwrap_or(NO_PLACE)
    }
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8]>,
    size: Size,
    /// Pieces handed out.
    used: u16,
    /// Places from here on were never handed out.
    fresh: u16,
    /// The place that was freed last; its first two bytes name the one before.
    freed: u16,
    /// Listed among the pages of its size that have room.
    listed: bool,
}

/// All pieces.
#[derive(Debug)]
pub(crate) struct Pages {
    pages: Vec<Page>,
    /// Pages without any piece, for any size that is not large, and for any that is.
    empty: [Vec<u32>; 2],
    /// Bytes of all pages.
    bytes: usize,
    /// Pages with room by size; may still list pages that serve another size by now.
    open: Vec<Vec<u32>>,
    /// Bytes of all pieces handed out.
    taken: usize,
    /// The page that pieces of a size are taken from.
    current: [u32; SIZES.len()],
}

impl Pages {
    pub(crate) fn new() -> Self {
        Self {
            pages: Vec::new(),
            empty: [Vec::new(), Vec::new()],
            bytes: 0,
            open: vec![Vec::new(); SIZES.len()],
            taken: 0,
            current: [NONE; SIZES.len()],
        }
    }

    /// Bytes that all this takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let listed: usize = self.empty.iter().chain(&self.open).map(Vec::capacity).sum();
        self.bytes
            + self.pages.capacity() * size_of::<Page>()
            + listed * size_of::<u32>()
            + self.open.capacity() * size_of::<Vec<u32>>()
    }

    /// Gives back the memory of pages without any piece; they get new one when they are used again.
    pub(crate) fn give_back(&mut self) {
        for &number in self.empty.iter().flatten() {
            let page = usize::try_from(number).ok().and_then(|number| self.pages.get_mut(number));
            if let Some(page) = page {
                self.bytes -= page.bytes.len();
                page.bytes = Box::default();
            }
        }
    }

    /// Bytes of all pieces handed out.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) fn get(&self, piece: Piece, size: Size) -> &[u8] {
        let start = usize::from(piece.place()) * size.bytes();
        let page = self.page(piece.page());
        page.and_then(|page| page.bytes.get(start..start + size.bytes())).unwrap_or_default()
    }

    pub(crate) fn get_mut(&mut self, piece: Piece, size: Size) -> &mut [u8] {
        let start = usize::from(piece.place()) * size.bytes();
        let page = self.page_mut(piece.page());
        page.and_then(|page| page.bytes.get_mut(start..start + size.bytes())).unwrap_or_default()
    }

    /// Copies all of a piece to a larger one.
    pub(crate) fn copy(&mut self, (from, from_size): (Piece, Size), (to, to_size): (Piece, Size)) {
        let numbers = [from.page(), to.page()].map(|page| usize::try_from(page).unwrap_or(usize::MAX));
        // Pieces of one page have one size, so these are two pages.
        let Ok([source, target]) = self.pages.get_disjoint_mut(numbers) else { return };
        let (start, end) =
            (usize::from(from.place()) * from_size.bytes(), usize::from(to.place()) * to_size.bytes());
        let source = source.bytes.get(start..start + from_size.bytes()).unwrap_or_default();
        let target = target.bytes.get_mut(end..end + to_size.bytes()).unwrap_or_default();
        // By few bytes at once, for most pieces are no larger.
        let target = target.as_chunks_mut::<COPIED_BYTES>().0;
        for (from, to) in source.as_chunks::<COPIED_BYTES>().0.iter().zip(target) {
            *to = *from;
        }
    }

    /// A piece of `size`, whose bytes are whatever they were.
    pub(crate) fn take(&mut self, size: Size) -> Piece {
        let at = usize::from(size.0);
        self.taken += size.bytes();
        loop {
            let number = self.current.get(at).copied().unwrap_or(NONE);
            if let Some(page) = self.page_mut(number)
                && page.size == size
                && let Some(place) = page.take()
            {
                return Piece::new(number, place);
            }
            let next = self.next_page(size);
            if let Some(current) = self.current.get_mut(at) {
                *current = next;
            }
        }
    }

    pub(crate) fn free(&mut self, piece: Piece, size: Size) {
        let number = piece.page();
        let at = usize::from(size.0);
        self.taken = self.taken.saturating_sub(size.bytes());
        let is_current = self.current.get(at) == Some(&number);
        let Some(page) = self.page_mut(number) else { return };
        page.free(piece.place());
        if page.used == 0 {
            page.listed = false;
            self.empty(size).push(number);
            if is_current && let Some(current) = self.current.get_mut(at) {
                *current = NONE;
            }
        } else if !page.listed && !is_current {
            page.listed = true;
            if let Some(open) = self.open.get_mut(at) {
                open.push(number);
            }
        }
    }

    /// A page of `size` with room: one that has pieces, else an empty one, else a new one.
    fn next_page(&mut self, size: Size) -> u32 {
        while let Some(number) = self.open.get_mut(usize::from(size.0)).and_then(Vec::pop) {
            // It may have become empty, and even another size's, since it was listed.
            if let Some(page) = self.page_mut(number).filter(|page| page.listed && page.size == size) {
                page.listed = false;
                return number;
            }
        }
        if let Some(number) = self.empty(size).pop() {
            let page = usize::try_from(number).ok().and_then(|number| self.pages.get_mut(number));
            if let Some(page) = page {
                if page.bytes.is_empty() {
                    page.bytes = vec![0; size.page_bytes()].into_boxed_slice();
                    self.bytes += size.page_bytes();
                }
                page.reset(size);
            }
            return number;
        }
        let mut page = Page {
            bytes: vec![0; size.page_bytes()].into_boxed_slice(),
            size,
            used: 0,
            fresh: 0,
            freed: NO_PLACE,
            listed: false,
        };
        page.reset(size);
        self.bytes += size.page_bytes();
        self.pages.push(page);
        u32::try_from(self.pages.len() - 1).unwrap_or(NONE)
    }

    /// Pages without any piece that can serve a size.
    fn empty(&mut self, size: Size) -> &mut Vec<u32> {
        let [small, large] = &mut self.empty;
        if size.is_large() { large } else { small }
    }

    fn page(&self, number: u32) -> Option<&Page> {
        self.pages.get(usize::try_from(number).ok()?)
    }

    fn page_mut(&mut self, number: u32) -> Option<&mut Page> {
        self.pages.get_mut(usize::try_from(number).ok()?)
    }
}

impl Page {
    fn reset(&mut self, size: Size) {
        self.size = size;
        (self.used, self.fresh, self.freed, self.listed) = (0, 0, NO_PLACE, false);
    }

    /// A free place, if there is one.
    fn take(&mut self) -> Option<u16> {
        let place = if self.freed == NO_PLACE {
            let end = (usize::from(self.fresh) + 1) * self.size.bytes();
            if end > self.bytes.len() {
                return None;
            }
            self.fresh += 1;
            self.fresh - 1
        } else {
            let place = self.freed;
            let link = self.link(place).map_or([0xff; 2], |link| *link);
            self.freed = u16::from_le_bytes(link);
            place
        };
        self.used += 1;
        Some(place)
    }

    fn free(&mut self, place: u16) {
        let before = self.freed.to_le_bytes();
        if let Some(link) = self.link(place) {
            *link = before;
            self.freed = place;
            self.used = self.used.saturating_sub(1);
        }
    }

    fn link(&mut self, place: u16) -> Option<&mut [u8; 2]> {
        self.bytes.get_mut(usize::from(place) * self.size.bytes()..)?.first_chunk_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_rise_and_hold_what_they_say() {
        assert!(SIZES.is_sorted());
        for bytes in 0..=PIECE_BYTES_MAX {
            let size = Size::holding(bytes).unwrap();
            assert!(size.bytes() >= bytes);
            assert!(bytes <= 64 || SIZES[usize::from(size.0) - 1] < bytes, "{bytes}");
        }
        assert_eq!(Size::holding(PIECE_BYTES_MAX + 1), None);
    }

    #[test]
    fn pages_that_fell_empty_serve_other_sizes() {
        let mut pages = Pages::new();
        let (small, large) = (Size::holding(64).unwrap(), Size::holding(128).unwrap());
        let pieces: Vec<Piece> = (0..50_000).map(|_| pages.take(small)).collect();
        let before = pages.pages.len();
        pieces.into_iter().for_each(|piece| pages.free(piece, small));
        for _ in 0..24_000 {
            pages.take(large);
        }
        assert_eq!(pages.pages.len(), before);
    }

    #[test]
    fn pages_that_fell_empty_can_be_given_back_and_used_again() {
        let mut pages = Pages::new();
        let size = Size::holding(64).unwrap();
        let pieces: Vec<Piece> = (0..50_000).map(|_| pages.take(size)).collect();
        let before = pages.memory_bytes();
        pieces.iter().skip(1).for_each(|&piece| pages.free(piece, size));
        pages.give_back();
        assert!(pages.memory_bytes() < before / 5, "{}", pages.memory_bytes());
        let again = pages.take(size);
        pages.get_mut(again, size).fill(7);
        for _ in 0..50_000 {
            let piece = pages.take(size);
            assert_eq!(pages.get(piece, size).len(), 64);
        }
        assert!(pages.get(again, size).iter().all(|&byte| byte == 7) && pages.pages.len() < 500);
    }

    proptest! {
        #[test]
        fn pieces_never_overlap(steps in prop::collection::vec((any::<bool>(), 0_usize..6_000, any::<u8>()), 1..400)) {
            let mut pages = Pages::new();
            let mut live: HashMap<usize, (Piece, Size, u8)> = HashMap::new();
            for (at, (take, bytes, mark)) in steps.into_iter().enumerate() {
                if take {
                    let size = Size::holding(bytes).unwrap();
                    let piece = pages.take(size);
                    pages.get_mut(piece, size).fill(mark);
                    live.insert(at, (piece, size, mark));
                } else if let Some(&key) = live.keys().min() {
                    let (piece, size, _) = live.remove(&key).unwrap();
                    pages.free(piece, size);
                }
                for (piece, size, mark) in live.values() {
                    prop_assert!(pages.get(*piece, *size).iter().all(|byte| byte == mark));
                }
            }
        }
    }
}
