//! Snapshots: what a caller keeps of sessions and files so that a detector goes on after a restart. Statements are kept
//! by content, so a session also survives a change of the model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::file::{File, RecordState, Records};
use crate::key::BlockId;
use crate::ledger::{Ledger, Summary};
use crate::miner::{self, Evicted, Miner, MinerSettings, TextChange};
use crate::parser::shard_of;
use crate::session::{Flags, List, PoolId, Session, SessionEvent, Sessions, Slot};
use crate::settings::FileId;
use crate::statement::{StatementState, Statements};

use super::Detector;

/// No count, place or order is higher than this where a snapshot is sound; what is counts as this, so that there is room
/// to count on.
const NUMBER_MAX: u64 = 1 << 56;

/// A session that changed, or was forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Identifies the session among those of this node; equal for each change of one session.
    pub key: u64,
    /// Its state now; `None` if it was forgotten.
    pub state: Option<SessionState>,
}

/// All of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    id: u64,
    /// Block, or the number of the node's window.
    block: i64,
    pool: String,
    of_node: bool,
    active_ms: i64,
    /// Rises with activity, among sessions of one detector.
    order: u64,
    speaking: bool,
    flagged: bool,
    unknown_warn: bool,
    /// What the events and the counts of dropped ones refer to by position.
    statements: Vec<StatementState>,
    /// In the order in which they came.
    events: Vec<EventState>,
    dropped: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EventState {
    time_ms: i64,
    offset: u64,
    file: u32,
    bytes: u32,
    statement: u32,
}

/// What is kept of a file; it is read on from its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Which file.
    pub file: FileId,
    /// Every byte below is in the ledger and in sessions.
    pub checkpoint: u64,
    /// Where every line below went.
    pub ledger: Ledger,
    /// Lines at the checkpoint that have no head continue a record that is counted already; whether that one is part of
    /// a session.
    pub continues: Option<bool>,
}

/// All that a detector remembers but what its files have open: those are read on from their checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// In any order.
    pub sessions: Vec<SessionState>,
    /// In any order.
    pub files: Vec<FileState>,
    /// What became of everything so far.
    pub summary: Summary,
    /// What was mined of the messages that the vocabulary lacks.
    #[serde(default)]
    pub templates: miner::Snapshot,
}

impl Detector {
    /// All that has to be kept for [`restore`](Self::restore).
    ///
    /// ```
    /// # use blocksift_detector::{Detector, FileId, Model, Settings, detector::Snapshot};
    /// # fn restart(old: &mut Detector, model: Model, now_ms: i64, file: FileId, bytes: &[u8]) -> serde_json::Result<()> {
    /// let kept = serde_json::to_string(&old.snapshot())?;
    ///
    /// let mut detector = Detector::new(model, Settings::default());
    /// detector.restore(serde_json::from_str::<Snapshot>(&kept)?);
    /// detector.tick(now_ms);
    /// // Each file is read on from where its last whole record ended; `bytes` are those from there on.
    /// detector.push(file, detector.checkpoint(file), bytes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn snapshot(&mut self) -> Snapshot {
        self.mine();
        let statements = &self.statements;
        let of_shard = |sessions: &Sessions| {
            sessions.slots().filter_map(|slot| state(statements, sessions, slot)).collect::<Vec<_>>()
        };
        let mut files: Vec<FileState> = self.files.iter().map(|(&id, known)| file_state(id, known)).collect();
        files.sort_unstable_by_key(|state| state.file);
        Snapshot {
            sessions: self.shards.iter().flat_map(|shard| of_shard(&shard.sessions)).collect(),
            files,
            summary: self.summary(),
            templates: self.miner.as_ref().map(Miner::snapshot).unwrap_or_default(),
        }
    }

    /// What has to be kept of a file; its checkpoint is where to read on. `None` for a file that is not known or has
    /// ended.
    #[must_use]
    pub fn file_state(&self, file: FileId) -> Option<FileState> {
        self.files.get(&file).map(|known| file_state(file, known))
    }

    /// What changed since the last call of what was mined; see [`Miner::take_changes`]. Nothing unless the settings say
    /// `track_changes`.
    pub fn take_template_changes(&mut self) -> Vec<TextChange> {
        if !self.settings.track_changes {
            return Vec::new();
        }
        self.mine();
        self.miner.as_mut().map(Miner::take_changes).unwrap_or_default()
    }

    /// What made room for other texts among what was mined.
    #[must_use]
    pub fn templates_evicted(&self) -> Evicted {
        self.miner.as_ref().map(Miner::evicted).unwrap_or_default()
    }

    /// Sessions that changed or were forgotten since the last call, each once, forgotten ones first; empty unless
    /// the settings say `track_changes`.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for shard in &mut self.shards {
            let forgotten = shard.changes.forgotten.drain(..);
            changes.extend(forgotten.map(|key| Change { key, state: None }));
        }
        for shard in &mut self.shards {
            for slot in shard.changes.slots.drain(..) {
                // A slot may hold another session by now; that one is listed by itself.
                let session = shard.sessions.get_mut(slot);
                let Some(session) = session.filter(|session| session.flags.has(Flags::CHANGED)) else {
                    continue;
                };
                session.flags.set(Flags::CHANGED, false);
                let key = session.id;
                changes.push(Change { key, state: state(&self.statements, &shard.sessions, slot) });
            }
        }
        changes
    }

    /// Goes on where another detector stopped, which was told the time last before any of these sessions spoke again.
    /// A detector with equal settings gives the reports that the other one would have given.
    pub fn restore(&mut self, snapshot: Snapshot) {
        let Snapshot { mut sessions, files, summary, templates } = snapshot;
        self.miner = Miner::restore(MinerSettings::default(), &templates).ok();
        self.track_templates();
        self.totals = Summary { sessions_open: 0, ..summary.at_most(NUMBER_MAX) };
        sessions.sort_by_key(|state| (state.order, state.id));
        for state in &sessions {
            self.restore_session(state);
        }
        let mut of_files = Ledger::default();
        for state in files {
            let mut file = self.new_file(state.checkpoint.min(NUMBER_MAX));
            file.records.ledger = state.ledger.at_most(NUMBER_MAX);
            if let Some(in_session) = state.continues {
                file.records.state = RecordState::Closed { in_session };
            }
            of_files += file.records.ledger;
            self.files.insert(state.file, file);
        }
        // The summary counts open files too, which are added again when it is asked for.
        self.totals.ledger.subtract(of_files);
    }

    fn restore_session(&mut self, state: &SessionState) {
        let pool = match (state.of_node, state.pool.as_str()) {
            (true, _) => PoolId::NODE,
            (false, "") => PoolId(0),
            (false, name) => PoolId(self.statements.intern_pool(name)),
        };
        let numbers: Vec<u32> = state.statements.iter().map(|state| self.statements.restore(state)).collect();
        let number = |at: u32| usize::try_from(at).ok().and_then(|at| numbers.get(at)).copied().unwrap_or(0);
        let events: Vec<SessionEvent> = state
            .events
            .iter()
            .map(|event| SessionEvent {
                time_ms: event.time_ms,
                offset: event.offset,
                file: FileId(event.file),
                bytes: event.bytes,
                statement: number(event.statement),
            })
            .collect();
        let block = BlockId(state.block);
        let at = shard_of(block, self.shards.len().ilog2());
        let Some(shard) = self.shards.get_mut(at) else { return };
        let list = if state.speaking { List::Speaking } else { List::Quiet };
        let active = (state.active_ms, state.order.min(NUMBER_MAX));
        let slot = shard.sessions.restore((block, pool, state.id), list, active, &events);
        shard.sessions.count_dropped(slot, state.dropped.iter().map(|&(at, count)| (number(at), count)));
        if let Some(session) = shard.sessions.get_mut(slot) {
            session.flags.set(Flags::FLAGGED, state.flagged);
            session.flags.set(Flags::UNKNOWN_WARN, state.unknown_warn);
        }
    }
}

fn file_state(file: FileId, known: &File) -> FileState {
    let Records { counted, ledger, state, .. } = known.records;
    let continues = match state {
        RecordState::Closed { in_session } => Some(in_session),
        // An open record is read once more, from its head.
        RecordState::None | RecordState::Open => None,
    };
    FileState { file, checkpoint: counted, ledger, continues }
}

fn state(statements: &Statements, sessions: &Sessions, slot: Slot) -> Option<SessionState> {
    let session: &Session = sessions.get(slot)?;
    let mut used = Positions::default();
    let event = |event: SessionEvent| EventState {
        time_ms: event.time_ms,
        offset: event.offset,
        file: event.file.0,
        bytes: event.bytes,
        statement: used.of(event.statement),
    };
    let events = sessions.events(session).map(event).collect();
    let dropped = sessions.dropped(slot).into_iter().flatten();
    let dropped = dropped.map(|(&statement, &count)| (used.of(statement), count)).collect();
    Some(SessionState {
        id: session.id,
        block: session.block.0,
        pool: statements.pool_name(session.pool.0).to_owned(),
        of_node: session.pool == PoolId::NODE,
        active_ms: session.active_ms,
        order: session.order,
        speaking: session.list() == List::Speaking,
        flagged: session.flags.has(Flags::FLAGGED),
        unknown_warn: session.flags.has(Flags::UNKNOWN_WARN),
        statements: used.order.iter().map(|&number| statements.state(number)).collect(),
        events,
        dropped,
    })
}

/// Numbers in order of appearance.
#[derive(Default)]
struct Positions {
    order: Vec<u32>,
    positions: BTreeMap<u32, u32>,
}

impl Positions {
    fn of(&mut self, id: u32) -> u32 {
        *self.positions.entry(id).or_insert_with(|| {
            self.order.push(id);
            u32::try_from(self.order.len() - 1).unwrap_or(u32::MAX)
        })
    }
}
