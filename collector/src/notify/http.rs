//! Receivers over HTTP: a webhook that takes our JSON, and Alertmanager.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use thiserror::Error;

use super::deliver::Outcome;
use super::{Notice, message};
use crate::tls::{self, TlsError};

/// From connecting to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a receiver over HTTP is reached with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// May hold a secret, so it is never logged.
    pub(crate) url: Url,
    /// File with a bearer token, read for each request.
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of the authorities that may sign its certificate; `None`: those that the host trusts.
    pub(crate) ca: Option<PathBuf>,
}

/// The receiver cannot be reached as it is configured.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the HTTP client cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// Posts to one receiver.
pub(crate) struct Post {
    target: Target,
    client: Client,
}

impl Post {
    /// Reads the authorities.
    ///
    /// # Errors
    /// [`HttpError`].
    pub(crate) fn new(target: Target) -> Result<Self, HttpError> {
        let config = tls::client(target.ca.as_deref())?;
        let client = Client::builder()
            // It says where lines went wrong: it goes to the configured address and nowhere else.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("blocksift-collector/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(config)
            .build()?;
        Ok(Self { target, client })
    }

    pub(super) async fn webhook(&self, notice: &Notice, page: Option<&str>) -> Outcome {
        self.post(self.target.url.clone(), message::webhook(notice, page).to_string()).await
    }

    pub(super) async fn alertmanager(&self, notice: &Notice, page: Option<&str>) -> Outcome {
        let mut url = self.target.url.clone();
        let path = format!("{}/api/v2/alerts", url.path().trim_end_matches('/'));
        url.set_path(&path);
        self.post(url, message::alerts(notice, page, crate::store::now_ms()).to_string()).await
    }

    async fn post(&self, url: Url, body: String) -> Outcome {
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(path) = &self.target.token_file {
            match authorization(path) {
                Some(value) => request = request.header(AUTHORIZATION, value),
                None => {
                    let reason = format!("`{}` holds no token", path.display());
                    return Outcome::TryAgain { reason, after: None };
                }
            }
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => Outcome::Taken,
            Ok(response) => {
                let (status, reason) = (response.status(), format!("it answers {}", response.status()));
                let after =
                    response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                // What is wrong with the set-up is mended some day; what is wrong with the request is not.
                match status {
                    StatusCode::BAD_REQUEST
                    | StatusCode::PAYLOAD_TOO_LARGE
                    | StatusCode::UNPROCESSABLE_ENTITY => Outcome::Refused { reason },
                    _ => Outcome::TryAgain { reason, after: after.map(Duration::from_secs) },
                }
            }
            Err(error) => {
                let reason = format!("{:#}", anyhow::Error::new(error.without_url()));
                Outcome::TryAgain { reason, after: None }
            }
        }
    }
}

fn authorization(path: &Path) -> Option<HeaderValue> {
    let token = fs::read_to_string(path).ok()?;
    let token = token.trim();
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| !token.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}
