//! What can go wrong with the store, and what of it makes a store unusable rather than the disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::encoding::EncodingError;

/// Why the agent cannot keep its memory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Two agents in one state directory would ship each other's reports.
    #[error("store `{path}` is in use by another agent; give each its own state_dir")]
    Busy {
        /// The store.
        path: PathBuf,
    },
    /// The directory cannot be made or written.
    #[error("state directory: `{path}` cannot be written; check owner, permissions and free space")]
    Directory {
        /// Directory or file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file cannot be opened, for reasons that are not its contents.
    #[error("store `{path}` cannot be opened; check owner, permissions and free space")]
    Open {
        /// The store.
        path: PathBuf,
        /// Cause.
        source: Box<redb::Error>,
    },
    /// The disk failed while the store was in use.
    #[error("store failed to {doing}; check the disk and its free space")]
    Use {
        /// What was being done.
        doing: &'static str,
        /// Cause.
        source: Box<redb::Error>,
    },
    /// The disk failed before, and the store was not opened again yet.
    #[error("store is closed since its disk failed")]
    Closed,
    /// What is in the file is no store any more.
    #[error(
        "store `{path}` was damaged while in use ({reason}); the next start begins anew and reads the logs again"
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value that cannot be encoded: a fault of the program.
    #[error("store cannot take a value")]
    Encoding(#[from] EncodingError),
    /// Totals that cannot be encoded: a fault of the program.
    #[error("store cannot take the totals")]
    Totals(#[from] serde_json::Error),
}

impl StateError {
    /// Whether it is the disk's state and not the place: waiting helps, and another user or path would not.
    pub(crate) fn is_of_disk(&self) -> bool {
        match self {
            Self::Directory { source, .. } => is_of_disk(source),
            Self::Open { source, .. } | Self::Use { source, .. } => match &**source {
                redb::Error::Io(cause) => is_of_disk(cause),
                error => matches!(error, redb::Error::PreviousIo),
            },
            Self::Busy { .. } | Self::Closed | Self::Damaged { .. } | Self::Encoding(_) | Self::Totals(_) => {
                false
            }
        }
    }

    /// Whether it may be over without anybody touching the store: a disk that is full or gives errors.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Use { source, .. } => matches!(**source, redb::Error::Io(_) | redb::Error::PreviousIo),
            Self::Closed | Self::Open { .. } | Self::Directory { .. } => true,
            Self::Busy { .. } | Self::Damaged { .. } | Self::Encoding(_) | Self::Totals(_) => false,
        }
    }
}

/// For `map_err`: a failure in using the store.
fn doing(doing: &'static str) -> impl Fn(redb::Error) -> StateError {
    move |source| StateError::Use { doing, source: Box::new(source) }
}

/// Why opening did not work.
pub(super) enum Opening {
    /// The contents are no store of ours, or not any more.
    Unusable(String),
    /// Anything else.
    Failed(StateError),
}

impl Opening {
    /// Tells a damaged file from a disk that does not let it be opened.
    pub(super) fn classify(path: &Path, error: redb::Error) -> Self {
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::Failed(StateError::Busy { path }),
            redb::Error::Io(ref cause) if !is_damage(cause) => {
                Self::Failed(StateError::Open { path, source: Box::new(error) })
            }
            redb::Error::PreviousIo => Self::Failed(StateError::Open { path, source: Box::new(error) }),
            damaged => Self::Unusable(damaged.to_string()),
        }
    }

    /// For errors while reading a store that could be opened.
    pub(super) fn read(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(cause) if !is_damage(&cause) => {
                Self::Failed(doing("read or upgrade what it remembers")(redb::Error::Io(cause)))
            }
            damaged => Self::Unusable(damaged.to_string()),
        }
    }

    /// For a store that could be opened before.
    pub(super) fn into_damage(self, path: &Path) -> StateError {
        match self {
            Self::Failed(error) => error,
            Self::Unusable(reason) => StateError::Damaged { path: path.to_owned(), reason },
        }
    }

    /// For a second try, where nothing can be damaged any more.
    pub(super) fn into_error(self) -> StateError {
        match self {
            Self::Failed(error) => error,
            Self::Unusable(reason) => doing("begin anew")(redb::Error::Corrupted(reason)),
        }
    }
}

/// Whether a disk is full, was made read-only, as the kernel does after errors, or gives errors.
pub(crate) fn is_of_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

impl From<EncodingError> for Opening {
    fn from(error: EncodingError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<serde_json::Error> for Opening {
    fn from(error: serde_json::Error) -> Self {
        Self::Unusable(format!("totals: {error}"))
    }
}
