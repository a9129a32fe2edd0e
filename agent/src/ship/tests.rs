//! Tests of shipping against a small HTTP server in the same process, which answers as it is told.

use std::num::NonZeroUsize;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::config::{Compression, Otlp, Tls, To};
use crate::otlp::tests::report;
use crate::state::Commit;

/// One request as the server got it.
struct Request {
    path: String,
    encoding: String,
    body: Vec<u8>,
}

impl Request {
    /// Revisions of the reports in it.
    fn revisions(&self) -> Vec<i64> {
        use opentelemetry_proto::tonic::common::v1::any_value::Value::IntValue;
        let body = match self.encoding.as_str() {
            "zstd" => zstd::decode_all(self.body.as_slice()).unwrap(),
            "gzip" => {
                let mut body = Vec::new();
                let mut decoder = flate2::read::GzDecoder::new(self.body.as_slice());
                std::io::Read::read_to_end(&mut decoder, &mut body).unwrap();
                body
            }
            _ => self.body.clone(),
        };
        let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
        let records =
            request.resource_logs.iter().flat_map(|logs| &logs.scope_logs).flat_map(|logs| &logs.log_records);
        let attributes = records.flat_map(|record| &record.attributes);
        attributes
            .filter(|attribute| attribute.key == "blocksift.revision")
            .filter_map(|attribute| match attribute.value.as_ref()?.value.as_ref()? {
                IntValue(revision) => Some(*revision),
                _ => None,
            })
            .collect()
    }
}

/// Header of answers after which the server closes the connection.
const CLOSE: &[u8] = b"connection: close\r\n";

/// Answers requests for reports with `answers` in turn, then with 200; those for summaries always with 200.
async fn serve(listener: TcpListener, mut answers: Vec<Vec<u8>>, requests: mpsc::UnboundedSender<Request>) {
    answers.reverse();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufStream::new(stream);
        while let Some(request) = read_request(&mut stream).await {
            let ok = answer("200 OK", "", &[]);
            let answer = if request.path == "/v1/logs" { answers.pop().unwrap_or(ok) } else { ok };
            // A client that has seen enough is gone.
            let written = stream.write_all(&answer).await.is_ok() && stream.flush().await.is_ok();
            if requests.send(request).is_err() {
                return;
            }
            if !written || answer.windows(CLOSE.len()).any(|part| part == CLOSE) {
                break;
            }
        }
    }
}

async fn read_request(stream: &mut BufStream<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_ascii_lowercase());
    }
    let header = |name: &str| {
        let value = head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_default().to_owned()
    };
    assert_eq!(header("content-type"), "application/x-protobuf");
    let mut body = vec![0; header("content-length").parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    let path = head[0].split(' ').nth(1).unwrap().to_owned();
    Some(Request { path, encoding: header("content-encoding"), body })
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A shipper, its spool, and the server it ships to.
struct Scene {
    _folder: TempDir,
    store: Arc<Store>,
    shipper: Shipper,
    status: watch::Sender<FeedStatus>,
    requests: mpsc::UnboundedReceiver<Request>,
}

impl Scene {
    /// Reports `0..reports` in the spool, and a server with these answers.
    async fn new(reports: u64, answers: Vec<Vec<u8>>, change: impl FnOnce(&mut Ship)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(serve(listener, answers, sender));
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap().0);
        let (status, watched) = watch::channel(FeedStatus::default());
        let mut ship = ship(endpoint);
        change(&mut ship);
        let sender = Sender { node: "dn1".to_owned(), model: "m".to_owned(), addresses: Vec::new() };
        let mut shipper =
            Shipper::new(ship, Arc::clone(&store), watched, sender, Filters::default(), 1).unwrap();
        shipper.backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(4));
        let scene = Self { _folder: folder, store, shipper, status, requests };
        scene.spool(0..reports);
        scene
    }

    fn spool(&self, revisions: std::ops::Range<u64>) {
        let reports = revisions.map(|revision| blocksift_detector::Report { revision, ..report() }).collect();
        self.store.commit(&Commit { reports, ..Commit::default() }).unwrap();
    }

    /// Runs until the spool is empty, then stops the shipper; the requests for reports, as revisions.
    async fn drain(mut self) -> Vec<Vec<i64>> {
        let shipping = tokio::spawn(self.shipper.run());
        drop(self.status);
        shipping.await.unwrap().unwrap();
        let left = self.store.spooled();
        assert_eq!((left.reports, left.bytes), (0, 0));
        let mut came = Vec::new();
        while let Ok(request) = self.requests.try_recv() {
            if request.path == "/v1/logs" {
                came.push(request.revisions());
            }
        }
        came
    }
}

fn ship(endpoint: String) -> Ship {
    Ship {
        to: To::Otlp(Otlp {
            endpoint,
            compression: Compression::Zstd,
            timeout: Duration::from_secs(10),
            tls: Tls::default(),
            token: None,
        }),
        batch_reports_max: NonZeroUsize::new(10).unwrap(),
        batch_bytes_max: 1 << 20,
        spool_reports_max: 1_000,
        spool_bytes_max: 1 << 20,
        dead_letters_max: 100,
        dead_letters_bytes_max: 1 << 20,
        backoff_max: Duration::from_secs(1),
        summary_interval: Duration::from_secs(3_600),
        stop_timeout: Duration::from_secs(60),
    }
}

fn otlp(ship: &mut Ship) -> &mut Otlp {
    match &mut ship.to {
        To::Otlp(otlp) => otlp,
        other => panic!("ships to {other}"),
    }
}

#[tokio::test]
async fn reports_go_out_in_batches_in_every_compression() {
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let scene = Scene::new(5, Vec::new(), |ship| {
            otlp(ship).compression = compression;
            ship.batch_reports_max = NonZeroUsize::new(2).unwrap();
        });
        assert_eq!(scene.await.drain().await, [vec![0, 1], vec![2, 3], vec![4]]);
    }
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again() {
    let passing = [
        "429 Too Many Requests",
        "408 Request Timeout",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "401 Unauthorized",
        "404 Not Found",
        "302 Found",
    ];
    let answers: Vec<_> =
        passing.iter().map(|status| answer(status, "retry-after: 0\r\n", b"not now")).collect();
    let scene = Scene::new(2, answers, |_| {}).await;
    assert_eq!(scene.drain().await, vec![[0, 1]; passing.len() + 1]);
}

/// Answers of what is no OTLP receiver, or only half of one.
fn garbage() -> Vec<Vec<u8>> {
    let html = "content-type: text/html; charset=utf-8\r\n";
    let protobuf = "content-type: application/x-protobuf\r\n";
    let mut cut = answer("200 OK", "connection: close\r\n", &[0; 100]);
    cut.truncate(cut.len() - 50);
    vec![
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        vec![0xff; 100_000],
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_vec(),
        answer("200 OK", html, b"<html>please log in</html>"),
        answer("200 OK", protobuf, &[0xff; 10]),
        answer("200 OK", html, &vec![b'x'; 10_000_000]),
        cut,
    ]
}

#[tokio::test]
async fn no_garbage_passes_for_a_receiver_that_took_something() {
    let count = garbage().len();
    for answer in garbage() {
        let mut scene = Scene::new(2, vec![answer], |_| {}).await;
        assert!(matches!(scene.shipper.ship_reports().await.unwrap(), Next::Wait));
        assert!(!scene.shipper.reason_told.is_empty() && !scene.shipper.reason_told.contains('\n'));
        assert_eq!((scene.shipper.counts.reports_shipped, scene.store.spooled().reports), (0, 2));
        let came = scene.drain().await;
        assert_eq!(came.last().unwrap(), &[0, 1], "it recovers");
    }
    let scene = Scene::new(2, garbage(), |_| {}).await;
    assert_eq!(scene.drain().await, vec![[0, 1]; count + 1]);
}

/// Answers the first request byte by byte, for ever; the next ones as they should be.
async fn serve_slowly(listener: TcpListener, head: &'static [u8], requests: mpsc::UnboundedSender<Request>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufStream::new(stream);
    read_request(&mut stream).await.unwrap();
    stream.write_all(head).await.unwrap();
    while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    serve(listener, Vec::new(), requests).await;
}

#[tokio::test]
async fn a_receiver_that_answers_slowly_for_ever_meets_the_deadline() {
    for head in [&b"HTTP/1.1 200 OK\r\ncontent-length: 16000\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\nx: "] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(serve_slowly(listener, head, sender));
        let mut scene = Scene::new(2, Vec::new(), |ship| {
            otlp(ship).endpoint = endpoint;
            otlp(ship).timeout = Duration::from_millis(500);
        })
        .await;
        scene.requests = requests;
        assert!(matches!(scene.shipper.ship_reports().await.unwrap(), Next::Wait));
        assert!(scene.shipper.reason_told.contains("timed out"), "{}", scene.shipper.reason_told);
        let came = scene.drain().await;
        assert!(!came.is_empty() && came.iter().all(|revisions| revisions == &[0, 1]), "{came:?}");
    }
}

#[tokio::test]
async fn what_is_refused_is_set_aside_and_not_sent_again() {
    let answers = vec![answer("400 Bad Request", "", b"cannot\nbe parsed")];
    let mut scene =
        Scene::new(3, answers, |ship| ship.batch_reports_max = NonZeroUsize::new(2).unwrap()).await;
    assert!(matches!(scene.shipper.ship_reports().await.unwrap(), Next::Continue));
    assert_eq!((scene.shipper.counts.reports_refused, scene.shipper.counts.reports_shipped), (2, 0));
    let letters = scene.store.read_dead_letters().unwrap();
    let kept: Vec<_> = letters.iter().map(|letter| (letter.report.revision, &*letter.reason)).collect();
    let reason = "400 Bad Request: cannot be parsed";
    assert_eq!(kept, [(0, reason), (1, reason)]);
    // Whoever mended the receiver has them tried again.
    scene.store.retry_dead_letters().unwrap();
    assert_eq!((scene.store.dead_letters().letters, scene.store.spooled().reports), (0, 3));
    assert_eq!(scene.drain().await, [vec![0, 1], vec![2, 0], vec![1]]);
}

#[tokio::test]
async fn dead_letters_are_bounded_and_the_oldest_go_first() {
    let answers = vec![answer("400 Bad Request", "", &[]); 5];
    let mut scene = Scene::new(5, answers, |ship| {
        ship.batch_reports_max = NonZeroUsize::MIN;
        ship.dead_letters_max = 2;
    })
    .await;
    for _ in 0..5 {
        scene.shipper.ship_reports().await.unwrap();
    }
    let revisions = |store: &Store| -> Vec<u64> {
        store.read_dead_letters().unwrap().iter().map(|letter| letter.report.revision).collect()
    };
    assert_eq!(revisions(&scene.store), [3, 4]);
    assert_eq!((scene.store.dead_letters().letters, scene.shipper.counts.dead_letters_dropped), (2, 3));
    let one = scene.store.dead_letters().bytes / 2;
    scene.shipper.ship.dead_letters_bytes_max = one;
    scene.spool(9..10);
    scene.shipper.batch_reports = 1;
    let batch = scene.store.batch(1, u64::MAX).unwrap();
    scene.shipper.refused(batch, "too old".to_owned()).await.unwrap();
    assert_eq!(scene.store.dead_letters().letters, scene.store.read_dead_letters().unwrap().len() as u64);
    assert!(scene.store.dead_letters().bytes <= one && scene.store.spooled().reports == 0);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_divided() {
    let too_large = answer("413 Payload Too Large", "", &[]);
    let scene = Scene::new(4, vec![too_large.clone(), too_large], |_| {}).await;
    let came = scene.drain().await;
    assert_eq!(came[..3], [vec![0, 1, 2, 3], vec![0, 1], vec![0]]);
    assert_eq!(came[3..].concat(), [1, 2, 3]);
}

#[tokio::test]
async fn rejected_records_are_counted_and_not_sent_again() {
    let partial = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 2,
            error_message: "no id".to_owned(),
        }),
    };
    let partial = answer("200 OK", "content-type: application/x-protobuf\r\n", &partial.encode_to_vec());
    let mut scene = Scene::new(3, vec![partial], |_| {}).await;
    scene.shipper.ship_reports().await.unwrap();
    assert_eq!((scene.shipper.counts.reports_refused, scene.shipper.counts.reports_shipped), (2, 1));
    assert!(scene.shipper.counts.bytes_shipped > 0);
    assert_eq!(scene.drain().await, [[0, 1, 2]]);
}

#[tokio::test]
async fn an_absent_collector_leaves_the_spool_as_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut scene = Scene::new(3, Vec::new(), |ship| {
        otlp(ship).endpoint = nobody;
        ship.stop_timeout = Duration::from_millis(50);
    })
    .await;
    assert!(matches!(scene.shipper.ship_reports().await.unwrap(), Next::Wait));
    assert!(scene.shipper.backoff.failed() && scene.shipper.retry_at.is_some());
    let shipping = tokio::spawn(scene.shipper.run());
    drop(scene.status);
    shipping.await.unwrap().unwrap();
    assert_eq!(scene.store.spooled().reports, 3);
}

#[tokio::test]
async fn a_disk_without_room_is_tried_again_and_a_reader_that_is_gone_ends_shipping() {
    let mut scene = Scene::new(3, Vec::new(), |_| {}).await;
    let mut tries = 0;
    scene.shipper.sink = Sink::of(move |_| {
        tries += 1;
        let kind = if tries == 1 { std::io::ErrorKind::StorageFull } else { std::io::ErrorKind::BrokenPipe };
        Err(kind.into())
    });
    assert!(matches!(scene.shipper.ship_reports().await.unwrap(), Next::Wait));
    assert!(matches!(scene.shipper.ship_reports().await, Err(ShipError::Closed { .. })));
    assert_eq!(scene.store.spooled().reports, 3);
}

#[tokio::test]
async fn a_pause_that_the_receiver_asks_for_is_kept() {
    let busy = answer("503 Service Unavailable", "retry-after: 1000\r\n", &[]);
    let mut scene = Scene::new(1, vec![busy], |_| {}).await;
    let before = Instant::now();
    scene.shipper.ship_reports().await.unwrap();
    assert!(scene.shipper.retry_at.unwrap() >= before + Duration::from_secs(999));
}

#[tokio::test]
async fn news_wake_the_shipper_and_summaries_go_out_at_the_start_and_the_end() {
    let mut scene = Scene::new(0, Vec::new(), |_| {}).await;
    let shipping = tokio::spawn(scene.shipper.run());
    assert_eq!(scene.requests.recv().await.unwrap().path, "/v1/metrics");
    let reports = vec![blocksift_detector::Report { revision: 8, ..report() }];
    scene.store.commit(&Commit { reports, ..Commit::default() }).unwrap();
    scene.status.send_replace(FeedStatus::default());
    assert_eq!(scene.requests.recv().await.unwrap().revisions(), [8]);
    drop(scene.status);
    shipping.await.unwrap().unwrap();
    assert_eq!(scene.requests.recv().await.unwrap().path, "/v1/metrics");
}

/// A scene whose reports pass a filter with this body.
async fn filtered(answers: Vec<Vec<u8>>, body: &str) -> (Scene, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let wasm = folder.path().join("filter.wasm");
    let module = format!(
        r#"(module (memory (export "memory") 1)
             (func (export "filter") (param i32 i32 i32 i32 i32 i32) (result i32) {body}))"#
    );
    std::fs::write(&wasm, wat::parse_str(module).unwrap()).unwrap();
    let filter =
        crate::config::Filter { wasm, function: None, fuel_max: 1_000_000, memory_bytes_max: 1 << 20 };
    let mut scene = Scene::new(3, answers, |_| {}).await;
    scene.shipper.filters = Filters::load(&[filter]).unwrap();
    (scene, folder)
}

#[tokio::test]
async fn what_filters_let_through_is_shipped_and_tried_again() {
    let busy = answer("503 Service Unavailable", "", &[]);
    let (scene, _folder) = filtered(vec![busy], "(local.get 4)").await;
    assert_eq!(scene.drain().await, [[0, 1, 2], [0, 1, 2]]);
}

#[tokio::test]
async fn what_filters_drop_leaves_the_spool_unsent() {
    let (scene, _folder) = filtered(Vec::new(), "(i32.const 0)").await;
    assert_eq!(scene.drain().await, [[0_i64; 0]; 0]);
}
