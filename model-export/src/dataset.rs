//! Sessions brought together by their token sequence, and the split that keeps whole sequences apart.

use std::collections::{BTreeMap, BTreeSet};

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
                // The middle of the place's share of the stratum, in percent.
                let percent = (100 * place + 50) / size;
                let (validation, test) = (shares.validation as usize, shares.test as usize);
                if let Some(part) = parts.get_mut(*at) {
                    *part = match percent {
                        percent if percent >= 100 - test => Part::Test,
                        percent if percent >= 100 - test - validation => Part::Validation,
                        _ => Part::Train,
                    };
                }
            }
        }
    }
    parts
}

/// Parts of sessions on single nodes, for training or validation, that fit a split of whole sessions: those of a
/// block in `part`, and of no sequence that is a whole session outside of it. What the label says of a block need
/// not show on each of its nodes: a part whose sequence also occurs in a normal block counts as normal.
#[must_use]
pub(crate) fn node_groups(
    nodes: &[Session],
    wholes: &[Session],
    groups: &[Group],
    parts: &[Part],
    part: Part,
) -> Vec<Group> {
    let of: BTreeMap<&[Token], Part> =
        groups.iter().map(|group| group.tokens.as_slice()).zip(parts.iter().copied()).collect();
    let blocks: BTreeSet<&str> = wholes
        .iter()
        .filter(|whole| of.get(whole.tokens.as_slice()) == Some(&part))
        .map(|whole| whole.block.as_str())
        .collect();
    let elsewhere = |tokens: &[Token]| of.get(tokens).is_some_and(|found| *found != part);
    let chosen = nodes.iter().filter(|node| blocks.contains(node.block.as_str()) && !elsewhere(&node.tokens));
    let mut groups = group(chosen);
    for group in &mut groups {
        if group.normal > 0 {
            group.abnormal = 0;
        }
    }
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
        let groups = group(&wholes);
        let parts = [Part::Train, Part::Train, Part::Test];
        let mut nodes = [
            session("blk_1", false, &[2]),
            session("blk_2", true, &[2]),
            session("blk_2", true, &[4]),
            session("blk_2", true, &[5]),
            session("blk_3", true, &[6]),
        ];
        nodes.iter_mut().for_each(|node| node.node = Some("a".to_owned()));
        let found = node_groups(&nodes, &wholes, &groups, &parts, Part::Train);
        let found: Vec<_> = found.iter().map(|g| (g.tokens[0].0, g.normal, g.abnormal)).collect();
        // 2 also occurs in a normal block, 5 is a whole session of the test, 6 is of a test block.
        assert_eq!(found, [(2, 1, 0), (4, 0, 1)]);
    }
}
