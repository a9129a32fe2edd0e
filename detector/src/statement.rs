//! Statements: what a record says apart from when, where and about which block: template, level, logger, exception.
//!
//! A statement is known by a hash of its content, so whoever reads lines needs no common numbering: readers hand on
//! what they see for the first time ([`Contents`]), and [`Statements`] numbers it in the order of the lines. Sessions
//! keep the numbers.

mod table;

use hashbrown::HashSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::head::Level;
use crate::template::TemplateId;

pub(crate) use table::{STATEMENTS_MAX, StatementState, Statements};

/// Ids that are remembered as handed on; beyond it all are forgotten, and handed on once more.
const SEEN_MAX: usize = 65_536;
/// Ids that are looked up without hashing.
const MEMO: usize = 512;

/// Low bits of a [`StatementId`] that hold the level.
const LEVEL_BITS: u64 = 0b111;

/// Hash of a name: of a logger, an exception, a frame or a pool. `0` is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct NameId(pub(crate) u64);

impl NameId {
    pub(crate) fn of(name: &[u8]) -> Self {
        if name.is_empty() { Self(0) } else { Self(xxh3_64(name)) }
    }
}

/// What a record says, by the hashes of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) template: TemplateId,
    /// Which range its parameter is in, where the model's tokens tell ranges apart.
    pub(crate) bucket: u16,
    pub(crate) level: Level,
    pub(crate) logger: NameId,
    pub(crate) exception: NameId,
    pub(crate) frame: NameId,
}

/// Hash of a statement; its lowest bits are the level, which is known even of one that there was no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StatementId(u64);

impl Statement {
    pub(crate) fn id(&self) -> StatementId {
        let traced = mix(self.exception.0 ^ 0x9e37_79b9_7f4a_7c15, self.frame.0 ^ u64::from(self.bucket));
        let hash = mix(self.template.0 ^ 0xd6e8_feb8_6659_fd93, self.logger.0 ^ traced);
        StatementId(hash & !LEVEL_BITS | u64::from(level_number(self.level)))
    }
}

impl StatementId {
    fn level(self) -> Level {
        LEVELS
            .into_iter()
            .find(|level| u64::from(level_number(*level)) == self.0 & LEVEL_BITS)
            .unwrap_or(Level::Info)
    }
}

const LEVELS: [Level; 6] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];

fn level_number(level: Level) -> u8 {
    match level {
        Level::Trace => 0,
        Level::Debug => 1,
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
        Level::Fatal => 5,
    }
}

/// The two halves of a product, which every bit of both factors has a part in.
fn mix(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other | 1);
    let (high, low) = (product >> 64, product & u128::from(u64::MAX));
    u64::try_from(high ^ low).unwrap_or(0)
}

/// What a [`Name`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A template that the catalogue lacks, by its text.
    Template,
    Logger,
    Exception,
    Frame,
    Pool,
}

impl Named {
    fn salt(self) -> u64 {
        match self {
            Self::Template => 0x10,
            Self::Logger => 0x20,
            Self::Exception => 0x30,
            Self::Frame => 0x40,
            Self::Pool => 0x50,
        }
    }
}

/// A name and its hash.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) of: Named,
    pub(crate) id: u64,
    pub(crate) text: Box<[u8]>,
}

/// What a reader saw for the first time, in the order of the lines. A name comes before the statements that use it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) names: Vec<Name>,
    pub(crate) statements: Vec<Statement>,
    seen: Seen,
    loggers: Loggers,
}

impl Contents {
    /// Hands `text` on if that was not done yet.
    pub(crate) fn name(&mut self, of: Named, id: u64, text: &[u8]) {
        // Equal texts of several kinds are several names.
        if id != 0 && self.seen.is_new(id.wrapping_add(of.salt())) {
            self.names.push(Name { of, id, text: text.into() });
        }
    }

    /// The id of a logger, which is handed on if that was not done yet.
    pub(crate) fn logger(&mut self, name: &[u8]) -> NameId {
        if let Some(id) = self.loggers.find(name) {
            return id;
        }
        let id = NameId::of(name);
        self.name(Named::Logger, id.0, name);
        self.loggers.enter(name, id);
        id
    }

    /// Hands a statement on if that was not done yet.
    pub(crate) fn statement(&mut self, statement: &Statement) -> StatementId {
        let id = statement.id();
        if self.seen.is_new(id.0) {
            self.statements.push(*statement);
        }
        id
    }
}

/// The loggers seen last, so that most need no hash: comparing is faster.
#[derive(Debug, Default)]
struct Loggers([(Vec<u8>, NameId); 32]);

impl Loggers {
    fn find(&self, name: &[u8]) -> Option<NameId> {
        let (known, id) = self.0.get(Self::place(name))?;
        (known == name && !name.is_empty()).then_some(*id)
    }

    fn enter(&mut self, name: &[u8], id: NameId) {
        if let Some((known, its)) = self.0.get_mut(Self::place(name)) {
            known.clear();
            known.extend_from_slice(name);
            *its = id;
        }
    }

    /// Loggers of one system tell each other apart by length and last letters.
    fn place(name: &[u8]) -> usize {
        let last = name.last().copied().unwrap_or(0);
        (name.len() + 7 * usize::from(last)) % 32
    }
}

/// Ids that were handed on.
#[derive(Debug)]
struct Seen {
    memo: Box<[u64]>,
    all: HashSet<u64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { memo: vec![0; MEMO].into_boxed_slice(), all: HashSet::new() }
    }
}

impl Seen {
    fn is_new(&mut self, id: u64) -> bool {
        // The lowest bits of a statement's id are its level.
        let Some(place) = self.memo.get_mut(low(id >> 3) % MEMO) else { return true };
        if *place == id {
            return false;
        }
        *place = id;
        if self.all.len() >= SEEN_MAX {
            self.all.clear();
        }
        self.all.insert(id)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only the low bits are used")]
fn low(id: u64) -> usize {
    id as usize
}
