//! What single templates do: how much each contributes to flags, and how their shares drift from training to test.

use std::collections::BTreeMap;

use anyhow::Result;
use blocksift_detector::Model;
use blocksift_detector::token::{Token, counts, counts_hash};
use serde_json::{Value, json};

use super::verdicts;
use super::view::View;
use crate::dataset::Group;

/// Distinct flagged sessions that contributions are measured on, the most frequent first.
const SESSIONS_MAX: usize = 300;
/// Least share, so that a template that never occurred has a finite part in the drift.
const LEAST: f64 = 1e-4;
/// Bins of scores.
const BINS: u8 = 20;

/// Name of a token, as the catalogue has it.
#[must_use]
pub(crate) fn name(model: &Model, token: Token) -> String {
    match token {
        Token::PAD => "padding".to_owned(),
        Token::UNKNOWN => "unknown template".to_owned(),
        Token(number) => {
            let at = usize::from(number - Token::FIRST);
            let id = model.metadata.tokenizer.vocabulary.get(at);
            let template =
                model.catalogue.templates().iter().find(|template| Some(template.id()) == id.copied());
            template.map_or_else(String::new, |template| {
                let key = template.key.map(|key| format!("{key}: ")).unwrap_or_default();
                format!("{key}{}", template.text.chars().take(60).collect::<String>())
            })
        }
    }
}

/// How much a template contributes where it occurs in flagged sessions.
pub(crate) struct Contribution {
    /// As the catalogue has it.
    pub(crate) template: String,
    /// Mean fall of the score when all its events are left out.
    pub(crate) fall: f64,
    /// Flagged sessions that have it.
    pub(crate) sessions: f64,
}

/// Contributions to the flags of a view, largest sum first.
///
/// # Errors
/// If the model cannot be run.
pub(crate) fn contributions(model: &mut Model, view: &View) -> Result<Vec<Contribution>> {
    let Some(column) = view.columns.first() else { return Ok(Vec::new()) };
    let mut flagged: Vec<&Group> = view
        .groups
        .iter()
        .zip(&column.verdicts)
        .filter(|(_, verdict)| verdict.1)
        .map(|(group, _)| group)
        .collect();
    flagged.sort_by_key(|group| std::cmp::Reverse(group.normal + group.abnormal));
    let mut sums: BTreeMap<Token, (f64, f64)> = BTreeMap::new();
    for group in flagged.into_iter().take(SESSIONS_MAX) {
        let whole = estimate(model, &group.tokens)?;
        let weight = (group.normal + group.abnormal) as f64;
        for (token, _) in counts(&group.tokens) {
            let rest: Vec<Token> = group.tokens.iter().copied().filter(|other| *other != token).collect();
            let (fall, sessions) = sums.entry(token).or_default();
            *fall += weight * f64::from(whole - estimate(model, &rest)?);
            *sessions += weight;
        }
    }
    let mut found: Vec<Contribution> = sums
        .into_iter()
        .map(|(token, (fall, sessions))| Contribution {
            template: name(model, token),
            fall: fall / sessions,
            sessions,
        })
        .collect();
    found.sort_by(|a, b| (b.fall * b.sessions).total_cmp(&(a.fall * a.sessions)));
    Ok(found)
}

fn estimate(model: &mut Model, tokens: &[Token]) -> Result<f32> {
    let window = model.tokenizer.window(tokens);
    Ok(model.estimate(std::slice::from_ref(&window))?.first().copied().unwrap_or(f32::NAN))
}

/// How far test sessions are from those of training.
pub(crate) struct Drift {
    /// Population stability index of the templates' shares: below .1 alike, above .25 another population.
    pub(crate) templates: f64,
    /// The templates that it comes from: name, share in training, share in the test, part in the index.
    pub(crate) most: Vec<(String, f64, f64, f64)>,
    /// The index of the scores of normal sessions.
    pub(crate) scores: f64,
    /// Share of events of unknown template.
    pub(crate) unknown: f64,
    /// Share of normal sessions with counts that no normal training session had.
    pub(crate) novel: f64,
}

/// Measures drift of a view against the groups trained on.
///
/// # Errors
/// If the model cannot be run.
pub(crate) fn drift(model: &mut Model, train: &[Group], view: &View) -> Result<Drift> {
    let scores = verdicts(model, train)?;
    let before_scores: Vec<(f64, f32)> =
        train.iter().zip(scores).map(|(group, (score, _))| (group.normal as f64, score)).collect();
    let (before, after) = (shares(train), shares(&view.groups));
    let tokens: std::collections::BTreeSet<Token> = before.keys().chain(after.keys()).copied().collect();
    let mut most: Vec<(String, f64, f64, f64)> = tokens
        .into_iter()
        .map(|token| {
            let share = |of: &BTreeMap<Token, f64>| of.get(&token).copied().unwrap_or(0.0);
            let (p, q) = (share(&before), share(&after));
            (name(model, token), p, q, index(p, q))
        })
        .collect();
    most.sort_by(|a, b| b.3.total_cmp(&a.3));
    let templates = if train.is_empty() { f64::NAN } else { most.iter().map(|row| row.3).sum() };
    most.truncate(if train.is_empty() { 0 } else { 10 });
    let known = &model.metadata.novelty;
    let normal: u64 = view.groups.iter().map(|group| group.normal).sum();
    let is_novel = |group: &&Group| !known.contains(&counts_hash(counts(&group.tokens)));
    let novel: u64 = view.groups.iter().filter(is_novel).map(|group| group.normal).sum();
    Ok(Drift {
        templates,
        most,
        scores: score_index(&before_scores, view),
        unknown: after.get(&Token::UNKNOWN).copied().unwrap_or(0.0),
        novel: novel as f64 / normal.max(1) as f64,
    })
}

/// Share of each token among the events of normal sessions.
fn shares(groups: &[Group]) -> BTreeMap<Token, f64> {
    let mut sums: BTreeMap<Token, f64> = BTreeMap::new();
    let mut all = 0.0;
    for group in groups {
        for token in &group.tokens {
            *sums.entry(*token).or_default() += group.normal as f64;
            all += group.normal as f64;
        }
    }
    sums.values_mut().for_each(|sum| *sum /= f64::max(all, 1.0));
    sums
}

fn index(before: f64, after: f64) -> f64 {
    let (p, q) = (before.max(LEAST), after.max(LEAST));
    (q - p) * (q / p).ln()
}

/// Index between the scores of normal sessions before, of the groups trained on, and after, in twenty equal bins.
fn score_index(before: &[(f64, f32)], view: &View) -> f64 {
    let Some(column) = view.columns.first() else { return f64::NAN };
    let after = view.groups.iter().zip(&column.verdicts);
    let after: Vec<(f64, f32)> = after.map(|(group, (score, _))| (group.normal as f64, *score)).collect();
    if before.is_empty() {
        return f64::NAN;
    }
    let shares = |scores: &[(f64, f32)]| -> Vec<f64> {
        let all: f64 = scores.iter().map(|(count, _)| count).sum();
        let mut bins = vec![0.0; usize::from(BINS)];
        for (count, score) in scores {
            let bin = (1..BINS).filter(|bin| *score >= f32::from(*bin) / f32::from(BINS)).count();
            bins.iter_mut().skip(bin).take(1).for_each(|bin| *bin += count / all.max(1.0));
        }
        bins
    };
    shares(before).into_iter().zip(shares(&after)).map(|(p, q)| index(p, q)).sum()
}

impl Drift {
    /// With stable names.
    #[must_use]
    pub(crate) fn json(&self) -> Value {
        let most: Vec<Value> = self
            .most
            .iter()
            .map(|(name, p, q, part)| json!({ "template": name, "training": p, "test": q, "psi": part }))
            .collect();
        json!({
            "templates_psi": self.templates,
            "scores_psi": self.scores,
            "unknown_events": self.unknown,
            "novel_counts": self.novel,
            "most": most,
        })
    }
}
