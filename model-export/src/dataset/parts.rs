//! Parts of sessions, each what one node saw of a block, and which of them an abnormal block is told by.
//!
//! What the label says of a block need not show on each of its nodes: a block is abnormal if any of its parts is. So an
//! abnormal block counts for its most telling part alone (multiple-instance training). Its other parts say nothing,
//! even where abnormal blocks have them more often than normal ones: flagging those, too, would find no block more.

use std::collections::{BTreeMap, BTreeSet};

use blocksift_detector::token::{Token, counts};

use super::{Group, Part, group};
use crate::input::Session;

/// Blocks of doubt beside those that are at hand, so that what is seen often tells more than what is seen once.
const DOUBT: f64 = 1.0;

/// How much a part tells of its block, by its counts, whatever their order: the share of abnormal blocks among those
/// that have such a part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Telling(BTreeMap<Vec<(Token, u32)>, f64>);

impl Telling {
    /// Of parts by sequence. `normal_weight` is the factor on normal blocks that gives the classes their natural ratio.
    #[must_use]
    pub(crate) fn new(groups: &[Group], normal_weight: f64) -> Self {
        let mut sums: BTreeMap<Vec<(Token, u32)>, (f64, f64)> = BTreeMap::new();
        for group in groups {
            let (normal, abnormal) = sums.entry(counts(&group.tokens)).or_default();
            *normal += normal_weight * group.normal as f64;
            *abnormal += group.abnormal as f64;
        }
        let share = |(counts, (normal, abnormal))| (counts, abnormal / (normal + abnormal + DOUBT));
        Self(sums.into_iter().map(share).collect())
    }

    /// The share for a part; `None` if no block has such a one.
    fn share(&self, tokens: &[Token]) -> Option<f64> {
        self.0.get(&counts(tokens)).copied()
    }
}

/// Parts by sequence, for training or validation, that fit a split of whole sessions: those of a block in `part`, and of
/// no sequence that is a whole session outside of it. What a part tells is taken from `known` where that knows it,
/// which sees more blocks than `nodes` cover; from the chosen parts themselves otherwise, which are taken to have the
/// natural class ratio.
#[must_use]
pub(crate) fn node_groups(
    nodes: &[Session],
    wholes: &[Session],
    parts: &[Part],
    part: Part,
    known: &Telling,
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
    let own = Telling::new(&groups, 1.0);
    let tells = |node: &Session| known.share(&node.tokens).or_else(|| own.share(&node.tokens)).unwrap_or(0.0);
    // Of parts that tell as much, the first.
    let mut witnesses: BTreeMap<&str, (f64, &Session)> = BTreeMap::new();
    for &node in chosen.iter().filter(|node| node.abnormal) {
        let share = tells(node);
        let most = witnesses.entry(node.block.as_str()).or_insert((share, node));
        if share > most.0 {
            *most = (share, node);
        }
    }
    let mut abnormal: BTreeMap<&[Token], u64> = BTreeMap::new();
    for (_, witness) in witnesses.values() {
        *abnormal.entry(&witness.tokens).or_default() += u64::from(witness.count);
    }
    for group in &mut groups {
        group.abnormal = abnormal.get(group.tokens.as_slice()).copied().unwrap_or(0);
    }
    groups.retain(|group| group.normal + group.abnormal > 0);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::session;

    fn found(
        nodes: &[Session],
        wholes: &[Session],
        parts: &[Part],
        known: &Telling,
    ) -> Vec<(Vec<u16>, u64, u64)> {
        let groups = node_groups(nodes, wholes, parts, Part::Train, known);
        let tokens = |group: &Group| group.tokens.iter().map(|token| token.0).collect();
        groups.iter().map(|group| (tokens(group), group.normal, group.abnormal)).collect()
    }

    #[test]
    fn parts_of_a_test_block_and_sequences_of_the_test_are_not_trained_on() {
        let wholes =
            [session("blk_1", false, &[2, 3]), session("blk_2", true, &[4]), session("blk_3", true, &[5])];
        let parts = [Part::Train, Part::Train, Part::Test];
        let nodes = [
            session("blk_1", false, &[2]),
            session("blk_2", true, &[2]),
            session("blk_2", true, &[4]),
            session("blk_2", true, &[5]),
            session("blk_3", true, &[6]),
        ];
        // 2 also occurs in a normal block, 5 is a whole session of the test, 6 is of a test block.
        let found = found(&nodes, &wholes, &parts, &Telling::default());
        assert_eq!(found, [(vec![2], 1, 0), (vec![4], 0, 1)]);
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
        let found = found(&nodes, &wholes, &[Part::Train; 3], &Telling::default());
        assert_eq!(found, [(vec![5], 1, 0), (vec![6], 1, 2)]);
    }

    #[test]
    fn what_is_seen_often_explains_a_block_before_what_is_seen_once() {
        let wholes = ["blk_1", "blk_2", "blk_3"].map(|block| session(block, true, &[9]));
        let nodes = [
            session("blk_1", true, &[7]),
            session("blk_1", true, &[5, 6]),
            session("blk_2", true, &[6, 5]),
            session("blk_2", true, &[8]),
            session("blk_3", true, &[7, 7]),
            session("blk_3", true, &[3]),
        ];
        // Nothing here is in a normal block; the order of 5 and 6 does not matter; 3 is known from elsewhere.
        let known = Telling::new(&[Group { tokens: vec![Token(3)], abnormal: 99, ..Group::default() }], 1.0);
        let found = found(&nodes, &wholes, &[Part::Train; 3], &known);
        assert_eq!(found, [(vec![3], 0, 1), (vec![5, 6], 0, 1), (vec![6, 5], 0, 1)]);
    }
}
