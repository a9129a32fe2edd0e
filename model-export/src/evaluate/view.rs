//! Views: the same cluster as the whole log shows it, as each node sees it, and as the collector joins what nodes say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use blocksift_detector::Model;
use blocksift_detector::template::Template;
use blocksift_detector::token::{Token, counts, counts_hash, sequence_hash};

use super::baselines::Baseline;
use super::verdicts;
use crate::catalogue;
use crate::dataset::{Group, group};
use crate::input::Session;
use crate::method::window;
use crate::sheet::metrics::Item;
use crate::sheet::{Column, Sheet, count_vector, unseen};

/// Share of each class that must be unseen, so that curves are drawn of the unseen alone.
const UNSEEN_MIN: f64 = 0.05;

/// Everything measured of one view.
pub(crate) struct View {
    /// Name in tables and JSON.
    pub(crate) name: &'static str,
    /// Sessions by sequence, or blocks.
    pub(crate) groups: Vec<Group>,
    /// Verdicts of the model, then of what stands beside it.
    pub(crate) columns: Vec<Column>,
    /// Which of the groups training never saw, where that can be told.
    pub(crate) unseen: Option<Vec<bool>>,
    /// Sessions for each block, on average.
    pub(crate) per_block: f64,
    /// What makes each block abnormal, where it is a view of blocks.
    pub(crate) kinds: Vec<String>,
}

impl View {
    /// The table of this view.
    #[must_use]
    pub(crate) fn sheet(&self, threshold: f32, abnormal_share: f64) -> Sheet {
        Sheet::new(self.name, &self.groups, &self.columns, self.unseen.as_deref(), threshold, abnormal_share)
    }

    /// The groups as a column judges them; only those that training never saw where that can be told and any are left.
    #[must_use]
    pub(crate) fn items(&self, column: &Column) -> Vec<Item> {
        let honest = self.unseen.as_ref().filter(|unseen| self.has_both(unseen));
        let chosen = self.groups.iter().zip(&column.verdicts).enumerate();
        let chosen = chosen.filter(|(at, _)| honest.is_none_or(|unseen| unseen.get(*at) == Some(&true)));
        let item = |(_, (group, &(score, flagged))): (usize, (&Group, &(f32, bool)))| Item {
            score,
            flagged,
            normal: group.normal as f64,
            abnormal: group.abnormal as f64,
        };
        chosen.map(item).collect()
    }

    /// What [`items`](Self::items) are.
    #[must_use]
    pub(crate) fn shown(&self) -> &'static str {
        match &self.unseen {
            Some(unseen) if self.has_both(unseen) => "sessions that training never saw",
            _ => "all sessions, those that training saw among them",
        }
    }

    /// Whether enough of each class is unseen to stand for it. Few parts of sessions are, and those are the odd ones.
    fn has_both(&self, unseen: &[bool]) -> bool {
        let enough = |class: fn(&Group) -> u64| {
            let all: u64 = self.groups.iter().map(class).sum();
            let own = self.groups.iter().zip(unseen).filter(|(_, unseen)| **unseen);
            let own: u64 = own.map(|(group, _)| class(group)).sum();
            own as f64 > UNSEEN_MIN * all as f64
        };
        enough(|group| group.normal) && enough(|group| group.abnormal)
    }
}

/// What judges: the model, and the baselines that were fitted beside it.
pub(crate) struct Judges<'a> {
    pub(crate) model: &'a mut Model,
    /// `int8`, or the method of a model that holds floats.
    pub(crate) name: &'static str,
    pub(crate) baselines: &'a [Baseline],
}

impl Judges<'_> {
    fn columns(&mut self, groups: &[Group]) -> Result<Vec<Column>> {
        let mut columns = vec![Column { name: self.name, verdicts: verdicts(self.model, groups)? }];
        columns.push(count_vector(groups, &self.model.metadata.novelty));
        columns.push(warn_or_worse(self.model, groups));
        for baseline in self.baselines {
            let score = |group: &Group| {
                let score = baseline.fitted.score(&window(&self.model.tokenizer, &group.tokens));
                (score, score >= baseline.threshold)
            };
            columns.push(Column { name: baseline.name, verdicts: groups.iter().map(score).collect() });
        }
        Ok(columns)
    }
}

/// Whole sessions, or parts of them, each judged alone.
pub(crate) fn alone(name: &'static str, sessions: &[Session], judges: &mut Judges<'_>) -> Result<View> {
    let groups = group(sessions);
    let trained = judges.model.metadata.trained_sequences()?;
    let blocks: BTreeSet<&str> = sessions.iter().map(|session| session.block.as_str()).collect();
    let named = !blocks.contains("") && sessions.iter().any(|session| session.node.is_some());
    Ok(View {
        name,
        columns: judges.columns(&groups)?,
        unseen: Some(unseen(&groups, &trained)),
        per_block: if named { sessions.len() as f64 / blocks.len().max(1) as f64 } else { 1.0 },
        groups,
        kinds: Vec::new(),
    })
}

/// Blocks instead of parts of them: a block is flagged if any of its parts is, and scores as its worst part. Whether
/// training saw a block can be told from its whole session alone, so `wholes` must have it.
pub(crate) fn joined(
    name: &'static str,
    sessions: &[&Session],
    wholes: &BTreeMap<String, Vec<Token>>,
    judges: &mut Judges<'_>,
) -> Result<View> {
    let groups = group(sessions.iter().copied());
    let mut columns = judges.columns(&groups)?;
    columns.push(in_sample(&groups));
    let at: BTreeMap<&[Token], usize> =
        groups.iter().enumerate().map(|(at, group)| (group.tokens.as_slice(), at)).collect();
    let mut blocks: BTreeMap<&str, (bool, Vec<usize>)> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, String> = BTreeMap::new();
    for session in sessions {
        let (abnormal, parts) = blocks.entry(&session.block).or_default();
        *abnormal |= session.abnormal;
        kinds.insert(&session.block, session.kind.clone());
        parts.extend(at.get(session.tokens.as_slice()));
    }
    let join = |column: &Column| {
        let worst = |parts: &Vec<usize>| {
            let verdicts = parts.iter().filter_map(|&part| column.verdicts.get(part));
            verdicts.fold((0.0f32, false), |worst, part| (worst.0.max(part.0), worst.1 | part.1))
        };
        Column { name: column.name, verdicts: blocks.values().map(|(_, parts)| worst(parts)).collect() }
    };
    let block = |(abnormal, parts): &(bool, Vec<usize>)| Group {
        tokens: parts
            .iter()
            .filter_map(|&part| groups.get(part))
            .flat_map(|part| part.tokens.clone())
            .collect(),
        normal: u64::from(!abnormal),
        abnormal: u64::from(*abnormal),
        natural_normal: 0,
        natural_abnormal: 0,
    };
    let trained = judges.model.metadata.trained_sequences()?;
    let known = |name: &&str| Some(!trained.contains(&sequence_hash(wholes.get(*name)?)));
    let unseen: Option<Vec<bool>> = blocks.keys().map(known).collect();
    Ok(View {
        name,
        columns: columns.iter().map(join).collect(),
        unseen,
        per_block: 1.0,
        groups: blocks.values().map(block).collect(),
        kinds: kinds.into_values().collect(),
    })
}

/// What a look-up of counts can reach at best: it knows the labels of these very parts, and flags counts that abnormal
/// blocks have more often than normal ones.
fn in_sample(groups: &[Group]) -> Column {
    let mut known: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let hash = |group: &Group| counts_hash(counts(&group.tokens));
    for group in groups {
        let (normal, abnormal) = known.entry(hash(group)).or_default();
        *normal += group.normal;
        *abnormal += group.abnormal;
    }
    let verdict = |group: &Group| {
        let (normal, abnormal) = known.get(&hash(group)).copied().unwrap_or_default();
        let share = abnormal as f64 / (normal + abnormal) as f64;
        (crate::method::single(share), abnormal > normal)
    };
    Column { name: "counts_in_sample", verdicts: groups.iter().map(verdict).collect() }
}

/// Whether a part is the NameNode's: its node is called so, or all of its events are of that one's loggers.
#[must_use]
pub(crate) fn is_namenode(session: &Session, namenode: &BTreeSet<Token>) -> bool {
    session.node.as_deref() == Some("namenode") || session.tokens.iter().all(|token| namenode.contains(token))
}

/// Tokens of the events that the NameNode writes.
#[must_use]
pub(crate) fn namenode_tokens(model: &Model) -> BTreeSet<Token> {
    tokens_of(model, catalogue::is_namenode)
}

/// Tokens of the templates that are so.
fn tokens_of(model: &Model, are: impl Fn(&Template) -> bool) -> BTreeSet<Token> {
    let templates = model.catalogue.templates().iter().filter(|template| are(template));
    let ranges = templates.flat_map(|template| model.tokenizer.ranges(template.id()));
    ranges.map(|(_, _, token)| token).collect()
}

/// What anybody would do without a model: a session with a line of WARN or worse is flagged.
fn warn_or_worse(model: &Model, groups: &[Group]) -> Column {
    let loud = tokens_of(model, |template| ["WARN", "ERROR", "FATAL"].contains(&template.level.as_str()));
    let verdict = |group: &Group| {
        let found = group.tokens.iter().any(|token| loud.contains(token));
        (f32::from(u8::from(found)), found)
    };
    Column { name: "warn_or_worse", verdicts: groups.iter().map(verdict).collect() }
}
