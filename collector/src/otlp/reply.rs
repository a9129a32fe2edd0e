//! Answers to OTLP requests, in the request's format: success, partial success, and refusals as `google.rpc.Status`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prost::Message;
use serde::Serialize;
use serde_json::json;
use thiserror::Error;

use super::Rejected;
use super::body::{BODY_BYTES_MAX, Format};

/// Codes of `google.rpc.Code`.
const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNAVAILABLE: i32 = 14;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// Why a whole request is refused. Nothing of it was stored.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("content type is not supported; send application/x-protobuf or application/json")]
    ContentType,
    #[error("content encoding is not supported; send one of gzip, zstd or identity")]
    ContentEncoding,
    #[error("body is larger than {BODY_BYTES_MAX} bytes after unpacking; send smaller batches")]
    TooLarge,
    #[error("request holds more than {items_max} records; send smaller batches")]
    TooMany { items_max: usize },
    #[error("body cannot be unpacked; is it cut off, or not of the content encoding that the header names?")]
    Unpack,
    #[error("body is not an OTLP request of the content type that the header names")]
    Malformed,
    #[error("body did not arrive whole; it took longer than {} s or the connection broke", .0.as_secs())]
    Incomplete(Duration),
    #[error("too many requests are being stored already; try again")]
    Busy,
    #[error("the database cannot store this now; nothing was acknowledged, try again")]
    Store,
    #[error("Kafka cannot take this now; nothing was acknowledged, try again")]
    Kafka,
    #[error("no token or client certificate that this collector knows; send `Authorization: Bearer <token>`")]
    Unauthorized,
    #[error("this collector shows the reports of a file and takes no others")]
    ReadOnly,
}

impl Refusal {
    /// Only 429 and 503 ask the sender to try again.
    fn status(&self) -> (StatusCode, i32) {
        match self {
            Self::ContentType | Self::ContentEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT)
            }
            Self::TooLarge | Self::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, INVALID_ARGUMENT),
            Self::Unpack | Self::Malformed => (StatusCode::BAD_REQUEST, INVALID_ARGUMENT),
            Self::Incomplete(_) => (StatusCode::REQUEST_TIMEOUT, UNAVAILABLE),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED),
            Self::Store | Self::Kafka => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, UNAUTHENTICATED),
            Self::ReadOnly => (StatusCode::FORBIDDEN, PERMISSION_DENIED),
        }
    }

    /// The answer; `format` is the request's, JSON where it is not known.
    pub(crate) fn reply(&self, format: Option<Format>) -> Response {
        let (status, code) = self.status();
        let message = self.to_string();
        let mut reply = match format {
            Some(Format::Protobuf) => message_reply(Status { code, message }.encode_to_vec()),
            Some(Format::Json) | None => json_reply(&json!({ "code": code, "message": message })),
        };
        *reply.status_mut() = status;
        let headers: &mut HeaderMap = reply.headers_mut();
        match self {
            Self::Busy | Self::Store | Self::Kafka => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::ContentEncoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity"));
            }
            Self::ContentType => {
                let types = HeaderValue::from_static("application/x-protobuf, application/json");
                headers.insert(header::ACCEPT, types);
            }
            _ => {}
        }
        reply
    }
}

/// `google.rpc.Status`, as far as OTLP uses it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    /// `google.rpc.Code`
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// `ExportLogsServiceResponse` and `ExportMetricsServiceResponse` are one message but for a name in JSON.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// The answer once the transaction is committed. `rejected_name` is `rejectedLogRecords` or `rejectedDataPoints`.
pub(crate) fn stored(format: Format, rejected: &Rejected, rejected_name: &str) -> Response {
    let count = i64::try_from(rejected.total()).unwrap_or(i64::MAX);
    let message = rejected.message();
    match (format, count) {
        (Format::Json, 0) => json_reply(&json!({})),
        (Format::Json, _) => {
            // Protobuf's JSON writes 64-bit integers as strings.
            let partial = json!({ rejected_name: count.to_string(), "errorMessage": message });
            json_reply(&json!({ "partialSuccess": partial }))
        }
        (Format::Protobuf, 0) => message_reply(Vec::new()),
        (Format::Protobuf, _) => {
            let partial_success = Some(PartialSuccess { rejected: count, error_message: message });
            message_reply(Export { partial_success }.encode_to_vec())
        }
    }
}

fn message_reply(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, Format::Protobuf.content_type())], body).into_response()
}

fn json_reply(body: &impl Serialize) -> Response {
    axum::Json(body).into_response()
}
