//! Trees over features: the decision tree (one) and the isolation forest (Liu et al., 2008). As a graph, all trees are
//! walked at once, level by level: a place is reached if its parent is and the parent's question has the right answer.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tract_onnx::pb::{GraphProto, tensor_proto::DataType};

use super::features::Features;
use super::tree::{Node, Row, decide, isolate, path, value};
use super::{Fitted, Lesson, single, singles};
use crate::graph::build::Builder;

/// Trees of an isolation forest.
const TREES: usize = 100;
/// Sessions that each of its trees sees.
const SEEN: usize = 256;
/// Levels of its trees, the logarithm of what they see.
const LEVELS: usize = 8;

/// Trees, and what their values mean.
pub(crate) struct Forest {
    features: Features,
    trees: Vec<Vec<Node>>,
    /// For an isolation forest: the path length that scores a half. A decision tree's value is its score.
    usual_path: Option<f64>,
    length: usize,
}

/// Fits one tree to the labels.
#[must_use]
pub(crate) fn decision_tree(lesson: &Lesson) -> Forest {
    let rows: Vec<Vec<f64>> =
        lesson.samples.iter().map(|sample| lesson.features.of(&sample.tokens)).collect();
    let weighted: Vec<Row<'_>> = rows
        .iter()
        .zip(&lesson.samples)
        .map(|(row, sample)| (row.as_slice(), sample.normal, sample.abnormal))
        .collect();
    let trees = vec![decide(&weighted, lesson.features.width)];
    Forest { features: lesson.features.clone(), trees, usual_path: None, length: lesson.length }
}

/// Fits a forest to normal sessions, drawn by their weight.
#[must_use]
pub(crate) fn isolation(lesson: &Lesson) -> Forest {
    let (rows, weights) = lesson.normal();
    let mut rng = ChaCha8Rng::seed_from_u64(lesson.seed);
    let mut above = 0.0;
    let sums: Vec<f64> = weights
        .iter()
        .map(|weight| {
            above += weight;
            above
        })
        .collect();
    let mut trees = Vec::with_capacity(TREES);
    for _ in 0..TREES {
        let drawn: Vec<Row<'_>> = (0..SEEN)
            .filter_map(|_| {
                let place = sums.partition_point(|sum| *sum <= rng.random::<f64>() * above);
                rows.get(place).map(|row| (row.as_slice(), 1.0, 0.0))
            })
            .collect();
        trees.push(isolate(&drawn, lesson.features.width, LEVELS, &mut rng));
    }
    Forest { features: lesson.features.clone(), trees, usual_path: Some(path(SEEN)), length: lesson.length }
}

impl Fitted for Forest {
    fn score(&self, tokens: &[u16]) -> f32 {
        let row = self.features.of(tokens);
        let mean =
            self.trees.iter().map(|tree| value(tree, &row)).sum::<f64>() / self.trees.len().max(1) as f64;
        single(self.usual_path.map_or(mean, |usual| (-std::f64::consts::LN_2 * mean / usual).exp()))
    }

    fn parameters(&self) -> usize {
        let of = |node: &Node| if matches!(node, Node::Split { .. }) { 2 } else { 1 };
        self.trees.iter().flatten().map(of).sum()
    }

    fn graph(&self) -> GraphProto {
        let mut graph = self.features.builder();
        let value = walk(&mut graph, &self.trees, self.features.width);
        match self.usual_path {
            None => graph.node("Identity", &[&value], "score", &[]),
            Some(usual) => {
                graph.floats("per_path", &[1], &singles(&[-std::f64::consts::LN_2 / usual]));
                graph.node("Mul", &[&value, "per_path"], "exponent", &[]);
                graph.node("Exp", &["exponent"], "score", &[]);
            }
        }
        graph.finish(self.length)
    }
}

/// A place of one level.
struct Place<'a> {
    tree: &'a [Node],
    node: Node,
    /// Number of its parent in the level above, and whether it lies above the parent's cut.
    parent: (usize, bool),
}

/// Adds the nodes that give the mean of the leaves' values; returns the name of that value, `[N, 1]`.
fn walk(graph: &mut Builder, trees: &[Vec<Node>], width: usize) -> String {
    let share = 1.0 / trees.len().max(1) as f64;
    let mut level: Vec<Place<'_>> = trees
        .iter()
        .filter_map(|tree| Some(Place { tree, node: *tree.first()?, parent: (0, false) }))
        .collect();
    // Trees that are a leaf alone say the same of every session.
    let alone: f64 = level.iter().map(|place| leaf(place) * share).sum();
    graph.floats("alone", &[1], &singles(&[alone]));
    graph.floats("no_features", &[width, 1], &vec![0.0; width]);
    graph.node("Gemm", &["features", "no_features", "alone"], "value_0", &[]);
    let mut reached: Option<String> = None;
    let mut value = "value_0".to_owned();
    for depth in 1..=trees.iter().map(Vec::len).max().unwrap_or(0) {
        let below = children(&level);
        if below.is_empty() {
            break;
        }
        ask(graph, &level, depth);
        let here = go(graph, &below, depth, reached.as_deref());
        let leaves: Vec<f64> = below.iter().map(|place| leaf(place) * share).collect();
        let (leaf_values, found, sum) =
            (format!("leaf_values_{depth}"), format!("found_{depth}"), format!("value_{depth}"));
        graph.floats(&leaf_values, &[below.len(), 1], &singles(&leaves));
        graph.node("MatMul", &[&here, &leaf_values], &found, &[]);
        graph.node("Add", &[&found, &value], &sum, &[]);
        (reached, value, level) = (Some(here), sum, below);
    }
    value
}

/// What is found at a place, if it is the end of a path.
fn leaf(place: &Place<'_>) -> f64 {
    match place.node {
        Node::Leaf { value } => value,
        Node::Split { .. } => 0.0,
    }
}

/// The level below.
fn children<'a>(level: &[Place<'a>]) -> Vec<Place<'a>> {
    let mut below = Vec::new();
    for (number, place) in level.iter().enumerate() {
        if let Node::Split { low, high, .. } = place.node {
            for (child, is_above) in [(low, false), (high, true)] {
                let node = place.tree.get(child).copied();
                below.extend(node.map(|node| Place { tree: place.tree, node, parent: (number, is_above) }));
            }
        }
    }
    below
}

/// Adds `above_<depth>`: 1 where a place's feature is above its cut, else 0.
fn ask(graph: &mut Builder, level: &[Place<'_>], depth: usize) {
    let question = |place: &Place<'_>| match place.node {
        Node::Split { feature, cut, .. } => (feature, cut),
        Node::Leaf { .. } => (0, f64::from(f32::MAX)),
    };
    let (features, cuts): (Vec<usize>, Vec<f64>) = level.iter().map(question).unzip();
    let name = |what: &str| format!("{what}_{depth}");
    graph.integers(&name("asked"), &[features.len()], &features);
    graph.floats(&name("cuts"), &[cuts.len()], &singles(&cuts));
    graph.node("Gather", &["features", &name("asked")], &name("answers"), &[("axis", 1)]);
    graph.node("Greater", &[&name("answers"), &name("cuts")], &name("is_above"), &[]);
    let to = [("to", i64::from(DataType::Float as i32))];
    graph.node("Cast", &[&name("is_above")], &name("above"), &to);
}

/// Adds a value that is 1 where a place is reached, else 0, and returns its name.
fn go(graph: &mut Builder, below: &[Place<'_>], depth: usize, reached: Option<&str>) -> String {
    let parents: Vec<usize> = below.iter().map(|place| place.parent.0).collect();
    let signs: Vec<f32> = below.iter().map(|place| if place.parent.1 { 1.0 } else { -1.0 }).collect();
    let offsets: Vec<f32> = below.iter().map(|place| if place.parent.1 { 0.0 } else { 1.0 }).collect();
    let name = |what: &str| format!("{what}_{depth}");
    graph.integers(&name("parents"), &[below.len()], &parents);
    graph.floats(&name("signs"), &[below.len()], &signs);
    graph.floats(&name("offsets"), &[below.len()], &offsets);
    graph.node("Gather", &[&name("above"), &name("parents")], &name("sides"), &[("axis", 1)]);
    graph.node("Mul", &[&name("sides"), &name("signs")], &name("signed"), &[]);
    graph.node("Add", &[&name("signed"), &name("offsets")], &name("goes"), &[]);
    let Some(reached) = reached else { return name("goes") };
    graph.node("Gather", &[reached, &name("parents")], &name("from"), &[("axis", 1)]);
    graph.node("Mul", &[&name("from"), &name("goes")], &name("reached"), &[]);
    name("reached")
}
