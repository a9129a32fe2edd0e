//! Threads that `detect` lends to the detector.

use anyhow::Context;
use blocksift_detector::detector::{Task, Workers};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads that wait for work.
#[derive(Debug)]
pub(crate) struct Threads(ThreadPool);

impl Threads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub(crate) fn start(count: usize) -> anyhow::Result<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(count).build();
        Ok(Self(
            pool.with_context(|| format!("{count} threads cannot be started; give a lower `--threads`"))?,
        ))
    }
}

impl Workers for Threads {
    fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    fn run(&self, tasks: Vec<Task<'_>>) {
        self.0.in_place_scope(|scope| tasks.into_iter().for_each(|task| scope.spawn(|_| task())));
    }
}
