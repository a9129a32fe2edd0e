//! Tests of the journal: bounded, in order, and nothing deleted before it was read.

use blocksift_detector::detector::FileState;
use blocksift_detector::{FileId, Ledger};
use tempfile::TempDir;

use super::*;
use crate::files::{Anchor, Fingerprint};
use crate::state::Commit;
use crate::tail::{Phase, Saved};

struct Scene {
    folder: TempDir,
    store: Arc<Store>,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(Store::open(&folder.path().join("state")).unwrap().0);
        Self { folder, store }
    }

    fn open(&self, bytes_max: u64) -> Journal {
        Journal::open(&self.folder.path().join("received"), bytes_max, Arc::clone(&self.store)).unwrap()
    }

    fn paths(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("received")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| number(path));
        paths
    }

    fn texts(&self) -> Vec<String> {
        self.paths().iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    /// All of a file is in sessions.
    fn read(&self, path: &Path) {
        let metadata = fs::metadata(path).unwrap();
        let saved = Saved {
            id: FileId(u32::try_from(number(path).unwrap()).unwrap()),
            path: path.to_owned(),
            identity: Identity::of(&metadata),
            fingerprint: Fingerprint::default(),
            anchor: Anchor::default(),
            size: metadata.len(),
            offset: metadata.len(),
            phase: Phase::Followed,
        };
        let ledger = Ledger::default();
        let state = FileState { file: saved.id, checkpoint: saved.offset, ledger, continues: None };
        let files = vec![(saved, state)];
        self.store.commit(&Commit { files, ..Commit::default() }).unwrap();
    }
}

fn keep(journal: &Journal, stream: &str, lines: &[u8]) -> Result<(), JournalError> {
    journal.append(None, &[(stream, lines)], true)
}

#[test]
fn streams_have_files_of_their_own_and_a_restart_goes_on_behind_them() {
    let scene = Scene::new();
    let journal = scene.open(1 << 20);
    for (stream, lines) in [("a", "1\n"), ("../../etc/passwd", "2\n"), ("a", "3\n")] {
        keep(&journal, stream, lines.as_bytes()).unwrap();
    }
    assert_eq!(scene.texts(), ["1\n3\n", "2\n"]);
    drop(journal);
    // A crash left a piece of a line.
    OpenOptions::new().append(true).open(&scene.paths()[0]).unwrap().write_all(b"piec").unwrap();
    keep(&scene.open(1 << 20), "a", b"4\n").unwrap();
    assert_eq!(scene.texts(), ["1\n3\n", "2\n", "4\n"]);
}

#[test]
fn a_chunk_is_kept_once() {
    let scene = Scene::new();
    let journal = scene.open(1 << 20);
    for chunk in ["x", "y", "x"] {
        journal.append(Some(chunk.as_bytes()), &[("a", format!("{chunk}\n").as_bytes())], true).unwrap();
    }
    assert_eq!(scene.texts(), ["x\ny\n"]);
}

#[test]
fn only_what_was_read_makes_room() {
    let scene = Scene::new();
    let journal = scene.open(800);
    let lines = [b'x'; 99].into_iter().chain([b'\n']).collect::<Vec<u8>>();
    for _ in 0..8 {
        keep(&journal, "a", &lines).unwrap();
    }
    assert!(matches!(keep(&journal, "a", &lines), Err(JournalError::Full)));
    assert!(matches!(keep(&journal, "a", &[b'\n'; 801]), Err(JournalError::TooLarge { .. })));
    let paths = scene.paths();
    assert_eq!(paths.len(), 8);
    scene.read(&paths[3]);
    keep(&journal, "a", &lines).unwrap();
    assert!(!paths[3].exists() && paths[0].exists());
    assert!(matches!(keep(&journal, "a", &lines), Err(JournalError::Full)));
    // A restart knows how full it is.
    drop(journal);
    let journal = scene.open(800);
    assert!(matches!(keep(&journal, "a", &lines), Err(JournalError::Full)));
    scene.read(&paths[0]);
    keep(&journal, "a", &lines).unwrap();
}

#[test]
fn many_streams_share_files() {
    let scene = Scene::new();
    let journal = scene.open(1 << 20);
    for stream in 0..STREAMS_MAX + 20 {
        keep(&journal, &stream.to_string(), b"x\n").unwrap();
    }
    assert_eq!(scene.paths().len(), STREAMS_MAX + 1);
    assert!(scene.texts().iter().any(|text| text.lines().count() == 20));
}
