//! `train --unlabelled`: a model for a site that has logs and no labels.
//!
//! Sessions whose counts are the rarest are set aside, since an unlabelled log holds faults, too. The methods that need no
//! labels are fitted to most of the others. On the rest each gets the threshold that keeps the budget of false flags, and
//! is asked how many sessions it flags that were spoilt on purpose: an event lost, doubled, foreign, or the end cut off.
//! The best is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use blocksift_detector::model::TokenizerSpec;
use blocksift_detector::template::{Catalogue, Template};
use blocksift_detector::token::{Token, Tokenizer, counts, counts_hash};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::data::fingerprint;
use super::file::{About, Made, golden, metadata, quantiles};
use super::{Args, journal};
use crate::dataset::{Group, Part, Shares, group, split};
use crate::evaluate::{BLOCKS_PER_NODE_AND_DAY, verdicts};
use crate::input::{self, Keys, Sessions};
use crate::method::{self, Fitted, Lesson, Method, window};
use crate::{card, catalogue, graph, threshold};

/// Share of sessions with the rarest counts that is set aside.
const RARE: f64 = 0.02;
/// Shares of the sequences that choose the threshold, in percent.
const SHARES: Shares = Shares { validation: 30, test: 0, fold: 0 };
/// Spoilt sessions that choose among methods.
const SPOILT: usize = 2_000;

/// A method with its threshold and what it finds.
struct Candidate {
    method: Method,
    fitted: Box<dyn Fitted>,
    threshold: f32,
    /// Share of usual sessions that are flagged.
    flagged: f64,
    /// Share of all sessions, the set-aside ones among them, that are flagged.
    flagged_of_all: f64,
    /// Share of spoilt sessions that are flagged.
    found: f64,
}

/// What a site has.
struct Site {
    catalogue: Vec<Template>,
    spec: TokenizerSpec,
    tokenizer: Tokenizer,
    sessions: Sessions,
    per_day: f64,
}

/// Its sessions, by sequence.
struct Parts {
    train: Vec<Group>,
    held: Vec<Group>,
    /// Those with the rarest counts.
    rare: Vec<Group>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<()> {
    let site = Site::read(args)?;
    let (usual, rare) = usual(&group(&site.sessions.list));
    let dealt = split(&usual, SHARES, args.seed);
    let of = |part: Part| -> Vec<Group> {
        let pairs = usual.iter().zip(&dealt).filter(|(_, found)| **found == part);
        pairs.map(|(group, _)| group.clone()).collect()
    };
    let parts = Parts { train: of(Part::Train), held: of(Part::Validation), rare };
    if parts.train.is_empty() || parts.held.is_empty() {
        bail!("too few distinct sessions to learn from; give the logs of some days");
    }
    let candidates = candidates(args, &site, &parts);
    let table = table(&candidates, site.per_day);
    let json: Vec<Value> = candidates.iter().map(|candidate| candidate.json(site.per_day)).collect();
    let Some(best) = candidates.into_iter().next() else { bail!("no method could be fitted") };
    let mut scores = Map::new();
    scores.insert("view".to_owned(), json!("unlabelled"));
    scores.insert("method".to_owned(), json!(best.method.name()));
    scores.insert("sessions_per_day".to_owned(), json!(site.per_day));
    scores.insert("candidates".to_owned(), Value::Array(json));
    let known: Vec<&Group> = usual.iter().collect();
    write(args, &site, &parts.train, &known, best, Value::Object(scores), &table)
}

impl Site {
    fn read(args: &Args) -> Result<Self> {
        let catalogue = catalogue::read(args.catalogue.as_deref())?;
        let vocabulary = catalogue.iter().map(Template::id).collect();
        let spec = TokenizerSpec::plain(args.length as usize, vocabulary);
        let tokenizer = Tokenizer::new(spec.length, &spec.vocabulary);
        let mut sessions = match args.unlabelled.as_slice() {
            [path] if is_session_file(path) => {
                input::read_sessions(path, &Keys::new(&catalogue, &tokenizer))?
            }
            logs => {
                let size = logs.iter().map(|log| fs::metadata(log).map_or(0, |file| file.len())).sum();
                let bar = crate::progress(size, "reading {bytes} {elapsed}");
                let compiled = Catalogue::new(catalogue.clone());
                input::read_unlabelled(logs, &compiled, &tokenizer, |bytes| bar.inc(bytes))?
            }
        };
        // Nobody may look at labels here.
        sessions.list.iter_mut().for_each(|session| session.abnormal = false);
        let per_day = args.sessions_per_day.unwrap_or_else(|| per_day(&sessions));
        Ok(Self { catalogue, spec, tokenizer, sessions, per_day })
    }
}

/// All methods with what each finds, best first; of equals the simplest.
fn candidates(args: &Args, site: &Site, parts: &Parts) -> Vec<Candidate> {
    let lesson = Lesson::new(&parts.train, &site.tokenizer, &site.catalogue, args.reading, 1.0, args.seed);
    let lesson = Lesson { surprise: args.surprise, ..lesson };
    let spoilt = spoilt(&parts.held, &lesson, &site.tokenizer, args.seed);
    let held = windows(&parts.held, &site.tokenizer);
    let rare = windows(&parts.rare, &site.tokenizer);
    let budget = args.false_flags / site.per_day;
    let count: u64 = held.iter().map(|(_, count)| count).sum();
    if count as f64 * budget < 1.0 {
        crate::warn(&format!(
            "{count} held-out sessions are too few for a budget of {} in {:.0}, so none of them may be flagged; give the logs of more days, or more --false-flags",
            args.false_flags, site.per_day
        ));
    }
    let bar = crate::progress(Method::LABEL_FREE.len() as u64, "methods {pos}/{len} {elapsed} {msg}");
    let mut candidates = Vec::new();
    for method in Method::LABEL_FREE {
        bar.set_message(method.name());
        let fitted = method::fit(method, &lesson);
        candidates.push(judge(method, fitted, &held, &rare, &spoilt, budget));
        bar.inc(1);
    }
    bar.finish_and_clear();
    candidates.sort_by(|a, b| b.found.total_cmp(&a.found));
    candidates
}

fn write(
    args: &Args,
    site: &Site,
    train: &[Group],
    known: &[&Group],
    best: Candidate,
    scores: Value,
    table: &str,
) -> Result<()> {
    let (method, threshold, made) = (best.method, best.threshold, Made::Other(best.fitted));
    let data = fingerprint(&site.sessions.list, None);
    let about = About {
        name: &args.name,
        licence: &args.licence,
        catalogue: &site.catalogue,
        tokenizer: &site.spec,
        unknown_warn: !args.no_unknown_warn,
        data: &data,
        seed: args.seed,
    };
    let trained: Vec<&Group> = train.iter().collect();
    let mut metadata = metadata(&about, &trained, known);
    metadata.decision.threshold = threshold;
    metadata.scores = scores;
    let mut model = made.load(&metadata)?;
    metadata.decision.quantiles = quantiles(train, &verdicts(&mut model, train)?);
    metadata.golden = golden(&mut model, args.seed)?;
    let bytes = graph::write(made.graph(), &metadata)?;
    let model = blocksift_detector::Model::from_onnx(&bytes)?;
    crate::write(&args.out, &bytes)?;
    let told = format!("{} written, {} bytes, model {}", args.out.display(), bytes.len(), model.id);
    crate::print(&format!("{told}\n\n{table}"));
    if let Some(path) = &args.card {
        let text = card::write(&card::Facts {
            metadata: &metadata,
            sheet: table,
            how: &card::how(method, made.parameters()),
            id: &model.id,
            command: &card::command(std::env::args().skip(1)),
            bytes: bytes.len(),
        });
        crate::write(path, text.as_bytes())?;
    }
    let Some(folder) = &args.run else { return Ok(()) };
    let config = json!({ "command": card::command(std::env::args().skip(1)), "data": data });
    journal::write(folder, &config, &[], &metadata.scores)
}

fn is_session_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.ends_with(".csv") || name.ends_with(".csv.gz")
    })
}

/// Sessions of one node and day.
fn per_day(sessions: &Sessions) -> f64 {
    let nodes: std::collections::BTreeSet<Option<&str>> =
        sessions.list.iter().map(|session| session.node.as_deref()).collect();
    let all: f64 = sessions.list.iter().map(|session| f64::from(session.count)).sum();
    match sessions.days() {
        Some(days) => all / days / nodes.len().max(1) as f64,
        None => BLOCKS_PER_NODE_AND_DAY,
    }
}

/// Parts the groups into those with usual counts and those with the rarest.
fn usual(all: &[Group]) -> (Vec<Group>, Vec<Group>) {
    let mut by_counts: BTreeMap<u64, u64> = BTreeMap::new();
    for group in all {
        *by_counts.entry(counts_hash(counts(&group.tokens))).or_default() += group.normal;
    }
    let total: u64 = by_counts.values().sum();
    let mut order: Vec<(u64, u64)> = by_counts.iter().map(|(hash, count)| (*count, *hash)).collect();
    order.sort_unstable();
    let mut left = RARE * total as f64;
    let mut rare = std::collections::BTreeSet::new();
    for (count, hash) in order {
        left -= count as f64;
        if left < 0.0 {
            break;
        }
        rare.insert(hash);
    }
    all.iter().cloned().partition(|group| !rare.contains(&counts_hash(counts(&group.tokens))))
}

fn windows(groups: &[Group], tokenizer: &Tokenizer) -> Vec<(Vec<u16>, u64)> {
    groups.iter().map(|group| (window(tokenizer, &group.tokens), group.normal)).collect()
}

/// Held-out sessions, each spoilt in one way; a sequence that usual sessions have is none.
fn spoilt(held: &[Group], lesson: &Lesson, tokenizer: &Tokenizer, seed: u64) -> Vec<Vec<u16>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5b01);
    let known: std::collections::BTreeSet<&[u16]> =
        lesson.samples.iter().map(|sample| sample.tokens.as_slice()).collect();
    let rows = u16::try_from(lesson.rows).unwrap_or(u16::MAX);
    let mut found = Vec::with_capacity(SPOILT);
    // Some attempts give a sequence that is known; the bound ends a set where all do.
    for _ in 0..SPOILT * 4 {
        let Some(group) = held.get(rng.random_range(0..held.len())) else { break };
        let mut tokens = group.tokens.clone();
        let place = rng.random_range(0..tokens.len().max(1));
        match rng.random_range(0..4u8) {
            0 if tokens.len() > 1 => drop(tokens.remove(place)),
            1 => tokens.insert(place, tokens.get(place).copied().unwrap_or(Token::UNKNOWN)),
            2 => tokens.insert(place, Token(rng.random_range(Token::UNKNOWN.0..rows))),
            _ => tokens.truncate(place.max(1)),
        }
        let spoilt = window(tokenizer, &tokens);
        if !known.contains(spoilt.as_slice()) && found.len() < SPOILT {
            found.push(spoilt);
        }
    }
    found
}

fn judge(
    method: Method,
    fitted: Box<dyn Fitted>,
    held: &[(Vec<u16>, u64)],
    rare: &[(Vec<u16>, u64)],
    spoilt: &[Vec<u16>],
    budget: f64,
) -> Candidate {
    let scored = |windows: &[(Vec<u16>, u64)]| -> Vec<(f32, f64)> {
        windows.iter().map(|(tokens, count)| (fitted.score(tokens), *count as f64)).collect()
    };
    let (held, rare) = (scored(held), scored(rare));
    let threshold = threshold::by_share(&held, budget);
    let flagged = |scores: &[(f32, f64)]| -> f64 {
        // An empty sum is -0.
        scores.iter().filter(|(score, _)| *score >= threshold).map(|(_, count)| count).sum::<f64>() + 0.0
    };
    let total = |scores: &[(f32, f64)]| scores.iter().map(|(_, count)| count).sum::<f64>();
    // The held-out part stands for all usual sessions, the rare ones are all there are.
    let usual_share = 1.0 - RARE;
    let rare_share = flagged(&rare) / total(&rare).max(1.0);
    let share = flagged(&held) / total(&held).max(1.0);
    let hits = spoilt.iter().filter(|tokens| fitted.score(tokens) >= threshold).count();
    Candidate {
        method,
        threshold,
        flagged: share,
        flagged_of_all: usual_share * share + RARE * rare_share,
        found: hits as f64 / spoilt.len().max(1) as f64,
        fitted,
    }
}

impl Candidate {
    fn json(&self, per_day: f64) -> Value {
        json!({
            "method": self.method.name(),
            "threshold": self.threshold,
            "false_flags_per_node_and_day": self.flagged * per_day,
            "flags_per_node_and_day": self.flagged_of_all * per_day,
            "spoilt_found": self.found,
        })
    }
}

fn table(candidates: &[Candidate], per_day: f64) -> String {
    let mut text = format!(
        "No labels, so no F1. {per_day:.0} sessions a node and day; `usual` leaves out the {:.0} % of sessions with the\nrarest counts; `spoilt` is the share of held-out sessions, spoilt on purpose, that is flagged.\n\n\
         | method              | threshold | usual flagged a day | all flagged a day | spoilt |\n\
         |---------------------|-----------|---------------------|-------------------|--------|\n",
        RARE * 100.0
    );
    for candidate in candidates {
        text.push_str(&format!(
            "| {:<19} | {:<9.4} | {:<19.2} | {:<17.1} | {:<6.3} |\n",
            candidate.method.name(),
            candidate.threshold,
            candidate.flagged * per_day,
            candidate.flagged_of_all * per_day,
            candidate.found
        ));
    }
    text
}
