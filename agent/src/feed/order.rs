//! What a feed is told while it runs. An order also ends its wait for lines.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use blocksift_detector::key::BlockId;

use crate::tail::Waker;

/// What a feed can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// No more lines will be written: once all of them are read, every session is scored, and the feed ends.
    LastLine,
    /// Commit what was read and leave the rest to another feed.
    Pause,
    /// Commit what was read and end.
    Stop,
}

/// Gives orders. Dropping it is the order to stop.
#[derive(Debug)]
pub(crate) struct Orders {
    /// `None` only while this is dropped.
    sender: Option<mpsc::Sender<Order>>,
    waker: Waker,
}

/// Takes orders.
#[derive(Debug)]
pub(crate) struct Ordered {
    receiver: mpsc::Receiver<Order>,
    waker: Waker,
    /// Blocks that somebody wants to know of; looked at in every round.
    wanted: mpsc::Receiver<Vec<BlockId>>,
}

impl Orders {
    /// With where they arrive, together with what is `wanted`.
    pub(crate) fn new(wanted: mpsc::Receiver<Vec<BlockId>>) -> (Self, Ordered) {
        let (sender, receiver) = mpsc::channel();
        let waker = Waker::default();
        (Self { sender: Some(sender), waker: waker.clone() }, Ordered { receiver, waker, wanted })
    }

    /// Tells a feed. One that has ended is told nothing.
    pub(crate) fn give(&self, order: Order) {
        if let Some(sender) = &self.sender {
            sender.send(order).ok();
        }
        self.waker.wake();
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.sender = None;
        self.waker.wake();
    }
}

impl Ordered {
    /// The next order, waiting so long for it.
    pub(super) fn next(&self, wait: Duration) -> Option<Order> {
        match self.receiver.recv_timeout(wait) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Order::Stop),
        }
    }

    /// Blocks that are wanted since the last call.
    pub(super) fn wanted(&self) -> Vec<BlockId> {
        self.wanted.try_iter().flatten().collect()
    }

    /// Used with every order.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }
}
