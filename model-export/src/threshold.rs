//! Chooses the threshold: on validation sessions when a model is trained, and anew for a file (`model-export threshold`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::dataset::group;
use crate::evaluate::view::{self, Judges};
use crate::evaluate::{BLOCKS_PER_NODE_AND_DAY, share, verdicts};
use crate::input::{self, Keys, Source};
use crate::sheet::metrics::{Item, Ranking, Weights};
use crate::sheet::{ABNORMAL_SHARE, Column, Sheet, natural};

/// Arguments of `threshold`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file (.onnx)
    model: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Sessions cut by node instead: the threshold is chosen for blocks, which are flagged if any of their parts is
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    node_sessions: Option<PathBuf>,
    #[command(flatten)]
    rule: Rule,
    /// File to write; without it the threshold is only told
    #[arg(long, short = 'o')]
    out: Option<PathBuf>,
    /// Sessions of one node and day, for --false-flags; the default is the number of blocks in HDFS_v1
    #[arg(long, default_value_t = BLOCKS_PER_NODE_AND_DAY)]
    sessions_per_day: f64,
    /// Share of abnormal blocks that F1 is weighted to; the default is that of the whole of HDFS_v1
    #[arg(long, default_value_t = ABNORMAL_SHARE, value_parser = share)]
    abnormal_share: f64,
}

/// What the threshold is to do.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Rule {
    /// The best F1, or as near to the middle as is as good
    #[arg(long)]
    best_f1: bool,
    /// The highest threshold that finds this share of the abnormal sessions
    #[arg(long, value_name = "SHARE", value_parser = share)]
    recall: Option<f64>,
    /// The lowest threshold with no more false flags than this on a node and day
    #[arg(long, value_name = "COUNT")]
    false_flags: Option<f64>,
    /// The lowest threshold that a normal session to come passes with at most this probability (split conformal)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    conformal: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// Says which file is not usable, and why.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (mut model, bytes) = crate::inspect::model(&args.model)?;
    let (groups, scores) = match &args.node_sessions {
        Some(path) => {
            let keys = Keys::new(&model.metadata.catalogue, &model.tokenizer);
            let parts = input::read_sessions(path, &keys)?.list;
            let mut judges = Judges { model: &mut model, name: "model", baselines: &[] };
            let view =
                view::joined("joined", &parts.iter().collect::<Vec<_>>(), &BTreeMap::new(), &mut judges)?;
            let scores = view.columns.into_iter().next().map(|column| column.verdicts);
            (view.groups, scores.unwrap_or_default())
        }
        None => {
            let sessions = args.source.read(model.catalogue.templates(), &model.tokenizer)?;
            let groups = group(&sessions.list);
            let scores = verdicts(&mut model, &groups)?;
            (groups, scores)
        }
    };
    let items: Vec<Item> = groups
        .iter()
        .zip(&scores)
        .map(|(group, (score, flagged))| Item {
            score: *score,
            flagged: *flagged,
            normal: group.normal as f64,
            abnormal: group.abnormal as f64,
        })
        .collect();
    let normal: Vec<(f32, f64)> = items.iter().map(|item| (item.score, item.normal)).collect();
    let threshold = match args.rule {
        Rule { recall: Some(recall), .. } => by_recall(&items, recall).context("no session is abnormal")?,
        Rule { false_flags: Some(count), .. } => by_share(&normal, count / args.sessions_per_day),
        Rule { conformal: Some(share), .. } => by_share(&normal, share),
        Rule { .. } => choose(&items, args.abnormal_share),
    };
    let before = model.metadata.decision.threshold;
    model.metadata.decision.threshold = threshold;
    let after = match args.node_sessions {
        // Blocks have the score of their worst part, and no window of their own.
        Some(_) => scores.iter().map(|&(score, _)| (score, score >= threshold)).collect(),
        None => verdicts(&mut model, &groups)?,
    };
    let columns =
        [Column { name: "before", verdicts: scores.clone() }, Column { name: "after", verdicts: after }];
    let view = if args.node_sessions.is_some() { "joined" } else { "merged" };
    let sheet = Sheet::new(view, &groups, &columns, None, threshold, args.abnormal_share);
    let weights = natural(&groups, args.abnormal_share);
    let found = crate::evaluate::figures::Figures::new(&items, weights).at(threshold);
    let per_day = found.map_or(0.0, |step| step.fall_out * args.sessions_per_day);
    crate::print(&format!(
        "threshold {threshold} (before: {before}), {per_day:.2} false flags a node and day among {:.0} sessions\n\n{sheet}",
        args.sessions_per_day
    ));
    match &args.out {
        Some(path) => crate::write(path, &crate::inspect::with_metadata(&bytes, &model.metadata)?),
        None => Ok(()),
    }
}

/// The highest threshold that finds `share` of the abnormal sessions.
fn by_recall(items: &[Item], share: f64) -> Option<f32> {
    let mut order: Vec<(f32, f64)> = items.iter().map(|item| (item.score, item.abnormal)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: f64 = order.iter().map(|(_, count)| count).sum();
    let mut found = 0.0;
    let enough = order.iter().find(|(_, count)| {
        found += count;
        found >= share * all && *count > 0.0
    });
    enough.map(|(score, _)| *score)
}

/// F1 that may be given up for a threshold nearer to the middle: validation sessions are too few to tell such
/// thresholds apart, and the middle is where the net was fitted to put it.
const TOLERANCE: f64 = 0.003;

/// The threshold nearest to a logit of zero, score 0.5, among those whose weighted F1 is within the tolerance of the
/// best. It lies halfway, in logits, between two scores that occur.
#[must_use]
pub(crate) fn choose(items: &[Item], abnormal_share: f64) -> f32 {
    let normal: f64 = items.iter().map(|item| item.normal).sum();
    let abnormal: f64 = items.iter().map(|item| item.abnormal).sum();
    let weights = Weights { normal: (1.0 - abnormal_share) / normal, abnormal: abnormal_share / abnormal };
    let ranking = Ranking::new(items, weights);
    let (_, best) = ranking.best();
    let mut chosen = 0.5f32;
    let mut distance = f32::INFINITY;
    for (at, &(score, f1)) in ranking.curve.iter().enumerate() {
        if f1 < best - TOLERANCE {
            continue;
        }
        // A threshold anywhere in (below, score] flags the same sessions.
        let below = ranking.curve.get(at + 1).map_or(0.0, |next| next.0);
        let (low, high) = (logit(below), logit(score));
        let middle = if low < 0.0 && high >= 0.0 { 0.0 } else { f32::midpoint(low, high) };
        if middle.abs() < distance {
            (chosen, distance) = (crate::fit::sigmoid(middle), middle.abs());
        }
    }
    chosen
}

/// The lowest threshold at which at most `share` of the weight is flagged; halfway, in logits, to the score below it.
/// The scores of normal sessions and one more, so that the share holds for a session to come (split conformal).
#[must_use]
pub(crate) fn by_share(scores: &[(f32, f64)], share: f64) -> f32 {
    let mut order: Vec<(f32, f64)> = scores.to_vec();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let total: f64 = order.iter().map(|(_, weight)| weight).sum();
    let allowed = ((total + 1.0) * share).floor();
    let mut above = 0.0;
    let mut lowest_flagged = 1.0;
    for (score, weight) in order {
        above += weight;
        if above > allowed {
            let (low, high) = (logit(score), logit(lowest_flagged));
            let middle = crate::fit::sigmoid(f32::midpoint(low, high));
            // Where no number lies between the two, none below the higher one will do.
            return if middle > score { middle } else { score.next_up().min(1.0) };
        }
        lowest_flagged = score;
    }
    0.0
}

/// The inverse of the sigmoid, bounded where a float cannot tell more.
fn logit(score: f32) -> f32 {
    let score = score.clamp(1e-6, 1.0 - 1e-6);
    (score / (1.0 - score)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(score: f32, normal: f64, abnormal: f64) -> Item {
        Item { score, flagged: false, normal, abnormal }
    }

    #[test]
    fn classes_that_part_at_the_middle_give_the_middle() {
        let items = [item(0.2, 9.0, 0.0), item(0.8, 0.0, 9.0)];
        assert_eq!(choose(&items, 0.03), 0.5);
    }

    #[test]
    fn a_normal_above_the_middle_moves_the_threshold_beyond_it() {
        let items = [item(0.1, 9.0, 0.0), item(0.6, 9.0, 0.0), item(0.9, 0.0, 9.0)];
        let threshold = choose(&items, 0.03);
        assert!(threshold > 0.6 && threshold < 0.9, "{threshold}");
    }

    #[test]
    fn a_recall_is_reached_by_the_highest_threshold_that_reaches_it() {
        let items = [item(0.9, 0.0, 5.0), item(0.8, 3.0, 0.0), item(0.7, 0.0, 4.0), item(0.2, 0.0, 1.0)];
        assert_eq!(by_recall(&items, 0.5), Some(0.9));
        assert_eq!(by_recall(&items, 0.6), Some(0.7));
        assert_eq!(by_recall(&items, 0.95), Some(0.2));
        assert_eq!(by_recall(&[item(0.9, 1.0, 0.0)], 0.5), None);
    }

    #[test]
    fn a_share_is_kept_by_weight_and_by_one_session_more() {
        let scores = [(0.9, 1.0), (0.5, 9.0), (0.1, 90.0)];
        let flagged = |threshold: f32| -> f64 {
            scores.iter().filter(|(score, _)| *score >= threshold).map(|(_, weight)| weight).sum()
        };
        assert_eq!(flagged(by_share(&scores, 0.0)), 0.0);
        assert_eq!(flagged(by_share(&scores, 0.05)), 1.0);
        assert_eq!(flagged(by_share(&scores, 0.10)), 10.0);
        assert_eq!(by_share(&scores, 1.0), 0.0);
        assert!(by_share(&[(0.3, 5.0), (0.300_000_1, 1.0)], 0.0) > 0.3);
    }

    #[test]
    fn scores_of_zero_and_one_do_no_harm() {
        let items = [item(0.0, 9.0, 0.0), item(1.0, 0.0, 9.0)];
        assert_eq!(choose(&items, 0.03), 0.5);
    }
}
