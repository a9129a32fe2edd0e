//! `model-export compare`: two model files on the same sessions, where they differ and by how much.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::evaluate::{share, verdicts};
use crate::input::Source;
use crate::sheet::{ABNORMAL_SHARE, Column, Sheet};

/// Sequences that are listed, at most.
const LISTED: usize = 20;

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file (.onnx)
    a: PathBuf,
    /// Another one
    b: PathBuf,
    #[command(flatten)]
    source: Source,
    /// Write the figures as JSON to this file, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Share of abnormal blocks that the figures are weighted to; the default is that of the whole of HDFS_v1
    #[arg(long, default_value_t = ABNORMAL_SHARE, value_parser = share)]
    abnormal_share: f64,
}

/// Runs the command.
///
/// # Errors
/// Says which file is not usable, and why; or that the models read different tokens.
pub(crate) fn run(args: &Args) -> Result<()> {
    let ((mut a, _), (mut b, _)) = (crate::inspect::model(&args.a)?, crate::inspect::model(&args.b)?);
    if a.metadata.tokenizer.vocabulary != b.metadata.tokenizer.vocabulary {
        bail!("{} and {} have different vocabularies; evaluate each by itself", a.id, b.id);
    }
    let sessions = args.source.read(a.catalogue.templates(), &a.tokenizer)?;
    let groups = crate::dataset::group(&sessions.list);
    let columns = [
        Column { name: "a", verdicts: verdicts(&mut a, &groups)? },
        Column { name: "b", verdicts: verdicts(&mut b, &groups)? },
    ];
    let threshold = a.metadata.decision.threshold;
    let sheet = Sheet::new("merged", &groups, &columns, None, threshold, args.abnormal_share);
    let [first, second] = &columns;
    let mut listed = Vec::new();
    let (mut largest, mut differ, mut a_right, mut b_right) = (0.0f32, 0, 0, 0);
    for (group, (one, other)) in groups.iter().zip(first.verdicts.iter().zip(&second.verdicts)) {
        largest = largest.max((one.0 - other.0).abs());
        if one.1 != other.1 {
            let right = |flagged: bool| if flagged { group.abnormal } else { group.normal };
            differ += group.normal + group.abnormal;
            a_right += right(one.1);
            b_right += right(other.1);
            let tokens: Vec<String> = group.tokens.iter().map(|token| token.0.to_string()).collect();
            listed.push(format!(
                "  a {:.4} b {:.4}, {} normal, {} abnormal: {}",
                one.0,
                other.0,
                group.normal,
                group.abnormal,
                tokens.join(" ")
            ));
        }
    }
    let more = listed.len().saturating_sub(LISTED);
    listed.truncate(LISTED);
    if more > 0 {
        listed.push(format!("  and {more} more sequences"));
    }
    crate::print(&format!(
        "a is {}, threshold {}\nb is {}, threshold {}\n\n{sheet}\nlargest difference of scores {largest:.6}; {differ} sessions judged differently, a is right on {a_right}, b on {b_right}\n{}",
        a.id,
        threshold,
        b.id,
        b.metadata.decision.threshold,
        listed.join("\n")
    ));
    if let Some(path) = &args.json {
        let mut found = sheet.json();
        found.insert("models".to_owned(), json!([a.id, b.id]));
        found.insert("largest_difference".to_owned(), json!(largest));
        found.insert("judged_differently".to_owned(), json!(differ));
        found.insert("a_right".to_owned(), json!(a_right));
        found.insert("b_right".to_owned(), json!(b_right));
        crate::write(path, (serde_json::to_string_pretty(&Value::Object(found))? + "\n").as_bytes())?;
    }
    Ok(())
}
