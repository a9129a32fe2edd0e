//! Threads to lend to the detector.

use std::io;

use blocksift_detector::detector::{Task, Workers};
use rayon::ThreadPool;

/// How many.
pub(crate) const THREADS: usize = 2;

/// A pool of [`THREADS`] threads.
pub(crate) struct Threads(ThreadPool);

impl Threads {
    pub(crate) fn new() -> io::Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build();
        pool.map(Self).map_err(io::Error::other)
    }
}

impl Threads {
    /// Does both on the pool's threads, side by side as far as that goes.
    pub(crate) fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        self.0.install(|| rayon::join(one, other))
    }
}

impl Workers for Threads {
    fn count(&self) -> usize {
        THREADS
    }

    fn run(&self, tasks: Vec<Task<'_>>) {
        self.0.in_place_scope(|scope| tasks.into_iter().for_each(|task| scope.spawn(|_| task())));
    }
}
