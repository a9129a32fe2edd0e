//! Opening the store: making it, upgrading it, setting aside what cannot be used, reading what it remembers.

use std::fs;
use std::ops::RangeFull;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable};
use tracing::error;

use super::dead_letters::{self, DeadLetters};
use super::error::{Opening, StateError};
use super::row::{FileRow, MetaRow};
use super::sessions::{self, Groups};
use super::spool::spooled;
use super::{FILES, META, META_KEY, Restored, SESSIONS, SPOOL, Store, TEMPLATES, upgrade};
use crate::encoding::decode;

/// Name of the store in the state directory.
pub(crate) const FILE_NAME: &str = "state.redb";
/// Memory for pages of the store; the sessions are in memory anyway, and little else is read.
const CACHE_BYTES: usize = 1_024 * 1_024;

/// What is wrong with a store that makes redb panic.
pub(super) const CONTRADICTION: &str = "its pages contradict each other";

/// Opens or makes a database; another one than redb's on a file is for tests.
pub(super) type Create = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

impl Store {
    /// Whether there is one in `directory`.
    pub(crate) fn exists(directory: &Path) -> bool {
        directory.join(FILE_NAME).exists()
    }

    /// Opens the store in `directory`, making both where they do not exist, and reads what is in it.
    ///
    /// # Errors
    /// [`StateError::Busy`] if another process has it open; other errors if the disk does not let it be opened.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Restored), StateError> {
        Self::open_with(directory, Box::new(create))
    }

    /// As [`Self::open`], with databases that `create` makes.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_with(directory: &Path, create: Create) -> Result<(Self, Restored), StateError> {
        fs::create_dir_all(directory)
            .map_err(|source| StateError::Directory { path: directory.to_owned(), source })?;
        let path = directory.join(FILE_NAME);
        let is_new = !path.exists();
        match Self::open_file(&path, &create) {
            Ok((database, restored)) => Self::new(path, create, database, restored),
            Err(Opening::Failed(error)) => {
                if is_new && error.is_of_disk() {
                    // What there is of it is no store, and would be taken for a damaged one. It holds nothing.
                    fs::remove_file(&path).ok();
                }
                Err(error)
            }
            Err(Opening::Unusable(reason)) => {
                let aside = set_aside(&path)?;
                error!(
                    store = %path.display(), set_aside = %aside.display(), %reason,
                    "store cannot be used: set aside, beginning anew and reading the logs from their start"
                );
                let (database, restored) = Self::open_file(&path, &create).map_err(Opening::into_error)?;
                let restored = Restored { first_run: false, rebuilt: true, ..restored };
                Self::new(path, create, database, restored)
            }
        }
    }

    /// Opens the store again after the disk failed, if it is not open.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StateError::Damaged`]: nothing is set aside here, the next start does that.
    pub(crate) fn reopen(&self) -> Result<(), StateError> {
        let mut open = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if open.is_some() {
            return Ok(());
        }
        let path = self.path.as_path();
        let database = open_database(path, &self.create).map_err(|error| error.into_damage(path))?;
        let (spooled, next_report) = spooled(&database)
            .map_err(|error| Opening::classify(path, error))
            .map_err(|error| error.into_damage(path))?;
        let letters = DeadLetters::of(&database)
            .map_err(|error| Opening::classify(path, error))
            .map_err(|error| error.into_damage(path))?;
        self.groups
            .look(&database)
            .map_err(|error| Opening::classify(path, error))
            .map_err(|error| error.into_damage(path))?;
        self.dead_letters.set(letters);
        self.next_report.store(next_report, Ordering::Relaxed);
        self.spool_reports.store(spooled.reports, Ordering::Relaxed);
        self.spool_bytes.store(spooled.bytes, Ordering::Relaxed);
        *open = Some(database);
        Ok(())
    }

    /// What another feed of this process goes on with.
    ///
    /// # Errors
    /// [`StateError::Closed`] while the disk fails, or another error when it begins to.
    pub(crate) fn restored(&self) -> Result<Restored, StateError> {
        let open = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = open.as_ref() else { return Err(StateError::Closed) };
        load(database).map_err(Opening::into_error)
    }

    fn new(
        path: PathBuf,
        create: Create,
        database: Database,
        restored: Restored,
    ) -> Result<(Self, Restored), StateError> {
        let (spooled, next_report) =
            spooled(&database).map_err(|error| Opening::classify(&path, error).into_error())?;
        let letters =
            DeadLetters::of(&database).map_err(|error| Opening::classify(&path, error).into_error())?;
        let groups = Groups::default();
        groups.look(&database).map_err(|error| Opening::classify(&path, error).into_error())?;
        let store = Self {
            path,
            create,
            database: Some(database).into(),
            failing: false.into(),
            next_report: next_report.into(),
            spool_reports: spooled.reports.into(),
            spool_bytes: spooled.bytes.into(),
            groups,
            dead_letters: letters.into(),
        };
        Ok((store, restored))
    }

    fn open_file(path: &Path, create: &Create) -> Result<(Database, Restored), Opening> {
        // redb asserts that its pages agree with each other, which those of a damaged file may not do.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_sound_file(path, create)));
        opened.unwrap_or_else(|_| Err(Opening::Unusable(CONTRADICTION.to_owned())))
    }

    fn open_sound_file(path: &Path, create: &Create) -> Result<(Database, Restored), Opening> {
        let database = open_database(path, create)?;
        upgrade::upgrade(&database)?;
        let restored = load(&database)?;
        spooled(&database).map_err(|error| Opening::classify(path, error))?;
        Ok((database, restored))
    }
}

fn create(path: &Path) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create(path)
}

fn open_database(path: &Path, create: &Create) -> Result<Database, Opening> {
    let database = create(path).map_err(|error| Opening::classify(path, error.into()))?;
    make_tables(&database).map_err(|error| Opening::classify(path, error))?;
    Ok(database)
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?;
    transaction.open_table(FILES)?;
    transaction.open_table(SESSIONS)?;
    transaction.open_table(TEMPLATES)?;
    transaction.open_table(SPOOL)?;
    dead_letters::make_table(&transaction)?;
    transaction.commit()?;
    Ok(())
}

fn load(database: &Database) -> Result<Restored, Opening> {
    let mut restored = Restored::default();
    let transaction = database.begin_read().map_err(Opening::read)?;
    let meta = transaction.open_table(META).map_err(Opening::read)?;
    match meta.get(META_KEY).map_err(Opening::read)? {
        Some(row) => restored.meta = decode::<MetaRow>(row.value())?.into_meta()?,
        None => restored.first_run = true,
    }
    let files = transaction.open_table(FILES).map_err(Opening::read)?;
    for entry in files.range::<u32>(RangeFull).map_err(Opening::read)? {
        let (id, row) = entry.map_err(Opening::read)?;
        restored.files.push(decode::<FileRow>(row.value())?.into_saved(id.value()));
    }
    restored.sessions = sessions::load(database)?;
    let templates = transaction.open_table(TEMPLATES).map_err(Opening::read)?;
    for entry in templates.iter().map_err(Opening::read)? {
        restored.templates.push(decode(entry.map_err(Opening::read)?.1.value())?);
    }
    Ok(restored)
}

/// Renames a store that cannot be used; its new path.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StateError> {
    let mut number = 1;
    loop {
        let aside = path.with_extension(format!("redb.damaged-{number}"));
        if !aside.exists() {
            fs::rename(path, &aside)
                .map_err(|source| StateError::Directory { path: aside.clone(), source })?;
            return Ok(aside);
        }
        number += 1;
    }
}
