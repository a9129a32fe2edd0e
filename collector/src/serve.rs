//! The routes, what holds for every answer, and an end that loses no request.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::access::{self, Access};
use crate::api::Live;
use crate::ingest::Ingest;
use crate::joint::Models;
use crate::kafka::Counts;
use crate::kafka::front::Front;
use crate::kafka::group::Member;
use crate::listen::{Incoming, Peer};
use crate::notify::Policy;
use crate::otlp::body::BODY_BYTES_MAX;
use crate::store::Store;
use crate::{api, ingest, metrics, page, wanted};

/// Bytes of a request for the API.
const API_BODY_BYTES_MAX: usize = 64 * 1024;

/// How long requests in work may take once the end is asked for; then their connections are cut. Nothing is lost by
/// that: what was not acknowledged is sent again.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers say nothing to other origins, run nothing that is not a file of ours, and are not shown in frames.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// What every handler shares.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Arc<Store>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) access: Arc<Access>,
    pub(crate) live: Arc<Live>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) models: Arc<Models>,
    /// Where what agents send goes instead of into the store, if it does.
    pub(crate) front: Option<Arc<Front>>,
    /// What Kafka does for this collector, if it has one.
    pub(crate) kafka: Option<Arc<Counts>>,
    /// Whether requests under any host name are answered.
    pub(crate) any_host: bool,
    /// Whether nothing is taken from senders.
    pub(crate) read_only: bool,
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/logs", post(ingest::logs))
        .route("/v1/metrics", post(ingest::metrics))
        .route("/v1/wanted", get(wanted::wanted))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .merge(api::routes().layer(DefaultBodyLimit::max(API_BODY_BYTES_MAX)))
        .route("/healthz", get(api::health))
        .route("/metrics", get(metrics::metrics))
        .merge(page::routes())
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), access::person))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// Serves until `stop` is ready, then finishes the requests in work and what the member of Kafka's group has read, then what
/// waits for the database.
pub(crate) async fn serve(
    incoming: Incoming,
    app: App,
    member: Option<Member>,
    stop: impl Future<Output = ()>,
) {
    let (store, live, front) = (Arc::clone(&app.store), Arc::clone(&app.live), app.front.clone());
    let (drain, drained) = oneshot::channel::<()>();
    let service = router(app).into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(incoming, service).with_graceful_shutdown(async move {
        drop(drained.await);
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        () = stop => {}
        _ = &mut server => {}
    }
    info!("stopping; finishing requests in work");
    live.end();
    drop(drain);
    if tokio::time::timeout(DRAIN_TIMEOUT, &mut server).await.is_err() {
        warn!(timeout_s = DRAIN_TIMEOUT.as_secs(), "connections still open are cut");
        server.abort();
    }
    if let Some(front) = front {
        front.close().await;
    }
    if let Some(member) = member {
        member.end().await;
    }
    // Joins a thread that may be in the middle of a transaction.
    if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
        warn!("database not closed cleanly");
    }
}

/// Checks the host name before, adds the headers after.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = if app.any_host || is_local(&request) {
        next.run(request).await
    } else {
        api::foreign_host().into_response()
    };
    for &(name, value) in HEADERS {
        response
            .headers_mut()
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether the request is for this machine by a local name. A web page elsewhere can point a name of its own at
/// 127.0.0.1 and have a browser read the answers (DNS rebinding); the browser then sends that name.
fn is_local(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let host = authority.host();
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
