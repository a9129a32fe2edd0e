//! Sessions brought together by their token sequence, and the split that keeps whole sequences apart.

pub(crate) mod parts;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use blocksift_detector::token::Token;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::input::Session;

/// Sequences of neighbouring size that are dealt out together, so that each part gets its share of frequent ones.
const STRATUM: usize = 20;

/// All sessions of one token sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    /// The whole sequence.
    pub(crate) tokens: Vec<Token>,
    /// Normal sessions.
    pub(crate) normal: u64,
    /// Abnormal sessions.
    pub(crate) abnormal: u64,
    /// Normal sessions of the sample with the natural class ratio.
    pub(crate) natural_normal: u64,
    /// Abnormal sessions of that sample.
    pub(crate) natural_abnormal: u64,
}

/// What a group is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The weights are fitted to it.
    Train,
    /// Chooses among nets, and the threshold.
    Validation,
    /// Measures.
    Test,
}

/// Shares of the sequences, in percent; the rest is for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// For validation.
    pub(crate) validation: u32,
    /// For the test.
    pub(crate) test: u32,
    /// Which of the parts of the test's size is the test: `0` for the first one. Tests of different folds have no
    /// sequence in common.
    pub(crate) fold: u32,
}

impl Shares {
    /// The part that a place among `size` falls into: training first, the test last.
    fn part(self, place: usize, size: usize) -> Part {
        let (validation, test) = (self.validation as usize, self.test as usize);
        // The middle of the place's share, in percent.
        let percent = ((100 * place + 50) / size + self.fold as usize * test) % 100;
        match percent {
            percent if percent >= 100 - test => Part::Test,
            percent if percent >= 100 - test - validation => Part::Validation,
            _ => Part::Train,
        }
    }
}

/// Groups in order of their sequences.
#[must_use]
pub(crate) fn group<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> Vec<Group> {
    let mut groups: BTreeMap<&[Token], Group> = BTreeMap::new();
    for session in sessions {
        let group = groups.entry(&session.tokens).or_default();
        let count = u64::from(session.count);
        let natural = if session.natural { count } else { 0 };
        if session.abnormal {
            group.abnormal += count;
            group.natural_abnormal += natural;
        } else {
            group.normal += count;
            group.natural_normal += natural;
        }
    }
    groups.into_iter().map(|(tokens, group)| Group { tokens: tokens.to_vec(), ..group }).collect()
}

/// The part of each group. Within each class the groups are ordered by size and dealt out in strata, by a hash of
/// the sequence and the seed.
#[must_use]
pub(crate) fn split(groups: &[Group], shares: Shares, seed: u64) -> Vec<Part> {
    let mut parts = vec![Part::Train; groups.len()];
    for abnormal in [false, true] {
        let mut order: Vec<(u64, u64, usize)> = groups
            .iter()
            .enumerate()
            .filter(|(_, group)| (group.abnormal > group.normal) == abnormal)
            .map(|(at, group)| (u64::MAX - group.normal - group.abnormal, hash(&group.tokens, seed), at))
            .collect();
        order.sort_unstable();
        for stratum in order.chunks_mut(STRATUM) {
            stratum.sort_unstable_by_key(|(_, hash, _)| *hash);
            let size = stratum.len();
            for (place, (_, _, at)) in stratum.iter().enumerate() {
                if let Some(part) = parts.get_mut(*at) {
                    *part = shares.part(place, size);
                }
            }
        }
    }
    parts
}

/// How sessions are split into parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// Whole token sequences are kept apart: the test holds none that was trained on
    #[default]
    Sequence,
    /// The test is what came last; sequences may be in several parts. Needs times, so a raw log
    Time,
    /// Blocks are dealt out at random, as most of the field does; duplicates are on both sides
    Block,
}

/// The part of each session.
///
/// # Errors
/// If the split is by time and a session has none.
pub(crate) fn deal(sessions: &[Session], by: By, shares: Shares, seed: u64) -> Result<Vec<Part>> {
    let ranked = |mut order: Vec<(i64, usize)>| {
        order.sort_unstable();
        let mut parts = vec![Part::Train; sessions.len()];
        for (place, (_, at)) in order.iter().enumerate() {
            if let Some(part) = parts.get_mut(*at) {
                *part = shares.part(place, sessions.len());
            }
        }
        parts
    };
    match by {
        By::Sequence => {
            let groups = group(sessions);
            let parts = split(&groups, shares, seed);
            let of: BTreeMap<&[Token], Part> =
                groups.iter().map(|group| group.tokens.as_slice()).zip(parts).collect();
            let part = |session: &Session| of.get(session.tokens.as_slice()).copied().unwrap_or(Part::Train);
            Ok(sessions.iter().map(part).collect())
        }
        By::Time => {
            let times: Option<Vec<(i64, usize)>> =
                sessions.iter().zip(0..).map(|(session, at)| Some((session.time_ms?, at))).collect();
            Ok(ranked(
                times.context("these sessions have no times; a split by time needs a raw log (--log)")?,
            ))
        }
        By::Block => {
            let hash = |session: &Session| xxh3_64_with_seed(session.block.as_bytes(), seed).cast_signed();
            Ok(ranked(sessions.iter().map(hash).zip(0..).collect()))
        }
    }
}

fn hash(tokens: &[Token], seed: u64) -> u64 {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.0.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that occurred once.
    pub(super) fn session(block: &str, abnormal: bool, tokens: &[u16]) -> Session {
        Session {
            block: block.to_owned(),
            node: None,
            abnormal,
            kind: String::new(),
            natural: false,
            count: 1,
            time_ms: None,
            tokens: tokens.iter().copied().map(Token).collect(),
        }
    }

    #[test]
    fn each_part_gets_its_share_of_each_class_and_a_seed_gives_one_split() {
        let sessions: Vec<Session> =
            (0..400u16).map(|at| session(&format!("blk_{at}"), at % 4 == 0, &[2, at, 3])).collect();
        let groups = group(&sessions);
        let shares = Shares { validation: 15, test: 15, fold: 0 };
        let parts = split(&groups, shares, 7);
        for abnormal in [false, true] {
            let of = |part| {
                let pairs = groups.iter().zip(&parts);
                pairs.filter(|(group, found)| **found == part && (group.abnormal > 0) == abnormal).count()
            };
            let all = if abnormal { 100 } else { 300 };
            assert_eq!(of(Part::Test), all * 15 / 100);
            assert_eq!(of(Part::Validation), all * 15 / 100);
        }
        assert_eq!(parts, split(&groups, shares, 7));
        assert_ne!(parts, split(&groups, shares, 8));
    }

    #[test]
    fn folds_test_every_sequence_once() {
        let sessions: Vec<Session> =
            (0..407u16).map(|at| session(&format!("blk_{at}"), at % 4 == 0, &[2, at, 3])).collect();
        let groups = group(&sessions);
        let mut tested = vec![0; groups.len()];
        for fold in 0..5 {
            let parts = split(&groups, Shares { validation: 10, test: 20, fold }, 7);
            for (tested, part) in tested.iter_mut().zip(parts) {
                *tested += usize::from(part == Part::Test);
            }
        }
        assert_eq!(tested, vec![1; groups.len()]);
    }

    #[test]
    fn a_split_by_time_tests_what_came_last_and_needs_times() {
        let mut sessions: Vec<Session> =
            (0..20).map(|at| session(&format!("blk_{at}"), false, &[2])).collect();
        let shares = Shares { validation: 10, test: 20, fold: 0 };
        assert!(deal(&sessions, By::Time, shares, 1).is_err());
        sessions.iter_mut().zip((0..20).rev()).for_each(|(session, time)| session.time_ms = Some(time));
        let parts = deal(&sessions, By::Time, shares, 1).unwrap();
        assert_eq!(parts[..4], [Part::Test; 4]);
        assert_eq!(parts[4..6], [Part::Validation; 2]);
        assert_eq!(parts[6..], [Part::Train; 14]);
        let dealt = deal(&sessions, By::Block, shares, 1).unwrap();
        assert_eq!(dealt.iter().filter(|part| **part == Part::Test).count(), 4);
        assert_ne!(dealt, deal(&sessions, By::Block, shares, 2).unwrap());
    }
}
