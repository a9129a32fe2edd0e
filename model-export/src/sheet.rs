//! The score sheet: the same figures every time, as a table and as JSON.

pub(crate) mod bootstrap;
pub(crate) mod metrics;
pub(crate) mod table;

use std::collections::HashSet;

use blocksift_detector::token::{counts, counts_hash, sequence_hash};
use serde_json::{Map, Value, json};

use crate::dataset::Group;
use bootstrap::Interval;
use metrics::{Confusion, Item, Ranking, Weights};

/// Share of abnormal blocks in the whole of HDFS_v1.
pub(crate) const ABNORMAL_SHARE: f64 = 16_838.0 / 575_061.0;

/// One method's verdicts, one for each group.
pub(crate) struct Column {
    /// `int8`, `float` or `count_vector`.
    pub(crate) name: &'static str,
    /// Scores and verdicts in the order of the groups.
    pub(crate) verdicts: Vec<(f32, bool)>,
}

/// Figures of one method over one set of sessions.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    method: &'static str,
    subset: &'static str,
    sequences: usize,
    counted: Confusion,
    weighted: Confusion,
    roc_auc: f64,
    pr_auc_abnormal: f64,
    pr_auc_normal: f64,
    best: (f32, f64),
    by_block: Interval,
    by_sequence: Interval,
}

/// A sheet.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    /// `merged`, `node` or `joined`.
    pub(crate) view: &'static str,
    /// Threshold stored in the model.
    pub(crate) threshold: f32,
    /// What the class weights make of the share of abnormal blocks.
    pub(crate) abnormal_share: f64,
    /// Sessions measured.
    pub(crate) sessions: u64,
    /// Abnormal ones among them.
    pub(crate) abnormal: u64,
    rows: Vec<Row>,
}

impl Sheet {
    /// Measures `columns` over `groups`; `unseen` says of each group whether training never saw it, where that can be
    /// told.
    #[must_use]
    pub(crate) fn new(
        view: &'static str,
        groups: &[Group],
        columns: &[Column],
        unseen: Option<&[bool]>,
        threshold: f32,
        abnormal_share: f64,
    ) -> Self {
        let normal: u64 = groups.iter().map(|group| group.normal).sum();
        let abnormal: u64 = groups.iter().map(|group| group.abnormal).sum();
        let weights = natural(groups, abnormal_share);
        let one = Weights { normal: 1.0, abnormal: 1.0 };
        let is_sampled = groups.iter().any(|group| group.natural_normal + group.natural_abnormal > 0);
        let is_grouped = groups.iter().any(|group| group.normal + group.abnormal > 1);
        let mut subsets = vec![("all", Count::All, false, weights)];
        if unseen.is_some() {
            subsets.push(("unseen", Count::All, true, weights));
        }
        if is_grouped {
            subsets.push(("distinct", Count::Once, false, one));
        }
        if is_sampled {
            subsets.push(("natural", Count::Natural, false, one));
            if unseen.is_some() {
                subsets.push(("natural_unseen", Count::Natural, true, one));
            }
        }
        let mut rows = Vec::new();
        for column in columns {
            for &(subset, count, only_unseen, weights) in &subsets {
                let judged = groups.iter().zip(&column.verdicts).enumerate();
                let chosen = judged.filter(|(at, _)| {
                    !only_unseen || unseen.and_then(|unseen| unseen.get(*at)).copied().unwrap_or(false)
                });
                let items: Vec<Item> = chosen
                    .map(|(_, (group, &(score, flagged)))| item(group, score, flagged, count))
                    .filter(|item| item.normal + item.abnormal > 0.0)
                    .collect();
                rows.push(Row::new(column.name, subset, &items, weights));
            }
        }
        Self { view, threshold, abnormal_share, sessions: normal + abnormal, abnormal, rows }
    }

    /// The sheet with stable names; a figure that does not exist is null.
    #[must_use]
    pub(crate) fn json(&self) -> Map<String, Value> {
        let mut sheet = Map::new();
        sheet.insert("view".to_owned(), json!(self.view));
        sheet.insert("threshold".to_owned(), json!(self.threshold));
        sheet.insert("abnormal_share".to_owned(), json!(self.abnormal_share));
        sheet.insert("sessions".to_owned(), json!(self.sessions));
        sheet.insert("abnormal".to_owned(), json!(self.abnormal));
        if let Some(row) = self.rows.first() {
            sheet.insert("f1".to_owned(), json!(row.weighted.f1()));
            sheet.insert("precision".to_owned(), json!(row.weighted.precision()));
            sheet.insert("recall".to_owned(), json!(row.weighted.recall()));
        }
        for row in &self.rows {
            let method = sheet.entry(row.method).or_insert_with(|| json!({}));
            if let Some(method) = method.as_object_mut() {
                method.insert(row.subset.to_owned(), row.json());
            }
        }
        sheet
    }
}

impl Row {
    fn new(method: &'static str, subset: &'static str, items: &[Item], weights: Weights) -> Self {
        let counted = Confusion::new(items);
        let ranking = Ranking::new(items, weights);
        Self {
            method,
            subset,
            sequences: items.len(),
            counted,
            weighted: counted.weighted(weights),
            roc_auc: ranking.roc_auc,
            pr_auc_abnormal: ranking.pr_auc_abnormal,
            pr_auc_normal: ranking.pr_auc_normal,
            best: ranking.best(),
            by_block: bootstrap::by_block(counted, weights, 1),
            by_sequence: bootstrap::by_sequence(items, weights, 2),
        }
    }

    fn json(&self) -> Value {
        json!({
            "sequences": self.sequences,
            "precision": self.weighted.precision(),
            "recall": self.weighted.recall(),
            "f1": self.weighted.f1(),
            "f1_low": self.by_block[0],
            "f1_high": self.by_block[1],
            "f1_by_sequence_low": self.by_sequence[0],
            "f1_by_sequence_high": self.by_sequence[1],
            "specificity": self.weighted.specificity(),
            "roc_auc": self.roc_auc,
            "pr_auc_abnormal": self.pr_auc_abnormal,
            "pr_auc_normal": self.pr_auc_normal,
            "tp": self.counted.tp,
            "fp": self.counted.fp,
            "tn": self.counted.tn,
            "fn": self.counted.missed,
            "best_threshold": self.best.0,
            "best_f1": self.best.1,
        })
    }
}

/// The count-vector rule: flagged if no normal training session had these counts.
#[must_use]
pub(crate) fn count_vector(groups: &[Group], novelty: &HashSet<u64>) -> Column {
    let verdict = |group: &Group| {
        let novel = !novelty.contains(&counts_hash(counts(&group.tokens)));
        (f32::from(u8::from(novel)), novel)
    };
    Column { name: "count_vector", verdicts: groups.iter().map(verdict).collect() }
}

/// How sessions of one sequence are counted.
#[derive(Clone, Copy)]
enum Count {
    /// Each.
    All,
    /// Those of the sample with the natural class ratio.
    Natural,
    /// Once for each class that it has sessions of: without duplicates.
    Once,
}

/// Factors that give the classes their natural ratio and leave the number of sessions as it is.
#[must_use]
pub(crate) fn natural(groups: &[Group], abnormal_share: f64) -> Weights {
    let normal: u64 = groups.iter().map(|group| group.normal).sum();
    let abnormal: u64 = groups.iter().map(|group| group.abnormal).sum();
    let all = (normal + abnormal) as f64;
    Weights {
        normal: (1.0 - abnormal_share) * all / normal as f64,
        abnormal: abnormal_share * all / abnormal as f64,
    }
}

/// Which groups have a sequence that is not among `trained`.
#[must_use]
pub(crate) fn unseen(groups: &[Group], trained: &HashSet<u32>) -> Vec<bool> {
    groups.iter().map(|group| !trained.contains(&sequence_hash(&group.tokens))).collect()
}

fn item(group: &Group, score: f32, flagged: bool, count: Count) -> Item {
    let (normal, abnormal) = match count {
        Count::All => (group.normal, group.abnormal),
        Count::Natural => (group.natural_normal, group.natural_abnormal),
        Count::Once => (group.normal.min(1), group.abnormal.min(1)),
    };
    Item { score, flagged, normal: normal as f64, abnormal: abnormal as f64 }
}

#[cfg(test)]
mod tests;
