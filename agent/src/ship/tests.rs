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
use crate::config::Compression;
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

/// Answers requests for reports with `answers` in turn, then with 200; those for summaries always with 200.
async fn serve(listener: TcpListener, mut answers: Vec<Vec<u8>>, requests: mpsc::UnboundedSender<Request>) {
    answers.reverse();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufStream::new(stream);
        while let Some(request) = read_request(&mut stream).await {
            let ok = answer("200 OK", "", &[]);
            let answer = if request.path == "/v1/logs" { answers.pop().unwrap_or(ok) } else { ok };
            stream.write_all(&answer).await.unwrap();
            stream.flush().await.unwrap();
            if requests.send(request).is_err() {
                return;
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
    status: watch::Sender<Status>,
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
        let (status, watched) = watch::channel(Status::default());
        let mut ship = ship(endpoint);
        change(&mut ship);
        let sender = Sender { node: "dn1".to_owned(), model: "m".to_owned() };
        let mut shipper = Shipper::new(ship, Arc::clone(&store), watched, sender, 1).unwrap();
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
        assert_eq!(self.store.spooled(), crate::state::Spooled::default());
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
        endpoint,
        compression: Compression::Zstd,
        batch_reports_max: NonZeroUsize::new(10).unwrap(),
        batch_bytes_max: 1 << 20,
        spool_reports_max: 1_000,
        spool_bytes_max: 1 << 20,
        timeout: Duration::from_secs(10),
        backoff_max: Duration::from_secs(1),
        summary_interval: Duration::from_secs(3_600),
        stop_timeout: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn reports_go_out_in_batches_in_every_compression() {
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let scene = Scene::new(5, Vec::new(), |ship| {
            ship.compression = compression;
            ship.batch_reports_max = NonZeroUsize::new(2).unwrap();
        });
        assert_eq!(scene.await.drain().await, [vec![0, 1], vec![2, 3], vec![4]]);
    }
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again() {
    let answers = vec![
        answer("429 Too Many Requests", "retry-after: 0\r\n", b"slow down"),
        answer("503 Service Unavailable", "", &[]),
        answer("500 Internal Server Error", "", &[]),
    ];
    let scene = Scene::new(2, answers, |_| {}).await;
    assert_eq!(scene.drain().await, [[0, 1], [0, 1], [0, 1], [0, 1]]);
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again() {
    let answers = vec![answer("400 Bad Request", "", b"cannot be parsed")];
    let mut scene =
        Scene::new(3, answers, |ship| ship.batch_reports_max = NonZeroUsize::new(2).unwrap()).await;
    assert!(matches!(scene.shipper.ship_reports().await.unwrap(), Next::Continue));
    assert_eq!((scene.shipper.counts.reports_refused, scene.shipper.counts.reports_shipped), (2, 0));
    assert_eq!(scene.drain().await, [vec![0, 1], vec![2]]);
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
        ship.endpoint = nobody;
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
    scene.status.send_replace(Status::default());
    assert_eq!(scene.requests.recv().await.unwrap().revisions(), [8]);
    drop(scene.status);
    shipping.await.unwrap().unwrap();
    assert_eq!(scene.requests.recv().await.unwrap().path, "/v1/metrics");
}
