//! The key for hashing: from a file, a variable, or made at random once. It is in no message and no debug output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{env, fmt};

use blake3::Hasher;

use crate::config::RedactKey;

/// Name of the agent's own key in the state directory.
const FILE_NAME: &str = "redact.key";
/// Bytes below which a key can be guessed.
const KEY_BYTES_MIN: usize = 16;
/// What a key of any length is made one of BLAKE3's for.
const CONTEXT: &str = "blocksift 2026-11-26 redaction of reports";
/// Bits of a hash that are used.
const HASH_BITS: u32 = 48;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file cannot be read.
    #[error("key for redaction `{path}` cannot be read; check [redact] key_file and the file's permissions")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The variable is not there.
    #[error("variable `{name}` for redaction is not set; set it, or change [redact] key_env")]
    Unset {
        /// Its name.
        name: String,
    },
    /// There are too few bytes.
    #[error("key for redaction in {place} has {bytes} bytes; use {KEY_BYTES_MIN} or more, at random")]
    Short {
        /// Where it was found.
        place: String,
        /// How many there are.
        bytes: usize,
    },
    /// The own key cannot be made.
    #[error("key for redaction `{path}` cannot be made; check free space and ownership")]
    Made {
        /// Its path.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// A key.
pub(super) struct Key(Hasher);

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(..)")
    }
}

impl Key {
    /// Gets the key from where the configuration says, making the own one where there is none yet.
    ///
    /// # Errors
    /// If it is not there, is too short, or cannot be made.
    pub(super) fn get(key: &RedactKey, state_dir: &Path) -> Result<Self, KeyError> {
        if let Some(key) = Self::find(key, state_dir)? {
            return Ok(key);
        }
        let path = state_dir.join(FILE_NAME);
        make(&path).map_err(|source| KeyError::Made { path: path.clone(), source })?;
        Self::read(&path)
    }

    /// Gets the key if it is there; `None` is the own one before it was made.
    ///
    /// # Errors
    /// If there is none where the configuration says, or it is too short.
    pub(super) fn find(key: &RedactKey, state_dir: &Path) -> Result<Option<Self>, KeyError> {
        match key {
            RedactKey::File(path) => Self::read(path).map(Some),
            RedactKey::Variable(name) => {
                let text = env::var_os(name).ok_or_else(|| KeyError::Unset { name: name.clone() })?;
                Self::checked(text.as_encoded_bytes(), || format!("variable `{name}`")).map(Some)
            }
            RedactKey::Own => match Self::read(&state_dir.join(FILE_NAME)) {
                Err(KeyError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    Ok(None)
                }
                key => key.map(Some),
            },
        }
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes =
            fs::read(path).map_err(|source| KeyError::Unreadable { path: path.to_owned(), source })?;
        Self::checked(&bytes, || format!("`{}`", path.display()))
    }

    fn checked(bytes: &[u8], place: impl Fn() -> String) -> Result<Self, KeyError> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < KEY_BYTES_MIN {
            return Err(KeyError::Short { place: place(), bytes: bytes.len() });
        }
        Ok(Self(Hasher::new_keyed(&blake3::derive_key(CONTEXT, bytes))))
    }

    /// Hash of a value of a kind, in its low 48 bits: keyed BLAKE3, cut off.
    pub(super) fn hash(&self, kind: &str, value: &str) -> u64 {
        let mut hasher = self.0.clone();
        hasher.update(kind.as_bytes()).update(&[0]).update(value.as_bytes());
        let first = hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        first >> (u64::BITS - HASH_BITS)
    }
}

/// Makes a random key that its owner alone can read. Written beside and renamed: a crash leaves no half of a key.
fn make(path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("key.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn an_own_key_is_made_once_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        assert!(Key::find(&RedactKey::Own, &state).unwrap().is_none());
        assert!(!state.exists(), "looking makes nothing");
        let first = Key::get(&RedactKey::Own, &state).unwrap();
        let second = Key::get(&RedactKey::Own, &state).unwrap();
        assert_eq!(first.hash("path", "/a"), second.hash("path", "/a"));
        assert_eq!(fs::metadata(state.join(FILE_NAME)).unwrap().mode() & 0o777, 0o600);
        let other = Key::get(&RedactKey::Own, &folder.path().join("other")).unwrap();
        assert_ne!(first.hash("path", "/a"), other.hash("path", "/a"));
        assert_ne!(first.hash("path", "/a"), first.hash("user", "/a"));
    }

    #[test]
    fn a_key_from_a_file_is_the_same_everywhere_and_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "  correct horse battery\n").unwrap();
        let key = Key::get(&RedactKey::File(path.clone()), folder.path()).unwrap();
        // Hashes that were shipped once are to be found again.
        assert_eq!(format!("{:012x}", key.hash("path", "/a")), "15a2b988689c");
        assert_eq!(format!("{key:?}"), "Key(..)");
        fs::write(&path, "secret\n").unwrap();
        let error = Key::get(&RedactKey::File(path), folder.path()).unwrap_err().to_string();
        assert!(error.contains("has 6 bytes") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_key_that_is_missing_is_named() {
        let absent = RedactKey::Variable("BLOCKSIFT_NO_SUCH_KEY".to_owned());
        let error = Key::get(&absent, Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("BLOCKSIFT_NO_SUCH_KEY"), "{error}");
        let absent = RedactKey::File("/nonexistent/key".into());
        assert!(
            Key::get(&absent, Path::new("/nonexistent"))
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/key")
        );
    }
}
