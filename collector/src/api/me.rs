//! `/api/me`, `/api/login`, `/api/logout`: who somebody is.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Problem;
use crate::access::Person;
use crate::access::users::{Refused, SECRET_BYTES_MAX};
use crate::listen::Peer;
use crate::serve::App;

/// `GET /api/me`: name, role, and the token that every change has to repeat.
pub(crate) async fn me(State(app): State<App>, Extension(person): Extension<Person>) -> Json<Value> {
    let ingest = !app.read_only;
    Json(json!({
        "name": person.name,
        "role": person.role,
        "csrf": person.csrf,
        "users": !app.access.users.open() && !person.by_proxy,
        "ingest": ingest,
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// What is sent to log in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    name: String,
    password: String,
}

/// `POST /api/login`
pub(crate) async fn login(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    credentials: Result<Json<Credentials>, JsonRejection>,
) -> Result<Response, Problem> {
    // Another site cannot send JSON; where the browser says that it tries, it is told apart from a mistake.
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes().to_vec());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(Problem(StatusCode::FORBIDDEN, "another site may not log in here".to_owned()));
    }
    let Json(Credentials { name, password }) = credentials?;
    if name.len() > SECRET_BYTES_MAX || app.access.users.open() {
        return Err(Problem(StatusCode::UNAUTHORIZED, "name or password is wrong".to_owned()));
    }
    match app.access.users.log_in(&name, &password, peer.address.ip()).await {
        Ok(cookie) => {
            info!(target: "audit", user = name, peer = %peer.address, "logged in");
            Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
        }
        Err(Refused::Wrong) => {
            // The name may be a password typed into the wrong field.
            warn!(target: "audit", peer = %peer.address, "login refused");
            Err(Problem(StatusCode::UNAUTHORIZED, "name or password is wrong".to_owned()))
        }
        Err(Refused::Wait(wait)) => {
            warn!(target: "audit", peer = %peer.address, "login refused: too many failed");
            let seconds = wait.as_secs().max(1);
            let problem = Problem(
                StatusCode::TOO_MANY_REQUESTS,
                format!("too many logins failed; try again in {seconds} s"),
            );
            Ok(([(RETRY_AFTER, seconds.to_string())], problem).into_response())
        }
        Err(Refused::Failed) => {
            Err(Problem(StatusCode::INTERNAL_SERVER_ERROR, "the login cannot be checked now".to_owned()))
        }
    }
}

/// `POST /api/logout`
pub(crate) async fn logout(
    State(app): State<App>,
    Extension(person): Extension<Person>,
    headers: HeaderMap,
) -> Response {
    info!(target: "audit", user = person.name, "logged out");
    (StatusCode::NO_CONTENT, [(SET_COOKIE, app.access.users.log_out(&headers))]).into_response()
}
