//! One tree: grown by questions that part the classes, or by random cuts.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A place in a tree; places are numbered, the root is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Node {
    /// Goes to `high` if the feature is above the cut, to `low` otherwise.
    Split {
        /// Which feature is asked for.
        feature: usize,
        /// Where it is cut.
        cut: f64,
        /// Number of the place below.
        low: usize,
        /// Number of the place above.
        high: usize,
    },
    /// The end of a path.
    Leaf {
        /// What is found here.
        value: f64,
    },
}

/// Depth at which a decision tree stops asking.
const DEPTH_MAX: usize = 14;
/// Weight of a class below which a question is not worth asking, as a share of all.
const PURE: f64 = 1e-9;
/// Sessions of the prior that a leaf's share starts from.
const PRIOR: f64 = 1.0;

/// Features, weight of normal sessions, weight of abnormal ones.
pub(super) type Row<'a> = (&'a [f64], f64, f64);

/// A decision tree by Gini impurity; a leaf's value is its share of abnormal weight.
pub(super) fn decide(rows: &[Row<'_>], width: usize) -> Vec<Node> {
    let mut tree = Vec::new();
    grow(
        &mut tree,
        rows.to_vec(),
        0,
        &mut |rows, depth| {
            let (normal, abnormal) = sums(rows);
            let pure = normal.min(abnormal) <= PURE * (normal + abnormal);
            if pure || depth >= DEPTH_MAX { None } else { best(rows, width) }
        },
        &|rows, _| {
            let (normal, abnormal) = sums(rows);
            let per_session = (normal + abnormal) / rows.len().max(1) as f64;
            let prior = PRIOR * per_session.min(1.0);
            (abnormal + 0.5 * prior) / (normal + abnormal + prior)
        },
    );
    tree
}

/// An isolation tree; a leaf's value is the length of the path to it, with what a longer one would have added.
pub(super) fn isolate(rows: &[Row<'_>], width: usize, depth_max: usize, rng: &mut ChaCha8Rng) -> Vec<Node> {
    let mut tree = Vec::new();
    grow(
        &mut tree,
        rows.to_vec(),
        0,
        &mut |rows, depth| {
            if depth >= depth_max || rows.len() < 2 {
                return None;
            }
            let range = |feature: usize| {
                let values = rows.iter().filter_map(|(row, ..)| row.get(feature).copied());
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (low.min(value), high.max(value))
                })
            };
            let varying: Vec<(usize, f64, f64)> = (0..width)
                .map(|feature| (feature, range(feature)))
                .filter(|(_, (low, high))| high > low)
                .map(|(feature, (low, high))| (feature, low, high))
                .collect();
            if varying.is_empty() {
                return None;
            }
            let &(feature, low, high) = varying.get(rng.random_range(0..varying.len()))?;
            Some((feature, rng.random_range(low..high)))
        },
        &|rows, depth| depth as f64 + path(rows.len()),
    );
    tree
}

/// Mean length of an unsuccessful search among `count` values, by which path lengths are measured.
pub(super) fn path(count: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_9;
    match count {
        0 | 1 => 0.0,
        2 => 1.0,
        count => {
            let before = (count - 1) as f64;
            2.0 * (before.ln() + EULER) - 2.0 * before / count as f64
        }
    }
}

type Ask<'f> = dyn FnMut(&[Row<'_>], usize) -> Option<(usize, f64)> + 'f;
type Tell<'f> = dyn Fn(&[Row<'_>], usize) -> f64 + 'f;

fn grow(tree: &mut Vec<Node>, rows: Vec<Row<'_>>, depth: usize, ask: &mut Ask<'_>, tell: &Tell<'_>) -> usize {
    let place = tree.len();
    tree.push(Node::Leaf { value: 0.0 });
    let found = match ask(&rows, depth) {
        None => Node::Leaf { value: tell(&rows, depth) },
        Some((feature, cut)) => {
            let (below, above): (Vec<Row<'_>>, Vec<Row<'_>>) =
                rows.into_iter().partition(|(row, ..)| row.get(feature).is_some_and(|value| *value <= cut));
            let low = grow(tree, below, depth + 1, ask, tell);
            let high = grow(tree, above, depth + 1, ask, tell);
            Node::Split { feature, cut, low, high }
        }
    };
    tree.iter_mut().skip(place).take(1).for_each(|node| *node = found);
    place
}

fn sums(rows: &[Row<'_>]) -> (f64, f64) {
    rows.iter().fold((0.0, 0.0), |(normal, abnormal), row| (normal + row.1, abnormal + row.2))
}

/// The question after which the classes are least mixed, if any helps.
fn best(rows: &[Row<'_>], width: usize) -> Option<(usize, f64)> {
    let mixed = |normal: f64, abnormal: f64| {
        let both = normal + abnormal;
        if both > 0.0 { 2.0 * normal * abnormal / both } else { 0.0 }
    };
    let (all_normal, all_abnormal) = sums(rows);
    let mut found = None;
    let mut least = mixed(all_normal, all_abnormal) * (1.0 - 1e-9);
    let mut order: Vec<(f64, f64, f64)> = Vec::with_capacity(rows.len());
    for feature in 0..width {
        order.clear();
        order.extend(
            rows.iter().filter_map(|(row, normal, abnormal)| Some((*row.get(feature)?, *normal, *abnormal))),
        );
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut normal, mut abnormal) = (0.0, 0.0);
        for pair in order.windows(2) {
            let [here, next] = pair else { continue };
            normal += here.1;
            abnormal += here.2;
            if here.0 < next.0 {
                let after = mixed(normal, abnormal) + mixed(all_normal - normal, all_abnormal - abnormal);
                if after < least {
                    (least, found) = (after, Some((feature, f64::midpoint(here.0, next.0))));
                }
            }
        }
    }
    found
}

/// The leaf that a row ends in.
pub(super) fn value(tree: &[Node], row: &[f64]) -> f64 {
    let mut place = 0;
    // Children stand after their parents, so this ends.
    loop {
        match tree.get(place) {
            Some(Node::Split { feature, cut, low, high }) => {
                place = if row.get(*feature).is_some_and(|value| value > cut) { *high } else { *low };
            }
            Some(Node::Leaf { value }) => return *value,
            None => return 0.0,
        }
    }
}
