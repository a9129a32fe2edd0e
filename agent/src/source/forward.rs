//! Receiver of the forward protocol of Fluent Bit and Fluentd, over TCP. A message that has a `chunk` option is
//! acknowledged when its lines are on the disk; one without is taken for granted by its sender, as the protocol has it.
//! While the journal is full nothing is read from a connection, so its sender waits. Shared keys are not supported.

mod message;
mod msgpack;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::journal::{Journal, JournalError};
use crate::ship::chain;
use message::Message;
use msgpack::{Extent, Trouble};

/// Bytes of one message, packed or not; a longer one ends its connection. Shippers send two to eight megabytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Bytes that there is room for before each read.
const READ_BYTES: usize = 64 * 1_024;
/// Pause before trying again to keep lines.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a connection was ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no message of the forward protocol")]
    NotForward,
    #[error("message of more than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Receives from a shipper until its connection ends.
pub(super) async fn receive(stream: TcpStream, journal: Arc<Journal>) {
    match take(stream, &journal).await {
        Ok(()) => {}
        Err(Ended::Io(error)) => debug!(%error, "connection of a shipper has ended"),
        Err(error) => warn!(error = chain(&error), "connection of a shipper was ended"),
    }
}

async fn take(mut stream: TcpStream, journal: &Arc<Journal>) -> Result<(), Ended> {
    let mut bytes = Vec::new();
    let mut extent = Extent::default();
    loop {
        let length = match extent.look(&bytes) {
            Ok(length) => length,
            Err(Trouble::Wrong) => return Err(Ended::NotForward),
            Err(Trouble::Incomplete) if bytes.len() > MESSAGE_BYTES_MAX => return Err(Ended::TooLong),
            Err(Trouble::Incomplete) => {
                bytes.reserve(READ_BYTES);
                match stream.read_buf(&mut bytes).await? {
                    0 if bytes.is_empty() => return Ok(()),
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    _ => continue,
                }
            }
        };
        let message =
            message::read(bytes.get(..length).unwrap_or_default()).map_err(|_| Ended::NotForward)?;
        let answer = message.chunk.map(acknowledgement);
        keep(&message, journal).await?;
        if let Some(answer) = answer {
            stream.write_all(&answer).await?;
        }
        bytes.drain(..length);
        extent = Extent::default();
    }
}

/// Returns when the lines are on the disk, however long there is no room for them.
async fn keep(message: &Message<'_>, journal: &Arc<Journal>) -> Result<(), Ended> {
    if message.empty > 0 {
        debug!(records = message.empty, "records without text");
    }
    let stream = format!("forward-{}", String::from_utf8_lossy(message.tag));
    let chunk = message.chunk.map(<[u8]>::to_vec);
    let lines: Arc<[u8]> = message.lines.as_slice().into();
    loop {
        let (journal, stream) = (Arc::clone(journal), stream.clone());
        let (chunk, lines) = (chunk.clone(), Arc::clone(&lines));
        let append = move || journal.append(chunk.as_deref(), &[(stream.as_str(), &*lines)], true);
        match tokio::task::spawn_blocking(append).await {
            Ok(Err(JournalError::Full)) => sleep(PAUSE).await,
            Ok(kept) => return Ok(kept?),
            // Only a panic gets here: nothing cancels it.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

/// `{"ack": chunk}`
fn acknowledgement(chunk: &[u8]) -> Vec<u8> {
    let mut answer = vec![0x81, 0xa3, b'a', b'c', b'k', 0xdb];
    answer.extend(u32::try_from(chunk.len()).unwrap_or(0).to_be_bytes());
    answer.extend_from_slice(chunk);
    answer
}
