//! What arrives and what becomes of it, line by line while it happens.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Given, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tillwatch_model::dimension::is_identifier;
use tokio::time::timeout;

use crate::admin::refused;
use crate::health::Health;
use crate::tap::{DOORS, Filter, OUTCOMES, Tap, Watcher};

/// How often a watcher that sees nothing is sent an empty line, by which it is noticed that it has left.
const IDLE: Duration = Duration::from_secs(1);
/// What a watcher asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    store_id: Option<String>,
    terminal_id: Option<String>,
    door: Option<String>,
    outcome: Option<String>,
}

impl Asked {
    fn filter(self) -> Result<Filter, String> {
        for (name, id) in [
            ("store_id", &self.store_id),
            ("terminal_id", &self.terminal_id),
        ] {
            if id.as_deref().is_some_and(|id| !is_identifier(id)) {
                return Err(format!("{name} must match [A-Za-z0-9_.:-]{{1,64}}"));
            }
        }
        for (name, word, words) in [
            ("outcome", &self.outcome, OUTCOMES),
            ("door", &self.door, DOORS),
        ] {
            if word.as_deref().is_some_and(|word| !words.contains(&word)) {
                return Err(format!("{name} must be one of {}", words.join(", ")));
            }
        }
        Ok(Filter {
            store_id: self.store_id,
            terminal_id: self.terminal_id,
            door: self.door,
            outcome: self.outcome,
        })
    }
}

/// Shows what passes until the watcher leaves, or the collector stops.
pub(super) async fn tap(
    State((tap, health)): State<(Arc<Tap>, Arc<Health>)>,
    asked: Result<Given<Asked>, QueryRejection>,
) -> Response {
    let asked = asked.map_err(|rejection| rejection.body_text());
    let filter = match asked.and_then(|Given(asked)| asked.filter()) {
        Ok(filter) => filter,
        Err(message) => return refused(StatusCode::BAD_REQUEST, "bad_parameter", &message),
    };
    let Some(watcher) = tap.watch(filter) else {
        let message = "as many watch as may at once; end another tap first";
        return refused(StatusCode::SERVICE_UNAVAILABLE, "too_many_taps", message);
    };
    let lines = stream::unfold((watcher, health), async |(mut watcher, health)| {
        let line = line(&mut watcher, &health).await?;
        Some((Ok::<_, Infallible>(line), (watcher, health)))
    });
    let content_type = [(CONTENT_TYPE, "application/x-ndjson")];
    (content_type, Body::from_stream(lines)).into_response()
}

async fn line(watcher: &mut Watcher, health: &Health) -> Option<Bytes> {
    if health.is_stopping.load(Ordering::Relaxed) {
        return None;
    }
    match timeout(IDLE, watcher.next()).await {
        Ok(event) => {
            let mut line = serde_json::to_vec(&*event?).ok()?;
            line.push(b'\n');
            Some(line.into())
        }
        Err(_elapsed) => Some(Bytes::from_static(b"\n")),
    }
}
