//! Snapshots: what a caller keeps of sessions and files so that a detector goes on after a restart. Statements are kept
//! by content, so a session also survives a change of the model.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::file::{File, RecordState, Records};
use crate::key::BlockId;
use crate::ledger::{Ledger, Summary};
use crate::miner::{self, Evicted, Miner, MinerSettings, TextChange};
use crate::parser::shard_of;
use crate::session::{Events, Flags, List, PoolId, SessionEvent, Sessions, Slot, pack_events_to};
use crate::settings::FileId;
use crate::shard::Shard;
use crate::statement::{StatementState, Statements};

use super::Detector;

/// No count, place or order is higher than this where a snapshot is sound; what is counts as this, so that there is room
/// to count on.
const NUMBER_MAX: u64 = 1 << 56;

/// Sessions, and what they refer to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionGroup {
    /// What events and counts of dropped ones refer to by position.
    statements: Vec<StatementState>,
    /// What sessions refer to by position; the empty one is none.
    pools: Vec<String>,
    /// In any order.
    pub sessions: Vec<SessionState>,
    /// Sessions that are no more, by their keys. One that is among `sessions` too was begun anew.
    pub forgotten: Vec<u64>,
}

impl SessionGroup {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.forgotten.is_empty()
    }
}

/// All of a session but for the statements and the pool, which its group has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    id: u64,
    /// Block, or the number of the node's window.
    block: i64,
    pool: u32,
    of_node: bool,
    active_ms: i64,
    /// Rises with activity, among sessions of one detector.
    order: u64,
    speaking: bool,
    flagged: bool,
    unknown_warn: bool,
    /// In the order in which they came, each as its difference to the one before ([`pack_events`](super::pack_events)).
    #[serde(with = "serde_bytes")]
    events: Vec<u8>,
    dropped: Vec<(u32, u32)>,
}

impl SessionState {
    /// Identifies the session among those of this node.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.id
    }
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
    /// Of all sessions.
    pub sessions: SessionGroup,
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
        let mut files: Vec<FileState> = self.files.iter().map(|(&id, known)| file_state(id, known)).collect();
        files.sort_unstable_by_key(|state| state.file);
        Snapshot {
            sessions: self.session_groups(usize::MAX).next().unwrap_or_default(),
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

    /// All sessions, in groups of at most `sessions_max`: for callers that keep them without having all in memory at once.
    pub fn session_groups(&self, sessions_max: usize) -> impl Iterator<Item = SessionGroup> {
        let slots = |shard: &'_ Shard| shard.sessions.slots().collect::<Vec<_>>();
        let mut all =
            self.shards.iter().flat_map(move |shard| slots(shard).into_iter().map(move |slot| (shard, slot)));
        std::iter::from_fn(move || {
            let mut group = Group::default();
            for (shard, slot) in all.by_ref().take(sessions_max.max(1)) {
                group.add(&self.statements, &shard.sessions, slot);
            }
            let group = group.done(Vec::new());
            (!group.is_empty()).then_some(group)
        })
    }

    /// Sessions that changed or were forgotten since they were taken last, each once: at most `sessions_max` at a time,
    /// and nothing when all are taken. None unless the settings say `track_changes`.
    pub fn take_changes(&mut self, sessions_max: usize) -> SessionGroup {
        let (mut group, mut forgotten) = (Group::default(), Vec::new());
        for shard in &mut self.shards {
            forgotten.append(&mut shard.changes.forgotten);
            while group.group.sessions.len() < sessions_max.max(1)
                && let Some(slot) = shard.changes.slots.pop()
            {
                // A slot may hold another session by now; that one is listed by itself.
                let session = shard.sessions.get_mut(slot);
                let Some(session) = session.filter(|session| session.flags.has(Flags::CHANGED)) else {
                    continue;
                };
                session.flags.set(Flags::CHANGED, false);
                group.add(&self.statements, &shard.sessions, slot);
            }
        }
        group.done(forgotten)
    }

    /// Goes on where another detector stopped, which was told the time last before any of these sessions spoke again.
    /// A detector with equal settings gives the reports that the other one would have given.
    pub fn restore(&mut self, snapshot: Snapshot) {
        let Snapshot { sessions, files, summary, templates } = snapshot;
        self.miner = Miner::restore(MinerSettings::default(), &templates).ok();
        self.track_templates();
        self.totals = Summary { sessions_open: 0, ..summary.at_most(NUMBER_MAX) };
        self.restore_sessions(sessions);
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

    /// Adds sessions as they were to those of a snapshot, none of which is among them; what is `forgotten` was not there.
    pub fn restore_sessions(&mut self, group: SessionGroup) {
        let SessionGroup { statements, pools, mut sessions, .. } = group;
        let numbers: Vec<u32> = statements.iter().map(|state| self.statements.restore(state)).collect();
        let pools: Vec<PoolId> = pools
            .iter()
            .map(|name| match name.as_str() {
                "" => PoolId(0),
                name => PoolId(self.statements.intern_pool(name)),
            })
            .collect();
        sessions.sort_by_key(|state| (state.order, state.id));
        for state in &sessions {
            let pool = usize::try_from(state.pool).ok().and_then(|at| pools.get(at)).copied();
            let pool = if state.of_node { PoolId::NODE } else { pool.unwrap_or(PoolId(0)) };
            self.restore_session(state, pool, &numbers);
        }
    }

    /// `numbers`: of the statements that the session refers to.
    fn restore_session(&mut self, state: &SessionState, pool: PoolId, numbers: &[u32]) {
        let number = |at: u32| usize::try_from(at).ok().and_then(|at| numbers.get(at)).copied().unwrap_or(0);
        let events: Vec<SessionEvent> = Events::new(&state.events)
            .map(|event| SessionEvent { statement: number(event.statement), ..event })
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

/// A group under way.
#[derive(Default)]
struct Group {
    group: SessionGroup,
    /// Of the statements in the group, by their numbers.
    positions: HashMap<u32, u32>,
    /// Of the pools in the group.
    pool_positions: HashMap<PoolId, u32>,
    /// Room for the events of one session.
    events: Vec<u8>,
}

impl Group {
    fn add(&mut self, statements: &Statements, sessions: &Sessions, slot: Slot) {
        let Some(session) = sessions.get(slot) else { return };
        let Self { group, positions, pool_positions, events: packed } = self;
        let pool = *pool_positions.entry(session.pool).or_insert_with(|| {
            let of_node = session.pool == PoolId::NODE;
            let name = if of_node { "" } else { statements.pool_name(session.pool.0) };
            group.pools.push(name.to_owned());
            u32::try_from(group.pools.len() - 1).unwrap_or(u32::MAX)
        });
        let mut position = |number: u32| {
            *positions.entry(number).or_insert_with(|| {
                group.statements.push(statements.state(number));
                u32::try_from(group.statements.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let event = |event: SessionEvent| SessionEvent { statement: position(event.statement), ..event };
        packed.clear();
        pack_events_to(packed, sessions.events(session).map(event));
        let events = packed.clone();
        let dropped = sessions.dropped(slot).into_iter().flatten();
        let dropped = dropped.map(|(&statement, &count)| (position(statement), count)).collect();
        group.sessions.push(SessionState {
            id: session.id,
            block: session.block.0,
            pool,
            of_node: session.pool == PoolId::NODE,
            active_ms: session.active_ms,
            order: session.order,
            speaking: session.list() == List::Speaking,
            flagged: session.flags.has(Flags::FLAGGED),
            unknown_warn: session.flags.has(Flags::UNKNOWN_WARN),
            events,
            dropped,
        });
    }

    fn done(self, forgotten: Vec<u64>) -> SessionGroup {
        SessionGroup { forgotten, ..self.group }
    }
}
