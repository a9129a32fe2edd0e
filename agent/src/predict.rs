//! `blocksift-agent predict`: scores token windows that somebody else made, from a NumPy array or a CSV file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use blocksift_detector::Model;
use blocksift_detector::token::{Token, Window};

use crate::output;

/// Arguments of `predict`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 no window is flagged, 1 some are, 2 error.")]
pub(crate) struct Args {
    /// Token windows: X.npy (integers, N x L) or a CSV file (one window a row, numbers only; short rows are padded)
    #[arg(value_name = "X.npy|TOKENS.csv")]
    windows: PathBuf,
    /// Write scores to FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Model to score with: a file, hadoop3 or hdfs-v1
    #[arg(long, value_name = "FILE", default_value = crate::model::HDFS_V1)]
    model: PathBuf,
}

/// Scores every window and writes CSV rows `score,flagged`, `flagged` by the score alone.
///
/// # Errors
/// If the model or the windows cannot be used, or output cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut model = crate::model::load(&args.model)?;
    let rows = read(&args.windows).with_context(|| format!("windows `{}`", args.windows.display()))?;
    let mut flagged = 0_usize;
    let mut text = String::from("score,flagged\n");
    for (row, tokens) in rows.iter().enumerate() {
        let score = score(&mut model, tokens)
            .with_context(|| format!("window {} of `{}`", row + 1, args.windows.display()))?;
        let is_flagged = score >= model.metadata.decision.threshold;
        flagged += usize::from(is_flagged);
        text.push_str(&format!("{score},{}\n", u8::from(is_flagged)));
    }
    match &args.output {
        Some(path) => output::replace(path, |file| file.write_all(text.as_bytes()))?,
        None => io::stdout().write_all(text.as_bytes()).context("standard output cannot be written")?,
    }
    Ok(ExitCode::from(u8::from(flagged > 0)))
}

fn score(model: &mut Model, tokens: &[i64]) -> anyhow::Result<f32> {
    let length = model.tokenizer.length();
    if tokens.len() > length {
        bail!("has {} tokens, the model takes {length}", tokens.len());
    }
    let mut window = tokens
        .iter()
        .map(|&token| {
            u16::try_from(token).map(Token).with_context(|| format!("token {token} is out of range"))
        })
        .collect::<anyhow::Result<Vec<Token>>>()?;
    window.resize(length, Token::PAD);
    let scores = model.score(&[Window(window.into_boxed_slice())])?;
    scores.first().copied().context("the model gave no score")
}

fn read(path: &Path) -> anyhow::Result<Vec<Vec<i64>>> {
    let bytes = std::fs::read(path).context("cannot be read; check the path and its permissions")?;
    if bytes.starts_with(b"\x93NUMPY") { npy(&bytes) } else { csv(&bytes) }
}

fn npy(bytes: &[u8]) -> anyhow::Result<Vec<Vec<i64>>> {
    let file = npyz::NpyFile::new(bytes).context("is not a NumPy array")?;
    let [_, length] = *file.shape() else { bail!("has shape {:?}, expected N x L", file.shape()) };
    if file.order() != npyz::Order::C {
        bail!("is stored column by column; save it with numpy.ascontiguousarray");
    }
    let length = usize::try_from(length)?;
    let tokens: Vec<i64> = match file.dtype().descr().trim_matches('\'').get(1..) {
        Some("i8") => file.into_vec()?,
        Some("i4") => file.into_vec::<i32>()?.into_iter().map(i64::from).collect(),
        Some("i2") => file.into_vec::<i16>()?.into_iter().map(i64::from).collect(),
        Some("u2") => file.into_vec::<u16>()?.into_iter().map(i64::from).collect(),
        Some("u1") => file.into_vec::<u8>()?.into_iter().map(i64::from).collect(),
        _ => bail!("holds {}, expected integers (int64)", file.dtype().descr()),
    };
    Ok(tokens.chunks(length.max(1)).map(<[i64]>::to_vec).collect())
}

fn csv(bytes: &[u8]) -> anyhow::Result<Vec<Vec<i64>>> {
    let mut rows = Vec::new();
    for record in csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes).records() {
        let record = record.context("is not CSV")?;
        let line = record.position().map_or(0, csv::Position::line);
        let number = |field: &str| {
            let field = field.trim();
            field.parse::<i64>().with_context(|| format!("line {line}: `{field}` is not a token number"))
        };
        rows.push(record.iter().map(number).collect::<anyhow::Result<Vec<i64>>>()?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use npyz::WriterBuilder;

    use super::*;

    fn npy_file<T: npyz::AutoSerialize>(shape: &[u64], values: Vec<T>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer =
            npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn arrays_of_integers_are_read_row_by_row() {
        let expected = vec![vec![2, 3, 0], vec![4, 0, 0]];
        assert_eq!(npy(&npy_file(&[2, 3], vec![2_i64, 3, 0, 4, 0, 0])).unwrap(), expected);
        assert_eq!(npy(&npy_file(&[2, 3], vec![2_i32, 3, 0, 4, 0, 0])).unwrap(), expected);
        assert_eq!(npy(&npy_file(&[2, 3], vec![2_u8, 3, 0, 4, 0, 0])).unwrap(), expected);
    }

    #[test]
    fn other_arrays_are_refused_with_the_reason() {
        let error = npy(&npy_file(&[2], vec![1_i64, 2])).unwrap_err().to_string();
        assert!(error.contains("[2]"), "{error}");
        let error = npy(&npy_file(&[1, 1], vec![1.0_f32])).unwrap_err().to_string();
        assert!(error.contains("f4"), "{error}");
    }

    #[test]
    fn csv_rows_may_differ_in_length_and_a_bad_field_is_named() {
        assert_eq!(csv(b"2,3\n4\n").unwrap(), [vec![2, 3], vec![4]]);
        let error = csv(b"2,3\n4,x\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("`x`"), "{error}");
    }
}
