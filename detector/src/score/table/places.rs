//! Features of places that were seen before, for machines without vectors: logs say the same few things in the same
//! order, so nearly every place has the tokens of an earlier one. Steps are bytes and their sums whole numbers, so four
//! filters are added, and compared, in one word of 64 bits; what comes out is what [`Folded`] comes to by itself.

use super::{Buffers, Folded};
use crate::token::Token;

/// Places remembered; one that has the same slot as another takes it.
const SLOTS: usize = 1_024;
/// Filters in one word, 16 bits each.
const LANES: usize = 4;
const LANE_BITS: usize = 16;
/// Places of a window, at most: sums of that many bytes fit 16 bits.
pub(super) const PLACES_MAX: usize = 257;
/// The lowest and the highest bit of each lane.
const LOW: u64 = 0x0001_0001_0001_0001;
const HIGH: u64 = LOW << (LANE_BITS - 1);
/// The bits of the first one.
const LANE: u64 = 0xFFFF;

/// Steps of places by their tokens.
#[derive(Clone, Debug)]
pub(super) struct Places {
    kernel: usize,
    words: usize,
    /// `[SLOTS, kernel]`; what no vocabulary has, until a slot is filled.
    tokens: Vec<Token>,
    /// `[SLOTS, words]`
    steps: Vec<u64>,
    /// `[words]` each, of the window.
    largest: Vec<u64>,
    sum: Vec<u64>,
}

impl Places {
    /// None remembered.
    pub(super) fn new(kernel: usize, filters: usize) -> Self {
        let words = filters.div_ceil(LANES);
        Self {
            kernel,
            words,
            tokens: vec![Token(u16::MAX); SLOTS * kernel],
            steps: vec![0; SLOTS * words],
            largest: vec![0; words],
            sum: vec![0; words],
        }
    }

    /// Begins a window.
    pub(super) fn clear(&mut self) {
        self.largest.fill(0);
        self.sum.fill(0);
    }

    /// Adds `times` places with these tokens under the kernel.
    pub(super) fn add(&mut self, folded: &Folded, under: &[Token], times: u64, totals: &mut [i32]) {
        let hash = under.iter().fold(0_u32, |hash, token| hash.wrapping_mul(0x9E35) ^ u32::from(token.0));
        let slot = (hash ^ (hash >> 13)) as usize % SLOTS;
        let known = self.tokens.get_mut(slot * self.kernel..(slot + 1) * self.kernel);
        let steps = self.steps.get_mut(slot * self.words..(slot + 1) * self.words);
        let (Some(known), Some(steps)) = (known, steps) else { return };
        if !known.iter().eq(under) {
            folded.convolve(under, totals);
            for (word, totals) in steps.iter_mut().zip(totals.chunks(LANES)) {
                let lane = |word, total: &i32| (word << LANE_BITS) | whole(folded.step_of(*total));
                *word = totals.iter().rev().fold(0, lane);
            }
            known.copy_from_slice(under);
        }
        for ((step, largest), sum) in steps.iter().zip(&mut self.largest).zip(&mut self.sum) {
            // The highest bit of a lane stays where the step is at least the largest.
            let is_larger = (((step | HIGH) - *largest) & HIGH) >> (LANE_BITS - 1);
            let mask = (is_larger << LANE_BITS).wrapping_sub(is_larger);
            *largest ^= (*largest ^ step) & mask;
            *sum += step * times;
        }
    }

    /// Hands over what the window came to.
    pub(super) fn read(&self, buffers: &mut Buffers) {
        for (words, out) in [(&self.largest, &mut buffers.largest), (&self.sum, &mut buffers.sum)] {
            for (word, out) in words.iter().zip(out.chunks_mut(LANES)) {
                for (lane, out) in out.iter_mut().enumerate() {
                    let steps = (word >> (lane * LANE_BITS)) & LANE;
                    *out = u32::try_from(steps).map(f64::from).unwrap_or_default();
                }
            }
        }
    }
}

/// A step of the features, which is a whole number up to 255.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is 0 to 255, and nothing in between"
)]
fn whole(step: f64) -> u64 {
    step as u64
}
