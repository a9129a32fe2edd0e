//! What a receiver's answer means. Answers come from the network: bounded in bytes by [`ANSWER_BYTES_MAX`], in time by
//! the deadline of the request, and made printable before they get into our log.

use std::time::Duration;

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::Outcome;
use crate::ship::chain;
use crate::wanted::Asked;

/// Bytes of an answer that are read. One that says more is none of OTLP.
const ANSWER_BYTES_MAX: usize = 16 * 1_024;
/// Characters of an answer that go into our log.
const MESSAGE_CHARS_MAX: usize = 200;
/// Longest pause that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// What became of the request that `response` answers, whose body had so many bytes.
pub(super) async fn judge(response: Response, bytes: u64) -> Outcome {
    let status = response.status();
    let kind = content_type(response.headers());
    let after = retry_after(response.headers(), Timestamp::now());
    let answer = read(response).await;
    if status.is_success() {
        return match answer.and_then(|answer| partial_success(&kind, &answer)) {
            Ok((rejected, message)) => Outcome::Taken { bytes, rejected, message },
            Err(why) => {
                let reason = format!("{status}, but {why}: is there an OTLP/HTTP receiver at `endpoint`?");
                Outcome::TryAgain { after: None, reason }
            }
        };
    }
    let reason = match answer.unwrap_or_default() {
        said if said.is_empty() => status.to_string(),
        said => format!("{status}: {}", printable(&said)),
    };
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge,
        status if status.is_client_error() && !may_pass(status) => Outcome::Refused { reason },
        _ => Outcome::TryAgain { after, reason },
    }
}

/// What a collector wants to know, if that is what it says.
pub(super) async fn wanted(response: Response) -> Asked {
    let status = response.status();
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
        return Asked::Unknown;
    }
    let answer = read(response).await.ok().filter(|_| status.is_success());
    match answer.and_then(|answer| serde_json::from_slice(&answer).ok()) {
        Some(answer) => Asked::Answer(answer),
        None => Asked::Failed,
    }
}

/// Whether another token, address or moment may make a receiver take the same request.
fn may_pass(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
    )
}

/// Records that a receiver rejected although it took the request, and why. An error if this is no answer of OTLP:
/// whoever gave it may not have taken anything.
fn partial_success(kind: &str, answer: &[u8]) -> Result<(u64, String), String> {
    if answer.is_empty() {
        return Ok((0, String::new()));
    }
    let partial = match kind {
        // The answer to metrics has the same shape.
        "" | "application/x-protobuf" => ExportLogsServiceResponse::decode(answer).ok().map(|answer| {
            let partial = answer.partial_success.unwrap_or_default();
            (u64::try_from(partial.rejected_log_records).unwrap_or(0), partial.error_message)
        }),
        "application/json" => json_partial_success(answer),
        _ => return Err(format!("the answer is {}", printable(kind.as_bytes()))),
    };
    let Some((rejected, message)) = partial else { return Err("the answer cannot be decoded".to_owned()) };
    Ok((rejected, printable(message.as_bytes())))
}

/// The same of an answer in JSON, where 64-bit integers are strings.
fn json_partial_success(answer: &[u8]) -> Option<(u64, String)> {
    let answer: serde_json::Map<String, Value> = serde_json::from_slice(answer).ok()?;
    let Some(partial) = answer.get("partialSuccess") else { return Some((0, String::new())) };
    let rejected = match partial.get("rejectedLogRecords") {
        Some(Value::String(count)) => count.parse().unwrap_or(0),
        count => count.and_then(Value::as_u64).unwrap_or(0),
    };
    let message = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Some((rejected, message.to_owned()))
}

/// The media type, without its parameters; empty if there is none.
fn content_type(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind = kind.unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The whole body; an error if it does not come to its end, or not soon enough.
async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(error) => return Err(printable(chain(&error.without_url()).as_bytes())),
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer has more than {ANSWER_BYTES_MAX} bytes"));
        }
    }
}

/// What a receiver said, fit for one line of our log.
pub(super) fn printable(bytes: &[u8]) -> String {
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

    #[test]
    fn only_answers_of_otlp_say_that_something_was_taken() {
        for (kind, body) in [("", &b""[..]), ("text/html", b""), ("application/x-protobuf", b"")] {
            assert_eq!(partial_success(kind, body), Ok((0, String::new())), "{kind}");
        }
        let json = br#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no\nid"}}"#;
        assert_eq!(partial_success("application/json", json), Ok((2, "no id".to_owned())));
        assert_eq!(partial_success("application/json", b"{}"), Ok((0, String::new())));
        for (kind, body) in [
            ("text/html", &b"<html>log in</html>"[..]),
            ("application/x-protobuf", b"\xff\xff\xff"),
            ("", b"ok"),
            ("application/json", b"<html>"),
        ] {
            assert!(partial_success(kind, body).is_err(), "{kind}");
        }
    }
}
