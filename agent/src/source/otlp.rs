//! Receiver of OTLP/HTTP logs, such as an OpenTelemetry Collector on this host sends: protobuf or JSON, plain, gzip or
//! zstd. A request is answered with 200 when its lines are on the disk, and with 503 while there is no room for them.
//!
//! A record's body is the line. Bodies that are no text become JSON, which is a layout of lines too. Records of one
//! resource and one `log.file.path` are one stream.

mod lines;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::journal::{Journal, JournalError};
use crate::ship::chain;

/// Bytes of a request's body, compressed or not. Shippers send a few megabytes.
const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Longest time for a request's head, and for its body.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds after which a shipper may try again when there was no room.
const RETRY_AFTER_S: &str = "1";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Answers a shipper's requests until its connection ends.
pub(super) async fn receive(stream: TcpStream, journal: Arc<Journal>) {
    let service = service_fn(|request| answer(request, Arc::clone(&journal)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "connection of a shipper has ended");
    }
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("only POST /v1/logs is answered here")]
    NotFound,
    #[error("the body is not complete")]
    Incomplete,
    #[error("the body is no logs request of OTLP")]
    NotOtlp,
    #[error("the body has more than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("this encoding or content type is not supported")]
    Unsupported,
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::NotOtlp => StatusCode::BAD_REQUEST,
            Self::TooLarge | Self::Journal(JournalError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Journal(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    journal: Arc<Journal>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let json = content_type(request.headers()) == JSON;
    let taken = take(request, journal).await;
    let mut response = Response::new(Full::default());
    let mut header = |name: HeaderName, value: &'static str| {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    };
    match taken {
        // Nothing is set in a response that says that everything was taken.
        Ok(()) if json => {
            header(CONTENT_TYPE, JSON);
            *response.body_mut() = Full::from("{}");
        }
        Ok(()) => header(CONTENT_TYPE, PROTOBUF),
        Err(refused) => {
            header(CONTENT_TYPE, "text/plain");
            let status = refused.status();
            if status == StatusCode::SERVICE_UNAVAILABLE {
                header(RETRY_AFTER, RETRY_AFTER_S);
            }
            if let Refused::Journal(error) = &refused
                && !matches!(error, JournalError::Full)
            {
                warn!(error = chain(error), "lines of a shipper cannot be kept");
            }
            *response.status_mut() = status;
            *response.body_mut() = Full::from(refused.to_string());
        }
    }
    Ok(response)
}

async fn take(request: Request<Incoming>, journal: Arc<Journal>) -> Result<(), Refused> {
    if request.method() != Method::POST || request.uri().path() != "/v1/logs" {
        return Err(Refused::NotFound);
    }
    let (head, body) = request.into_parts();
    let body = timeout(PATIENCE, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(Refused::TooLarge),
        Ok(Err(_)) | Err(_) => return Err(Refused::Incomplete),
    };
    let keep = move || {
        let body = decompress(&head.headers, &body)?;
        let request = decode(&head.headers, &body)?;
        let streams = lines::of(request);
        let parts: Vec<(&str, &[u8])> =
            streams.iter().map(|(stream, lines)| (stream.as_str(), lines.as_slice())).collect();
        Ok(journal.append(None, &parts, true)?)
    };
    match tokio::task::spawn_blocking(keep).await {
        Ok(kept) => kept,
        // Only a panic gets here: nothing cancels it.
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn decompress(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Refused> {
    let encoding = headers.get(CONTENT_ENCODING).map_or("identity", |value| value.to_str().unwrap_or("?"));
    let reader: Box<dyn Read + '_> = match encoding {
        "identity" => Box::new(body),
        "gzip" => Box::new(MultiGzDecoder::new(body)),
        "zstd" => Box::new(zstd::Decoder::new(body).map_err(|_| Refused::NotOtlp)?),
        _ => return Err(Refused::Unsupported),
    };
    let mut bytes = Vec::new();
    reader.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|_| Refused::NotOtlp)?;
    if bytes.len() > BODY_BYTES_MAX { Err(Refused::TooLarge) } else { Ok(bytes) }
}

fn decode(headers: &HeaderMap, body: &[u8]) -> Result<ExportLogsServiceRequest, Refused> {
    match content_type(headers).as_str() {
        PROTOBUF => ExportLogsServiceRequest::decode(body).map_err(|_| Refused::NotOtlp),
        JSON => serde_json::from_slice(body).map_err(|_| Refused::NotOtlp),
        _ => Err(Refused::Unsupported),
    }
}
