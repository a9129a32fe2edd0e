//! How the parts of the store look as rows. A change of these is a change of the format
//! ([`crate::encoding`]) and needs a step in [`super::upgrade`].

use std::ffi::OsString;
use std::ops::RangeFull;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use blocksift_detector::detector::FileState;
use blocksift_detector::miner::Evicted;
use blocksift_detector::{FileId, Ledger};
use redb::ReadableDatabase;
use serde::{Deserialize, Serialize};

use super::{FILES, Meta, StateError, SteadyTime, Store};
use crate::encoding::decode;
use crate::files::{Anchor, Fingerprint, Identity};
use crate::tail::{Phase, Saved};

/// A file as stored.
#[derive(Serialize, Deserialize)]
pub(super) struct FileRow {
    /// Any bytes: a path need not be UTF-8.
    pub(super) path: Vec<u8>,
    pub(super) identity: Identity,
    pub(super) fingerprint: Fingerprint,
    pub(super) anchor: Anchor,
    pub(super) size: u64,
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
            anchor: saved.anchor,
            size: saved.size,
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
            path: OsString::from_vec(self.path).into(),
            identity: self.identity,
            fingerprint: self.fingerprint,
            anchor: self.anchor,
            size: self.size,
            offset: self.checkpoint,
            phase: self.phase,
        };
        let state =
            FileState { file, checkpoint: self.checkpoint, ledger: self.ledger, continues: self.continues };
        (saved, state)
    }
}

impl Store {
    /// Every file, under the path where it was last seen, with the offset below which all of it is in sessions.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn checkpoints(&self) -> Result<Vec<(PathBuf, Identity, u64)>, StateError> {
        self.with("read how far files were read", |database| {
            let mut checkpoints = Vec::new();
            let table = database.begin_read()?.open_table(FILES)?;
            for entry in table.range::<u32>(RangeFull)? {
                // A row that cannot be read only means that its file is kept.
                if let Ok(row) = decode::<FileRow>(entry?.1.value()) {
                    let path = OsString::from_vec(row.path).into();
                    checkpoints.push((path, row.identity, row.checkpoint));
                }
            }
            Ok(checkpoints)
        })
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
