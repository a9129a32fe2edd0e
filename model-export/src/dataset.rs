//! Sessions brought together by their token sequence, and the split that keeps whole sequences apart.

use std::collections::{BTreeMap, BTreeSet};

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
}

impl Shares {
    /// The part that a place among `size` falls into: training first, the test last.
    fn part(self, place: usize, size: usize) -> Part {
        // The middle of the place's share, in percent.
        let percent = (100 * place + 50) / size;
        let (validation, test) = (self.validation as usize, self.test as usize);
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

/// Parts of sessions on single nodes, for training or validation, that fit a split of whole sessions: those of a
/// block in `part`, and of no sequence that is a whole session outside of it.
///
/// What the label says of a block need not show on each of its nodes: a block is abnormal if any of its parts is. So an
/// abnormal block counts for its most telling part alone, the one whose sequence most rarely occurs in normal blocks
/// (all of them, if several are alike); its other parts say nothing. `normal_weight` is the factor on normal blocks that
/// gives the classes their natural ratio.
#[must_use]
pub(crate) fn node_groups(
    nodes: &[Session],
    wholes: &[Session],
    parts: &[Part],
    part: Part,
    normal_weight: f64,
) -> Vec<Group> {
    let (mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new());
    let mut blocks = BTreeSet::new();
    for (whole, found) in wholes.iter().zip(parts) {
        let side = if *found == part { &mut inside } else { &mut outside };
        side.insert(whole.tokens.as_slice());
        if *found == part {
            blocks.insert(whole.block.as_str());
        }
    }
    let elsewhere = |tokens: &[Token]| outside.contains(tokens) && !inside.contains(tokens);
    let chosen = |node: &&Session| blocks.contains(node.block.as_str()) && !elsewhere(&node.tokens);
    let chosen: Vec<&Session> = nodes.iter().filter(chosen).collect();
    let mut groups = group(chosen.iter().copied());
    let share: BTreeMap<&[Token], f64> = groups
        .iter()
        .map(|group| {
            let abnormal = group.abnormal as f64;
            (group.tokens.as_slice(), abnormal / (abnormal + normal_weight * group.normal as f64))
        })
        .collect();
    let mut telling: BTreeMap<&str, f64> = BTreeMap::new();
    for node in chosen.iter().filter(|node| node.abnormal) {
        let most = telling.entry(node.block.as_str()).or_default();
        *most = most.max(share.get(node.tokens.as_slice()).copied().unwrap_or(0.0));
    }
    let mut witnesses: BTreeMap<Vec<Token>, u64> = BTreeMap::new();
    for node in chosen.iter().filter(|node| node.abnormal) {
        if share.get(node.tokens.as_slice()) == telling.get(node.block.as_str()) {
            *witnesses.entry(node.tokens.clone()).or_default() += u64::from(node.count);
        }
    }
    for group in &mut groups {
        group.abnormal = witnesses.get(&group.tokens).copied().unwrap_or(0);
    }
    groups.retain(|group| group.normal + group.abnormal > 0);
    groups
}

fn hash(tokens: &[Token], seed: u64) -> u64 {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.0.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(block: &str, abnormal: bool, tokens: &[u16]) -> Session {
        Session {
            block: block.to_owned(),
            node: None,
            abnormal,
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
        let shares = Shares { validation: 15, test: 15 };
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
    fn parts_of_a_test_block_and_sequences_of_the_test_are_not_trained_on() {
        let wholes =
            [session("blk_1", false, &[2, 3]), session("blk_2", true, &[4]), session("blk_3", true, &[5])];
        let parts = [Part::Train, Part::Train, Part::Test];
        let mut nodes = [
            session("blk_1", false, &[2]),
            session("blk_2", true, &[2]),
            session("blk_2", true, &[4]),
            session("blk_2", true, &[5]),
            session("blk_3", true, &[6]),
        ];
        nodes.iter_mut().for_each(|node| node.node = Some("a".to_owned()));
        let found = node_groups(&nodes, &wholes, &parts, Part::Train, 1.0);
        let found: Vec<_> = found.iter().map(|g| (g.tokens[0].0, g.normal, g.abnormal)).collect();
        // 2 also occurs in a normal block, 5 is a whole session of the test, 6 is of a test block.
        assert_eq!(found, [(2, 1, 0), (4, 0, 1)]);
    }

    #[test]
    fn an_abnormal_block_counts_for_its_most_telling_part() {
        let wholes =
            [session("blk_1", false, &[2]), session("blk_2", true, &[3]), session("blk_3", true, &[4])];
        let nodes = [
            session("blk_1", false, &[5]),
            session("blk_1", false, &[6]),
            session("blk_2", true, &[5]),
            session("blk_2", true, &[6]),
            session("blk_3", true, &[6]),
        ];
        // 6 occurs in two abnormal blocks and a normal one, 5 in one of each.
        let found = node_groups(&nodes, &wholes, &[Part::Train; 3], Part::Train, 1.0);
        let found: Vec<_> = found.iter().map(|g| (g.tokens[0].0, g.normal, g.abnormal)).collect();
        assert_eq!(found, [(5, 1, 0), (6, 1, 2)]);
    }

    #[test]
    fn a_split_by_time_tests_what_came_last_and_needs_times() {
        let mut sessions: Vec<Session> =
            (0..20).map(|at| session(&format!("blk_{at}"), false, &[2])).collect();
        let shares = Shares { validation: 10, test: 20 };
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
