//! What stands beside the model: the field's methods, fitted to the very sequences that the model was trained on, and so
//! tested on the very sequences that it never saw.

use std::collections::HashSet;

use blocksift_detector::model::Metadata;
use blocksift_detector::token::{Tokenizer, sequence_hash};

use crate::dataset::parts::{Telling, node_groups};
use crate::dataset::{Group, Part, Shares, split};
use crate::input::Session;
use crate::method::{Fitted, Lesson, Method, Reading, fit, window};
use crate::sheet::metrics::Item;
use crate::sheet::natural;
use crate::threshold;

/// Shares of the training sequences that choose a baseline's threshold, in percent.
const SHARES: Shares = Shares { validation: 20, test: 0, fold: 0 };

/// A method, fitted, with the threshold that its labels chose.
pub(crate) struct Baseline {
    /// Name in tables and JSON.
    pub(crate) name: &'static str,
    /// The method.
    pub(crate) fitted: Box<dyn Fitted>,
    /// A score at or above this is flagged.
    pub(crate) threshold: f32,
}

/// Those of the groups that the model was trained on, its validation included.
#[must_use]
pub(crate) fn trained_on(groups: Vec<Group>, trained: &HashSet<u32>) -> Vec<Group> {
    groups.into_iter().filter(|group| trained.contains(&sequence_hash(&group.tokens))).collect()
}

/// Parts of sessions, each node's own, of the blocks that the model was trained on: known by their whole sessions, or else
/// those parts whose sequence the model was trained on. An abnormal block counts for its most telling part.
#[must_use]
pub(crate) fn trained_parts(nodes: &[Session], wholes: &[Session], trained: &HashSet<u32>) -> Vec<Group> {
    let part = |known: bool| if known { Part::Train } else { Part::Test };
    if wholes.is_empty() {
        let known = |node: &Session| part(trained.contains(&sequence_hash(&node.tokens)));
        let parts: Vec<Part> = nodes.iter().map(known).collect();
        return node_groups(nodes, nodes, &parts, Part::Train, &Telling::default());
    }
    let parts: Vec<Part> =
        wholes.iter().map(|whole| part(trained.contains(&sequence_hash(&whole.tokens)))).collect();
    node_groups(nodes, wholes, &parts, Part::Train, &Telling::default())
}

/// Fits each method to four fifths of the groups and chooses its threshold on the others. Empty if they lack a class.
pub(crate) fn fitted(
    groups: &[Group],
    metadata: &Metadata,
    tokenizer: &Tokenizer,
    abnormal_share: f64,
    mut progress: impl FnMut(&str),
) -> Vec<Baseline> {
    let parts = split(groups, SHARES, metadata.training.seed);
    let of = |part: Part| -> Vec<Group> {
        let pairs = groups.iter().zip(&parts).filter(|(_, found)| **found == part);
        pairs.map(|(group, _)| group.clone()).collect()
    };
    let (train, held) = (of(Part::Train), of(Part::Validation));
    let has_both = |groups: &[Group]| {
        groups.iter().any(|group| group.normal > 0) && groups.iter().any(|group| group.abnormal > 0)
    };
    if !has_both(&train) || !has_both(&held) {
        return Vec::new();
    }
    let weights = natural(&train, abnormal_share);
    let factor = weights.normal / weights.abnormal;
    let lesson =
        Lesson::new(&train, tokenizer, &metadata.catalogue, Reading::Counts, factor, metadata.training.seed);
    let mut found = Vec::new();
    for method in Method::BASELINES.into_iter().filter(|method| *method != Method::CountVector) {
        progress(method.name());
        let fitted = fit(method, &lesson);
        let item = |group: &Group| Item {
            score: fitted.score(&window(tokenizer, &group.tokens)),
            flagged: false,
            normal: group.normal as f64,
            abnormal: group.abnormal as f64,
        };
        let items: Vec<Item> = held.iter().map(item).collect();
        let threshold = threshold::choose(&items, abnormal_share);
        found.push(Baseline { name: method.name(), fitted, threshold });
    }
    found
}
