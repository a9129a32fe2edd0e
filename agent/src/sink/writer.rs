//! A thread that writes for the shipper. A disk or a reader may keep a write waiting for as long as it likes; a thread
//! of its own keeps nothing else waiting, not even the end of the process.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::sync::oneshot;

use super::Outcome;

/// What is to be written, and who wants to know.
type Work = (Vec<u8>, oneshot::Sender<io::Result<()>>);

/// Hands bytes to a thread that writes them. It ends once this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    /// There is one write at a time.
    work: SyncSender<Work>,
}

impl Writer {
    /// A thread that writes with `write`.
    ///
    /// # Errors
    /// When there is no thread.
    pub(super) fn start(mut write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (work, works) = sync_channel::<Work>(1);
        std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
            while let Ok((bytes, done)) = works.recv() {
                // Nobody listens any more if the agent gave up waiting.
                drop(done.send(write(&bytes)));
            }
        })?;
        Ok(Self { work })
    }

    /// Returns when the bytes are written, or cannot be.
    pub(super) async fn write(&self, bytes: Vec<u8>) -> Outcome {
        let length = bytes.len() as u64;
        let (done, written) = oneshot::channel();
        if let Err(error) = self.work.try_send((bytes, done)) {
            return Outcome::TryAgain { after: None, reason: error.to_string() };
        }
        match written.await {
            Ok(Ok(())) => Outcome::Taken { bytes: length, rejected: 0, message: String::new() },
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Closed,
            Ok(Err(error)) => Outcome::TryAgain { after: None, reason: error.to_string() },
            Err(_) => Outcome::TryAgain { after: None, reason: "the writing thread died".to_owned() },
        }
    }
}
