//! Who may do what. Agents send by a token or a client certificate, each bound to node names; people read and mark by a
//! login ([`users`]). A proxy in front may log them in too ([`proxy`]).
//! Where neither is configured everybody may, which [`crate::listen`] allows on loopback alone.

pub(crate) mod agents;
mod attempts;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod users;

use std::net::IpAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use agents::Agents;
use proxy::Proxy;
use users::Users;

use crate::api::Problem;
use crate::listen::Peer;
use crate::serve::App;

/// Header that every request which changes something has to repeat the token of `/api/me` in. Another site can neither
/// read the token nor set the header.
pub(crate) const CSRF_HEADER: &str = "x-blocksift-csrf";

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Read everything.
    View,
    /// Mark sessions too.
    Operate,
}

/// Somebody who may read; an extension of every request that [`person`] lets through.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// Empty where there are no users.
    pub(crate) name: String,
    pub(crate) role: Role,
    /// See [`CSRF_HEADER`].
    pub(crate) csrf: String,
    /// A proxy says so; there is no login to end.
    pub(crate) by_proxy: bool,
}

/// Everything that decides.
pub(crate) struct Access {
    pub(crate) agents: Agents,
    pub(crate) users: Users,
    /// Who logs people in in front of this.
    pub(crate) proxy: Option<Proxy>,
}

impl Access {
    /// Who makes a request that came from `peer`.
    fn person(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Person> {
        let Some(proxy) = &self.proxy else { return self.users.person(headers) };
        // Whoever gets past the proxy is nobody, unless there are users too.
        let by_login = || if self.users.open() { None } else { self.users.person(headers) };
        proxy.person(headers, peer).or_else(by_login)
    }
}

/// Paths of the API that need no login: the login itself, and what the API is.
const OPEN: [&str; 2] = ["/api/login", "/api/openapi.json"];

/// Lets a request for the API through if its sender may make it.
pub(crate) async fn person(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !path.starts_with("/api/") || OPEN.contains(&path) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.address.ip());
    let person = peer.and_then(|peer| app.access.person(request.headers(), peer));
    let Some(person) = person else {
        return Problem(StatusCode::UNAUTHORIZED, "log in first: POST /api/login".to_owned()).into_response();
    };
    if changes(request.method())
        && let Err(problem) = may_change(&person, request.headers(), path)
    {
        return problem.into_response();
    }
    request.extensions_mut().insert(person);
    next.run(request).await
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

fn may_change(person: &Person, headers: &HeaderMap, path: &str) -> Result<(), Problem> {
    let sent = headers.get(CSRF_HEADER).map(header::HeaderValue::as_bytes).unwrap_or_default();
    if !random::equal(sent, person.csrf.as_bytes()) {
        let message = format!("repeat the `csrf` of /api/me in the header {CSRF_HEADER}");
        return Err(Problem(StatusCode::FORBIDDEN, message));
    }
    if person.role < Role::Operate && path != "/api/logout" {
        return Err(Problem(StatusCode::FORBIDDEN, "your role may read only".to_owned()));
    }
    Ok(())
}
