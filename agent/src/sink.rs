//! Where reports go: an OTLP/HTTP receiver, a file, or standard output. A sink takes reports or says why not; what
//! then becomes of them is decided by [`crate::ship`].

mod file;
mod otlp;
mod stdout;
mod writer;

use std::time::Duration;

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use serde::Serialize;

use crate::config::To;
use crate::otlp::Sender;
use crate::wanted::Asked;
use file::Appender;
use otlp::Post;
pub(crate) use otlp::SecretError;
use writer::Writer;

/// What became of reports or of a summary.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// They are safe there, but for `rejected` records.
    Taken {
        /// Bytes that were sent.
        bytes: u64,
        /// Records that the receiver will never take, because of what is in them.
        rejected: u64,
        /// What it says about them; one printable line.
        message: String,
    },
    /// The receiver wants smaller requests.
    TooLarge,
    /// They will never be taken.
    Refused {
        /// Why; one printable line.
        reason: String,
    },
    /// They may be taken later.
    TryAgain {
        /// Not before so much time has passed, if the receiver says so.
        after: Option<Duration>,
        /// Why; one printable line.
        reason: String,
    },
    /// Nothing will ever be taken any more: whoever read the output is gone.
    Closed,
}

/// There is no sink.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    /// Certificates, keys or token cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The operating system has no thread for it.
    #[error("no thread for writing reports")]
    Thread(#[from] std::io::Error),
}

/// One of the places that reports go to.
#[derive(Debug)]
pub(crate) enum Sink {
    /// An OTLP/HTTP receiver.
    Otlp(Box<Post>),
    /// NDJSON, in a file or on standard output.
    Ndjson(Writer),
}

impl Sink {
    /// The sink for `to`; reports are sent as `sender`.
    ///
    /// # Errors
    /// When certificates, keys or token cannot be used, or there is no thread.
    pub(crate) fn new(to: &To, sender: Sender) -> Result<Self, SinkError> {
        Ok(match to {
            To::Otlp(otlp) => Self::Otlp(Box::new(Post::new(otlp, sender)?)),
            To::File(path) => {
                let mut appender = Appender::new(path);
                Self::Ndjson(Writer::start(move |bytes| appender.append(bytes))?)
            }
            To::Stdout => Self::Ndjson(Writer::start(stdout::write)?),
        })
    }

    /// Whether a sink for `to` could be made now. Leaves nothing behind.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn check(to: &To) -> Result<(), SinkError> {
        if let To::Otlp(otlp) = to {
            Post::new(otlp, Sender { node: String::new(), model: String::new(), addresses: Vec::new() })?;
        }
        Ok(())
    }

    /// One that writes NDJSON with `write`.
    #[cfg(test)]
    pub(crate) fn of(write: impl FnMut(&[u8]) -> std::io::Result<()> + Send + 'static) -> Self {
        Self::Ndjson(Writer::start(write).unwrap())
    }

    /// Hands reports over, or what filters made of them, in their order.
    pub(crate) async fn reports(&mut self, reports: &[impl Serialize + Sync]) -> Outcome {
        match self {
            Self::Otlp(post) => post.reports(reports).await,
            Self::Ndjson(writer) => {
                let mut lines = Vec::new();
                match crate::output::write_ndjson(reports, &mut lines) {
                    Ok(()) => writer.write(lines).await,
                    Err(error) => Outcome::Refused { reason: error.to_string() },
                }
            }
        }
    }

    /// Sends nothing, to see whether it would be taken; with what the receiver's clock said, if it is one that has one.
    pub(crate) async fn probe(&mut self) -> (Outcome, Option<Timestamp>) {
        match self {
            Self::Otlp(post) => post.probe().await,
            Self::Ndjson(_) => (Outcome::Taken { bytes: 0, rejected: 0, message: String::new() }, None),
        }
    }

    /// Hands a summary over; only an OTLP receiver has a use for it.
    pub(crate) async fn summary(&mut self, summary: &ExportMetricsServiceRequest) -> Outcome {
        match self {
            Self::Otlp(post) => post.summary(summary).await,
            Self::Ndjson(_) => Outcome::Taken { bytes: 0, rejected: 0, message: String::new() },
        }
    }

    /// Asks which blocks somebody wants to know of, beyond those of an earlier answer.
    pub(crate) async fn wanted(&mut self, after: u64) -> Asked {
        match self {
            Self::Otlp(post) => post.wanted(after).await,
            Self::Ndjson(_) => Asked::Unknown,
        }
    }
}
