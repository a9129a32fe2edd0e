//! How the parts of the store look as rows. A change of these is a change of the format
//! ([`crate::encoding`]) and needs a step in [`super::upgrade`].

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use blocksift_detector::detector::FileState;
use blocksift_detector::miner::Evicted;
use blocksift_detector::{FileId, Ledger};
use serde::{Deserialize, Serialize};

use super::{Meta, StateError, SteadyTime};
use crate::files::{Fingerprint, Identity};
use crate::tail::{Phase, Saved};

/// A file as stored.
#[derive(Serialize, Deserialize)]
pub(super) struct FileRow {
    /// Any bytes: a path need not be UTF-8.
    pub(super) path: Vec<u8>,
    pub(super) identity: Identity,
    pub(super) fingerprint: Fingerprint,
    pub(super) checkpoint: u64,
    pub(super) phase: Phase,
    pub(super) ledger: Ledger,
    pub(super) continues: Option<bool>,
}

impl FileRow {
    pub(super) fn new(saved: &Saved, state: &FileState) -> Self {
        Self {
            path: saved.path.as_os_str().as_bytes().to_vec(),
            identity: saved.identity,
            fingerprint: saved.fingerprint,
            checkpoint: state.checkpoint,
            phase: saved.phase,
            ledger: state.ledger,
            continues: state.continues,
        }
    }

    pub(super) fn into_saved(self, id: u32) -> (Saved, FileState) {
        let file = FileId(id);
        let saved = Saved {
            id: file,
            path: std::ffi::OsString::from_vec(self.path).into(),
            identity: self.identity,
            fingerprint: self.fingerprint,
            offset: self.checkpoint,
            phase: self.phase,
        };
        let state =
            FileState { file, checkpoint: self.checkpoint, ledger: self.ledger, continues: self.continues };
        (saved, state)
    }
}

/// [`Meta`] as stored.
#[derive(Serialize, Deserialize)]
pub(super) struct MetaRow {
    /// JSON, whose missing fields are zero: counts may be added without a new format.
    pub(super) totals: String,
    pub(super) time: SteadyTime,
    pub(super) since_ms: i64,
    pub(super) next_file: u32,
    pub(super) templates_evicted: Evicted,
}

impl MetaRow {
    pub(super) fn new(meta: &Meta) -> Result<Self, StateError> {
        Ok(Self {
            totals: serde_json::to_string(&meta.totals)?,
            time: meta.time,
            since_ms: meta.since_ms,
            next_file: meta.next_file,
            templates_evicted: meta.templates_evicted,
        })
    }

    pub(super) fn into_meta(self) -> Result<Meta, serde_json::Error> {
        Ok(Meta {
            totals: serde_json::from_str(&self.totals)?,
            time: self.time,
            since_ms: self.since_ms,
            next_file: self.next_file,
            templates_evicted: self.templates_evicted,
        })
    }
}
