//! What methods that do not read the order of events read of a window: a row of a table for each event, summed.

use std::collections::{BTreeMap, BTreeSet};

use blocksift_detector::template::Template;
use blocksift_detector::token::Tokenizer;
use tract_onnx::pb::GraphProto;

use super::singles;
use crate::graph::build::Builder;

/// `[rows][width]`; the row of padding is zero.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Features {
    /// Numbers read of a window.
    pub(crate) width: usize,
    table: Vec<f64>,
}

impl Features {
    /// How often each token but padding occurs.
    #[must_use]
    pub(crate) fn counts(rows: usize) -> Self {
        let width = rows.saturating_sub(1);
        let mut table = vec![0.0; rows * width];
        // Row n + 1 has its one at n.
        table.iter_mut().skip(width).step_by(width + 1).for_each(|value| *value = 1.0);
        Self { width, table }
    }

    /// The words of the templates, each by how rare it is among them (TF-IDF), then the number of messages, their words
    /// and their characters.
    #[must_use]
    pub(crate) fn words(templates: &[Template], tokenizer: &Tokenizer) -> Self {
        let words_of = |template: &Template| -> Vec<String> {
            let words = template.text.split(|sign: char| !sign.is_ascii_alphabetic());
            words.filter(|word| word.len() > 1).map(str::to_ascii_lowercase).collect()
        };
        let mut documents: BTreeMap<String, usize> = BTreeMap::new();
        for template in templates {
            for word in words_of(template).into_iter().collect::<BTreeSet<_>>() {
                *documents.entry(word).or_default() += 1;
            }
        }
        let places: BTreeMap<&str, (usize, f64)> = documents
            .iter()
            .enumerate()
            .map(|(at, (word, &count))| {
                (word.as_str(), (at, (templates.len() as f64 / count as f64).ln() + 1.0))
            })
            .collect();
        let width = places.len() + 3;
        let mut table = vec![0.0; tokenizer.rows() * width];
        let mut rows: Vec<&mut [f64]> = table.chunks_exact_mut(width).collect();
        for row in rows.iter_mut().skip(1) {
            if let Some(messages) = row.get_mut(places.len()) {
                *messages = 1.0;
            }
        }
        for template in templates {
            let words = words_of(template);
            let Some(row) = rows.get_mut(usize::from(tokenizer.token(template.id()).0)) else { continue };
            for word in &words {
                if let Some((at, weight)) = places.get(word.as_str()) {
                    row.iter_mut().skip(*at).take(1).for_each(|value| *value += weight);
                }
            }
            let sizes = [words.len() as f64, template.text.len() as f64 / 10.0];
            for (value, size) in row.iter_mut().skip(places.len() + 1).zip(sizes) {
                *value = size;
            }
        }
        Self { width, table }
    }

    /// What is read of a window.
    #[must_use]
    pub(crate) fn of(&self, tokens: &[u16]) -> Vec<f64> {
        let mut sum = vec![0.0; self.width];
        for token in tokens {
            let row = self.table.chunks_exact(self.width.max(1)).nth(usize::from(*token)).unwrap_or_default();
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
        sum
    }

    /// The first nodes of a graph: `tokens` to a value `features` of shape `[N, width]`.
    #[must_use]
    pub(crate) fn builder(&self) -> Builder {
        let mut graph = Builder::default();
        let rows = self.table.len() / self.width.max(1);
        graph.floats("table", &[rows, self.width], &singles(&self.table));
        graph.integers("over_events", &[1], &[1]);
        graph.node("Gather", &["table", "tokens"], "rows", &[]);
        graph.node("ReduceSum", &["rows", "over_events"], "features", &[("keepdims", 0)]);
        graph
    }
}

/// Ends a graph: `raw`, a value of shape `[N, 1]`, becomes the score `raw / (raw + half)`.
#[must_use]
pub(crate) fn finish(mut graph: Builder, raw: &str, half: f64, length: usize) -> GraphProto {
    graph.floats("half", &[1], &singles(&[half]));
    graph.node("Add", &[raw, "half"], "raised", &[]);
    graph.node("Div", &[raw, "raised"], "score", &[]);
    graph.finish(length)
}

/// Mean and spread of features over normal sessions; a feature that never varies there keeps a spread of one event.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    /// Taken away.
    pub(crate) mean: Vec<f64>,
    /// Multiplied with what is left.
    pub(crate) factor: Vec<f64>,
}

impl Scale {
    /// Of weighted rows.
    #[must_use]
    pub(crate) fn new(rows: &[Vec<f64>], weights: &[f64], width: usize) -> Self {
        let all: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut mean = vec![0.0; width];
        let mut square = vec![0.0; width];
        for (row, weight) in rows.iter().zip(weights) {
            for ((mean, square), value) in mean.iter_mut().zip(&mut square).zip(row) {
                *mean += weight / all * value;
                *square += weight / all * value * value;
            }
        }
        let spread = mean.iter().zip(&square).map(|(mean, square)| (square - mean * mean).max(0.0).sqrt());
        // Something that is never or always the same must count when it changes, yet not without limit.
        let factor = spread.map(|spread| 1.0 / spread.max(0.1)).collect();
        Self { mean, factor }
    }

    /// Scaled features.
    #[must_use]
    pub(crate) fn of(&self, row: &[f64]) -> Vec<f64> {
        let scaled = row.iter().zip(&self.mean).zip(&self.factor);
        scaled.map(|((value, mean), factor)| (value - mean) * factor).collect()
    }

    /// Scales the value `features` to a value `scaled`.
    pub(crate) fn node(&self, graph: &mut Builder) {
        graph.floats("feature_mean", &[self.mean.len()], &singles(&self.mean));
        graph.floats("feature_factor", &[self.factor.len()], &singles(&self.factor));
        graph.node("Sub", &["features", "feature_mean"], "centred", &[]);
        graph.node("Mul", &["centred", "feature_factor"], "scaled", &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_counts_and_padding_is_nothing() {
        let features = Features::counts(4);
        assert_eq!(features.of(&[1, 3, 3, 0]), [1.0, 0.0, 2.0]);
    }

    #[test]
    fn rare_words_weigh_more_and_lengths_are_summed() {
        let template = |text: &str| Template {
            text: text.to_owned(),
            logger: String::new(),
            level: String::new(),
            key: None,
        };
        let templates = [template("block read"), template("block lost")];
        let vocabulary: Vec<_> = templates.iter().map(Template::id).collect();
        let features = Features::words(&templates, &Tokenizer::new(8, &vocabulary));
        // block, lost, read, messages, words, tens of characters.
        let found = features.of(&[2, 2, 3]);
        assert_eq!((found[0], found[3], found[4], found[5]), (3.0, 3.0, 6.0, 3.0));
        assert!(found[1] > 1.6 && found[2] > 3.2);
    }
}
