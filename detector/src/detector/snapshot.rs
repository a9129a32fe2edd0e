//! Snapshots: what a caller keeps of sessions and files so that a detector goes on after a restart. Templates and
//! loggers are kept by content, so a session also survives a change of the model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::head::Level;
use crate::key::BlockId;
use crate::ledger::{Ledger, Summary};
use crate::session::{List, PoolId, Session, SessionEvent, Slot};
use crate::settings::FileId;

use super::Detector;

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
    block: i64,
    pool: String,
    active_ms: i64,
    speaking: bool,
    flagged: bool,
    unknown_warn: bool,
    /// Texts of the templates and names of the loggers that the events refer to by position.
    templates: Vec<String>,
    loggers: Vec<String>,
    events: Vec<EventState>,
    dropped: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct EventState {
    time_ms: i64,
    offset: u64,
    file: u32,
    bytes: u32,
    template: u32,
    logger: u32,
    level: Level,
}

/// Sessions whose changes were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    slots: Vec<Slot>,
    forgotten: Vec<u64>,
}

impl Detector {
    /// Sessions that changed or were forgotten since the last call, each once, forgotten ones first; empty unless
    /// the settings say `track_changes`.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let slots = std::mem::take(&mut self.changes.slots);
        let forgotten = std::mem::take(&mut self.changes.forgotten);
        let mut changes: Vec<Change> = forgotten.into_iter().map(|key| Change { key, state: None }).collect();
        for slot in slots {
            // A slot may hold another session by now; that one is listed by itself.
            let Some(session) = self.sessions.get_mut(slot).filter(|session| session.changed) else {
                continue;
            };
            session.changed = false;
            let session = session.clone();
            changes.push(Change { key: session.id, state: Some(self.state(&session)) });
        }
        changes
    }

    /// Goes on where another detector stopped: `sessions` in any order, `files` with their checkpoints and ledgers,
    /// and the summary as it was then.
    pub fn restore(
        &mut self,
        sessions: Vec<SessionState>,
        files: Vec<(FileId, u64, Ledger)>,
        summary: Summary,
    ) {
        self.totals = summary;
        let mut sessions = sessions;
        sessions.sort_by_key(|state| (state.active_ms, state.id));
        for state in sessions {
            let session = self.session(&state);
            self.sessions.insert(session);
        }
        let mut of_files = Ledger::default();
        for (id, checkpoint, ledger) in files {
            let mut file = self.new_file(checkpoint);
            file.ledger = ledger;
            of_files += ledger;
            self.files.insert(id, file);
        }
        // The summary counts open files too, which are added again when it is asked for.
        self.totals.ledger.subtract(of_files);
    }

    pub(super) fn changed(&mut self, slot: Slot) {
        if self.settings.track_changes
            && let Some(session) = self.sessions.get_mut(slot)
            && !session.changed
        {
            session.changed = true;
            self.changes.slots.push(slot);
        }
    }

    pub(super) fn forget(&mut self, slot: Slot) {
        if let Some(session) = self.sessions.remove(slot)
            && self.settings.track_changes
        {
            self.changes.forgotten.push(session.id);
        }
    }

    fn state(&self, session: &Session) -> SessionState {
        let mut templates = Positions::default();
        let mut loggers = Positions::default();
        let event = |event: &SessionEvent| EventState {
            time_ms: event.time_ms,
            offset: event.offset,
            file: event.file.0,
            bytes: event.bytes,
            template: templates.of(event.template),
            logger: loggers.of(u32::from(event.logger)),
            level: event.level,
        };
        let events = session.events.iter().map(event).collect();
        let dropped = session.dropped.iter().map(|(&id, &count)| (templates.of(id), count)).collect();
        let text = |&id: &u32| self.templates.text(id).to_owned();
        let name = |&id: &u32| self.loggers.name(u16::try_from(id).unwrap_or(0)).to_owned();
        SessionState {
            id: session.id,
            block: session.block.0,
            pool: self.pools.name(session.pool.0).to_owned(),
            active_ms: session.active_ms,
            speaking: session.list == List::Speaking,
            flagged: session.flagged,
            unknown_warn: session.unknown_warn,
            templates: templates.order.iter().map(text).collect(),
            loggers: loggers.order.iter().map(name).collect(),
            events,
            dropped,
        }
    }

    fn session(&mut self, state: &SessionState) -> Session {
        let templates: Vec<u32> = state.templates.iter().map(|text| self.templates.intern(text)).collect();
        let loggers: Vec<u16> =
            state.loggers.iter().map(|name| self.loggers.intern(name.as_bytes())).collect();
        let template = |at: u32| usize::try_from(at).ok().and_then(|at| templates.get(at)).copied();
        let logger = |at: u32| usize::try_from(at).ok().and_then(|at| loggers.get(at)).copied();
        let pool = if state.pool.is_empty() { 0 } else { self.pools.intern(state.pool.as_bytes()) };
        let mut session = Session::new(BlockId(state.block), PoolId(pool), state.id);
        session.flagged = state.flagged;
        session.unknown_warn = state.unknown_warn;
        session.active_ms = state.active_ms;
        session.list = if state.speaking { List::Speaking } else { List::Quiet };
        session.events = state
            .events
            .iter()
            .map(|event| SessionEvent {
                time_ms: event.time_ms,
                offset: event.offset,
                file: FileId(event.file),
                bytes: event.bytes,
                template: template(event.template).unwrap_or(u32::MAX),
                logger: logger(event.logger).unwrap_or(0),
                level: event.level,
            })
            .collect();
        for &(at, count) in &state.dropped {
            *session.dropped.entry(template(at).unwrap_or(u32::MAX)).or_insert(0) += count;
        }
        session
    }
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
