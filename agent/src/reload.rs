//! What an agent runs on, loaded and checked as a whole; and noticing that it changed.
//!
//! A configuration or model that is refused changes nothing: the old one goes on until the files are mended.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use blocksift_detector::Model;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use xxhash_rust::xxh3::Xxh3;

use crate::config::{Config, ConfigError};
use crate::filter::FilterError;
use crate::redact::KeyError;
use crate::sink::SinkError;
use crate::validate;

/// A configuration that was checked against this machine, and its model.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The configuration.
    pub(crate) config: Config,
    /// The model that it names.
    pub(crate) model: Model,
}

/// Why a running agent does not take a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It could not be run on by any agent.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    /// The reports' names depend on it.
    #[error("`node` cannot change from \"{running}\" to \"{wanted}\" while the agent runs; restart it")]
    Node {
        /// Of the running agent.
        running: String,
        /// As configured now.
        wanted: String,
    },
    /// Nothing could be shipped.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A report could not pass its filters.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Nothing could be hashed.
    #[error(transparent)]
    Redact(#[from] KeyError),
    /// Others write to it.
    #[error("`[receive]` cannot change while the agent runs; restart it")]
    Receive,
    /// What was read cannot be committed now.
    #[error("the disk of the store fails or is full; try again when it works")]
    Store,
    /// The store is open.
    #[error("`state_dir` cannot change from `{running}` to `{wanted}` while the agent runs; restart it")]
    StateDir {
        /// Of the running agent.
        running: PathBuf,
        /// As configured now.
        wanted: PathBuf,
    },
}

impl Setup {
    /// Loads and checks everything that an agent needs to run on the configuration at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let (config, model) = validate::check(path)?;
        Ok(Self { config, model })
    }

    /// As [`Self::load`], for an agent that runs as `node` with its store in `state_dir`.
    ///
    /// # Errors
    /// [`Refused`] if that agent cannot go on with it.
    pub(crate) fn load_for(path: &Path, node: &str, state_dir: &Path) -> Result<Self, Refused> {
        let setup = Self::load(path)?;
        if setup.config.detector.node != node {
            let wanted = setup.config.detector.node;
            return Err(Refused::Node { running: node.to_owned(), wanted });
        }
        if setup.config.state_dir != state_dir {
            let wanted = setup.config.state_dir;
            return Err(Refused::StateDir { running: state_dir.to_owned(), wanted });
        }
        Ok(setup)
    }
}

/// Notices when the configuration or its model is another one, by content: a copy or a touch is no news. What changed is
/// told only when two looks in a row saw the same, so that nothing half written is taken.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Files,
    /// As acted on last.
    known: Content,
    /// Seen once.
    pending: Option<Content>,
    ticks: Option<tokio::time::Interval>,
}

/// The two files.
#[derive(Clone, Debug)]
struct Files {
    config: PathBuf,
    /// As the configuration names it; `None` is the one in the program.
    model: Option<PathBuf>,
}

/// Hash of the files' contents, and what says that it is still true.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    stamps: [Option<Stamp>; 2],
    hash: u128,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

impl Watch {
    /// Knows the configuration at `path`, and the model that it names, as they are now; does not look by itself yet.
    pub(crate) fn new(path: &Path) -> Self {
        let files = Files::of(path);
        Self { known: files.look(None), files, pending: None, ticks: None }
    }

    /// Looks at this interval from now on; never if it is zero.
    pub(crate) fn look_every(&mut self, interval: Duration) {
        self.ticks = (!interval.is_zero()).then(|| {
            let mut ticks = interval_at(Instant::now() + interval, interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
    }

    /// Watches what `other` does, as often as before.
    pub(crate) fn watch(&mut self, other: Self) {
        *self = Self { ticks: self.ticks.take(), ..other };
    }

    /// Returns when there is something new. Nothing is forgotten if the wait is given up.
    pub(crate) async fn changed(&mut self) {
        loop {
            match &mut self.ticks {
                Some(ticks) => drop(ticks.tick().await),
                None => std::future::pending().await,
            }
            let (files, last) =
                (self.files.clone(), self.pending.clone().unwrap_or_else(|| self.known.clone()));
            // A disk that hangs must not hang those who ask for the status.
            let Ok(now) = tokio::task::spawn_blocking(move || files.look(Some(last))).await else { continue };
            if self.is_news(now) {
                return;
            }
        }
    }

    fn is_news(&mut self, now: Content) -> bool {
        if now.hash == self.known.hash {
            self.known = now;
            self.pending = None;
            return false;
        }
        if self.pending.as_ref().is_some_and(|pending| pending.hash == now.hash) {
            return true;
        }
        self.pending = Some(now);
        false
    }
}

impl Files {
    fn of(path: &Path) -> Self {
        let model = Config::load(path).ok().and_then(|config| config.model);
        Self { config: path.to_owned(), model }
    }

    /// What they hold; as at `last` if nothing says otherwise.
    fn look(&self, last: Option<Content>) -> Content {
        let paths = [Some(self.config.as_path()), self.model.as_deref()];
        let stamps =
            paths.map(|path| path.and_then(|path| std::fs::metadata(path).ok()).as_ref().map(Stamp::of));
        if let Some(last) = last
            && last.stamps == stamps
        {
            return last;
        }
        let mut hasher = Xxh3::new();
        for path in paths {
            // One that cannot be read now has changed, too.
            let bytes = path.and_then(|path| std::fs::read(path).ok());
            hasher.update(&[u8::from(bytes.is_some())]);
            hasher.update(&bytes.unwrap_or_default());
        }
        Content { stamps, hash: hasher.digest128() }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), size: metadata.size(), modified: metadata.modified().ok() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn write(folder: &TempDir, text: &str) -> PathBuf {
        let path = folder.path().join("agent.toml");
        let state = folder.path().join("state");
        fs::write(&path, format!("state_dir = {state:?}\n{text}\n[logs]\npaths = [\"/absent/*.log\"]\n"))
            .unwrap();
        path
    }

    #[test]
    fn what_an_agent_cannot_change_while_it_runs_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(&folder, "node = \"dn2\"");
        let state = folder.path().join("state");
        let told = |node: &str, state: &Path| Setup::load_for(&path, node, state).unwrap_err().to_string();
        assert!(told("dn1", &state).contains("from \"dn1\" to \"dn2\""), "{}", told("dn1", &state));
        assert!(told("dn2", Path::new("/elsewhere")).contains("`state_dir` cannot change from `/elsewhere`"));
        assert!(Setup::load_for(&path, "dn2", &state).is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_new_configuration_is_told_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(&folder, "node = \"dn1\"\nmodel = \"/absent/model.onnx\"\nnude = 1");
        let told = Setup::load_for(&path, "dn1", folder.path()).unwrap_err().to_string();
        assert!(told.contains("agent.toml:3:9: ") && told.contains("agent.toml:4:1: "), "{told}");
    }

    #[test]
    fn a_change_is_told_once_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(&folder, "");
        let mut watch = Watch::new(&path);
        let look = |watch: &mut Watch| {
            let last = watch.pending.clone().unwrap_or_else(|| watch.known.clone());
            let now = watch.files.look(Some(last));
            watch.is_news(now)
        };
        assert!(!look(&mut watch));
        // A new inode with the same content.
        let copy = folder.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
        assert!(!look(&mut watch) && watch.pending.is_none());
        fs::write(&path, "half a li").unwrap();
        assert!(!look(&mut watch));
        fs::write(&path, "half a line, and the rest").unwrap();
        assert!(!look(&mut watch), "it changed in between");
        assert!(look(&mut watch));
        let mut watch = Watch::new(&path);
        assert!(!look(&mut watch));
        fs::remove_file(&path).unwrap();
        assert!(!look(&mut watch) && look(&mut watch));
    }

    #[tokio::test]
    async fn a_new_model_is_news() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.onnx");
        fs::write(&model, "one").unwrap();
        let path = write(&folder, &format!("model = {model:?}"));
        let mut watch = Watch::new(&path);
        watch.look_every(Duration::from_millis(1));
        fs::write(&model, "two").unwrap();
        tokio::time::timeout(Duration::from_secs(60), watch.changed()).await.unwrap();
        watch.watch(Watch::new(&path));
        assert!(watch.pending.is_none() && watch.ticks.is_some());
    }
}
