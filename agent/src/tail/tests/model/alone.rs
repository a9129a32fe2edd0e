//! The model against the tail alone, without detector and store.

use std::collections::{BTreeMap, HashMap};

use blocksift_detector::FileId;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Agent, actions, cases, play};
use crate::tail::tests::{Backfill, DAY_MS, logs};
use crate::tail::{Ended, Read, Saved, Tail};

/// The tail alone. Every complete line counts at once; a commit keeps where the last one ended.
struct Alone {
    folder: TempDir,
    tail: Option<Tail>,
    /// What follows the last line end of each file, and where that is.
    open: HashMap<FileId, (u64, Vec<u8>)>,
    now: Kept,
    kept: Kept,
}

/// What a process has, and what of it is kept over a kill.
#[derive(Clone, Default)]
struct Kept {
    files: BTreeMap<u32, Saved>,
    next_id: u32,
    lines: Vec<usize>,
    gap_bytes: u64,
}

impl Alone {
    fn new() -> Self {
        let (now, kept) = (Kept::default(), Kept::default());
        Self { folder: tempfile::tempdir().unwrap(), tail: None, open: HashMap::new(), now, kept }
    }

    fn take(&mut self, file: FileId, offset: u64, bytes: &[u8]) {
        let (start, open) = self.open.entry(file).or_insert((offset, Vec::new()));
        assert_eq!(*start + open.len() as u64, offset, "bytes come in order");
        open.extend_from_slice(bytes);
        while let Some(end) = open.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = open.drain(..=end).collect();
            *start += line.len() as u64;
            self.now.lines.extend(number(&line));
        }
    }

    fn end(&mut self, Ended { file, gap_bytes }: Ended) {
        self.now.gap_bytes += gap_bytes.unwrap_or(0);
        let open = self.open.remove(&file);
        self.now.lines.extend(open.and_then(|(_, open)| number(&open)));
    }

    fn commit(&mut self) {
        let Some(tail) = &mut self.tail else { return };
        let (changed, removed) = tail.take_changes();
        for saved in changed {
            let offset = self.open.get(&saved.id).map_or(saved.offset, |(start, _)| *start);
            self.now.files.insert(saved.id.0, Saved { offset, ..saved });
        }
        for id in removed {
            self.now.files.remove(&id.0);
        }
        self.now.next_id = tail.next_id();
        self.kept = self.now.clone();
    }
}

/// Which line it is; none of an empty one.
fn number(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).unwrap().trim_end();
    (!line.is_empty()).then(|| line.rsplit_once("blk_").unwrap().1.parse().unwrap())
}

impl Agent for Alone {
    fn start(&mut self, _now_ms: i64) {
        let first = self.kept.next_id == 0;
        self.now = self.kept.clone();
        self.open.clear();
        let files = self.now.files.values().cloned().collect();
        let logs = logs(&self.folder, Backfill::All, "dn.log*");
        self.tail = Some(Tail::new(logs, files, self.now.next_id, first, DAY_MS));
    }

    fn kill(&mut self) {
        self.tail = None;
    }

    fn stop(&mut self) {
        self.commit();
        self.tail = None;
    }

    fn reload(&mut self) {
        let Some(mut tail) = self.tail.take() else { return };
        for ended in tail.take_ends() {
            self.end(ended);
        }
        self.tail = Some(tail);
        self.commit();
        let open = std::mem::take(&mut self.open);
        let offsets: HashMap<FileId, u64> =
            self.now.files.values().map(|saved| (saved.id, saved.offset)).collect();
        let checkpoint = |file| open.get(&file).map(|(start, _)| *start).or(offsets.get(&file).copied());
        let logs = logs(&self.folder, Backfill::All, "dn.log*");
        self.tail =
            self.tail.take().map(|tail| tail.rewound(logs, DAY_MS, |file| checkpoint(file).unwrap_or(0)));
    }

    fn is_running(&self) -> bool {
        self.tail.is_some()
    }

    fn round(&mut self, now_ms: i64, commit: bool) {
        self.look(now_ms);
        let Some(mut tail) = self.tail.take() else { return };
        while let Some(read) = tail.read(now_ms) {
            match read {
                Read::Bytes { file, offset, bytes } => self.take(file, offset, bytes),
                Read::Quiet(_) => {}
                Read::End(ended) => self.end(ended),
            }
        }
        self.tail = Some(tail);
        if commit {
            self.commit();
        }
    }

    fn look(&mut self, now_ms: i64) {
        if let Some(tail) = &mut self.tail {
            tail.poll(now_ms);
        }
    }

    fn lines(&mut self, _now_ms: i64) -> BTreeMap<usize, u64> {
        let mut lines = BTreeMap::new();
        // A line without its end at the end of the log is read, but nothing tells that it is complete.
        let open = self.open.values().filter_map(|(_, open)| number(open));
        for line in self.now.lines.iter().copied().chain(open) {
            *lines.entry(line).or_default() += 1;
        }
        lines
    }

    fn gap_bytes(&self) -> u64 {
        self.now.gap_bytes
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn every_line_is_read_once_whatever_happens_to_the_files(actions in actions(40)) {
        let mut agent = Alone::new();
        let folder = agent.folder.path().to_owned();
        play(&folder, &mut agent, &actions)?;
    }
}
