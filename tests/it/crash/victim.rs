//! An agent that is killed and started again, its log, and its collector.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use blocksift_tests::process::{Process, poll};
use blocksift_tests::simulate::Batch;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::log::{Expected, IDLE_TIMEOUT_S, Rotation};
use crate::harness::{Collector, Node, PATIENCE, assert_adds_up, count, cut, end};

/// Pieces of the log for each kill: at least as many as are written meanwhile.
const PIECES_PER_KILL: usize = 60;
/// An agent is killed at most this long after it said that it had started.
const LIFE_MAX_MS: u64 = 900;
/// Longest rest of the writer between two pieces.
const REST_MAX_MS: u64 = 40;
/// Pieces to one rotation.
const PIECES_PER_ROTATION: u32 = 25;
/// Pieces that are written at most while no agent runs.
const PIECES_UNSEEN_MAX: usize = 6;
/// Of how much work a kill may take; in the longer one, reports are committed ahead of what they came from.
const COMMIT_INTERVALS_MS: [u32; 2] = [50, 300];
/// Times that the log is deleted, which takes a while: an agent has to have it open before, and is left alone after.
const LOSSES: u32 = 3;

pub(super) struct Victim<'a> {
    /// `None`: the log only grows.
    rotation: Option<Rotation>,
    log: &'a Batch,
    node: Node,
    agent: Option<Process>,
    collector: Collector,
    rotations: u32,
    lines_written: u64,
    _folder: TempDir,
}

impl<'a> Victim<'a> {
    pub(super) fn new(rotation: Option<Rotation>, log: &'a Batch) -> Self {
        let folder = TempDir::new().unwrap();
        let collector = Collector::start(folder.path());
        let node = Node::with_idle_timeout(collector.address, IDLE_TIMEOUT_S);
        Self { rotation, log, node, agent: None, collector, rotations: 0, lines_written: 0, _folder: folder }
    }

    /// Writes the whole log with rotations and kills in between, and leaves a running agent.
    pub(super) fn play(&mut self, rng: &mut ChaCha8Rng, kills: u32) {
        let log = self.log;
        let mut commit_interval_ms = COMMIT_INTERVALS_MS[0];
        let pieces = cut(&log.log, kills.max(1) as usize * PIECES_PER_KILL);
        let mut pieces = pieces.into_iter();
        for kill in 0..kills {
            let mut agent = self.node.spawn_agent();
            if self.takes_lines() && kill % kills.div_ceil(LOSSES) == 0 {
                self.rotate_when_open(pieces.next().unwrap_or_default());
            }
            let (at_once, life_ms) = (rng.random_range(0..5) == 0, rng.random_range(0..LIFE_MAX_MS));
            thread::scope(|scope| {
                let killer = scope.spawn(move || kill_after(&mut agent, at_once, life_ms));
                while !killer.is_finished()
                    && let Some(piece) = pieces.next()
                {
                    self.write(rng, piece);
                }
                killer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
            let interval_ms = COMMIT_INTERVALS_MS[rng.random_range(0..COMMIT_INTERVALS_MS.len())];
            let line = |interval_ms| format!("commit_interval_ms = {interval_ms}\n");
            self.node.reconfigure(&line(commit_interval_ms), &line(interval_ms));
            commit_interval_ms = interval_ms;
            let unseen = rng.random_range(0..PIECES_UNSEEN_MAX);
            pieces.by_ref().take(unseen).for_each(|piece| self.write(rng, piece));
        }
        self.agent = Some(self.node.spawn_agent());
        pieces.for_each(|piece| self.write(rng, piece));
    }

    fn write(&mut self, rng: &mut ChaCha8Rng, piece: &[u8]) {
        // The agent may look while there is half a line; the rest of the record follows at once.
        let (start, end) = piece.split_at(rng.random_range(0..=piece.len()));
        self.append(start);
        self.append(end);
        if rng.random_range(0..PIECES_PER_ROTATION) == 0 && !self.takes_lines() {
            self.rotate();
        }
        thread::sleep(Duration::from_millis(rng.random_range(0..REST_MAX_MS)));
    }

    fn append(&mut self, bytes: &[u8]) {
        let mut file = File::options().create(true).append(true).open(self.node.log()).unwrap();
        file.write_all(bytes).unwrap();
        self.lines_written += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    }

    fn rotate(&mut self) {
        if let Some(rotation) = self.rotation {
            self.rotations += 1;
            rotation.rotate(&self.node.log(), self.rotations);
        }
    }

    fn takes_lines(&self) -> bool {
        self.rotation.is_some_and(Rotation::takes_lines)
    }

    /// Rotates so that the lines are gone but for an agent that has the log open, and with some of it unread. The agent is
    /// left alone until it has committed all: what it says it has read is committed before it says that it has read more.
    fn rotate_when_open(&mut self, piece: &[u8]) {
        let mut parts = cut(piece, 2).into_iter();
        parts.next().into_iter().for_each(|opened| self.append(opened));
        self.wait_until_read();
        parts.for_each(|unread| self.append(unread));
        self.rotate();
        self.wait_until_read();
    }

    fn wait_until_read(&self) {
        self.collector.wait_for(Node::NAME, "lines_read", self.lines_written);
    }

    /// Everything of `expected` arrives, and nothing else; every line is counted once.
    pub(super) fn assert_reported(mut self, name: &str, expected: &Expected) {
        let start = Instant::now();
        self.collector.wait_for(Node::NAME, "lines_read", self.lines_written);
        self.collector.wait_for(Node::NAME, "sessions_scored", expected.sessions_scored);
        let all_shipped = || self.collector.summary(Node::NAME)["spool_reports"] == 0;
        assert!(poll(PATIENCE, all_shipped), "{name}: {}", self.collector.summary(Node::NAME));
        end(self.agent.take().unwrap());
        let found = self.collector.revisions();
        let missing: Vec<_> = expected.reports.difference(&found).collect();
        let more: Vec<_> = found.difference(&expected.reports).collect();
        assert!(missing.is_empty() && more.is_empty(), "{name}: missing {missing:?}, too many {more:?}");
        let summary = self.collector.summary(Node::NAME);
        assert_adds_up(&summary);
        let counts = ["lines_read", "lines_in_sessions", "sessions_scored"].map(|name| count(&summary, name));
        let written = &self.log.written;
        assert_eq!(
            counts,
            [self.lines_written, written.lines_in_sessions, expected.sessions_scored],
            "{name}"
        );
        eprintln!("{name}: {} rotations, waited {} ms", self.rotations, start.elapsed().as_millis());
        self.collector.end();
    }
}

/// Kills an agent, at once or some time after it has started.
fn kill_after(agent: &mut Process, at_once: bool, life_ms: u64) {
    if !at_once {
        agent.wait_for_line("agent started", PATIENCE).unwrap();
    }
    thread::sleep(Duration::from_millis(life_ms));
    assert!(agent.running(), "{}", agent.output());
    agent.kill();
    assert!(!agent.output().contains("panicked"), "{}", agent.output());
}
