//! OTLP/HTTP: one request at a time to one receiver, and what its answer means for what was sent.
//!
//! What is nobody's fault but the moment's or the set-up's is tried again, a wrong token and a wrong path included:
//! only what a receiver refuses because of what the request holds is given up.

mod answer;
mod secrets;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::time::SystemTime;

use flate2::write::GzEncoder;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE};
use reqwest::{Client, Url};
use serde::Serialize;

use super::Outcome;
use crate::config::{Compression, Otlp};
use crate::otlp::{Sender, logs_request};
use crate::ship::chain;
use crate::wanted::Asked;
pub(crate) use secrets::SecretError;
use secrets::Secrets;

/// Speed matters more than the last per cent: a batch must not cost the node's CPU.
const ZSTD_LEVEL: i32 = 3;

/// Sends requests to one receiver.
#[derive(Debug)]
pub(crate) struct Post {
    sender: Sender,
    endpoint: String,
    compression: Compression,
    secrets: Secrets,
    client: Client,
}

impl Post {
    /// Reads certificates and token.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(super) fn new(otlp: &Otlp, sender: Sender) -> Result<Self, SecretError> {
        let (secrets, client) = Secrets::load(otlp)?;
        Ok(Self { sender, endpoint: otlp.endpoint.clone(), compression: otlp.compression, secrets, client })
    }

    pub(super) async fn reports(&mut self, reports: &[impl Serialize + Sync]) -> Outcome {
        match logs_request(&self.sender, reports, now_ns()) {
            Ok(request) => self.send("/v1/logs", &request).await,
            Err(error) => Outcome::Refused { reason: error.to_string() },
        }
    }

    pub(super) async fn summary(&mut self, summary: &ExportMetricsServiceRequest) -> Outcome {
        self.send("/v1/metrics", summary).await
    }

    /// Asks the collector which blocks it wants to know of.
    pub(super) async fn wanted(&mut self, after: u64) -> Asked {
        let query = [("node", self.sender.node.as_str()), ("after", &after.to_string())];
        let Ok(url) = Url::parse_with_params(&format!("{}/v1/wanted", self.endpoint), query) else {
            return Asked::Unknown;
        };
        let mut request = self.client.get(url);
        if let Some(authorization) = self.secrets.authorization() {
            request = request.header(AUTHORIZATION, authorization);
        }
        match request.send().await {
            Ok(response) => answer::wanted(response).await,
            Err(_) => Asked::Failed,
        }
    }

    /// Sends a request without reports: what became of it, and what the receiver's clock said, in whole seconds.
    pub(super) async fn probe(&mut self) -> (Outcome, Option<Timestamp>) {
        self.send_and_date("/v1/logs", &ExportLogsServiceRequest::default()).await
    }

    async fn send(&mut self, path: &str, message: &impl Message) -> Outcome {
        self.send_and_date(path, message).await.0
    }

    async fn send_and_date(&mut self, path: &str, message: &impl Message) -> (Outcome, Option<Timestamp>) {
        if let Some(client) = self.secrets.reload() {
            self.client = client;
        }
        let body = match compress(self.compression, message.encode_to_vec()) {
            Ok(body) => body,
            Err(error) => {
                return (Outcome::Refused { reason: format!("request cannot be compressed: {error}") }, None);
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
        if let Some(authorization) = self.secrets.authorization() {
            request = request.header(AUTHORIZATION, authorization);
        }
        match request.send().await {
            Ok(response) => {
                let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
                let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
                (answer::judge(response, bytes).await, date.map(|date| date.timestamp()))
            }
            Err(error) => {
                let reason = answer::printable(chain(&error.without_url()).as_bytes());
                (Outcome::TryAgain { after: None, reason }, None)
            }
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

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
