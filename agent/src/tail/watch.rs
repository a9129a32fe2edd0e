//! Waiting until files changed: inotify where the kernel and the file system have it, and the time in any case, which
//! is all there is on NFS. Directories are watched for names that come and go, followed files for growth; so writes to
//! other files of a directory wake nobody.
//!
//! The first change after a silence wakes at once. While files keep growing, the pause between two looks is a multiple
//! of what a look took, so that looking costs a bounded share of a core.

mod timer;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::files::Identity;
use timer::Timer;

/// Shortest pause between two looks at files that keep growing.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The pause is this many times what the last look took: looking costs less than one part in so many of a core.
const PAUSE_FACTOR: u32 = 64;
/// Bytes of events taken from the kernel at a time.
const EVENTS_BYTES: usize = 4_096;

/// What a name in a directory can do.
const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Watched {
    Directory(PathBuf),
    File(Identity),
}

/// What ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slept {
    /// Its time.
    Out,
    Changed,
    Woken,
}

/// Waits for changes.
#[derive(Debug)]
pub(super) struct Watch {
    /// `None` where the kernel gives no inotify instance.
    inotify: Option<AsyncFd<OwnedFd>>,
    /// Of this thread alone, for sleeping; `None` where it cannot be had.
    runtime: Option<(Timer, Runtime)>,
    watched: HashMap<Watched, i32>,
    /// There is no room for more watches.
    full: bool,
    /// Something was added to the watched since the files were looked at: it may have changed before.
    unseen: bool,
    /// When the last wait was over.
    woken: Instant,
}

/// Ends a wait from another thread, so that the waiting one looks at what it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waker(Arc<Notify>);

impl Waker {
    /// Ends the present wait, or the next one if there is none.
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .inspect_err(|error| warn!(%error, "growth and stops are seen when poll_interval_ms has passed"))
            .ok();
        let runtime = runtime.map(|runtime| {
            let timer = {
                let _entered = runtime.enter();
                Timer::new()
            };
            (timer, runtime)
        });
        let inotify = runtime.as_ref().and_then(|(_, runtime)| {
            let _entered = runtime.enter();
            open()
                .inspect_err(|error| {
                    warn!(
                        %error,
                        "no inotify: growth is seen when poll_interval_ms has passed; \
                         raise fs.inotify.max_user_instances"
                    );
                })
                .ok()
        });
        Self { inotify, runtime, watched: HashMap::new(), full: false, unseen: false, woken: Instant::now() }
    }

    /// Watches these directories and files and no others.
    pub(super) fn set<'a>(
        &mut self,
        directories: impl Iterator<Item = &'a Path>,
        files: impl Iterator<Item = (Identity, &'a Path)>,
    ) {
        if self.inotify.is_none() {
            return;
        }
        let mut wanted = HashSet::new();
        for directory in directories {
            let key = Watched::Directory(directory.to_owned());
            self.add(&key, directory, NAMES);
            wanted.insert(key);
        }
        for (identity, path) in files {
            let key = Watched::File(identity);
            self.add(&key, path, WatchFlags::MODIFY);
            wanted.insert(key);
        }
        let inotify = &self.inotify;
        self.watched.retain(|key, watch| {
            let keep = wanted.contains(key);
            if !keep && let Some(inotify) = inotify {
                // It is gone already when its file is.
                inotify::remove_watch(inotify, *watch).unwrap_or_default();
            }
            keep
        });
    }

    fn add(&mut self, key: &Watched, path: &Path, flags: WatchFlags) {
        let Some(inotify) = &self.inotify else { return };
        if self.watched.contains_key(key) {
            return;
        }
        match inotify::add_watch(inotify, path, flags) {
            Ok(watch) => {
                let same = |file: &Identity| fs::metadata(path).is_ok_and(|now| Identity::of(&now) == *file);
                if let Watched::File(identity) = key
                    && !same(identity)
                {
                    // Renamed meanwhile, which ends the next wait: another file was watched.
                    inotify::remove_watch(inotify, watch).unwrap_or_default();
                    return;
                }
                self.watched.insert(key.clone(), watch);
                self.unseen = true;
                self.full = false;
            }
            Err(Errno::NOSPC) if !self.full => {
                warn!(
                    watches = self.watched.len(),
                    "no more inotify watches: growth of further files is seen when poll_interval_ms has passed; \
                     raise fs.inotify.max_user_watches"
                );
                self.full = true;
            }
            Err(error) => debug!(path = %path.display(), %error, "not watched"),
        }
    }

    /// Waits until something that is watched changed, `waker` was used, or `longest` has passed.
    pub(super) fn wait(&mut self, longest: Duration, waker: &Waker) {
        let deadline = Instant::now() + longest;
        let pause = self.woken.elapsed().saturating_mul(PAUSE_FACTOR).max(PAUSE_MIN).min(longest);
        let pause_end = self.woken + pause;
        let slept =
            if std::mem::take(&mut self.unseen) { Slept::Changed } else { self.sleep(deadline, true, waker) };
        if slept == Slept::Changed {
            self.sleep(pause_end, false, waker);
        }
        self.take_events();
        self.woken = Instant::now();
    }

    /// Sleeps until `until`, the waker or, if `changes`, a change.
    fn sleep(&self, until: Instant, changes: bool, waker: &Waker) -> Slept {
        let Some((timer, runtime)) = &self.runtime else {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            return Slept::Out;
        };
        let changed = async {
            match self.inotify.as_ref().filter(|_| changes) {
                // The descriptor cannot fail as long as it is open.
                Some(inotify) => inotify.readable().await.map(drop).unwrap_or_default(),
                None => std::future::pending().await,
            }
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = waker.0.notified() => Slept::Woken,
                () = changed => Slept::Changed,
                () = timer.sleep_until(until) => Slept::Out,
            }
        })
    }

    /// Empties the kernel's queue, and forgets what is not watched any more.
    fn take_events(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let mut ended = HashSet::new();
        let emptied = inotify.try_io(Interest::READABLE, |inotify| -> io::Result<()> {
            let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
            let mut events = Reader::new(inotify, &mut buffer);
            loop {
                let event = events.next()?;
                if event.events().intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF) {
                    ended.insert(event.wd());
                }
            }
        });
        if let Err(error) = emptied
            && error.kind() != io::ErrorKind::WouldBlock
        {
            debug!(%error, "inotify events cannot be read");
        }
        self.watched.retain(|_, watch| !ended.contains(watch));
    }
}

fn open() -> io::Result<AsyncFd<OwnedFd>> {
    readable(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe; an OwnedFd stays open, which is all that is asked"
)]
fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A watch on a folder and one file in it, from which the first, immediate wait is gone.
    fn scene() -> (tempfile::TempDir, fs::File, Watch) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let file = fs::File::create(&path).unwrap();
        let mut watch = Watch::new();
        let identity = Identity::of(&file.metadata().unwrap());
        watch.set([folder.path()].into_iter(), [(identity, path.as_path())].into_iter());
        assert!(watch.unseen, "it may have grown before it was watched");
        watch.wait(LONG, &Waker::default());
        (folder, file, watch)
    }

    /// How long a wait of a minute took.
    fn waited(watch: &mut Watch) -> Duration {
        let before = Instant::now();
        watch.wait(LONG, &Waker::default());
        before.elapsed()
    }

    /// The kernel tells of a change before the call that made it returns.
    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn growth_and_new_names_end_a_wait_and_other_files_do_not() {
        let (folder, mut file, mut watch) = scene();
        file.write_all(b"line\n").unwrap();
        assert!(waited(&mut watch) < LONG);
        let mut other = fs::File::create(folder.path().join("other")).unwrap();
        assert!(waited(&mut watch) < LONG);
        other.write_all(b"not ours").unwrap();
        assert_eq!(watch.sleep(soon(), true, &Waker::default()), Slept::Out);
        fs::rename(folder.path().join("a.log"), folder.path().join("a.log.1")).unwrap();
        assert!(waited(&mut watch) < LONG);
        file.write_all(b"growth after a rename\n").unwrap();
        assert!(waited(&mut watch) < LONG);
    }

    #[test]
    fn a_waker_ends_a_wait_from_another_thread() {
        let (_folder, _file, mut watch) = scene();
        let waker = Waker::default();
        let other = std::thread::spawn({
            let waker = waker.clone();
            move || waker.wake()
        });
        let before = Instant::now();
        watch.wait(LONG, &waker);
        assert!(before.elapsed() < LONG);
        other.join().unwrap();
        assert_eq!(watch.sleep(soon(), true, &waker), Slept::Out, "once");
    }

    #[test]
    fn what_is_not_wanted_any_more_wakes_nobody() {
        let (_folder, mut file, mut watch) = scene();
        watch.set(std::iter::empty(), std::iter::empty());
        assert!(waited(&mut watch) < LONG, "the kernel confirms it");
        file.write_all(b"line\n").unwrap();
        assert_eq!(watch.sleep(soon(), true, &Waker::default()), Slept::Out);
        assert!(watch.watched.is_empty());
    }

    #[test]
    fn without_inotify_the_time_ends_a_wait() {
        let (_folder, mut file, mut watch) = scene();
        watch.inotify = None;
        file.write_all(b"line\n").unwrap();
        let before = Instant::now();
        watch.wait(Duration::from_millis(20), &Waker::default());
        assert!(before.elapsed() >= Duration::from_millis(20));
    }
}
