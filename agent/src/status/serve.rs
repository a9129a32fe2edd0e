//! The little HTTP that the status needs: GET of a few paths, bounded in connections and time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::health::Health;
use super::listen::{Listener, Stream};
use super::{Board, document, metrics};
use crate::config::Listen;
use crate::ship::chain;

/// Connections at a time; further ones wait. Keeps whoever asks from using up the agent's file descriptors.
const CONNECTIONS_MAX: usize = 16;
/// A connection that has sent no request for this long is closed, and so is any connection after [`OPEN_MAX`].
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest life of a connection; a scraper opens another.
const OPEN_MAX: Duration = Duration::from_secs(300);
/// Pause after an address could not be listened to.
const RETRY: Duration = Duration::from_secs(30);

type Answer = Response<Full<Bytes>>;

/// Answers with what is on the latest board, until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    listen: Option<Listen>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers at `listen`, if that is anywhere.
    pub(crate) fn start(listen: Option<Listen>, board: watch::Receiver<Board>) -> Self {
        let task = listen.clone().map(|listen| tokio::spawn(serve(listen, board)));
        Self { listen, task }
    }

    /// Answers at `listen` from now on.
    pub(crate) fn move_to(&mut self, listen: Option<Listen>, board: watch::Receiver<Board>) {
        if self.listen != listen {
            // Before the new one listens, perhaps at another path to the same socket.
            self.end();
            *self = Self::start(listen, board);
        }
    }

    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Answers at `listen` for ever. An address that cannot be listened to is tried again: reading and shipping do not
/// depend on it.
async fn serve(listen: Listen, board: watch::Receiver<Board>) {
    let mut warned = false;
    let listener = loop {
        match Listener::bind(&listen).await {
            Ok(listener) => break listener,
            Err(error) if !warned => warn!(error = chain(&error), "no status; trying again"),
            Err(error) => debug!(error = chain(&error), "still no status"),
        }
        warned = true;
        tokio::time::sleep(RETRY).await;
    };
    let address = listener.address().unwrap_or(listen);
    info!(%address, "status is told");
    accept(listener, board).await;
}

async fn accept(listener: Listener, board: watch::Receiver<Board>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, tcp)) => {
                let board = board.clone();
                tokio::spawn(async move {
                    converse(stream, tcp, board).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // No file descriptors are left, most likely; some will be.
                debug!(%error, "connection to the status not accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(stream: Box<dyn Stream>, tcp: bool, board: watch::Receiver<Board>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let board = board.borrow().clone();
        async move { Ok::<_, Infallible>(answer(&request, tcp, &board)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(16 * 1_024)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(OPEN_MAX, connection).await {
        debug!(%error, "connection to the status ended");
    }
}

fn answer<B>(request: &Request<B>, tcp: bool, board: &Board) -> Answer {
    if tcp && !is_local(request) {
        return text(StatusCode::MISDIRECTED_REQUEST, "ask by a name of this host: 127.0.0.1 or localhost\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri().path() {
        "/status" => json(StatusCode::OK, document::document(board)),
        "/metrics" => {
            respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::metrics(board))
        }
        "/healthz" => health(&Health::alive(board, Instant::now())),
        "/readyz" => health(&Health::ready(board, Instant::now())),
        _ => text(StatusCode::NOT_FOUND, "there are /status, /metrics, /healthz and /readyz\n"),
    }
}

/// Whether the request is by a local name. A web page elsewhere can point a name of its own at 127.0.0.1 and have a
/// browser read the answers (DNS rebinding); the browser then sends that name.
fn is_local<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let host = authority.host();
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn health(health: &Health) -> Answer {
    let status = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, serde_json::to_string(health))
}

fn json(status: StatusCode, document: serde_json::Result<String>) -> Answer {
    match document {
        Ok(document) => respond(status, "application/json", document + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    respond(status, "text/plain; charset=utf-8", text.to_owned())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_name_is_not_answered() {
        let local = |host: &str| is_local(&Request::builder().header("host", host).body(()).unwrap());
        for name in ["127.0.0.1:9465", "localhost", "[::1]:9465"] {
            assert!(local(name), "{name}");
        }
        for name in ["evil.example", "127.0.0.1.evil.example", ""] {
            assert!(!local(name), "{name}");
        }
    }
}
