//! `/api/live`: server-sent events, one whenever something new was stored. They carry no content: the page asks for what
//! it shows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Problem;
use crate::serve::App;

/// Pages that listen at once; a further one polls.
const LISTENERS_MAX: usize = 256;
/// Events are at least this far apart.
const INTERVAL: Duration = Duration::from_millis(1_000);

/// Places of listeners, and their end.
pub(crate) struct Live {
    places: Arc<Semaphore>,
    end: watch::Sender<bool>,
}

impl Default for Live {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(LISTENERS_MAX)), end: watch::Sender::new(false) }
    }
}

impl Live {
    /// Ends every stream, so that the server can stop.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }

    /// Pages that listen now.
    pub(crate) fn listeners(&self) -> usize {
        LISTENERS_MAX - self.places.available_permits()
    }
}

struct Listener {
    commits: watch::Receiver<u64>,
    end: watch::Receiver<bool>,
    first: bool,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// Waits for the next change.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.first {
            self.first = false;
        } else {
            tokio::select! {
                changed = self.commits.changed() => changed.ok()?,
                _ = self.end.wait_for(|end| *end) => return None,
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = self.end.wait_for(|end| *end) => return None,
            }
        }
        let commits = *self.commits.borrow_and_update();
        Some((Ok(Event::default().event("stored").data(commits.to_string())), self))
    }
}

/// `GET /api/live`
pub(crate) async fn live(State(app): State<App>) -> Response {
    let Ok(place) = Arc::clone(&app.live.places).try_acquire_owned() else {
        let message = format!("{LISTENERS_MAX} pages listen already; ask again from time to time instead");
        return Problem(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    };
    let listener =
        Listener { commits: app.store.commits(), end: app.live.end.subscribe(), first: true, _place: place };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(20));
    Sse::new(stream::unfold(listener, Listener::next)).keep_alive(keep_alive).into_response()
}
