//! One OTLP/HTTP request, and what its answer means for what was sent.

use std::io::Write;
use std::time::Duration;

use flate2::write::GzEncoder;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};

use super::chain;
use crate::config::{Compression, Ship};

/// Bytes of an answer that are read; what is beyond is of no use.
const ANSWER_BYTES_MAX: usize = 16 * 1_024;
/// Characters of an answer that go into our log.
const MESSAGE_CHARS_MAX: usize = 200;
/// Longest pause that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Speed matters more than the last per cent: a batch must not cost the node's CPU.
const ZSTD_LEVEL: i32 = 3;

/// There is no HTTP client.
#[derive(Debug, thiserror::Error)]
#[error("HTTP client cannot be set up")]
pub(crate) struct PostError(#[from] reqwest::Error);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has it, but for `rejected` records.
    Taken { bytes: u64, rejected: u64, message: String },
    /// The receiver wants smaller requests.
    TooLarge,
    /// It will never be taken.
    Refused { reason: String },
    /// It may be taken later, not before `after` has passed.
    TryAgain { after: Option<Duration>, reason: String },
}

/// Sends requests to one receiver.
#[derive(Debug)]
pub(super) struct Post {
    client: Client,
    endpoint: String,
    compression: Compression,
}

impl Post {
    pub(super) fn new(ship: &Ship) -> Result<Self, PostError> {
        let client = Client::builder()
            // The reports hold log lines: they go to the configured address and nowhere else.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ship.timeout)
            .user_agent(concat!("blocksift-agent/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, endpoint: ship.endpoint.clone(), compression: ship.compression })
    }

    pub(super) async fn send(&self, path: &str, message: &impl Message) -> Outcome {
        let body = match compress(self.compression, message.encode_to_vec()) {
            Ok(body) => body,
            Err(error) => {
                return Outcome::Refused { reason: format!("request cannot be compressed: {error}") };
            }
        };
        let bytes = body.len() as u64;
        let mut request = self
            .client
            .post(format!("{}{path}", self.endpoint))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        if let Some(encoding) = encoding(self.compression) {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        match request.send().await {
            Ok(response) => judge(response, bytes).await,
            Err(error) => Outcome::TryAgain { after: None, reason: chain(&error.without_url()) },
        }
    }
}

fn encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::Zstd => Some("zstd"),
        Compression::Gzip => Some("gzip"),
        Compression::None => None,
    }
}

fn compress(compression: Compression, bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    match compression {
        Compression::Zstd => zstd::bulk::compress(&bytes, ZSTD_LEVEL),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&bytes)?;
            encoder.finish()
        }
        Compression::None => Ok(bytes),
    }
}

async fn judge(response: Response, bytes: u64) -> Outcome {
    let status = response.status();
    if status.is_success() {
        let (rejected, message) = partial_success(response).await;
        return Outcome::Taken { bytes, rejected, message };
    }
    let after = retry_after(response.headers(), Timestamp::now());
    let reason = match answer(response).await {
        said if said.is_empty() => status.to_string(),
        said => format!("{status}: {}", printable(&said)),
    };
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Outcome::TryAgain { after, reason },
        status if status.is_server_error() => Outcome::TryAgain { after, reason },
        _ => Outcome::Refused { reason },
    }
}

/// Records that a receiver rejected although it took the request, and why.
async fn partial_success(response: Response) -> (u64, String) {
    let protobuf = response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind == "application/x-protobuf");
    if !protobuf {
        return (0, String::new());
    }
    let answer = answer(response).await;
    // The answer to metrics has the same shape. One that cannot be read rejects nothing.
    let decoded = ExportLogsServiceResponse::decode(answer.as_slice()).unwrap_or_default();
    let Some(partial) = decoded.partial_success else { return (0, String::new()) };
    (u64::try_from(partial.rejected_log_records).unwrap_or(0), printable(partial.error_message.as_bytes()))
}

/// The first bytes of the body.
async fn answer(mut response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(ANSWER_BYTES_MAX);
    bytes
}

/// What a receiver said, fit for one line of our log.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(MESSAGE_CHARS_MAX).collect()
}

/// The pause that a receiver asks for, in seconds or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?;
            Duration::try_from(date.timestamp().duration_since(now)).ok()?
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2008-11-09T20:36:15Z".parse().unwrap();
        let parse = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, now)
        };
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(parse("Sun, 09 Nov 2008 20:37:15 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(parse("Sun, 09 Nov 2008 20:00:00 GMT"), None);
        assert_eq!(parse("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(parse("soon"), None);
    }

    #[test]
    fn what_a_receiver_says_cannot_forge_lines_of_our_log() {
        assert_eq!(printable(b"no\nERROR forged\x1b[0m"), "no ERROR forged [0m");
        assert_eq!(printable(&[b'x'; 1_000]).len(), MESSAGE_CHARS_MAX);
    }
}
