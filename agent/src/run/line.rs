//! Feed and shipper on one configuration: made, started, told to make way or to end.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::{Context, anyhow};
use blocksift_detector::key::BlockId;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::feed::{Ended, Feed, Order, Orders};
use crate::filter::Filters;
use crate::otlp::Sender;
use crate::redact::Redactor;
use crate::reload::{Refused, Setup};
use crate::ship::{ShipError, Shipper};
use crate::state::{Restored, StateError, Store};
use crate::status::{FeedStatus, ShipStatus};
use crate::tail::Tail;
use crate::wanted::{self, Asking};

/// A line that can be started: all that can be wrong with its configuration was found.
pub(super) struct Draft {
    setup: Setup,
    store: Arc<Store>,
    since_ms: i64,
    feed_status: watch::Sender<FeedStatus>,
    redactor: Option<Redactor>,
    shipper: Shipper,
    /// Blocks that the shipper was asked for.
    wanted: Receiver<Vec<BlockId>>,
}

/// What a line goes on with.
pub(super) enum From {
    /// What the store held when it was opened.
    Store(Box<Restored>),
    /// What another line left: the store, the open files, and a shipper that has to end first.
    Line(Box<Tail>, Shipping),
}

type Shipping = JoinHandle<Result<(), ShipError>>;

/// A line that runs.
pub(super) struct Line {
    /// Dropped to stop.
    orders: Orders,
    /// `None` once it has ended.
    feed: Option<oneshot::Receiver<Result<Ended, StateError>>>,
    shipping: Shipping,
}

impl Draft {
    /// Makes the parts. The store was begun at `since_ms`; `status` is true until the feed's first round.
    ///
    /// # Errors
    /// [`Refused`] if nothing can be filtered, hashed or shipped this way.
    pub(super) fn new(
        setup: Setup,
        store: Arc<Store>,
        status: FeedStatus,
        since_ms: i64,
    ) -> Result<Self, Refused> {
        let feed_status = watch::Sender::new(FeedStatus { progress: None, paused: false, ..status });
        let Config { ship, filters, redact, state_dir, wanted, .. } = &setup.config;
        let filters = Filters::load(filters)?;
        let redactor = redact.as_ref().map(|redact| Redactor::new(redact, state_dir)).transpose()?;
        let mut addresses = wanted::addresses(wanted);
        if let Some(redactor) = &redactor {
            // As the lines of other nodes with this key have them.
            addresses.iter_mut().for_each(|address| *address = redactor.template(address));
        }
        let (asking, wanted) = Asking::new(wanted);
        let node = setup.config.detector.node.clone();
        let sender = Sender { node, model: setup.model.id.clone(), addresses };
        let status = feed_status.subscribe();
        let mut shipper = Shipper::new(ship.clone(), Arc::clone(&store), status, sender, filters, since_ms)?;
        shipper.ask(asking);
        Ok(Self { setup, store, since_ms, feed_status, redactor, shipper, wanted })
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// How feed and shipping will be doing.
    pub(super) fn status(&self) -> (watch::Receiver<FeedStatus>, watch::Receiver<ShipStatus>) {
        (self.feed_status.subscribe(), self.shipper.watch())
    }

    /// Starts the feed's thread and the shipper's task.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(self, from: From) -> anyhow::Result<Line> {
        let Self { setup, store, since_ms, feed_status, redactor, shipper, wanted } = self;
        let (restored, tail, before) = match from {
            From::Store(restored) => (Some(*restored), None, None),
            From::Line(tail, before) => (None, Some(*tail), Some(before)),
        };
        let (orders, ordered) = Orders::new(wanted);
        let (done, feed) = oneshot::channel();
        let run = move || {
            let mut restored = match restored {
                Some(restored) => restored,
                None => store.restored()?,
            };
            if restored.meta.since_ms == 0 {
                restored.meta.since_ms = since_ms;
            }
            let Setup { config, model } = setup;
            Feed::new(&config, redactor, model, store, (restored, tail), feed_status, ordered).run()
        };
        // Nobody listens any more if the agent was told twice to stop.
        let work = move || drop(done.send(run()));
        std::thread::Builder::new().name("feed".to_owned()).spawn(work).context("no thread for the feed")?;
        let shipping = tokio::spawn(async move {
            if let Some(before) = before {
                before.await.unwrap_or(Ok(()))?;
            }
            shipper.run().await
        });
        Ok(Line { orders, feed: Some(feed), shipping })
    }
}

impl Line {
    /// Tells the feed that no more lines will be written.
    pub(super) fn last_line(&self) {
        self.orders.give(Order::LastLine);
    }

    /// Returns when it has ended by itself: after the last line, when all was shipped.
    ///
    /// # Errors
    /// When a part of it failed.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        if let Some(feed) = &mut self.feed {
            tokio::select! {
                ended = &mut *feed => {
                    self.feed = None;
                    feed_result(ended)?;
                }
                shipped = &mut self.shipping => {
                    shipped?.context("reports cannot be shipped; nothing is lost")?;
                    // That is when the feed says that nothing more will come, and so a moment before it ends.
                    feed_result(feed.await)?;
                    return Ok(());
                }
            }
        }
        Ok((&mut self.shipping).await??)
    }

    /// Has the feed commit what it read and end, for another line to go on from there.
    ///
    /// # Errors
    /// When the feed failed.
    pub(super) async fn pause(&mut self) -> anyhow::Result<Box<Tail>> {
        // A feed that is not there to be told gives its error below.
        self.orders.give(Order::Pause);
        let feed = self.feed.take().context("everything is read already")?;
        match feed_result(feed.await)? {
            Ended::Paused(tail) => Ok(tail),
            Ended::Closed => Err(anyhow!("reading ended by itself")),
        }
    }

    /// Goes on as another line with the files of this one, which has paused.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn go_on(&mut self, draft: Draft, tail: Box<Tail>) -> anyhow::Result<()> {
        // The old one ends after its request under way.
        let before = std::mem::replace(&mut self.shipping, tokio::spawn(async { Ok(()) }));
        *self = draft.start(From::Line(tail, before))?;
        Ok(())
    }

    /// Has the feed commit what it read and end; then the shipper ships for a while and ends.
    ///
    /// # Errors
    /// When one of them failed.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        drop(self.orders);
        if let Some(feed) = self.feed {
            feed_result(feed.await)?;
        }
        Ok(self.shipping.await??)
    }
}

fn feed_result(ended: Result<Result<Ended, StateError>, oneshot::error::RecvError>) -> anyhow::Result<Ended> {
    ended.map_err(|_| anyhow!("feed thread died"))?.context("agent cannot go on; nothing is lost")
}
