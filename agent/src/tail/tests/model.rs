//! Random writes, rotations, truncations, compressions, kills and restarts against a model that keeps all lines: every
//! line is read exactly once, unless it was destroyed unread; then no more bytes are told as gap than are missing, and
//! all of those that were seen.
//!
//! The model is played against the tail alone (`model/alone.rs`), and against the feed with its store in `feed/tests/files.rs`.
//! `BLOCKSIFT_CASES` sets how many sequences are tried.

mod alone;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// Rotated files that are kept.
const BACKUPS: usize = 3;

/// What reads the lines.
pub(crate) trait Agent {
    /// A process starts with what the last one committed.
    fn start(&mut self, now_ms: i64);
    /// The process is gone, with everything that it did not commit.
    fn kill(&mut self);
    /// The process stops in order.
    fn stop(&mut self);
    /// The process goes on with another configuration.
    fn reload(&mut self);
    fn is_running(&self) -> bool;
    /// Looks and reads everything; `commit`: for certain.
    fn round(&mut self, now_ms: i64, commit: bool);
    /// Looks and reads nothing.
    fn look(&mut self, now_ms: i64);
    /// How often each line was read, once nothing is open any more.
    fn lines(&mut self, now_ms: i64) -> BTreeMap<usize, u64>;
    /// Bytes told as gaps.
    fn gap_bytes(&self) -> u64;
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// So many lines are written, the last one without its line end if so.
    Write {
        lines: usize,
        partial: bool,
    },
    Round {
        commit: bool,
    },
    Look,
    Rename,
    /// What happens while the copy is made, of which so many percent are there, and before the truncation.
    CopyTruncate {
        percent: usize,
        during: Vec<Action>,
        between: Vec<Action>,
    },
    Truncate,
    Recreate,
    Compress {
        backup: usize,
    },
    Kill,
    Stop,
    Start,
    Reload,
}

/// Any sequence of actions.
pub(crate) fn actions(max: usize) -> impl Strategy<Value = Vec<Action>> {
    let write = || (1..25_usize, any::<bool>()).prop_map(|(lines, partial)| Action::Write { lines, partial });
    let round = || any::<bool>().prop_map(|commit| Action::Round { commit });
    let some = || {
        let action = prop_oneof![write(), round(), Just(Action::Kill), Just(Action::Start)];
        proptest::collection::vec(action, 0..4)
    };
    let copy_truncate = (0..100_usize, some(), some())
        .prop_map(|(percent, during, between)| Action::CopyTruncate { percent, during, between });
    let action = prop_oneof![
        6 => write(),
        6 => round(),
        1 => Just(Action::Look),
        3 => Just(Action::Rename),
        3 => copy_truncate,
        1 => Just(Action::Truncate),
        1 => Just(Action::Recreate),
        2 => (0..BACKUPS).prop_map(|backup| Action::Compress { backup }),
        2 => Just(Action::Kill),
        1 => Just(Action::Stop),
        3 => Just(Action::Start),
        1 => Just(Action::Reload),
    ];
    proptest::collection::vec(action, 1..max)
}

/// How many sequences to try: `few`, unless the environment says otherwise.
pub(crate) fn cases(few: u32) -> ProptestConfig {
    let cases = std::env::var("BLOCKSIFT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(few);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A line that was written.
#[derive(Debug)]
struct Line {
    /// Number of the contents that it is in.
    contents: usize,
    bytes: u64,
    /// Whether its end is not written, and never will be once its file was rotated.
    open: bool,
    /// Whether it is on disk.
    there: bool,
    /// Whether this process has read it.
    read: bool,
    /// Whether its end was there when it was read.
    whole: bool,
    /// Whether a process committed that it was read.
    durable: bool,
    /// Whether a process may have: the last ones wait for more with some, and do not with others.
    perhaps_durable: bool,
    /// Whether this process has seen that it is there.
    seen: bool,
}

/// The logs as they are, and every line that there was.
struct Model<'a, A> {
    folder: &'a Path,
    agent: &'a mut A,
    now_ms: i64,
    lines: Vec<Line>,
    /// Number of the contents of the current log.
    contents: usize,
    partial: bool,
    /// Contents of each backup.
    backups: [Option<usize>; BACKUPS],
    /// Contents that were compressed.
    packed: BTreeSet<usize>,
    /// Bytes that must be told as gaps: when the next look is committed, and for good.
    gap_bytes_due: u64,
    gap_bytes_min: u64,
}

/// Plays `actions` with logs `dn.log*` in `folder`.
pub(crate) fn play<A: Agent>(folder: &Path, agent: &mut A, actions: &[Action]) -> TestCaseResult {
    let mut model = Model {
        folder,
        agent,
        now_ms: 1_000_000_000,
        lines: Vec::new(),
        contents: 0,
        partial: false,
        backups: [None; BACKUPS],
        packed: BTreeSet::new(),
        gap_bytes_due: 0,
        gap_bytes_min: 0,
    };
    model.act(&Action::Start);
    for action in actions {
        model.act(action);
    }
    model.check()
}

impl<A: Agent> Model<'_, A> {
    fn act(&mut self, action: &Action) {
        self.now_ms += 1_000;
        match action {
            Action::Write { lines, partial } => self.write(*lines, *partial),
            Action::Round { commit } => self.round(*commit),
            Action::Look => self.look(),
            Action::Rename => self.rename(),
            Action::CopyTruncate { percent, during, between } => {
                self.copy_truncate(*percent, during, between)
            }
            Action::Truncate => self.truncate(),
            Action::Recreate => {
                fs::remove_file(self.log()).unwrap_or_default();
                self.destroy(self.contents, false);
                self.next_contents();
            }
            Action::Compress { backup } => self.compress(*backup),
            Action::Kill if self.agent.is_running() => {
                self.agent.kill();
                self.forget();
            }
            Action::Stop if self.agent.is_running() => {
                self.agent.stop();
                self.gap_bytes_due = 0;
                self.commit();
                self.forget();
            }
            Action::Start if !self.agent.is_running() => self.agent.start(self.now_ms),
            Action::Reload if self.agent.is_running() => {
                self.agent.reload();
                self.rewind();
            }
            Action::Kill | Action::Stop | Action::Start | Action::Reload => {}
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("dn.log")
    }

    fn backup(&self, number: usize) -> [PathBuf; 2] {
        [format!("dn.log.{number}"), format!("dn.log.{number}.gz")].map(|name| self.folder.join(name))
    }

    fn write(&mut self, lines: usize, partial: bool) {
        let mut text = if self.partial { "\n".to_owned() } else { String::new() };
        if let Some(last) = self.lines.last_mut().filter(|_| self.partial) {
            last.open = false;
        }
        for at in 0..lines {
            let number = self.lines.len();
            let (minute, second) = (number / 60 % 60, number % 60);
            let line = format!(
                "081109 20{minute:02}{second:02} 148 WARN dfs.DataNode$DataXceiver: something odd with blk_{number}"
            );
            text += &line;
            let open = partial && at + 1 == lines;
            text += if open { "" } else { "\n" };
            let bytes = (line.len() + 1) as u64;
            let contents = self.contents;
            self.lines.push(Line {
                contents,
                bytes,
                open,
                there: true,
                read: false,
                whole: false,
                durable: false,
                perhaps_durable: false,
                seen: false,
            });
        }
        self.partial = partial;
        let mut file = File::options().append(true).create(true).open(self.log()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn round(&mut self, commit: bool) {
        if self.agent.is_running() {
            self.agent.round(self.now_ms, commit);
            for line in self.lines.iter_mut().filter(|line| line.there) {
                (line.read, line.seen) = (true, true);
                line.whole = !line.open;
            }
            if commit {
                self.commit();
            }
        }
    }

    fn look(&mut self) {
        if self.agent.is_running() {
            self.agent.look(self.now_ms);
            for line in self.lines.iter_mut().filter(|line| line.there) {
                line.seen = true;
            }
        }
    }

    /// The last whole line that was read of each file may wait for more to come, and what follows it is not one.
    fn commit(&mut self) {
        self.gap_bytes_min += std::mem::take(&mut self.gap_bytes_due);
        let mut later = usize::MAX;
        let mut lines: Vec<&mut Line> = self.lines.iter_mut().filter(|line| line.read).collect();
        lines.sort_by_key(|line| line.contents);
        for line in lines.into_iter().rev() {
            line.durable |= line.contents == later;
            line.perhaps_durable = true;
            if line.whole {
                later = line.contents;
            }
        }
    }

    /// What a process does not know that has just started.
    fn forget(&mut self) {
        self.gap_bytes_due = 0;
        for line in &mut self.lines {
            (line.read, line.seen) = (line.durable, line.durable);
        }
        for contents in self.packed.clone() {
            self.destroy_unknown(contents);
        }
    }

    /// What is committed is that lines were read; the files stay open, and gaps not seen yet will be.
    fn rewind(&mut self) {
        let gap_bytes_due = std::mem::take(&mut self.gap_bytes_due);
        self.commit();
        self.gap_bytes_due = gap_bytes_due;
        for line in &mut self.lines {
            line.read = line.durable;
        }
    }

    /// A compressed file that no process knew before is not read.
    fn destroy_unknown(&mut self, contents: usize) {
        if !self.lines.iter().any(|line| line.contents == contents && line.read) {
            self.destroy(contents, false);
        }
    }

    fn next_contents(&mut self) {
        self.contents = self.lines.iter().map(|line| line.contents).max().unwrap_or(0).max(self.contents) + 1;
        self.partial = false;
    }

    /// Contents are removed; `cut`: also from under an open file.
    fn destroy(&mut self, contents: usize, cut: bool) {
        for line in self.lines.iter_mut().filter(|line| line.there && line.contents == contents) {
            line.there = false;
            if cut && line.seen && !line.read && !line.perhaps_durable {
                self.gap_bytes_due += line.bytes - 1;
            }
        }
    }

    /// Makes room for the first backup.
    fn shift(&mut self) {
        self.backups.rotate_right(1);
        if let Some(contents) = self.backups[0].take() {
            self.destroy(contents, false);
        }
        for path in self.backup(BACKUPS) {
            fs::remove_file(path).unwrap_or_default();
        }
        for number in (1..BACKUPS).rev() {
            for (from, to) in self.backup(number).iter().zip(self.backup(number + 1)) {
                fs::rename(from, to).unwrap_or_default();
            }
        }
    }

    fn rename(&mut self) {
        self.shift();
        if self.log().exists() {
            fs::rename(self.log(), &self.backup(1)[0]).unwrap();
            self.backups[0] = Some(self.contents);
            self.next_contents();
        }
    }

    fn copy_truncate(&mut self, percent: usize, during: &[Action], between: &[Action]) {
        if !self.log().exists() {
            return;
        }
        self.shift();
        let part = fs::read(self.log()).unwrap();
        fs::write(&self.backup(1)[0], &part[..part.len() * percent / 100]).unwrap();
        self.backups[0] = Some(self.contents);
        for action in during {
            self.act(action);
        }
        fs::copy(self.log(), &self.backup(1)[0]).unwrap();
        let copied = self.lines.len();
        let open = self.partial;
        for action in between {
            self.act(action);
        }
        // Its end was written behind the copy.
        if let Some(last) = self.lines.get_mut(copied.wrapping_sub(1)).filter(|_| open) {
            last.open = true;
        }
        self.now_ms += 10;
        let cut = File::options().write(true).open(self.log()).unwrap();
        cut.set_len(0).unwrap();
        // What was written after the copy is gone, and the copy ends before it.
        let contents = self.contents;
        self.next_contents();
        let gone = self.contents;
        for line in self.lines.iter_mut().skip(copied).filter(|line| line.contents == contents) {
            (line.contents, line.there) = (gone, false);
        }
        self.next_contents();
    }

    fn truncate(&mut self) {
        if self.log().exists() {
            File::options().write(true).open(self.log()).unwrap().set_len(0).unwrap();
            self.destroy(self.contents, true);
            self.next_contents();
        }
    }

    fn compress(&mut self, backup: usize) {
        let [plain, packed] = self.backup(backup + 1);
        if plain.exists() {
            let mut encoder =
                flate2::write::GzEncoder::new(File::create(packed).unwrap(), flate2::Compression::fast());
            encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
            encoder.finish().unwrap();
            fs::remove_file(plain).unwrap();
            if let Some(contents) = self.backups[backup] {
                self.packed.insert(contents);
                self.destroy_unknown(contents);
            }
        }
    }

    fn check(&mut self) -> TestCaseResult {
        self.act(&Action::Start);
        for pause_s in [1, 2, 3, 12, 2, 12, 2] {
            self.now_ms += pause_s * 1_000;
            self.round(true);
        }
        let read = self.agent.lines(self.now_ms);
        let mut missing_bytes = 0;
        for (number, line) in self.lines.iter().enumerate() {
            match read.get(&number).copied().unwrap_or(0) {
                0 if line.there || line.read => prop_assert!(false, "line {number} was not read: {line:?}"),
                0 => missing_bytes += line.bytes,
                times => prop_assert_eq!(times, 1, "line {} was read {} times: {:?}", number, times, line),
            }
        }
        let gap_bytes = self.agent.gap_bytes();
        prop_assert!(gap_bytes <= missing_bytes, "{gap_bytes} bytes are told of {missing_bytes} missing");
        prop_assert!(gap_bytes >= self.gap_bytes_min, "{gap_bytes} bytes of {}", self.gap_bytes_min);
        Ok(())
    }
}
