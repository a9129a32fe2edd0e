//! A small HDFS cluster that writes logs as Hadoop of 2008 or Hadoop 3 does (its [`Dialect`]), with faults whose ground
//! truth is known. Blocks live as the frequent sessions of the data set HDFS_v1 do; the text is our own.
//!
//! [`Simulation`] yields [`Event`]s in order of time, the same ones for the same [`Plan`]. [`batch`] writes them as one
//! merged log, [`live`] appends them to one file per node at the pace of the wall clock.

pub mod batch;
pub mod block;
pub mod cluster;
pub mod dialect;
pub mod event;
pub mod fault;
mod hadoop3;
mod hdfs_v1;
pub mod line;
pub mod live;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use batch::{Batch, Label, batch, batch_with};
pub use cluster::{Cluster, NodeId};
pub use dialect::Dialect;
pub use event::{Event, Kind};
pub use fault::{Fault, FaultKind};
pub use line::LineWriter;

/// Blocks between two lines that name no block.
const BLOCKS_PER_KEYLESS_LINE: u32 = 6;

/// How long the parts of a block's life take, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one new block to the next.
    pub block_interval_ms: i64,
    /// A write, at most.
    pub write_ms: i64,
    /// From the start of the write to the reads, and from the reads to the delete, at most; at least half of it.
    pub silence_ms: i64,
}

impl Pace {
    /// Hours between write and delete, as in HDFS_v1.
    pub const ARCHIVE: Self = Self { block_interval_ms: 400, write_ms: 40_000, silence_ms: 3_600_000 };
    /// A life within seconds, for a demo that people watch.
    pub const DEMO: Self = Self { block_interval_ms: 100, write_ms: 400, silence_ms: 6_000 };
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Equal plans give equal events.
    pub seed: u64,
    /// Blocks to start; `None` goes on until [`Simulation::stop`].
    pub blocks_max: Option<u64>,
    /// Blocks in a thousand that have a fault, `0..=1000`.
    pub faults_per_1000: u32,
    /// Time of the first event, Unix milliseconds.
    pub start_ms: i64,
    /// How long things take.
    pub pace: Pace,
    /// What is logged of it, and how.
    pub dialect: Dialect,
}

impl Plan {
    /// `blocks` blocks that live as those of HDFS_v1 do, three in a hundred with a fault, from 2008-11-09 20:35 UTC on.
    #[must_use]
    pub fn archive(seed: u64, blocks: u64) -> Self {
        Self::archive_of(Dialect::HdfsV1, seed, blocks)
    }

    /// As [`archive`](Self::archive) in another dialect, at a time that suits it.
    #[must_use]
    pub fn archive_of(dialect: Dialect, seed: u64, blocks: u64) -> Self {
        Self {
            seed,
            blocks_max: Some(blocks),
            faults_per_1000: 30,
            start_ms: dialect.start_ms(),
            pace: Pace::ARCHIVE,
            dialect,
        }
    }
}

/// Events of the cluster in order of time.
pub struct Simulation {
    plan: Plan,
    rng: ChaCha8Rng,
    waiting: BinaryHeap<Reverse<(i64, u64, Event)>>,
    events_planned: u64,
    blocks: u64,
    stopped: bool,
    faults: Vec<Fault>,
}

impl Simulation {
    /// Starts at `plan.start_ms`.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
            waiting: BinaryHeap::new(),
            events_planned: 0,
            blocks: 0,
            stopped: false,
            faults: Vec::new(),
        }
    }

    /// Starts no further block; the events of those that live still come.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Blocks started so far.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The fault of every faulty block started so far, in the order of their start.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn next_block_ms(&self) -> Option<i64> {
        if self.stopped || self.plan.blocks_max.is_some_and(|max| self.blocks >= max) {
            return None;
        }
        let started = i64::try_from(self.blocks).unwrap_or(i64::MAX);
        Some(self.plan.start_ms.saturating_add(started.saturating_mul(self.plan.pace.block_interval_ms)))
    }

    fn start_block(&mut self, at_ms: i64) {
        let faulty = self.rng.random_range(0..1_000) < self.plan.faults_per_1000;
        let fault = faulty.then(|| FaultKind::in_turn(self.plan.dialect, self.faults.len()));
        let life =
            block::Life::plan(&mut self.rng, (self.plan.dialect, self.plan.pace), self.blocks, at_ms, fault);
        self.faults.extend(life.fault);
        self.blocks += 1;
        for event in life.events {
            self.wait(event);
        }
        if self.rng.random_range(0..BLOCKS_PER_KEYLESS_LINE) == 0 {
            let event = block::keyless(&mut self.rng, self.plan.dialect, at_ms);
            self.wait(event);
        }
    }

    fn wait(&mut self, event: Event) {
        // The running number keeps events of one millisecond in the order in which they were planned.
        self.waiting.push(Reverse((event.at_ms, self.events_planned, event)));
        self.events_planned += 1;
    }
}

impl Iterator for Simulation {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while let Some(start_ms) = self.next_block_ms() {
            if self.waiting.peek().is_some_and(|Reverse((at_ms, ..))| *at_ms < start_ms) {
                break;
            }
            self.start_block(start_ms);
        }
        self.waiting.pop().map(|Reverse((.., event))| event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_the_same_for_a_seed() {
        let events: Vec<Event> = Simulation::new(Plan::archive(7, 300)).collect();
        assert!(events.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
        assert!(events.iter().eq(Simulation::new(Plan::archive(7, 300)).collect::<Vec<_>>().iter()));
        assert!(!events.iter().eq(Simulation::new(Plan::archive(8, 300)).collect::<Vec<_>>().iter()));
    }

    #[test]
    fn a_stopped_simulation_ends_the_lives_it_started() {
        let mut simulation = Simulation::new(Plan { blocks_max: None, ..Plan::archive(1, 0) });
        assert!(simulation.by_ref().take(50).count() == 50);
        simulation.stop();
        let blocks = simulation.blocks();
        assert!(simulation.by_ref().count() > 0);
        assert_eq!(simulation.blocks(), blocks);
    }
}
