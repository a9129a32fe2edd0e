//! The numbering of statements and names that sessions and reports refer to. Bounded: what there is no room for shares
//! one entry, which says so by its text `<*>`.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{Contents, Known, LEVELS, NameId, Named, Statement, StatementId, level_number};
use crate::head::Level;
use crate::session::PoolId;
use crate::tally::TemplateCount;
use crate::template::{Catalogue, TemplateId};
use crate::token::{Token, Tokenizer};

/// Statements that are kept; further ones share one for each level.
pub(crate) const STATEMENTS_MAX: usize = 65_536;
/// Names that are kept of loggers, of exceptions, of frames and of pools; further ones share the empty name.
const NAMES_MAX: usize = 4_096;
/// Text of the template that stands for all beyond the limit.
const OTHER: &str = "<*>";

/// The content of a statement, for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatementState {
    template: String,
    bucket: u16,
    level: Level,
    logger: String,
    exception: String,
    frame: String,
}

/// All statements of one detector.
#[derive(Debug)]
pub(crate) struct Statements {
    /// In the order in which they were seen: the frequent ones come early and have small numbers.
    entries: Vec<Entry>,
    /// Stand for what there is no room for, by level; their numbers are the highest there are.
    shared: Vec<Entry>,
    numbers: HashMap<u64, u32, BuildHasherDefault<IdHasher>>,
    templates: Names,
    templates_max: usize,
    loggers: Names,
    exceptions: Names,
    frames: Names,
    pools: Names,
    tokenizer: Tokenizer,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    template: u32,
    bucket: u16,
    level: Level,
    logger: u32,
    exception: u32,
    frame: u32,
    token: Token,
}

impl Statements {
    /// Knows the templates of the catalogue, and has room for `unknown_max` others.
    pub(crate) fn new(catalogue: &Catalogue, tokenizer: &Tokenizer, unknown_max: usize) -> Self {
        let mut statements = Self {
            entries: Vec::new(),
            shared: Vec::new(),
            numbers: HashMap::default(),
            templates: Names::new(OTHER),
            templates_max: 0,
            loggers: Names::new(""),
            exceptions: Names::new(""),
            frames: Names::new(""),
            pools: Names::new(""),
            tokenizer: tokenizer.clone(),
        };
        for template in catalogue.templates() {
            statements.templates.intern(template.id().0, template.text.as_bytes(), usize::MAX);
        }
        statements.templates_max = statements.templates.names.len() + unknown_max;
        statements.shared = LEVELS.into_iter().map(|level| statements.new_entry(&other(level))).collect();
        statements
    }

    /// Takes what a reader saw for the first time, and tells it what all know it by.
    pub(crate) fn adopt(&mut self, contents: &mut Contents) {
        for name in contents.names.drain(..) {
            let (names, names_max) = match name.of {
                Named::Template => (&mut self.templates, self.templates_max),
                Named::Logger => (&mut self.loggers, NAMES_MAX),
                Named::Exception => (&mut self.exceptions, NAMES_MAX),
                Named::Frame => (&mut self.frames, NAMES_MAX),
                Named::Pool => (&mut self.pools, NAMES_MAX),
            };
            names.intern(name.id, &name.text, names_max);
        }
        for statement in contents.statements.drain(..) {
            if !self.numbers.contains_key(&statement.id().0) && self.entries.len() < STATEMENTS_MAX {
                self.push(&statement);
            }
            let number = self.number(statement.id());
            contents.taken.statements.push(Known { number, is_unknown: self.is_unknown(number) });
        }
        for NameId(id) in contents.pools.drain(..) {
            contents.taken.pools.push(PoolId(u16::try_from(self.pools.number(id)).unwrap_or(0)));
        }
    }

    /// The number of a statement that was adopted; that of the shared one if there was no room.
    fn number(&self, StatementId(id): StatementId) -> u32 {
        let number = self.numbers.get(&id).copied();
        number.unwrap_or_else(|| u32::MAX - u32::from(level_number(StatementId(id).level())))
    }

    pub(crate) fn pool_name(&self, number: u16) -> &str {
        self.pools.name(u32::from(number))
    }

    /// The number of a pool by its name, which is added if there is room.
    pub(crate) fn intern_pool(&mut self, name: &str) -> u16 {
        let number = self.pools.intern(NameId::of(name.as_bytes()).0, name.as_bytes(), NAMES_MAX);
        u16::try_from(number).unwrap_or(0)
    }

    pub(crate) fn token(&self, number: u32) -> Token {
        self.entry(number).map_or(Token::UNKNOWN, |entry| entry.token)
    }

    /// Whether the model's vocabulary lacks the template.
    fn is_unknown(&self, number: u32) -> bool {
        self.token(number) == Token::UNKNOWN
    }

    pub(crate) fn level(&self, number: u32) -> Level {
        self.entry(number).map_or(Level::Info, |entry| entry.level)
    }

    pub(crate) fn template(&self, number: u32) -> (TemplateId, &str) {
        let template = self.entry(number).map_or(0, |entry| entry.template);
        let text = self.templates.name(template);
        (TemplateId::of(text), text)
    }

    /// Events by template, of events by statement.
    pub(crate) fn template_counts(&self, events: impl Iterator<Item = (u32, u64)>) -> Vec<TemplateCount<'_>> {
        let mut counts: HashMap<u32, TemplateCount<'_>> = HashMap::new();
        for (number, events) in events {
            let template = self.entry(number).map_or(0, |entry| entry.template);
            let count = counts.entry(template).or_insert_with(|| {
                let text = self.templates.name(template);
                TemplateCount { id: TemplateId::of(text), text, known: !self.is_unknown(number), events: 0 }
            });
            count.events += events;
        }
        counts.into_values().collect()
    }

    pub(crate) fn logger(&self, number: u32) -> &str {
        self.loggers.name(self.entry(number).map_or(0, |entry| entry.logger))
    }

    /// Class of the exception in the lines that continue the record, and its first frame; empty if there is none.
    pub(crate) fn exception(&self, number: u32) -> (&str, &str) {
        let (exception, frame) = self.entry(number).map_or((0, 0), |entry| (entry.exception, entry.frame));
        (self.exceptions.name(exception), self.frames.name(frame))
    }

    /// The content of a statement, which [`restore`](Self::restore) takes.
    pub(crate) fn state(&self, number: u32) -> StatementState {
        let (exception, frame) = self.exception(number);
        StatementState {
            template: self.template(number).1.to_owned(),
            bucket: self.entry(number).map_or(0, |entry| entry.bucket),
            level: self.level(number),
            logger: self.logger(number).to_owned(),
            exception: exception.to_owned(),
            frame: frame.to_owned(),
        }
    }

    /// The number of a statement by its content, which is added if there is room.
    pub(crate) fn restore(&mut self, state: &StatementState) -> u32 {
        let name = |names: &mut Names, text: &str, names_max| {
            let id = NameId::of(text.as_bytes());
            names.intern(id.0, text.as_bytes(), names_max);
            id
        };
        self.templates.intern(
            TemplateId::of(&state.template).0,
            state.template.as_bytes(),
            self.templates_max,
        );
        let statement = Statement {
            template: TemplateId::of(&state.template),
            bucket: state.bucket,
            level: state.level,
            logger: name(&mut self.loggers, &state.logger, NAMES_MAX),
            exception: name(&mut self.exceptions, &state.exception, NAMES_MAX),
            frame: name(&mut self.frames, &state.frame, NAMES_MAX),
        };
        let id = statement.id();
        if !self.numbers.contains_key(&id.0) && self.entries.len() < STATEMENTS_MAX {
            self.push(&statement);
        }
        self.number(id)
    }

    /// Bytes that all this takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let names = [&self.templates, &self.loggers, &self.exceptions, &self.frames, &self.pools];
        self.entries.capacity() * size_of::<Entry>()
            + self.numbers.allocation_size()
            + names.iter().map(|names| names.memory_bytes()).sum::<usize>()
    }

    fn push(&mut self, statement: &Statement) {
        let number = u32::try_from(self.entries.len()).unwrap_or(0);
        self.entries.push(self.new_entry(statement));
        self.numbers.insert(statement.id().0, number);
    }

    fn new_entry(&self, statement: &Statement) -> Entry {
        let template = self.templates.number(statement.template.0);
        let id = TemplateId::of(self.templates.name(template));
        Entry {
            template,
            bucket: statement.bucket,
            level: statement.level,
            logger: self.loggers.number(statement.logger.0),
            exception: self.exceptions.number(statement.exception.0),
            frame: self.frames.number(statement.frame.0),
            token: self.tokenizer.token_in(id, statement.bucket),
        }
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        let entry = usize::try_from(number).ok().and_then(|number| self.entries.get(number));
        entry.or_else(|| self.shared.get(usize::try_from(u32::MAX - number).ok()?))
    }
}

/// The statement that stands for those of a level that there is no room for.
fn other(level: Level) -> Statement {
    let template = TemplateId::of(OTHER);
    let none = NameId(0);
    Statement { template, bucket: 0, level, logger: none, exception: none, frame: none }
}

/// Names by number; `0` is the one that all without room share.
#[derive(Debug)]
struct Names {
    names: Vec<Box<str>>,
    numbers: HashMap<u64, u32, BuildHasherDefault<IdHasher>>,
}

impl Names {
    fn new(shared: &str) -> Self {
        Self { names: vec![shared.into()], numbers: HashMap::default() }
    }

    fn intern(&mut self, id: u64, text: &[u8], names_max: usize) -> u32 {
        if id == 0 {
            return 0;
        }
        if let Some(&number) = self.numbers.get(&id) {
            return number;
        }
        match u32::try_from(self.names.len()) {
            Ok(number) if self.names.len() < names_max => {
                self.names.push(String::from_utf8_lossy(text).into());
                self.numbers.insert(id, number);
                number
            }
            _ => 0,
        }
    }

    fn number(&self, id: u64) -> u32 {
        self.numbers.get(&id).copied().unwrap_or(0)
    }

    fn name(&self, number: u32) -> &str {
        usize::try_from(number).ok().and_then(|number| self.names.get(number)).map_or("", |name| name)
    }

    fn memory_bytes(&self) -> usize {
        self.names.capacity() * size_of::<Box<str>>()
            + self.names.iter().map(|name| name.len()).sum::<usize>()
            + self.numbers.allocation_size()
    }
}

/// Ids are hashes already.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        // The topmost bits choose the group within the table, the lowest ones the place.
        self.0.rotate_right(3)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

const _: () = assert!(LEVELS.len() <= 8, "a level fits the lowest bits of an id");
