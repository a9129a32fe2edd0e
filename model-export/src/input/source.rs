//! Where labelled sessions come from, as commands are told.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use blocksift_detector::template::{Catalogue, Template};
use blocksift_detector::token::Tokenizer;

use super::{Keys, Sessions, read_log, read_marks, read_sessions, read_structured};

/// Labelled sessions, in one of the forms that they come in.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Source {
    /// Labelled sessions, plain or gzip: a CSV with the columns `label` and `events`, one that counts sequences
    /// (`n_normal`, `n_abnormal`), or sessions cut by node (`node`)
    #[arg(long, value_name = "FILE", group = "input")]
    pub(crate) sessions: Option<PathBuf>,
    /// LogHub's Event_traces.csv (BlockId, Label, Type, Features, ...)
    #[arg(long, value_name = "FILE", group = "input")]
    pub(crate) traces: Option<PathBuf>,
    /// Raw log, plain or gzip, such as LogHub's HDFS.log; needs --labels
    #[arg(long, value_name = "FILE", group = "input", requires = "labels")]
    pub(crate) log: Option<PathBuf>,
    /// Log cut into columns, such as HDFS_100k.log_structured.csv; needs --labels
    #[arg(long, value_name = "FILE", group = "input", requires = "labels")]
    pub(crate) structured: Option<PathBuf>,
    /// Reports that people marked as real or false alarm, one JSON object a line, as the collector exports them
    #[arg(long, value_name = "FILE", group = "input")]
    pub(crate) marks: Option<PathBuf>,
    /// Labels by block, such as LogHub's anomaly_label.csv (BlockId, Label)
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
}

impl Source {
    /// Reads the sessions; numbers of events are those of `catalogue`. Says what is left out.
    ///
    /// # Errors
    /// If nothing is given, or what is given cannot be used.
    pub(crate) fn read(&self, catalogue: &[Template], tokenizer: &Tokenizer) -> Result<Sessions> {
        let keys = Keys::new(catalogue, tokenizer);
        let compiled = Catalogue::new(catalogue.to_vec());
        let labels = self.labels.as_deref().unwrap_or_else(|| Path::new(""));
        let sessions = match self {
            Self { sessions: Some(path), .. } | Self { traces: Some(path), .. } => {
                read_sessions(path, &keys)?
            }
            Self { log: Some(path), .. } => {
                let size = fs::metadata(path).map_or(0, |file| file.len());
                let bar = crate::progress(size, "reading {bytes} {elapsed}");
                read_log(path, labels, &compiled, tokenizer, |bytes| bar.inc(bytes))?
            }
            Self { structured: Some(path), .. } => read_structured(path, labels, &compiled, tokenizer)?,
            Self { marks: Some(path), .. } => read_marks(path, tokenizer)?,
            _ => bail!("no sessions are given; give --sessions, --traces, --log, --structured or --marks"),
        };
        self.report_gaps(&sessions);
        Ok(sessions)
    }

    /// The file that is read.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        let all = [&self.sessions, &self.traces, &self.log, &self.structured, &self.marks];
        all.into_iter().flatten().next().map_or_else(|| Path::new("-"), PathBuf::as_path)
    }

    fn report_gaps(&self, sessions: &Sessions) {
        let path = self.path().display();
        if sessions.events_unknown > 0 {
            let count = sessions.events_unknown;
            crate::warn(&format!("{path}: {count} events are of templates that the catalogue lacks"));
        }
        if sessions.unlabelled > 0 {
            let count = sessions.unlabelled;
            crate::warn(&format!("{path}: {count} sessions have no label and are left out"));
        }
    }
}
