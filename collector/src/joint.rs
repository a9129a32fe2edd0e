//! The score of a block's merged session: the events of all nodes in one order, as the model saw them in training where the
//! logs of a cluster were joined. Scored by the table folded from the model, which needs no runtime.
//!
//! The collector has what the agents have built in, and those of the configuration. A model whose tokens depend on more than
//! the template (on parameters or gaps) cannot be applied, since a report does not hold these.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use blocksift_detector::template::TemplateId;
use blocksift_detector::token::Token;
use blocksift_detector::{Model, Report};
use serde::Serialize;
use tracing::{error, warn};

use crate::incident::timeline;

/// The models of the agents of this release.
const EMBEDDED: [&[u8]; 2] =
    [include_bytes!("../../models/hadoop3.onnx"), include_bytes!("../../models/hdfs-v1.onnx")];

/// What the model says of all nodes' events together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Joint {
    /// `0.0..=1.0`, higher is worse.
    pub(crate) score: f32,
    pub(crate) threshold: f32,
    pub(crate) flagged: bool,
    pub(crate) model: String,
    /// Events that were scored.
    pub(crate) events: usize,
}

/// Those of the release, made when the first one is needed.
static RELEASED: LazyLock<ById> = LazyLock::new(|| {
    let models = EMBEDDED.iter().filter_map(|bytes| match Model::from_onnx_table(bytes) {
        Ok(model) => Some((model.id.clone(), Mutex::new(model))),
        Err(error) => {
            error!(%error, "a model of this release does not load");
            None
        }
    });
    models.collect()
});

type ById = BTreeMap<String, Mutex<Model>>;

/// Models by their ids: those of this release, and these.
#[derive(Debug, Default)]
pub(crate) struct Models(ById);

impl Models {
    /// Those of this release, and the files at `paths`, which go before them.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub(crate) fn load(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut models = BTreeMap::new();
        for path in paths {
            let model = read(path)?;
            models.insert(model.id.clone(), Mutex::new(model));
        }
        Ok(Self(models))
    }

    fn find(&self, id: &str) -> Option<&Mutex<Model>> {
        self.0.get(id).or_else(|| RELEASED.get(id))
    }

    /// The score of these reports, which are of one block, by the model that most of them were scored by; `None` if no
    /// model of theirs is known.
    pub(crate) fn score(&self, reports: &[Report]) -> Option<Joint> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for report in reports.iter().filter(|report| self.find(&report.model).is_some()) {
            *votes.entry(report.model.as_str()).or_default() += 1;
        }
        let (id, _) = votes.into_iter().max_by_key(|(_, votes)| *votes)?;
        let mut model = self.find(id)?.lock().unwrap_or_else(PoisonError::into_inner);
        let tokenizer = &model.tokenizer;
        let token = |place: (usize, usize)| -> Option<Token> {
            let event = reports.get(place.0)?.events.get(place.1)?;
            let template = u64::from_str_radix(&event.template, 16).ok()?;
            Some(tokenizer.token(TemplateId(template)))
        };
        let tokens: Vec<Token> = timeline(reports).into_iter().filter_map(token).collect();
        if tokens.is_empty() {
            return None;
        }
        let window = tokenizer.window(&tokens);
        let threshold = model.metadata.decision.threshold;
        let score = match model.score(&[window]) {
            Ok(scores) => scores.first().copied()?,
            Err(error) => {
                warn!(%error, model = id, "a merged session cannot be scored");
                return None;
            }
        };
        Some(Joint {
            score,
            threshold,
            flagged: score >= threshold,
            model: id.to_owned(),
            events: tokens.len(),
        })
    }
}

/// Reads a model whose tokens depend on templates alone.
///
/// # Errors
/// Names the file and what is wrong with it.
fn read(path: &Path) -> anyhow::Result<Model> {
    use anyhow::Context;
    let bytes = std::fs::read(path).with_context(|| format!("model `{}` cannot be read", path.display()))?;
    let model = Model::from_onnx_table(&bytes)
        .with_context(|| format!("model `{}` cannot be used", path.display()))?;
    if !model.metadata.tokenizer.refinements.is_empty() {
        anyhow::bail!(
            "model `{}` cannot score merged sessions: its tokens depend on parameters or gaps, which reports do not hold",
            path.display()
        );
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::tests::report;

    /// A report on `templates` of the model for 2008's logs.
    fn of(node: &str, texts: &[&str], minute: usize) -> Report {
        let mut report = report();
        report.node = node.to_owned();
        report.model = RELEASED.keys().find(|id| id.starts_with("hdfs-v1-")).unwrap().clone();
        let sample = report.events[0].clone();
        report.events = texts
            .iter()
            .enumerate()
            .map(|(second, text)| {
                let mut event = sample.clone();
                event.time = format!("2008-11-09T20:{minute:02}:{second:02}Z");
                event.template = TemplateId::of(text).to_string();
                event
            })
            .collect();
        report
    }

    #[test]
    fn parts_are_scored_as_one_session_whatever_their_order() {
        let models = Models::load(&[]).unwrap();
        let text = |at: usize| {
            let model = RELEASED.iter().find(|(id, _)| id.starts_with("hdfs-v1-")).unwrap().1.lock().unwrap();
            model.metadata.catalogue[at].text.clone()
        };
        let (first, second) = (text(0), text(1));
        let one = of("dn1", &[&first, &second], 1);
        let other = of("nn", &[&second, &second, &first], 2);
        let whole = of("all", &[&first, &second, &second, &second, &first], 3);
        let joint = models.score(&[one.clone(), other.clone()]).unwrap();
        assert_eq!((joint.events, joint.model.as_str()), (5, one.model.as_str()));
        assert_eq!(models.score(&[other, one.clone()]).unwrap(), joint);
        assert_eq!(models.score(&[whole]).unwrap().score, joint.score);
        assert_ne!(models.score(&[one]).unwrap().score, joint.score);
    }

    #[test]
    fn a_model_that_is_not_known_gives_no_score() {
        let models = Models::load(&[]).unwrap();
        assert_eq!(models.score(&[report()]), None);
        assert!(models.score(&[]).is_none());
        let error = format!("{:#}", Models::load(&["Cargo.toml".into()]).unwrap_err());
        assert!(error.contains("`Cargo.toml` cannot be used"), "{error}");
    }
}
