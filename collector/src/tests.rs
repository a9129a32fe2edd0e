//! The whole server in process, on a port of its own: what senders and browsers get.

mod access;
mod api;
mod notify;
mod wanted;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blocksift_detector::Report;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::access::agents::Agents;
use crate::access::users::Users;
use crate::config::Notify;
use crate::ingest::{Ingest, Limits};
use crate::listen::{self, Incoming};
use crate::notify::deliver;
use crate::otlp::reply::Status;
use crate::otlp::tests::{logs_request, metric, metrics_request, point, report, to_record};
use crate::serve::{App, serve};
use crate::store::{Retention, Store};
use crate::tls::Tls;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

struct Server {
    base: String,
    client: Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Server {
    async fn start(directory: &Path) -> Self {
        Self::start_with(directory, Limits::default()).await
    }

    async fn start_with(directory: &Path, limits: Limits) -> Self {
        let access =
            Access { agents: Agents::default(), users: Users::new(Vec::new(), false).unwrap(), proxy: None };
        Self::start_as(directory, limits, access, None).await
    }

    async fn start_as(directory: &Path, limits: Limits, access: Access, tls: Option<Tls>) -> Self {
        Self::start_telling(directory, limits, access, tls, &Notify::default()).await
    }

    async fn start_telling(
        directory: &Path,
        limits: Limits,
        access: Access,
        tls: Option<Tls>,
        notify: &Notify,
    ) -> Self {
        // Fails if another test was first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (policy, receivers) = notify.start().unwrap();
        let policy = Arc::new(policy);
        let listener = listen::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}", listener.local_addr().unwrap());
        let place = crate::store::tests::place(directory);
        let store = Arc::new(Store::open(place, Retention::default(), Arc::clone(&policy)).unwrap());
        let notifying = deliver::start(&store, &policy, receivers, notify.page.as_deref());
        let app = App {
            store,
            policy,
            ingest: Arc::new(Ingest::new(limits)),
            access: Arc::new(access),
            live: Arc::default(),
            models: Arc::default(),
            any_host: false,
            front: None,
            // So that its metrics are there.
            kafka: Some(Arc::default()),
            read_only: false,
        };
        let (stop, stopped) = oneshot::channel();
        let incoming = Incoming::new(listener, tls).unwrap();
        let served = tokio::spawn(async move {
            let _notifying = notifying;
            serve(incoming, app, None, async move { drop(stopped.await) }).await;
        });
        Self { base, client: Client::builder().no_proxy().build().unwrap(), stop, served }
    }

    async fn stop(self) {
        drop(self.stop);
        drop(self.client);
        self.served.await.unwrap();
    }

    fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).header("content-type", content_type).body(body)
    }

    async fn send(&self, reports: &[Report]) {
        let records = reports.iter().map(to_record).collect();
        let body = logs_request("dn1", records).encode_to_vec();
        let response = self.post("/v1/logs", PROTOBUF, body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.bytes().await.unwrap().is_empty(), "everything is accepted");
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], JSON, "{path}");
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let (status, body) = self.get(&format!("/api/sessions{query}")).await;
        assert_eq!(status, 200, "{body}");
        let sessions = body["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
    }
}

fn numbered(number: u64) -> Report {
    Report { id: format!("{number:016x}"), ..report() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

async fn json_body(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn every_format_and_coding_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let mut number = 0;
    for content_type in [PROTOBUF, JSON] {
        for coding in ["identity", "gzip", "zstd"] {
            number += 1;
            let request = logs_request("dn1", vec![to_record(&numbered(number))]);
            let body = if content_type == JSON {
                serde_json::to_vec(&request).unwrap()
            } else {
                request.encode_to_vec()
            };
            let packed = match coding {
                "gzip" => gzip(&body),
                "zstd" => zstd::encode_all(body.as_slice(), 3).unwrap(),
                _ => body,
            };
            let request = server.post("/v1/logs", content_type, packed).header("content-encoding", coding);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "{content_type} {coding}");
            assert_eq!(response.headers()["content-type"], content_type);
            let expected = if content_type == JSON { "{}" } else { "" };
            assert_eq!(response.text().await.unwrap(), expected);
        }
    }
    assert_eq!(server.ids("").await.len(), 6);
    server.stop().await;
}

#[tokio::test]
async fn a_session_shows_its_highest_revision_and_a_flag_taken_back_leaves_the_list() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let first = Report { revision: 1, ..report() };
    let third = Report { revision: 3, flagged: false, score: 0.1, reasons: Vec::new(), ..report() };
    server.send(&[report(), report()]).await;
    server.send(&[first]).await;
    assert_eq!(server.ids("").await, [report().id]);
    let (_, session) = server.get("/api/sessions/0123456789abcdef").await;
    assert_eq!(session["revision"], 2);
    assert_eq!(session["revisions"].as_array().unwrap().len(), 2);
    assert_eq!(serde_json::from_value::<Report>(session).unwrap(), report());

    server.send(&[third]).await;
    assert!(server.ids("").await.is_empty());
    assert_eq!(server.ids("?flagged=any").await, [report().id]);
    assert_eq!(server.ids("?flagged=false").await, [report().id]);
    let (_, health) = server.get("/healthz").await;
    assert_eq!(health["ingest"]["reports_stored_total"], 3);
    assert_eq!(health["ingest"]["reports_duplicate_total"], 1);
    server.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    server.send(&[numbered(1), numbered(2)]).await;
    server.stop().await;
    let server = Server::start(directory.path()).await;
    assert_eq!(server.ids("").await, [numbered(2).id, numbered(1).id]);
    server.stop().await;
}

#[tokio::test]
async fn records_that_are_no_reports_are_rejected_with_reasons_in_the_requests_format() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let foreign = LogRecord { event_name: "x".to_owned(), ..LogRecord::default() };
    let request = logs_request("dn1", vec![foreign.clone(), to_record(&report()), foreign]);
    let response = server.post("/v1/logs", PROTOBUF, request.encode_to_vec()).send().await.unwrap();
    let partial =
        ExportLogsServiceResponse::decode(response.bytes().await.unwrap()).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 2);
    assert!(partial.error_message.starts_with("2: not a blocksift report"), "{}", partial.error_message);

    let response = server.post("/v1/logs", JSON, serde_json::to_vec(&request).unwrap()).send().await.unwrap();
    let body = json_body(response).await;
    assert_eq!(body["partialSuccess"]["rejectedLogRecords"], "2");
    assert_eq!(server.ids("").await.len(), 1);

    let metrics = metrics_request("dn1", vec![metric("system.cpu", vec![point(1, None)])]);
    let response = server.post("/v1/metrics", PROTOBUF, metrics.encode_to_vec()).send().await.unwrap();
    let partial = ExportMetricsServiceResponse::decode(response.bytes().await.unwrap()).unwrap();
    assert_eq!(partial.partial_success.unwrap().rejected_data_points, 1);
    server.stop().await;
}

#[tokio::test]
async fn refusals_say_why_in_the_requests_format() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let bomb = vec![0_u8; 200 * 1024 * 1024];
    let zstd_bomb = zstd::encode_all(bomb.as_slice(), 1).unwrap();
    let cases = [
        ("text/plain", "identity", b"x".to_vec(), 415, "content type"),
        (JSON, "br", b"x".to_vec(), 415, "content encoding"),
        (PROTOBUF, "br", b"x".to_vec(), 415, "content encoding"),
        (JSON, "identity", b"{".to_vec(), 400, "not an OTLP request"),
        (PROTOBUF, "identity", b"\xff\xff garbage".to_vec(), 400, "not an OTLP request"),
        (PROTOBUF, "gzip", b"not gzip".to_vec(), 400, "cannot be unpacked"),
        (PROTOBUF, "zstd", b"not zstd".to_vec(), 400, "cannot be unpacked"),
        (PROTOBUF, "gzip", gzip(&bomb), 413, "larger than 20971520 bytes"),
        (JSON, "zstd", zstd_bomb, 413, "larger than 20971520 bytes"),
    ];
    for path in ["/v1/logs", "/v1/metrics"] {
        for (content_type, coding, body, status, text) in &cases {
            let request = server.post(path, content_type, body.clone()).header("content-encoding", *coding);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), *status, "{content_type} {coding} {text}");
            let message = if *content_type == PROTOBUF {
                assert_eq!(response.headers()["content-type"], PROTOBUF);
                Status::decode(response.bytes().await.unwrap()).unwrap().message
            } else {
                json_body(response).await["message"].as_str().unwrap().to_owned()
            };
            assert!(message.contains(text), "{message}");
        }
    }
    assert!(server.ids("").await.is_empty());
    server.stop().await;
}

/// Sends raw bytes and returns the answer's text once the server has nothing more to say.
async fn raw(server: &Server, request: &str) -> String {
    let (address, request) = (server.base.trim_start_matches("http://").to_owned(), request.to_owned());
    let exchange = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let head = "POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let answer = raw(&server, &format!("{head}Content-Length: 99999999\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn overload_and_a_database_that_fails_ask_to_try_again() {
    let directory = tempfile::tempdir().unwrap();
    let body = logs_request("dn1", vec![to_record(&report())]).encode_to_vec();
    let full = Limits { requests_max: 0, place_timeout: Duration::ZERO, ..Limits::default() };
    let server = Server::start_with(directory.path(), full).await;
    let response = server.post("/v1/logs", PROTOBUF, body.clone()).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"].to_str().unwrap()),
        (429, &"1")
    );
    let status = Status::decode(response.bytes().await.unwrap()).unwrap();
    assert!(status.message.contains("try again"), "{}", status.message);
    server.stop().await;

    let server = Server::start(directory.path()).await;
    let rename = |sql: &str| {
        crate::store::tests::beside(directory.path(), |other| other.execute_batch(sql)).unwrap();
    };
    rename("ALTER TABLE bodies RENAME TO away");
    let response = server.post("/v1/logs", PROTOBUF, body.clone()).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"].to_str().unwrap()),
        (503, &"1")
    );
    rename("ALTER TABLE away RENAME TO bodies");
    let response = server.post("/v1/logs", PROTOBUF, body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(server.ids("").await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_gives_its_place_back() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { requests_max: 1, body_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start_with(directory.path(), limits).await;
    let head = "POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let answer = raw(&server, &format!("{head}Content-Length: 10\r\n\r\n{{")).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    server.send(&[report()]).await;
    server.stop().await;
}

#[tokio::test]
async fn only_local_names_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    for (host, status) in [
        ("evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("localhost:1", 200),
        ("[::1]", 200),
        ("127.0.0.1", 200),
    ] {
        let answer =
            raw(&server, &format!("GET /api/nodes HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
                .await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_api_pages_filters_and_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let reports: Vec<Report> = (1..=5).map(numbered).collect();
    server.send(&reports).await;
    let other = Report { node: "dn2".to_owned(), block: "blk_7".to_owned(), score: 0.6, ..numbered(6) };
    server.send(&[other]).await;

    let (_, page) = server.get("/api/sessions?limit=4").await;
    assert_eq!(page["sessions"][0]["id"], numbered(6).id);
    assert_eq!(page["sessions"][0]["score"], json!(0.6));
    let (_, last) = server.get(&format!("/api/sessions?limit=4&before={}", page["next"])).await;
    assert_eq!((last["sessions"].as_array().unwrap().len(), &last["next"]), (2, &Value::Null));
    assert_eq!(server.ids("?node=dn2").await, [numbered(6).id]);
    assert_eq!(server.ids("?block=BP-1-10.0.0.1-2:blk_7_1001").await, [numbered(6).id]);
    assert_eq!(server.ids("?min_score=0.9").await.len(), 5);
    assert_eq!(server.ids("?node=&block=").await.len(), 6);
    assert!(server.ids("?node=%27%20OR%201--").await.is_empty());

    let long = format!("?node={}", "n".repeat(256));
    for query in [
        "?limit=0",
        "?limit=501",
        "?limit=x",
        "?min_score=2",
        "?min_score=NaN",
        "?before=x",
        "?block=x",
        "?flagged=1",
        "?unknown=1",
        &long,
    ] {
        let (status, body) = server.get(&format!("/api/sessions{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert!(body["error"].is_string(), "{query}");
    }
    assert_eq!(server.get("/api/sessions/ffffffffffffffff").await.0, 404);
    assert_eq!(server.get("/api/sessions/..%2F..%2Fetc").await.0, 400);
    assert_eq!(server.get("/api/nodes?limit=0").await.0, 400);
    assert_eq!(server.get("/nothing").await.0, 404);
    assert_eq!(server.get("/v1/logs").await.0, 405);
    server.stop().await;
}

#[tokio::test]
async fn summaries_show_at_their_node() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    server.send(&[report()]).await;
    let metrics = vec![
        metric("blocksift.lines_read", vec![point(1_000, None)]),
        metric("blocksift.lines_skipped", vec![point(3, Some("no_head")), point(4, Some("beyond_record"))]),
        metric("blocksift.lag_bytes", vec![point(42, None)]),
    ];
    for (content_type, node) in [(PROTOBUF, "dn1"), (JSON, "nn1")] {
        let request = metrics_request(node, metrics.clone());
        let body = if content_type == JSON {
            serde_json::to_vec(&request).unwrap()
        } else {
            request.encode_to_vec()
        };
        let response = server.post("/v1/metrics", content_type, body).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let (_, body) = server.get("/api/nodes").await;
    let nodes = body["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    assert_eq!(nodes[0]["node"], "dn1");
    assert_eq!(nodes[0]["sessions_flagged"], 1);
    assert_eq!(nodes[0]["agent_version"], "0.1.0");
    assert_eq!(nodes[0]["model"], "hdfs-v1-0123456789ab");
    let expected =
        json!({"lag_bytes": 42, "lines_read": 1000, "lines_skipped": {"beyond_record": 4, "no_head": 3}});
    assert_eq!((&nodes[0]["metrics"], &nodes[1]["metrics"]), (&expected, &expected));
    assert_eq!(nodes[1]["sessions_flagged"], 0);
    server.stop().await;
}

#[tokio::test]
async fn hostile_lines_come_back_as_they_were_in_json_only() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let line =
        "<script>alert(1)</script> \u{1b}[31mred\u{202e}gnp.exe \u{0}\u{7f}\u{85} javascript:alert(1) \"'&";
    let mut hostile = report();
    hostile.events[0].line = Some(line.to_owned());
    server.send(&[hostile]).await;
    let url = format!("{}/api/sessions/0123456789abcdef", server.base);
    let response = server.client.get(url).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], JSON);
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(json_body(response).await["events"][0]["line"], line);
    server.stop().await;
}

#[tokio::test]
async fn the_page_is_served_with_a_policy_that_runs_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    for (path, content_type) in
        [("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")]
    {
        let response = server.client.get(format!("{}{path}", server.base)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(content_type), "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"));
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        // What a browser has is not sent again.
        let tag = response.headers()["etag"].clone();
        let known = server.client.get(format!("{}{path}", server.base)).header("if-none-match", tag);
        assert_eq!(known.send().await.unwrap().status(), 304, "{path}");
    }
    server.stop().await;
}
