//! The model card: what the file is, how it was made, how well it works, what it is not good for.

use std::path::PathBuf;

use anyhow::Result;
use blocksift_detector::model::Metadata;
use serde_json::Value;

use crate::method::Method;

/// Terms of a model trained on HDFS_v1.
pub(crate) const LICENCE: &str = "Model: Apache-2.0. Trained on HDFS_v1 (LogHub, https://github.com/logpai/loghub), which is \
    freely available for research or academic work; cite Zhu et al., ISSRE 2023, and Xu et al., SOSP 2009.";

/// Arguments of `card`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file (.onnx)
    model: PathBuf,
    /// File to write; without it the card is printed
    #[arg(long, short = 'o')]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Says which file is not usable, and why.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (model, bytes) = crate::inspect::model(&args.model)?;
    let text = write(&Facts {
        metadata: &model.metadata,
        sheet: &sheet(&model.metadata.scores),
        how: "The file does not say how it was fitted.",
        id: &model.id,
        command: "not kept in the file",
        bytes: bytes.len(),
    });
    match &args.out {
        Some(path) => crate::write(path, text.as_bytes()),
        None => {
            crate::print(&text);
            Ok(())
        }
    }
}

/// The table of scores that a file holds.
fn sheet(scores: &Value) -> String {
    let columns =
        ["precision", "recall", "f1", "specificity", "roc_auc", "pr_auc_abnormal", "tp", "fp", "fn"];
    let titles = ["method", "sessions"].into_iter().chain(columns).map(str::to_owned).collect();
    let mut lines: Vec<Vec<String>> = vec![titles];
    let objects = |value: &Value| value.as_object().cloned().unwrap_or_default();
    for (method, subsets) in objects(scores) {
        for (subset, row) in objects(&subsets).into_iter().filter(|(_, row)| row.get("f1").is_some()) {
            let figure = |column: &&str| match row.get(*column).and_then(Value::as_f64) {
                Some(count) if ["tp", "fp", "fn"].contains(column) => format!("{count:.0}"),
                Some(share) => format!("{share:.4}"),
                None => "-".to_owned(),
            };
            let figures = columns.iter().map(figure);
            lines.push([method.clone(), subset].into_iter().chain(figures).collect());
        }
    }
    if lines.len() == 1 {
        return "The file holds no figures of labelled sessions.\n".to_owned();
    }
    crate::sheet::table::text(&lines)
}

/// What the card tells.
pub(crate) struct Facts<'a> {
    /// The file's metadata.
    pub(crate) metadata: &'a Metadata,
    /// Figures of the test, as text.
    pub(crate) sheet: &'a str,
    /// How the model was fitted, see [`how`].
    pub(crate) how: &'a str,
    /// Name and content hash of the file.
    pub(crate) id: &'a str,
    /// Command line that made it.
    pub(crate) command: &'a str,
    /// Size of the file.
    pub(crate) bytes: usize,
}

/// The command line, with paths as they were given.
#[must_use]
pub(crate) fn command(args: impl Iterator<Item = String>) -> String {
    let quoted = |arg: String| if arg.contains(' ') { format!("'{arg}'") } else { arg };
    args.map(quoted).fold("model-export".to_owned(), |line, arg| format!("{line} {arg}"))
}

/// How a method is fitted, for the card.
#[must_use]
pub(crate) fn how(method: Method, parameters: usize) -> String {
    let what = match method {
        Method::Cnn => {
            "One convolution over embedded events, ReLU, the largest and the summed value of each filter, two dense layers,\n\
             sigmoid. Several nets are fitted to the labels with neighbouring events swapped and some made unknown at\n\
             random; one more is fitted to what they say together and quantized to int8 (embedding and convolution; the\n\
             dense layers stay float). Sequences are split by a hash, so the test holds none that was trained on; the\n\
             threshold was chosen on a third part."
        }
        Method::NextEvent => {
            "The least likely event of a session, by a causal convolution fitted to normal sessions."
        }
        Method::Autoencoder => "What a narrow hidden layer, fitted to normal sessions, loses of a session.",
        Method::IsolationForest => "How few random cuts set a session apart.",
        Method::OneClassSvm => "How far a session lies outside of a smooth surface around normal ones.",
        Method::Pca => "What of a session the main directions of normal ones do not explain.",
        Method::DecisionTree => "One decision tree, grown by Gini impurity.",
        Method::LogisticRegression => "Logistic regression.",
        Method::CountVector => "The distance to the nearest counts that a normal session had.",
    };
    format!("{what} {parameters} parameters.")
}

/// The card as Markdown.
#[must_use]
pub(crate) fn write(facts: &Facts<'_>) -> String {
    let Facts { metadata, sheet, how, id, command, bytes } = facts;
    let rules = [
        (metadata.decision.unknown_warn, "an event of unknown template at WARN or worse"),
        (metadata.decision.novel_counts, "a count vector that no normal training session had"),
    ];
    let rules: Vec<&str> = rules.iter().filter(|(on, _)| *on).map(|(_, rule)| *rule).collect();
    format!(
        "# Model card: {name}

`{id}`, {bytes} bytes, one ONNX file (opset 17) with everything that belongs to it in `metadata_props`.

## Use

Judges the events of one HDFS block: `tokens` int64 [N, {length}] in, `score` float32 [N, 1] out, 0..1, higher is worse.
Flagged from a score of {threshold:.4} on{rules}. Tokens: 0 padding, 1 unknown template, 2 to {last} the vocabulary in the
order of the catalogue. A session longer than {length} events keeps its head and tail.

## Data and terms

{licence}

{sessions} sessions ({sequences} distinct sequences with the parts of single nodes, if any) chose weights and threshold. Fingerprint {data}, seed {seed}.

## How it was made

    {command}

{how}

## Test

Weighted to the natural share of abnormal blocks. `count_vector` flags every session whose event counts no normal
training session had.

{sheet}
## Limits

- It knows the templates of Hadoop of 2008. Others are the unknown token, which by itself says little.
- Labels are those of HDFS_v1: per block, over the lines of all nodes. What one node sees may look healthy while
  another does not; let the collector join them.
- Order and count of events are all it sees: no durations, sizes, exception classes or node faults.
- Scores are not probabilities. Compare the quantiles in the metadata with those of your own cluster.
- A normal block with a rare mix of events (reads that fail beside a delete that finds nothing) is its usual
  false alarm.
",
        name = metadata.name,
        length = metadata.tokenizer.length,
        threshold = metadata.decision.threshold,
        rules = rules.iter().map(|rule| format!(", and on {rule}")).collect::<String>(),
        last = metadata.tokenizer.vocabulary.len() + 1,
        licence = metadata.licence,
        sessions = metadata.training.sessions,
        sequences = metadata.trained_sequences().map_or(0, |sequences| sequences.len()),
        data = metadata.training.data,
        seed = metadata.training.seed,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_quoted_where_it_must_be() {
        let args = ["train", "--name", "my model"].map(str::to_owned);
        assert_eq!(command(args.into_iter()), "model-export train --name 'my model'");
    }
}
