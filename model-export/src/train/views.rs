//! What single nodes see of the blocks that are trained on.

use std::collections::BTreeSet;

use blocksift_detector::token::Token;

use super::data::Data;
use crate::catalogue;
use crate::dataset::parts::{Telling, node_groups};
use crate::dataset::{Group, Part};
use crate::input::Session;

/// Abnormal sessions that a template must occur in to tell by itself.
const TELLING_MIN: u64 = 3;
/// Share of abnormal ones among the sessions that it occurs in, at least.
const TELLING_SHARE: f64 = 0.9;
/// Frequent healthy parts that made-up ones are made from.
const HEALTHY: usize = 12;

/// Parts of sessions, by where they come from. Empty if none were given.
#[derive(Default)]
pub(super) struct Views {
    /// Cut by node, in the natural class ratio; those of DataNodes alone, since `namenode` has the others.
    pub(super) by_node: Vec<Group>,
    /// The NameNode's part of every whole session, in their class ratio.
    pub(super) namenode: Vec<Group>,
    /// Healthy parts with an event that hardly any normal session has. Few abnormal blocks are known by node, and the rarest
    /// exceptions are in none of those.
    pub(super) made_up: Vec<Group>,
}

impl Views {
    /// The parts of the blocks in `part`.
    pub(super) fn new(data: &Data, part: Part, normal_weight: f64) -> Self {
        let Some(nodes) = &data.nodes else { return Self::default() };
        let tokenizer = data.tokenizer.tokenizer();
        let templates = data.catalogue.iter().filter(|template| catalogue::is_namenode(template));
        let ranges = templates.flat_map(|template| tokenizer.ranges(template.id()));
        let tokens: BTreeSet<Token> = ranges.map(|(_, _, token)| token).collect();
        // The NameNode's events are known by their template, so every whole session has its part.
        let cut = |session: &Session| {
            let tokens = session.tokens.iter().copied().filter(|token| tokens.contains(token)).collect();
            Session { tokens, ..session.clone() }
        };
        let mut namenode: Vec<Session> = data.sessions.list.iter().map(cut).collect();
        namenode.retain(|session| !session.tokens.is_empty());
        let of = |nodes: &[Session], known: &Telling| {
            node_groups(nodes, &data.sessions.list, &data.parts, part, known)
        };
        // Whole sessions are many more than those known by node, so what the NameNode tells is taken from them.
        let namenode = of(&namenode, &Telling::default());
        let mut by_node = of(&nodes.list, &Telling::new(&namenode, normal_weight));
        let made_up = made_up(&by_node, &telling(&data.of(part), normal_weight), &tokens);
        by_node.retain(|group| !group.tokens.iter().all(|token| tokens.contains(token)));
        Self { by_node, namenode, made_up }
    }
}

/// Templates that hardly any but abnormal sessions have. `normal_weight` gives the classes their natural ratio.
fn telling(groups: &[Group], normal_weight: f64) -> Vec<Token> {
    let having = |token: Token, count: fn(&Group) -> u64| -> u64 {
        groups.iter().filter(|group| group.tokens.contains(&token)).map(count).sum()
    };
    let all: BTreeSet<Token> = groups.iter().flat_map(|group| group.tokens.iter().copied()).collect();
    let tells = |&token: &Token| {
        let (normal, abnormal) = (having(token, |group| group.normal), having(token, |group| group.abnormal));
        let share = abnormal as f64 / (abnormal as f64 + normal_weight * normal as f64);
        abnormal >= TELLING_MIN && share >= TELLING_SHARE
    };
    all.into_iter().filter(tells).collect()
}

/// Frequent healthy parts with a telling event in each place, or right after their first event in place of the rest.
fn made_up(parts: &[Group], telling: &[Token], namenode: &BTreeSet<Token>) -> Vec<Group> {
    let mut made = BTreeSet::new();
    for &event in telling {
        let same_node = |part: &&Group| {
            part.tokens.iter().all(|token| namenode.contains(token) == namenode.contains(&event))
        };
        let mut healthy: Vec<&Group> =
            parts.iter().filter(|part| part.normal > 0).filter(same_node).collect();
        healthy.sort_by_key(|part| std::cmp::Reverse(part.normal));
        for part in healthy.into_iter().take(HEALTHY) {
            for place in 0..=part.tokens.len() {
                let mut tokens = part.tokens.clone();
                tokens.insert(place, event);
                made.insert(tokens);
            }
            made.extend(part.tokens.first().map(|&first| vec![first, event]));
        }
    }
    made.into_iter().map(|tokens| Group { tokens, abnormal: 1, ..Group::default() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(tokens: &[u16], normal: u64, abnormal: u64) -> Group {
        let tokens = tokens.iter().copied().map(Token).collect();
        Group { tokens, normal, abnormal, ..Group::default() }
    }

    #[test]
    fn only_what_hardly_any_normal_session_has_tells() {
        let groups = [
            group(&[2, 3], 5, 0),
            group(&[2, 4], 0, 3),
            group(&[2, 5], 0, 2),
            group(&[3, 4], 0, 1),
            group(&[2, 6], 1, 18),
            group(&[2, 7], 1, 17),
        ];
        assert_eq!(telling(&groups, 1.0), [4, 6, 7].map(Token));
        assert_eq!(telling(&groups, 2.0), [4, 6].map(Token));
    }

    #[test]
    fn a_telling_event_is_put_into_parts_of_its_own_node() {
        let parts = [group(&[2, 3], 5, 0), group(&[9], 5, 0), group(&[3], 0, 5)];
        let made = made_up(&parts, &[Token(4)], &BTreeSet::from([Token(9)]));
        let made: Vec<Vec<u16>> =
            made.iter().map(|group| group.tokens.iter().map(|token| token.0).collect()).collect();
        assert_eq!(made, [vec![2, 3, 4], vec![2, 4], vec![2, 4, 3], vec![4, 2, 3]]);
    }
}
