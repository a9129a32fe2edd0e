//! Statements: what a record says apart from when, where and about which block: template, level, logger, exception.
//!
//! A statement is known by a hash of its content, so whoever reads lines needs no common numbering: a reader hands on
//! what it sees for the first time under a number of its own ([`Contents`]), and [`Statements`] numbers it for all in the
//! order of the lines. Sessions keep the numbers of all.

mod table;

use std::hash::BuildHasherDefault;

use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::head::Level;
use crate::session::PoolId;
use crate::template::TemplateId;

use table::IdHasher;
pub(crate) use table::{STATEMENTS_MAX, StatementState, Statements};

/// Ids that are remembered as handed on; beyond it all are forgotten, and handed on once more.
const SEEN_MAX: usize = 65_536;
/// Names that are looked up without hashing.
const MEMO: usize = 128;
/// The same of statements.
const STATEMENTS_MEMO: usize = 256;
/// And of pools: a node has few, and none counts as one.
const POOLS_MEMO: usize = 8;

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

/// A number that a reader gave to a statement or a pool.
pub(crate) type Number = u32;

/// What a reader saw for the first time, in the order of the lines. A name comes before the statements that use it.
/// And what all know those by that were handed on before.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    names: Vec<Name>,
    statements: Vec<Statement>,
    pools: Vec<NameId>,
    seen: Seen,
    loggers: Loggers,
    numbers: Numbers<STATEMENTS_MEMO>,
    pool_numbers: Numbers<POOLS_MEMO>,
    /// What was taken up, by the reader's numbers.
    taken: Taken,
}

/// What [`Statements`] calls what a reader handed on, by the reader's numbers.
#[derive(Debug, Default)]
struct Taken {
    statements: Vec<Known>,
    pools: Vec<PoolId>,
}

/// A statement as all know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) number: u32,
    /// The model's vocabulary lacks its template.
    pub(crate) is_unknown: bool,
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

    /// The number of a statement, which is handed on if that was not done yet.
    #[inline]
    pub(crate) fn statement(&mut self, statement: &Statement) -> Number {
        // The lowest bits of a statement's id are its level.
        let StatementId(id) = statement.id();
        let (number, is_new) = self.numbers.number(id, id >> 3);
        if is_new {
            self.statements.push(*statement);
        }
        number
    }

    /// The number of a pool, whose name was handed on.
    #[inline]
    pub(crate) fn pool(&mut self, id: NameId) -> Number {
        let (number, is_new) = self.pool_numbers.number(id.0, id.0);
        if is_new {
            self.pools.push(id);
        }
        number
    }

    /// The statement of a number, once it was taken up.
    #[inline]
    pub(crate) fn known(&self, number: Number) -> Option<Known> {
        self.taken.statements.get(usize::try_from(number).ok()?).copied()
    }

    /// The pool of a number, once it was taken up.
    #[inline]
    pub(crate) fn known_pool(&self, number: Number) -> Option<PoolId> {
        self.taken.pools.get(usize::try_from(number).ok()?).copied()
    }

    /// Forgets the numbers where they have become too many and all are taken up; no event may refer to them any more.
    pub(crate) fn forget(&mut self) {
        let all_taken = self.statements.is_empty() && self.pools.is_empty();
        if all_taken && self.taken.statements.len() + self.taken.pools.len() > SEEN_MAX {
            self.taken.statements.clear();
            self.taken.pools.clear();
            self.numbers.clear();
            self.pool_numbers.clear();
        }
    }
}

/// Numbers in the order in which ids were asked for.
#[derive(Debug)]
struct Numbers<const PLACES: usize> {
    /// Ids asked for last, which need no look-up.
    memo: Box<[(u64, Option<Number>)]>,
    all: HashMap<u64, Number, BuildHasherDefault<IdHasher>>,
}

impl<const PLACES: usize> Default for Numbers<PLACES> {
    fn default() -> Self {
        Self { memo: vec![(0, None); PLACES].into_boxed_slice(), all: HashMap::default() }
    }
}

impl<const PLACES: usize> Numbers<PLACES> {
    /// The number of an id, and whether it was given now. `spread` are bits of the id that differ.
    #[inline]
    fn number(&mut self, id: u64, spread: u64) -> (Number, bool) {
        match self.memo.get(low(spread) % PLACES) {
            Some((its, Some(number))) if *its == id => (*number, false),
            _ => self.look_up(id, spread),
        }
    }

    fn look_up(&mut self, id: u64, spread: u64) -> (Number, bool) {
        let next = Number::try_from(self.all.len()).unwrap_or(Number::MAX);
        let number = *self.all.entry(id).or_insert(next);
        if let Some(memo) = self.memo.get_mut(low(spread) % PLACES) {
            *memo = (id, Some(number));
        }
        (number, number == next)
    }

    fn clear(&mut self) {
        self.all.clear();
        self.memo.fill((0, None));
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
        let Some(place) = self.memo.get_mut(low(id) % MEMO) else { return true };
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
